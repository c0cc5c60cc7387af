//! Programs without what only a debugger reads: a tenth of the size, which an emulated machine has to
//! unpack.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::{Error, file, output};

/// The program at `path` without symbols and debug sections.
///
/// # Errors
/// binutils' `strip` is not there, or `path` is no program.
pub fn program(path: &Path) -> Result<Vec<u8>, Error> {
    let stripped = tempfile::NamedTempFile::new().map_err(file("make", "a temporary file"))?;
    let mut command = Command::new("strip");
    command.arg("-o").arg(stripped.path()).arg(path);
    output(&mut command, "package binutils")?;
    fs::read(stripped.path()).map_err(file("read", stripped.path()))
}
