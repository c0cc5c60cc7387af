//! Disks for tests: files with a filesystem, behind loop devices.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A loop device; it and what is mounted from it goes with this value.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) node: PathBuf,
    pub(crate) file: PathBuf,
}

/// Runs a program that has to succeed; returns what it printed.
pub(crate) fn run(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}", words[0]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

impl Disk {
    /// A file of `size` bytes with the filesystem that `mkfs` (words before the file) makes.
    pub(crate) fn make(file: &Path, size: u64, mkfs: &[&str]) -> Self {
        let made = File::options().write(true).create_new(true).open(file);
        made.unwrap().set_len(size).unwrap();
        let mut words = mkfs.to_vec();
        words.push(file.to_str().unwrap());
        run(&words);
        Self::of(file)
    }

    /// An image that is there.
    pub(crate) fn of(file: &Path) -> Self {
        let node = run(&["losetup", "--find", "--show", file.to_str().unwrap()]);
        Self {
            node: node.trim().into(),
            file: file.to_owned(),
        }
    }

    /// Makes the device larger.
    pub(crate) fn grow(&self, size: u64) {
        let file = File::options().write(true).open(&self.file).unwrap();
        file.set_len(size).unwrap();
        run(&["losetup", "--set-capacity", self.node.to_str().unwrap()]);
    }

    /// Major and minor number.
    pub(crate) fn numbers(&self) -> (u32, u32) {
        use std::os::unix::fs::MetadataExt as _;
        let number = std::fs::metadata(&self.node).unwrap().rdev();
        (rustix::fs::major(number), rustix::fs::minor(number))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Detached as soon as nothing uses it.
        let detached = Command::new("losetup")
            .arg("--detach")
            .arg(&self.node)
            .status();
        drop(detached);
    }
}
