//! Files that are always whole: written to a temporary file beside the target and renamed.
//!
//! ```text
//! .<name>.<pid>.<n>.tmp  write ─► [fsync] ─► rename to <name> ─► [fsync directory]
//! ```
//! A reader sees the old content or the new, never a part. What a crash leaves is a temporary file
//! that nobody reads; its name starts with a dot and ends in `.tmp`.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    path::Path,
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::fs::{CWD, Mode, OFlags, openat};

/// What the content must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of this process: no fsync. For state that a reboot makes meaningless.
    Process,
    /// A power cut: the file and its directory are synced before this returns.
    Disk,
}

/// Replaces the content of `path` by `bytes`; the file gets exactly the permissions `mode`.
///
/// # Errors
/// The kernel's, of whichever step: ENOENT when the directory is missing, ENOSPC, EROFS … The old
/// content is whole then, and no temporary file is left.
pub fn write(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not the path of a file",
        ));
    };
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(
        ".{}.{}.tmp",
        process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    ));
    let temporary = dir.join(temporary);
    let result = fill(&temporary, bytes, mode, durability)
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| match durability {
            Durability::Disk => fs::File::open(dir)?.sync_all(),
            Durability::Process => Ok(()),
        });
    if result.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn fill(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let mode = Mode::from_raw_mode(mode);
    let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = fs::File::from(openat(CWD, path, new, mode)?);
    // The umask has taken bits away.
    rustix::fs::fchmod(&file, mode)?;
    file.write_all(bytes)?;
    match durability {
        Durability::Disk => file.sync_all(),
        Durability::Process => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn content_and_mode_are_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("record.json");
        for (bytes, mode, durability) in [
            (b"old".as_slice(), 0o600, Durability::Process),
            (b"new", 0o666, Durability::Disk),
        ] {
            write(&path, bytes, mode, durability).unwrap();
            assert_eq!(fs::read(&path).unwrap(), bytes);
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
                mode
            );
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("taken");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("in"), "").unwrap();
        assert!(write(&target, b"x", 0o600, Durability::Process).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let missing = dir.path().join("no/such");
        let error = write(&missing, b"x", 0o600, Durability::Process).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
