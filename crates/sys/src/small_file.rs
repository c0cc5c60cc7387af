//! Files that the kernel makes when they are read (procfs, cgroups), and others of a few KiB: their size is
//! not known before, so std would ask for it and begin with 32 bytes.

use std::{fs::File, io, os::fd::AsFd, path::Path};

use rustix::{
    buffer::spare_capacity,
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

/// Enough for most mountinfo files, and touched only as far as it is filled.
const ROOM: usize = 16 << 10;

/// Opens a file that exists, close-on-exec. In one call: musl, below std, sets the flag by another.
///
/// # Errors
/// The kernel's.
pub fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    open_at(CWD, path, flags)
}

/// As [`open`], of a path that begins in a directory.
///
/// # Errors
/// The kernel's.
pub fn open_at(dir: impl AsFd, path: &Path, flags: OFlags) -> io::Result<File> {
    Ok(openat(dir, path, flags | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// The whole file.
///
/// # Errors
/// The kernel's.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_at(CWD, path)
}

/// As [`read`], of a path that begins in a directory.
///
/// # Errors
/// As [`read`].
pub fn read_at(dir: impl AsFd, path: &Path) -> io::Result<Vec<u8>> {
    let file = open_at(dir, path, OFlags::RDONLY)?;
    let mut bytes = Vec::with_capacity(ROOM);
    loop {
        match rustix::io::read(&file, spare_capacity(&mut bytes)) {
            Ok(0) => return Ok(bytes),
            Ok(_) if bytes.len() == bytes.capacity() => bytes.reserve(bytes.len()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// As [`read`], of text.
///
/// # Errors
/// As [`read`]; InvalidData for what is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    read_text_at(CWD, path)
}

/// As [`read_text`], of a path that begins in a directory.
///
/// # Errors
/// As [`read_text`].
pub fn read_text_at(dir: impl AsFd, path: &Path) -> io::Result<String> {
    let text = String::from_utf8(read_at(dir, path)?);
    text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_std_reads_is_read() {
        for path in ["/proc/self/mountinfo", "/proc/self/status", "/dev/null"] {
            let bytes = read(Path::new(path)).unwrap();
            assert!(bytes.is_empty() == (path == "/dev/null"));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long");
        for length in [0, 1, ROOM - 1, ROOM, ROOM + 1, 5 * ROOM] {
            let text = "x".repeat(length);
            std::fs::write(&path, &text).unwrap();
            assert_eq!(read_text(&path).unwrap(), text);
        }
        std::fs::write(&path, [0xff]).unwrap();
        let error = read_text(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = read(Path::new("/nowhere")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
