//! Removes directories of the agent's own: never through a mount, never through a link.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

/// The directory in the agent's state for what storages need beside their mount points.
pub(super) const SCRATCH: &str = "storages.d";

/// Removes `dir` with everything in it that is on the same mount; nothing there is no failure.
///
/// # Errors
/// What is mounted below it stays, and so do the directories above it.
pub(super) fn tree(dir: &Path) -> io::Result<()> {
    match mount_of(dir) {
        Ok(mount) => level(dir, mount),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

fn level(dir: &Path, mount: u64) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_type()?.is_dir() {
            std::fs::remove_file(path)?;
        } else if mount_of(&path)? == mount {
            level(&path, mount)?;
        } else {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("{} is a mount point", path.display()),
            ));
        }
    }
    std::fs::remove_dir(dir)
}

/// The number of the mount that a path is on (Linux 5.8).
fn mount_of(path: &Path) -> io::Result<u64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    Ok(statx(CWD, path, flags, StatxFlags::MNT_ID)?.stx_mnt_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn links_are_removed_and_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, other) = (temp.path().join("dir"), temp.path().join("other"));
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(&other, dir.join("a/link")).unwrap();
        tree(&dir).unwrap();
        tree(&dir).unwrap();
        assert!(!dir.exists() && other.join("kept").exists());
        assert!(mount_of(Path::new("/proc")).unwrap() != mount_of(Path::new("/")).unwrap());
    }
}
