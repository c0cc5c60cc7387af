//! `coffer rmi`: removes images. What a container is made of stays on the disk until it goes.

use std::path::Path;

use crate::{client::Daemon, error::Error, out, resolve};

/// Arguments of `rmi`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// No error for what is not there
    #[arg(short, long)]
    force: bool,
    /// All images, except pinned ones
    #[arg(short, long)]
    all: bool,
    /// Names or ids of images
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "IMAGE"
    )]
    images: Vec<String>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let words = if args.all {
        let images = daemon.images().await?.into_iter();
        let images = images.filter(|image| !image.pinned);
        images.map(|image| image.id).collect()
    } else {
        args.images
    };
    super::each(&words, |word| remove(&daemon, word, args.force)).await
}

async fn remove(daemon: &Daemon, word: String, force: bool) -> Result<(), Error> {
    // The daemon takes what is not there for success; a person wants to know of the slip.
    if !force && daemon.image(&word).await?.is_none() {
        return Err(resolve::no_image(daemon, &word).await?);
    }
    daemon.untag(&word).await?;
    out::line(&word)
}
