//! `coffer export`: images as one archive that podman, docker, skopeo and `coffer import` read.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::{client::Daemon, error::Error, human, out, resolve};

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The archive is an OCI layout with docker's manifest.json beside it. The same images under the same names
give the same bytes.")]
pub(crate) struct Args {
    /// File to write; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Names or ids of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let to_stdout = args.output == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        let text = "an archive is nothing for a terminal: name a file with -o, or use a pipe";
        return Err(Error::Usage(text.to_owned()));
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
    let bytes = sent?;
    let names = args.images.join(", ");
    out::line(&format!(
        "exported {names} to {shown} ({})",
        human::bytes(bytes)
    ))?;
    Ok(0)
}
