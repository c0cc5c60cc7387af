//! `coffer rmi`: removes images that no container uses.

use std::path::Path;

use crate::{client::Daemon, error::Error, out, resolve};

/// Arguments of `rmi`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or ids of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    super::each(&args.images, |word| remove(&daemon, word)).await
}

async fn remove(daemon: &Daemon, word: String) -> Result<(), Error> {
    // CRI's RemoveImage succeeds for what is not there; a person wants to know of the slip.
    if daemon.image(&word).await?.is_none() {
        return Err(resolve::no_image(daemon, &word).await?);
    }
    daemon.remove_image(&word).await?;
    out::line(&word)
}
