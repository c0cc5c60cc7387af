//! Reading and writing the small text files of a cgroup.
//!
//! A control file is written by one write(2) on a file that must exist: never created, never
//! truncated (kernfs ignores it, and a typing error must not leave a regular file behind).

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::OFlags;

use super::error::Error;

/// Reads a whole control file.
pub(super) fn read(path: &Path) -> Result<String, Error> {
    sys::small_file::read_text(path).map_err(|e| Error::file("read", path, e))
}

/// Reads a control file that older kernels or other configurations lack.
pub(super) fn read_optional(path: &Path) -> Result<Option<String>, Error> {
    match read(path) {
        Ok(text) => Ok(Some(text)),
        // EOPNOTSUPP: a pressure file with psi=0, or hugetlb without that size.
        Err(Error::File { source, .. })
            if source.kind() == io::ErrorKind::NotFound
                || source.raw_os_error() == Some(rustix::io::Errno::OPNOTSUPP.raw_os_error()) =>
        {
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Writes a control file in one write(2).
pub(super) fn write(path: &Path, value: &str) -> io::Result<()> {
    put(&mut open(path)?, value)
}

/// Opens a control file for [`put`].
pub(super) fn open(path: &Path) -> io::Result<File> {
    sys::small_file::open(path, OFlags::WRONLY)
}

/// As [`write`], to a file that is open; where in it does not matter to the kernel.
pub(super) fn put(file: &mut File, value: &str) -> io::Result<()> {
    let n = file.write(value.as_bytes())?;
    if n == value.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// A single number; `max` and anything at v1's "no limit" (a page short of 2^63) is `u64::MAX`.
pub(super) fn number(path: &Path, text: &str) -> Result<u64, Error> {
    /// PAGE_COUNTER_MAX in bytes with 4 KiB pages; larger pages round further down.
    const V1_UNLIMITED: u64 = 0x7fff_ffff_ffff_0000;
    let text = text.trim();
    if text == "max" || text == "-1" {
        return Ok(u64::MAX);
    }
    match text.parse::<u64>() {
        Ok(n) if n >= V1_UNLIMITED => Ok(u64::MAX),
        Ok(n) => Ok(n),
        Err(_) => Err(format_error(path, text, "a number")),
    }
}

/// The lines of a flat-keyed file (`key value`); lines of another form are passed over.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once([' ', '\t'])?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// The value of one key of a flat-keyed file.
pub(super) fn value_of(text: &str, key: &str) -> Option<u64> {
    pairs(text).find(|(k, _)| *k == key).map(|(_, v)| v)
}

pub(super) fn format_error(path: &Path, text: &str, expected: &'static str) -> Error {
    Error::Format {
        path: path.to_owned(),
        text: text.chars().take(80).collect(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_know_both_forms_of_unlimited() {
        let p = Path::new("/x");
        assert_eq!(number(p, "max\n").unwrap(), u64::MAX);
        assert_eq!(number(p, "9223372036854771712\n").unwrap(), u64::MAX);
        assert_eq!(number(p, "4096\n").unwrap(), 4096);
        assert!(
            number(p, "four")
                .unwrap_err()
                .to_string()
                .contains("not a number")
        );
    }

    #[test]
    fn flat_keyed_files_are_read_by_key() {
        let text = "oom_kill_disable 0\nunder_oom 1\noom_kill 7\n";
        assert_eq!(value_of(text, "oom_kill"), Some(7));
        assert_eq!(value_of(text, "oom"), None);
    }

    #[test]
    fn a_missing_control_file_is_not_created() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory.max");
        assert_eq!(
            write(&path, "1").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert!(!path.exists());
        assert_eq!(read_optional(&path).unwrap(), None);
    }
}
