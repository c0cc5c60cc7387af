//! A cgroup's path, checked once: `/a/b/c` below the mount point of every hierarchy.
//!
//! Paths count from the *mount point*, not from the cgroup that we happen to sit in: `/coffer/x` is
//! `/sys/fs/cgroup/memory/coffer/x` even where our own memory cgroup is `/machine/y`. That is what
//! `cgroupsPath` means to runc and to the kubelet; it also keeps one name for one cgroup in all
//! hierarchies. The price: a limit on our own cgroup does not hold for the containers, as with them.
//! `..` is refused (not resolved): a spec must not name a cgroup outside of the hierarchy.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::Error;

/// The kernel's NAME_MAX, which cgroup directory names obey too.
const MAX_NAME: usize = 255;

/// A validated path: starts with `/`, has at least one name, no empty names, no `.` or `..`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CgroupPath(String);

impl CgroupPath {
    /// Checks `path`. A missing leading slash is added, doubled and trailing slashes go.
    pub fn parse(path: &str) -> Result<CgroupPath, Error> {
        let err = |reason| Error::Path {
            path: path.to_owned(),
            reason,
        };
        let mut clean = String::with_capacity(path.len() + 1);
        for name in path.split('/').filter(|n| !n.is_empty()) {
            if name == "." || name == ".." {
                return Err(err("'.' and '..' are not allowed in a cgroup path"));
            }
            if name.len() > MAX_NAME {
                return Err(err("a name in it is longer than 255 bytes"));
            }
            if name.contains(['\0', '\n']) {
                return Err(err("NUL and newline are not allowed in a cgroup path"));
            }
            clean.push('/');
            clean.push_str(name);
        }
        if clean.is_empty() {
            return Err(err(
                "it names the root cgroup; a container needs one of its own",
            ));
        }
        Ok(CgroupPath(clean))
    }

    /// The path of no cgroup.
    pub(super) fn none() -> CgroupPath {
        CgroupPath(String::new())
    }

    /// The path with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory below a mount point.
    pub(super) fn below(&self, point: &Path) -> PathBuf {
        let mut dir = point.as_os_str().to_owned();
        dir.push(&self.0);
        PathBuf::from(dir)
    }
}

impl fmt::Debug for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_brought_into_one_form() {
        for (given, want) in [
            ("/a/b", "/a/b"),
            ("a/b", "/a/b"),
            ("//a///b/", "/a/b"),
            ("/a.b..c/...", "/a.b..c/..."),
            ("/system.slice:x:y", "/system.slice:x:y"),
        ] {
            assert_eq!(CgroupPath::parse(given).unwrap().as_str(), want, "{given}");
        }
    }

    #[test]
    fn paths_that_could_leave_the_hierarchy_are_refused() {
        let long = "x".repeat(256);
        for bad in [
            "", "/", "///", "..", "/a/../b", "/a/..", "./a", "a/.", "/a\0b", "a\nb", &long,
        ] {
            let e = CgroupPath::parse(bad).unwrap_err();
            assert!(e.is_invalid_input(), "{bad:?}: {e}");
        }
    }

    #[test]
    fn the_directory_is_below_the_mount_point() {
        let p = CgroupPath::parse("/a/b").unwrap();
        assert_eq!(
            p.below(Path::new("/sys/fs/cgroup/pids")),
            Path::new("/sys/fs/cgroup/pids/a/b")
        );
    }
}
