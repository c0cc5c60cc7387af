//! Which mount points there are, on disk: what an agent that was killed has left mounted is unmounted by
//! the next one with the same state directory.
//!
//! ```text
//! <state>/storages    mount points, oldest first, a NUL behind each; written before the mount is made
//! ```

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use sys::atomic::{self, Durability};

const FILE: &str = "storages";

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    dir: PathBuf,
}

impl Journal {
    /// The one in the state directory `dir`, which may not be there yet.
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Replaces what is written by `points`; none removes the file.
    pub(super) fn write<'a>(&self, points: impl Iterator<Item = &'a Path>) -> io::Result<()> {
        let mut bytes = Vec::new();
        for point in points {
            bytes.extend_from_slice(point.as_os_str().as_bytes());
            bytes.push(0);
        }
        let path = self.dir.join(FILE);
        if bytes.is_empty() {
            return match std::fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            };
        }
        std::fs::create_dir_all(&self.dir)?;
        atomic::write(&path, &bytes, 0o600, Durability::Process)
    }
}

/// Unmounts what an agent before this one has left, newest first.
pub(crate) fn clean(dir: &Path) {
    let Ok(bytes) = std::fs::read(dir.join(FILE)) else {
        return;
    };
    let points: Vec<&[u8]> = bytes.split(|b| *b == 0).filter(|p| !p.is_empty()).collect();
    for point in points.into_iter().rev() {
        let point = Path::new(OsStr::from_bytes(point));
        match unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {
                log::info!("storage {} of an earlier agent unmounted", point.display());
                drop(std::fs::remove_dir(point));
            }
            // It was never mounted, or is gone already.
            Err(Errno::INVAL | Errno::NOENT) => {}
            Err(e) => log::warn!("cannot unmount storage {}: {e}", point.display()),
        }
    }
    if let Err(e) = super::remove::tree(&dir.join(super::remove::SCRATCH)) {
        log::warn!(
            "cannot remove {}/{}: {e}",
            dir.display(),
            super::remove::SCRATCH
        );
    }
    if let Err(e) = Journal::new(dir).write(std::iter::empty()) {
        log::warn!("cannot remove {}/{FILE}: {e}", dir.display());
    }
}
