//! `coffer tag`: one more name for an image.

use std::path::Path;

use crate::{client::Daemon, error::Error, resolve};

/// Arguments of `tag`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name or id of an image
    image: String,
    /// New names; one that another image has is taken from it
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    if daemon.image(&args.image).await?.is_none() {
        return Err(resolve::no_image(&daemon, &args.image).await?);
    }
    let (daemon, image) = (&daemon, args.image.as_str());
    super::each(
        &args.names,
        |name| async move { daemon.tag(image, &name).await },
    )
    .await
}
