//! `coffer image pin`, `unpin` and `verify`.

use std::path::Path;

use crate::{client::Daemon, error::Error, out, resolve};

/// Arguments of `image pin`, `image unpin` and `image verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or ids of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub(crate) async fn run(args: Args, pinned: bool, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    super::each(&args.images, |word| pin(&daemon, word, pinned)).await
}

async fn pin(daemon: &Daemon, word: String, pinned: bool) -> Result<(), Error> {
    known(daemon, &word).await?;
    daemon.pin_image(&word, pinned).await?;
    out::line(&word)
}

pub(crate) async fn verify(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    super::each(&args.images, |word| verify_one(&daemon, word)).await
}

async fn verify_one(daemon: &Daemon, word: String) -> Result<(), Error> {
    known(daemon, &word).await?;
    let problems = daemon.verify_image(&word).await?;
    if problems.is_empty() {
        return out::line(&format!("{word}: sound"));
    }
    Err(Error::State {
        message: format!(
            "image {word} is not what its digests say: {}",
            problems.join("; ")
        ),
        hint: format!("remove it (`coffer rmi {word}`) and fetch it again"),
    })
}

async fn known(daemon: &Daemon, word: &str) -> Result<(), Error> {
    match daemon.image(word).await? {
        Some(_) => Ok(()),
        None => Err(resolve::no_image(daemon, word).await?),
    }
}
