//! The absolute path of what a path leads to, by three system calls.

use std::{
    ffi::OsString,
    io,
    os::{fd::AsRawFd, unix::ffi::OsStringExt},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, OFlags, readlinkat};

use crate::small_file::open;

/// As [`std::fs::canonicalize`], which asks for every part of the path, with two buffers of 4 KiB: the kernel has
/// walked it anyway, and tells by `/proc/self/fd`.
///
/// # Errors
/// The kernel's, for a path that leads nowhere; a `/proc` that is not there.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    let file = open(path, OFlags::PATH)?;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    let target = readlinkat(CWD, link, Vec::with_capacity(256))?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn it_is_what_std_finds() {
        let temp = tempfile::tempdir().unwrap();
        let deep = temp
            .path()
            .join("a/".to_owned() + &"long".repeat(60))
            .join("b");
        fs::create_dir_all(&deep).unwrap();
        symlink("a/../a", temp.path().join("link")).unwrap();
        symlink("nowhere", temp.path().join("dangling")).unwrap();
        symlink("loop", temp.path().join("loop")).unwrap();
        fs::write(temp.path().join("file"), "").unwrap();
        for name in ["", ".", "a/..", "link", "link/.", "file", "a//"] {
            let path = temp.path().join(name);
            assert_eq!(real_path(&path).unwrap(), fs::canonicalize(&path).unwrap());
        }
        assert_eq!(real_path(&deep).unwrap(), fs::canonicalize(&deep).unwrap());
        for name in ["dangling", "loop", "missing", "file/x"] {
            let path = temp.path().join(name);
            let (ours, std) = (real_path(&path), fs::canonicalize(&path));
            assert_eq!(ours.unwrap_err().kind(), std.unwrap_err().kind(), "{name}");
        }
        assert!(real_path(Path::new("")).is_err());
    }
}
