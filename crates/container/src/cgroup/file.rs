//! The directories of cgroups, and reading and writing the small text files in them.
//!
//! A control file is written by one write(2) on a file that must exist: never created, never
//! truncated (kernfs ignores it, and a typing error must not leave a regular file behind).
//!
//! All paths are absolute. Those below /sys/fs/cgroup are looked up from a descriptor of it, once
//! [`hold_root`] was called.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};

use super::error::Error;

/// Where cgroups are mounted as a rule.
pub(super) const STANDARD_ROOT: &str = "/sys/fs/cgroup";

static ROOT: OnceLock<OwnedFd> = OnceLock::new();

/// For a program that does one thing, in one mount namespace, and ends: from now on what lies below
/// /sys/fs/cgroup is looked up from a descriptor of it. From the root of all, over two more mounts, a path
/// takes the kernel twice as long, and a container's life has forty.
pub fn hold_root() {
    if let Ok(root) = open_root() {
        let _ = ROOT.set(root);
    }
}

fn open_root() -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(STANDARD_ROOT, flags, Mode::empty())
}

/// Calls `with` with a descriptor of [`STANDARD_ROOT`].
pub(super) fn with_root<T>(with: impl FnOnce(BorrowedFd<'_>) -> Option<T>) -> Option<T> {
    match ROOT.get() {
        Some(root) => with(root.as_fd()),
        None => with(open_root().ok()?.as_fd()),
    }
}

/// Where a look-up begins, and with what.
fn at(path: &Path) -> (BorrowedFd<'_>, &Path) {
    fn below(path: &Path) -> Option<&Path> {
        let rest = path
            .as_os_str()
            .as_bytes()
            .strip_prefix(STANDARD_ROOT.as_bytes())?
            .strip_prefix(b"/")?;
        (!rest.starts_with(b"/") && !rest.is_empty()).then(|| Path::new(OsStr::from_bytes(rest)))
    }
    match (ROOT.get(), below(path)) {
        (Some(root), Some(rest)) => (root.as_fd(), rest),
        _ => (CWD, path),
    }
}

/// Makes a directory.
pub(super) fn make(path: &Path) -> io::Result<()> {
    let (dir, path) = at(path);
    Ok(rustix::fs::mkdirat(dir, path, Mode::from_raw_mode(0o777))?)
}

/// Removes a directory. The files in it are the kernel's.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let (dir, path) = at(path);
    Ok(rustix::fs::unlinkat(dir, path, AtFlags::REMOVEDIR)?)
}

pub(super) fn is_dir(path: &Path) -> bool {
    let (dir, path) = at(path);
    let found = rustix::fs::statat(dir, path, AtFlags::empty());
    found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode).is_dir())
}

/// Whether there is such a file.
pub(super) fn exists(path: &Path) -> bool {
    let (dir, path) = at(path);
    rustix::fs::accessat(dir, path, Access::EXISTS, AtFlags::empty()).is_ok()
}

/// Opens a directory to be named by its descriptor only.
pub(super) fn open_dir(path: &Path) -> io::Result<File> {
    let (dir, path) = at(path);
    sys::small_file::open_at(dir, path, OFlags::DIRECTORY | OFlags::PATH)
}

/// A detached copy of the mount at a cgroup's directory, from there on.
pub(crate) fn detached_copy(path: &Path) -> io::Result<OwnedFd> {
    let (dir, path) = at(path);
    sys::mount::detached_copy_at(dir, path, false)
}

/// Reads a whole control file.
pub(super) fn read(path: &Path) -> Result<String, Error> {
    let (dir, rest) = at(path);
    sys::small_file::read_text_at(dir, rest).map_err(|e| Error::file("read", path, e))
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
    let (dir, path) = at(path);
    sys::small_file::open_at(dir, path, OFlags::WRONLY)
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
    use std::os::fd::AsRawFd;

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
    fn only_what_lies_below_the_held_root_is_looked_up_from_it() {
        // Before and after: what is at a path does not depend on it.
        let same = |path: &str| {
            let read = |path: &Path| (is_dir(path), exists(path), read(path).ok());
            let path = Path::new(path);
            let before = (path.is_dir(), path.exists());
            hold_root();
            assert_eq!((read(path).0, read(path).1), before, "{}", path.display());
        };
        for path in [
            "/sys/fs/cgroup",
            "/sys/fs/cgroup/",
            "/sys/fs/cgroup//etc",
            "/sys/fs/cgroups",
            "/proc/self/cgroup",
            "/sys/fs/cgroup/nothing of this name",
        ] {
            same(path);
        }
        let (dir, rest) = at(Path::new("/sys/fs/cgroup/memory/x"));
        assert_eq!(rest, Path::new("memory/x"));
        assert_eq!(dir.as_fd().as_raw_fd(), ROOT.get().unwrap().as_raw_fd());
        for path in [
            "/sys/fs/cgroup",
            "/sys/fs/cgroup//etc",
            "/sys/fs/cgroup/",
            "/etc",
        ] {
            assert_eq!(at(Path::new(path)).1, Path::new(path));
        }
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
