//! One daemon for one root, and one for one state directory.
//!
//! `flock` on `<dir>/lock`, which holds the daemon's pid as text. The kernel gives the lock back when
//! the daemon ends, however it ends.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;

/// The right to use a directory; given back when dropped.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

/// A directory that can't be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another daemon has it.
    #[error("{} is in use by another coffer daemon, process {pid}: stop it, or use other directories (--root, --state)", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The other daemon, as far as it has said.
        pid: String,
    },
    /// The lock file could not be opened or written.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

/// Takes a directory. Blocks for a moment.
///
/// # Errors
/// [`LockError`].
pub(crate) fn take(dir: &Path) -> Result<DirLock, LockError> {
    let path = dir.join("lock");
    let failed = |source| LockError::Io {
        path: path.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() {
                "unknown"
            } else {
                pid.trim()
            }
            .to_owned();
            return Err(LockError::InUse {
                dir: dir.to_owned(),
                pid,
            });
        }
        Err(e) => return Err(failed(e.into())),
    }
    file.set_len(0).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(DirLock { _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_daemon_is_told_the_first_ones_pid() {
        let dir = tempfile::tempdir().unwrap();
        let first = take(dir.path()).unwrap();
        let error = take(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(first);
        take(dir.path()).unwrap();
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = take(Path::new("/nonexistent/coffer"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/coffer/lock"), "{error}");
    }
}
