//! `coffer man DIR`: manual pages; `coffer __reference DIR`: the reference of the documentation.

use std::{fs, path::PathBuf};

use crate::{
    error::Error,
    out,
    reference::{self, Page},
};

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coffer man /usr/local/share/man/man1
  coffer man /tmp/man && man -l /tmp/man/coffer-run.1")]
pub(crate) struct Args {
    /// Where to write them; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Arguments of `__reference`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReferenceArgs {
    /// Where to write it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<u8, Error> {
    let pages = reference::manual().map_err(|source| Error::Io {
        what: "make the manual pages".to_owned(),
        source,
    })?;
    write(&args.directory, &pages)
}

pub(crate) fn reference(args: &ReferenceArgs) -> Result<u8, Error> {
    write(&args.directory, &reference::reference())
}

fn write(directory: &std::path::Path, pages: &[Page]) -> Result<u8, Error> {
    for (name, text) in pages {
        let path = directory.join(name);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, text))
            .map_err(|source| Error::Io {
                what: format!("write {}", path.display()),
                source,
            })?;
        out::line(&path.display().to_string())?;
    }
    Ok(0)
}
