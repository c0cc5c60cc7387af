//! The little of cgroups that the daemon needs itself: making a pod's directory, and ending by
//! force what a lost agent has left behind. Limits, statistics and all else are the agent's.
//!
//! A cgroup is a path such as `/coffer/<pod>` below the mount of every hierarchy:
//! ```text
//! v1   /sys/fs/cgroup/memory/coffer/<pod>   /sys/fs/cgroup/freezer/coffer/<pod>   …
//! v2   /sys/fs/cgroup/coffer/<pod>          (hybrid: /sys/fs/cgroup/unified/coffer/<pod>)
//! ```
//! Killing: v2 has `cgroup.kill` for the whole subtree (since 5.14). v1 freezes the subtree first,
//! so that nothing forks away, sends SIGKILL to every process and thaws; the kernel delivers the
//! signal at the thaw. Both are repeated until the cgroup is empty or the time is up.

mod kill;
mod mounts;

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

pub(crate) use mounts::Mounts;

use crate::Error;

/// The name of a cgroup below the mounts: absolute, without `.` and `..`, and never the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// # Errors
    /// [`Error::Cgroups`] naming what is wrong with the path.
    pub(crate) fn new(path: &str) -> Result<Name, Error> {
        let parts = path.strip_prefix('/').unwrap_or_default().split('/');
        if parts.clone().any(|part| matches!(part, "" | "." | "..")) || path.contains(['\0', '\n'])
        {
            return Err(Error::Cgroups {
                what: format!("{path:?} does not name a cgroup below the mount"),
            });
        }
        Ok(Name(path.to_owned()))
    }

    pub(crate) fn child(&self, name: &str) -> Result<Name, Error> {
        Name::new(&format!("{}/{name}", self.0))
    }

    /// The cgroup's directory in one hierarchy.
    pub(crate) fn below(&self, mount: &Path) -> PathBuf {
        mount.join(&self.0[1..])
    }

    /// The first part: `/coffer` of `/coffer/<pod>`.
    fn first(&self) -> &str {
        self.0[1..].split('/').next().unwrap_or_default()
    }
}

/// Makes the cgroup in every hierarchy. One that exists is taken as it is.
///
/// # Errors
/// [`Error::Cgroup`]; what was made before the failure is left to [`remove`].
pub(crate) fn create(mounts: &Mounts, name: &Name) -> Result<(), Error> {
    for mount in mounts.paths() {
        let dir = name.below(mount);
        make(&dir).map_err(|source| failed("create", &dir, source))?;
        fill_cpuset(mount, &dir).map_err(|source| failed("prepare", &dir, source))?;
    }
    Ok(())
}

/// Another pod's end may remove the common parent between our two steps: then from the start.
fn make(dir: &Path) -> io::Result<()> {
    const ATTEMPTS: u32 = 20;
    let mut attempt = 0;
    loop {
        match fs::create_dir_all(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => attempt += 1,
            other => return other,
        }
    }
}

/// A cpuset of v1 is born without processors and memory nodes, and nothing can run in it: each level
/// that we made takes its parent's.
fn fill_cpuset(mount: &Path, dir: &Path) -> io::Result<()> {
    if !dir.join("cpuset.cpus").exists() || dir.join("cgroup.type").exists() {
        return Ok(());
    }
    let mut levels: Vec<&Path> = dir
        .ancestors()
        .take_while(|level| *level != mount)
        .collect();
    levels.reverse();
    for level in levels {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let own = level.join(file);
            if fs::read_to_string(&own)?.trim().is_empty() {
                let parent = level.parent().unwrap_or(mount).join(file);
                fs::write(&own, fs::read_to_string(parent)?.trim())?;
            }
        }
    }
    Ok(())
}

/// Kills every process in the cgroup and below and waits until they are gone.
///
/// # Errors
/// [`Error::Cgroup`] when processes are left after `limit`: in uninterruptible sleep, say.
pub(crate) fn kill(mounts: &Mounts, name: &Name, limit: Duration) -> Result<(), Error> {
    let dirs = existing(mounts, name);
    kill::subtrees(&dirs, limit)
        .map_err(|(dir, source)| failed("kill the processes of", &dir, source))
}

/// Removes the cgroup and all below it, and the parent that all pods share when it is empty then.
/// Nothing there is success.
///
/// # Errors
/// [`Error::Cgroup`] for the first hierarchy that refuses for longer than `limit`; the others are
/// tried all the same.
pub(crate) fn remove(mounts: &Mounts, name: &Name, limit: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + limit;
    let mut first = Ok(());
    for mount in mounts.paths() {
        let dir = name.below(mount);
        let done = remove_tree(&dir, deadline).map_err(|source| failed("remove", &dir, source));
        first = first.and(done);
        // Not empty while other pods live; gone when another one was faster.
        let _ = fs::remove_dir(mount.join(name.first()));
    }
    first
}

fn remove_tree(dir: &Path, deadline: Instant) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path(), deadline)?;
        }
    }
    loop {
        match fs::remove_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            // EBUSY for a moment after the last process has gone.
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}

fn existing(mounts: &Mounts, name: &Name) -> Vec<PathBuf> {
    mounts
        .paths()
        .map(|mount| name.below(mount))
        .filter(|dir| dir.is_dir())
        .collect()
}

fn failed(act: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Cgroup {
        act,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_below_the_mount() {
        for good in ["/coffer/p1", "/kubepods/burstable/pod1", "/a"] {
            assert_eq!(Name::new(good).unwrap().0, good);
        }
        for bad in [
            "", "/", "a", "a/b", "/a/", "//a", "/a//b", "/a/../b", "/..", "/a/.", "/a\0",
        ] {
            let error = Name::new(bad).unwrap_err().to_string();
            assert!(error.contains("does not name a cgroup"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_child_stays_below_its_parent() {
        let parent = Name::new("/coffer/p1").unwrap();
        assert_eq!(parent.child("c1").unwrap().0, "/coffer/p1/c1");
        assert!(parent.child("..").is_err());
        assert!(parent.child("").is_err());
    }
}
