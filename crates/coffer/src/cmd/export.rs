//! `coffer export`: images as one archive that podman, docker, skopeo and `coffer import` read.

use std::{
    fs::{self, OpenOptions},
    io::{self, IsTerminal, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use crate::{client::Daemon, error::Error, human, layout, out, resolve};

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The archive is an OCI layout with docker's manifest.json beside it: an oci-archive and a docker-archive at
once. The same images under the same names give the same bytes.

Examples:
  coffer export -o web.tar web:1 web:2
  coffer export --format oci-dir -o web web:1
  coffer export web:1 | podman load")]
pub(crate) struct Args {
    /// File to write, or directory to make; - is standard output
    #[arg(short, long, value_name = "FILE|DIR", default_value = "-")]
    output: PathBuf,
    /// What to write: an archive, or the layout as a directory
    #[arg(long, value_enum, default_value_t)]
    format: Form,
    /// Names or ids of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Form {
    /// One file that both kinds of readers read
    #[default]
    #[value(alias = "docker-archive")]
    OciArchive,
    /// A directory with an OCI image layout
    OciDir,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let to_stdout = args.output == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        let text = "an archive is nothing for a terminal: name a file with -o, or use a pipe";
        return Err(Error::Usage(text.to_owned()));
    }
    if args.format == Form::OciDir {
        if to_stdout {
            let text = "a directory needs a name: say it with -o";
            return Err(Error::Usage(text.to_owned()));
        }
        if args.output.exists() {
            let text = format!("{} is there already", args.output.display());
            return Err(Error::Usage(text));
        }
    }
    let daemon = Daemon::connect(socket).await?;
    for word in &args.images {
        if daemon.image(word).await?.is_none() {
            return Err(resolve::no_image(&daemon, word).await?);
        }
    }
    let shown = args.output.display().to_string();
    let failed = |source| Error::Io {
        what: format!("write {shown}"),
        source,
    };
    if to_stdout {
        let mut stdout = io::stdout().lock();
        let sent = daemon.export(&args.images, |chunk| {
            stdout.write_all(chunk).map_err(failed)
        });
        sent.await?;
        stdout.flush().map_err(failed)?;
        return Ok(0);
    }
    if args.format == Form::OciDir {
        let bytes = directory(&daemon, &args.images, &args.output, failed).await?;
        return report(&args.images, &shown, bytes);
    }
    // Under another name until it is whole: half an archive must not be taken for one.
    let mut part = args.output.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&part)
        .map_err(failed)?;
    let sent = daemon
        .export(&args.images, |chunk| file.write_all(chunk).map_err(failed))
        .await
        .and_then(|bytes| {
            file.sync_all()
                .and_then(|()| std::fs::rename(&part, &args.output))
                .map_err(failed)?;
            Ok(bytes)
        });
    if sent.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    report(&args.images, &shown, sent?)
}

fn report(images: &[String], to: &str, bytes: u64) -> Result<u8, Error> {
    let names = images.join(", ");
    out::line(&format!(
        "exported {names} to {to} ({})",
        human::bytes(bytes)
    ))?;
    Ok(0)
}

/// The layout as a directory, under another name until it is whole. Answers the bytes that came.
async fn directory(
    daemon: &Daemon,
    images: &[String],
    to: &Path,
    failed: impl Fn(io::Error) -> Error + Copy,
) -> Result<u64, Error> {
    let mut part = to.to_owned().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    fs::create_dir(&part).map_err(failed)?;
    let (send, chunks) = mpsc::sync_channel::<Vec<u8>>(4);
    let target = part.clone();
    let writer = thread::spawn(move || {
        let chunks = Chunks {
            from: chunks,
            rest: io::Cursor::new(Vec::new()),
        };
        layout::read(chunks, &target)
    });
    let sent = daemon.export(images, |chunk| {
        let gone = |_| failed(io::ErrorKind::BrokenPipe.into());
        send.send(chunk.to_vec()).map_err(gone)
    });
    let sent = sent.await;
    drop(send);
    let written = writer
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the thread that writes has died")))
        .map_err(failed);
    let done = match (written, sent) {
        (Ok(()), Ok(bytes)) => fs::rename(&part, to).map_err(failed).map(|()| bytes),
        // What the writer met explains why nothing more was taken; a broken call explains a torn tar.
        (Err(error), Ok(_)) | (Ok(()), Err(error)) => Err(error),
        (Err(written), Err(sent)) => Err(match &sent {
            Error::Io { .. } => written,
            _ => sent,
        }),
    };
    if done.is_err() {
        let _ = fs::remove_dir_all(&part);
    }
    done
}

/// Chunks of a channel as one stream.
struct Chunks {
    from: mpsc::Receiver<Vec<u8>>,
    rest: io::Cursor<Vec<u8>>,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.rest.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            match self.from.recv() {
                Ok(chunk) => self.rest = io::Cursor::new(chunk),
                Err(mpsc::RecvError) => return Ok(0),
            }
        }
    }
}
