//! Where things are for commands that look without the daemon's help.

use std::path::{Path, PathBuf};

use crate::{config::Said, error::Error};

/// The state directory: as said, else that of the socket, else that of the configuration.
pub(crate) fn state(said: Option<PathBuf>, socket: &Path) -> Result<PathBuf, Error> {
    if let Some(said) = said {
        return Ok(said);
    }
    match socket.parent() {
        Some(parent) if parent.join("pods").is_dir() => Ok(parent.to_owned()),
        _ => Ok(Said::read(None)?.text("state").into()),
    }
}
