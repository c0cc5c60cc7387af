//! Disks of a machine: files of the host.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, file, output};

/// Makes an empty ext4 file system of `mib` MiB at `path`; it takes space as it is filled.
///
/// # Errors
/// The package e2fsprogs is not there, or the file cannot be written.
pub fn ext4(path: &Path, mib: u32) -> Result<PathBuf, Error> {
    empty(path, mib)?;
    format(path, &[])
}

/// As [`ext4`], with the files of `tree`.
///
/// # Errors
/// As [`ext4`].
pub fn ext4_of(path: &Path, mib: u32, tree: &Path) -> Result<PathBuf, Error> {
    empty(path, mib)?;
    format(path, &["-d".as_ref(), tree])
}

fn empty(path: &Path, mib: u32) -> Result<(), Error> {
    let made = File::create_new(path).and_then(|f| f.set_len(u64::from(mib) << 20));
    made.map_err(file("make", path))
}

fn format(path: &Path, options: &[&Path]) -> Result<PathBuf, Error> {
    let mut command = Command::new("mkfs.ext4");
    command.args(["-q", "-F"]).args(options).arg(path);
    output(&mut command, "package e2fsprogs")?;
    Ok(path.to_owned())
}

/// QEMU's arguments for a disk that is there from the start.
#[must_use]
pub fn arguments(serial: &str, path: &Path) -> Vec<String> {
    let file = path.display();
    let node = format!("driver=raw,node-name={serial},file.driver=file,file.filename={file}");
    let device = format!("virtio-blk-pci,drive={serial},serial={serial}");
    ["-blockdev".into(), node, "-device".into(), device].into()
}
