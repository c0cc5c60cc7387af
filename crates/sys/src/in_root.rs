//! Opening paths that others wrote (images, volumes) below a directory, by descriptor.
//!
//! `RESOLVE_IN_ROOT` makes the directory `/` for the look-up: absolute links and `..` end there.
//! `RESOLVE_NO_MAGICLINKS` refuses `/proc/…/fd`-like links, which lead anywhere. A rename that races
//! with a `..` is answered by the kernel with EAGAIN; the look-up is then repeated within a bound.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// Times that a look-up disturbed by renames is repeated; an attacker who wins them all gets EAGAIN.
pub const TRIES: u32 = 128;

/// Opens `path` as seen from `root` as its `/`. CLOEXEC is added; nothing is created.
///
/// # Errors
/// The kernel's: ENOENT, ELOOP for a magic link or too many links, EAGAIN after [`TRIES`] races.
pub fn open(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    open_mode(root, path, flags, Mode::empty())
}

/// As [`open`], for flags with O_CREAT: `mode` is the new file's.
///
/// # Errors
/// As [`open`].
pub fn open_mode(root: impl AsFd, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = if path.as_os_str().is_empty() {
        Path::new("/")
    } else {
        path
    };
    for _ in 0..TRIES {
        match openat2(root.as_fd(), path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// Reads the regular file `path` below `root`, at most `limit` bytes.
///
/// # Errors
/// As [`open`]; InvalidData when it is not a regular file or is longer than `limit`.
pub fn read(root: impl AsFd, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;
    // NONBLOCK: opening a fifo must not wait for its writer.
    let fd = open(
        root,
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
    )?;
    let file = std::fs::File::from(fd);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a regular file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("over {limit} bytes"),
        ));
    }
    Ok(bytes)
}

/// Opens a directory as a root for [`open`].
///
/// # Errors
/// The kernel's: ENOENT, ENOTDIR …
pub fn dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_end_at_the_root() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("etc")).unwrap();
        std::fs::write(temp.path().join("etc/passwd"), "inside").unwrap();
        symlink("/etc/passwd", temp.path().join("absolute")).unwrap();
        symlink("../../../../etc/passwd", temp.path().join("up")).unwrap();
        let root = dir(temp.path()).unwrap();
        for path in [
            "etc/passwd",
            "/etc/passwd",
            "absolute",
            "up",
            "../../etc/passwd",
        ] {
            assert_eq!(
                read(&root, Path::new(path), 100).unwrap(),
                b"inside",
                "{path}"
            );
        }
        assert!(read(&root, Path::new("etc/passwd"), 3).is_err());
        assert!(read(&root, Path::new("etc"), 3).is_err());
    }

    #[test]
    fn magic_links_are_refused() {
        let proc = dir(Path::new("/proc")).unwrap();
        let error = open(&proc, Path::new("self/root"), OFlags::PATH).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
    }
}
