//! `coffer cp`: files between this host and a container, running or not.
//!
//! ```text
//! destination          is a directory        is not there                  is a file
//! source a file        DST/name              DST (its directory exists)    replaced
//! source a directory   DST/name              DST                           an error
//! source ends in /.    its contents in DST   its contents in DST           an error
//! ```

use std::path::{Path, PathBuf};

use crate::{
    client::Daemon,
    copy::{self, Found, InHeader, Reader, Side, Target, Writer, base_name, directory_of, pipe},
    error::Error,
    human, out, resolve,
    view::Container,
};

/// Arguments of `cp`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
One of the two is in a container, as CONTAINER:PATH; - is a tar stream on standard input or output.
A source that ends in /. means what is in the directory.

Examples:
  coffer cp web:/etc/nginx/nginx.conf .
  coffer cp ./site/. web:/srv/www
  coffer cp web:/var/log - | tar t")]
pub(crate) struct Args {
    /// Keep owners and set-id bits
    #[arg(short, long)]
    archive: bool,
    /// Follow a symbolic link at the end of SRC
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing when it is done
    #[arg(short, long)]
    quiet: bool,
    /// Source
    #[arg(value_name = "SRC")]
    source: Side,
    /// Destination
    #[arg(value_name = "DST")]
    destination: Side,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let usage = |text: &str| Err(Error::Usage(text.to_owned()));
    match (&args.source, &args.destination) {
        (Side::There { container, path }, to @ (Side::Here(_) | Side::Stream)) => {
            let daemon = Daemon::connect(socket).await?;
            let container = resolve::container(&daemon, container).await?;
            match to {
                Side::Here(to) => copy_out(&daemon, &args, &container, path, to).await?,
                _ => stream_out(&daemon, &args, &container, path).await?,
            }
            Ok(0)
        }
        (from @ (Side::Here(_) | Side::Stream), Side::There { container, path }) => {
            let daemon = Daemon::connect(socket).await?;
            let container = resolve::container(&daemon, container).await?;
            match from {
                Side::Here(from) => copy_in(&daemon, &args, &container, from, path).await?,
                _ => stream_in(&daemon, &args, &container, path).await?,
            }
            Ok(0)
        }
        (Side::There { .. }, Side::There { .. }) => usage(
            "both are in containers: copy to this host first, or join two: coffer cp A:/x - | \
             coffer cp - B:/y",
        ),
        _ => usage("neither is in a container: write one as CONTAINER:PATH"),
    }
}

/// Whether only the contents of a directory are meant.
fn contents_of(path: &str) -> bool {
    path.ends_with("/.") || path == "."
}

async fn copy_out(
    daemon: &Daemon,
    args: &Args,
    container: &Container,
    path: &str,
    to: &str,
) -> Result<(), Error> {
    let what = format!("copy {}:{path}", container.name);
    let contents = contents_of(path);
    let path = path.strip_suffix("/.").unwrap_or(path);
    let path = if path.is_empty() { "/" } else { path };
    let target = landing(to, base_name(path), contents, args.archive)?;
    let (writer, reader) = pipe();
    let placing = tokio::task::spawn_blocking(move || copy::place(reader, &target));
    // What the container says counts before what became of half of it.
    daemon
        .copy_out(&what, &container.id, path, args.follow_link, writer)
        .await?;
    let placed = joined(placing.await)?.map_err(|(path, source)| Error::Io {
        what: format!("{what} to {}", path.display()),
        source,
    })?;
    told(&placed.skipped);
    if !args.quiet {
        done(placed.entries, placed.bytes, to)?;
    }
    Ok(())
}

/// Where entries go. `name` is the source's own; the root has none.
fn landing(to: &str, name: Option<&str>, contents: bool, keep: bool) -> Result<Target, Error> {
    let path = Path::new(to);
    let target = |directory: &Path, first: Option<&str>| Target {
        directory: directory.to_owned(),
        first: first.map(ToOwned::to_owned),
        keep_owner: keep,
    };
    if path.is_dir() {
        return Ok(target(path, if contents { None } else { name }));
    }
    let missing = |path: &Path| Error::State {
        message: format!("there is no directory {}", path.display()),
        hint: "make it first".to_owned(),
    };
    if contents || name.is_none() {
        if path.exists() {
            return Err(Error::State {
                message: format!("{to} is a file, and what is in a directory can't go there"),
                hint: "name a directory".to_owned(),
            });
        }
        std::fs::create_dir(path).map_err(|source| Error::Io {
            what: format!("make the directory {to}"),
            source,
        })?;
        return Ok(target(path, None));
    }
    if to.ends_with('/') && !path.exists() {
        return Err(missing(path));
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let first = path.file_name().map(|name| name.to_string_lossy());
    if !parent.is_dir() {
        return Err(missing(parent));
    }
    Ok(target(parent, first.as_deref()))
}

async fn stream_out(
    daemon: &Daemon,
    args: &Args,
    container: &Container,
    path: &str,
) -> Result<(), Error> {
    if crate::terminal::at_stdout() {
        return Err(Error::Usage(
            "a tar stream is nothing for a terminal: send it to a file or through a pipe"
                .to_owned(),
        ));
    }
    let what = format!("copy {}:{path}", container.name);
    let (writer, mut reader): (Writer, Reader) = pipe();
    let sending = daemon.copy_out(&what, &container.id, path, args.follow_link, writer);
    let showing = async {
        while let Some(piece) = reader.next().await {
            out::raw(&piece)?;
        }
        Ok(())
    };
    tokio::try_join!(sending, showing).map(drop)
}

async fn copy_in(
    daemon: &Daemon,
    args: &Args,
    container: &Container,
    from: &str,
    to: &str,
) -> Result<(), Error> {
    let what = format!("copy {from} to {}:{to}", container.name);
    let source = PathBuf::from(from);
    let unreadable = |source: std::io::Error| Error::Io {
        what: format!("read {from}"),
        source,
    };
    let metadata = if args.follow_link {
        source.metadata()
    } else {
        source.symlink_metadata()
    };
    let is_directory = metadata.map_err(unreadable)?.is_dir() || contents_of(from);
    let own = source.canonicalize().ok().and_then(|full| {
        let name = full.file_name()?.to_string_lossy().into_owned();
        Some(name)
    });
    let own = base_name(from).map(ToOwned::to_owned).or(own);
    let found = daemon.look(&what, &container.id, to).await?;
    let contents = contents_of(from);
    let (directory, name) = match (found, base_name(to)) {
        (Found::Directory, _) => (to.to_owned(), own.unwrap_or_default()),
        (Found::Other, _) if is_directory => {
            return Err(Error::State {
                message: format!(
                    "cannot {what}: the destination is a file, the source a directory"
                ),
                hint: "name a directory, or a path that is not there".to_owned(),
            });
        }
        (Found::Nothing, _) if to.ends_with('/') && !is_directory => {
            return Err(Error::State {
                message: format!("cannot {what}: there is no directory {to}"),
                hint: "make it first, or leave the / away".to_owned(),
            });
        }
        (_, Some(name)) => (directory_of(to), name.to_owned()),
        (_, None) => (to.to_owned(), own.unwrap_or_default()),
    };
    // The contents of a directory that becomes a new one are that directory under a new name.
    let only_contents = contents && found == Found::Directory;
    let (writer, reader) = pipe();
    let follow = args.follow_link || contents;
    let packing = tokio::task::spawn_blocking(move || {
        copy::pack(&source, Path::new(&name), only_contents, follow, writer)
    });
    let header = InHeader {
        id: container.id.clone(),
        directory,
        no_owner: !args.archive,
    };
    let sent = daemon.copy_in(&what, header, reader).await;
    let packed = joined(packing.await)?;
    let copied = match (sent, packed) {
        (Ok(copied), Ok(skipped)) => {
            told(&skipped);
            copied
        }
        // Half a stream was taken for all of it: the side that stopped knows why.
        (Ok(_), Err((path, source))) => {
            let what = format!("read {}", path.display());
            return Err(Error::Io { what, source });
        }
        (Err(error), Err((path, source))) if source.kind() != std::io::ErrorKind::BrokenPipe => {
            crate::report(&error);
            let what = format!("read {}", path.display());
            return Err(Error::Io { what, source });
        }
        (Err(error), _) => return Err(error),
    };
    if !args.quiet {
        done(
            copied.entries,
            copied.bytes,
            &format!("{}:{to}", container.name),
        )?;
    }
    Ok(())
}

async fn stream_in(
    daemon: &Daemon,
    args: &Args,
    container: &Container,
    to: &str,
) -> Result<(), Error> {
    let what = format!("unpack standard input to {}:{to}", container.name);
    let (mut writer, reader) = pipe();
    // Never waited for: a read from a terminal has no end.
    std::thread::spawn(move || {
        use std::io::Write;
        let copied = std::io::copy(&mut std::io::stdin().lock(), &mut writer);
        let _ = copied.and_then(|_| writer.flush());
    });
    let header = InHeader {
        id: container.id.clone(),
        directory: to.to_owned(),
        no_owner: !args.archive,
    };
    let copied = daemon.copy_in(&what, header, reader).await?;
    if !args.quiet {
        done(
            copied.entries,
            copied.bytes,
            &format!("{}:{to}", container.name),
        )?;
    }
    Ok(())
}

fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Result<T, Error> {
    result.map_err(|error| Error::Io {
        what: "copy in the background".to_owned(),
        source: error.into(),
    })
}

fn told(skipped: &[String]) {
    for line in skipped {
        let text = format!("coffer: not copied: {line}\n");
        let _ = out::raw_error(text.as_bytes());
    }
}

/// On standard error: standard output may be somebody's data.
fn done(entries: u64, bytes: u64, to: &str) -> Result<(), Error> {
    let files = if entries == 1 { "entry" } else { "entries" };
    let size = human::bytes(bytes);
    out::raw_error(format!("copied {entries} {files}, {size}, to {to}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_copy_lands() {
        let keep = tempfile::tempdir().unwrap();
        let at = |name: &str| keep.path().join(name).display().to_string();
        std::fs::create_dir(at("dir")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        let lands = |to: &str, contents| {
            landing(&at(to), Some("name"), contents, false)
                .map(|target| (target.directory.display().to_string(), target.first))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(lands("dir", false).unwrap(), (at("dir"), some("name")));
        assert_eq!(lands("dir", true).unwrap(), (at("dir"), None));
        let top = keep.path().display().to_string();
        assert_eq!(lands("new", false).unwrap(), (top.clone(), some("new")));
        assert_eq!(lands("file", false).unwrap(), (top, some("file")));
        assert_eq!(lands("made", true).unwrap(), (at("made"), None));
        for (to, contents) in [("file", true), ("no/such", false), ("missing/", false)] {
            assert!(lands(to, contents).is_err(), "{to}");
        }
    }
}
