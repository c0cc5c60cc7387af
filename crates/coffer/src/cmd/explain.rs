//! `coffer explain`.

use std::path::Path;

use crate::error::Error;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    words: Vec<String>,
}

pub(crate) async fn run(args: Args, _: &Path) -> Result<u8, Error> {
    Err(Error::Usage(format!(
        "explain {:?} is not there yet",
        args.words
    )))
}
