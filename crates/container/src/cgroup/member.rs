//! Who is in the cgroup: joining, listing, signalling.
//!
//! How a first process gets in, cheapest way first:
//!
//! | hierarchy | way | why |
//! |---|---|---|
//! | v2, also of a hybrid machine | `clone3(CLONE_INTO_CGROUP)` with [`Cgroup::dir_fd`] | born inside |
//! | v1 | the child writes `0` to each of [`Cgroup::join_fds`] | moving one thread that is oneself takes no threadgroup lock |
//! | any | [`Cgroup::add`]: a pid to `cgroup.procs` | takes cgroup_threadgroup_rwsem for writing, which waits for an RCU grace period |
//!
//! `docs/performance.md` has the figures. `tasks` moves a single thread: right only before exec and
//! from a process with one thread, which a freshly cloned child is.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;

use super::error::Error;
use super::file;
use super::group::{Cgroup, Version, child_dirs};

const SIGKILL: i32 = 9;
/// A tree that forks as fast as it is killed is given up on after so many sweeps; frozen trees need
/// one.
const SWEEPS: usize = 64;

impl Cgroup {
    /// The v1 `tasks` files, opened for writing; a single-threaded child writes `0` to each. Empty
    /// on a cgroup2-only machine.
    pub fn join_fds(&self) -> Result<Vec<OwnedFd>, Error> {
        let v1 = self.dirs().iter().filter(|d| d.version == Version::V1);
        v1.map(|dir| {
            let tasks = dir.path.join("tasks");
            let file = file::open(&tasks);
            file.map(OwnedFd::from)
                .map_err(|e| Error::file("open", &tasks, e))
        })
        .collect()
    }

    /// The cgroup2 directory (also of a hybrid machine) for clone3's CLONE_INTO_CGROUP.
    pub fn dir_fd(&self) -> Result<Option<OwnedFd>, Error> {
        let Some(dir) = self.unified() else {
            return Ok(None);
        };
        let file = file::open_dir(&dir.path);
        file.map(|f| Some(f.into()))
            .map_err(|e| Error::file("open", &dir.path, e))
    }

    /// Moves a whole process into the cgroup in every hierarchy.
    pub fn add(&self, pid: i32) -> Result<(), Error> {
        for dir in self.dirs() {
            let procs = dir.path.join("cgroup.procs");
            file::write(&procs, &pid.to_string())
                .map_err(|e| Error::file("add a process to", &procs, e))?;
        }
        Ok(())
    }

    /// Every process in the cgroup and below it, in any hierarchy, ascending. Processes of pid
    /// namespaces that we can't see have no number here and are left out; [`Cgroup::signal_all`]
    /// with SIGKILL reaches them on cgroup2.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        let mut pids = BTreeSet::new();
        for dir in self.dirs() {
            pids.extend(pids_below(&dir.path)?);
        }
        Ok(pids.into_iter().collect())
    }

    /// Sends a signal to every process of the subtree, those forked meanwhile included.
    ///
    /// SIGKILL is `cgroup.kill` where there is a cgroup2 (Linux 5.14), and reaches every task at one
    /// stroke. Other signals, and v1, freeze the tree, signal all of it, and thaw it if it was not
    /// frozen before; after SIGKILL it is thawed in any case, for the frozen do not die. An empty
    /// or removed cgroup is fine. A joined cgroup's other inhabitants are signalled too.
    pub fn signal_all(&self, signal: i32) -> Result<(), Error> {
        if signal == SIGKILL && self.kill_by_unified()? {
            return Ok(());
        }
        if self.pids()?.is_empty() {
            return Ok(());
        }
        let was_frozen = self.frozen()?;
        // A freezer that does not settle must not save the tree from its signal.
        let frozen = was_frozen || self.freeze().is_ok();
        let sent = self.sweep(signal, frozen);
        let thawed = if signal == SIGKILL || !was_frozen {
            self.thaw()
        } else {
            Ok(())
        };
        if signal == SIGKILL {
            self.fetch_to_freezer(&self.pids()?.into_iter().collect());
        }
        sent.and(thawed)
    }

    /// A v1 freezer is a hierarchy of its own: somebody may have put a process of ours into another cgroup
    /// of it that is frozen, where it does not die of its signal. Back in the cgroup, which is not, it
    /// does. Who dies meanwhile, or is there already, needs nothing.
    fn fetch_to_freezer(&self, pids: &BTreeSet<i32>) {
        let freezer = self
            .dir_of("freezer")
            .filter(|dir| dir.version == Version::V1);
        let (Some(dir), false) = (freezer, pids.is_empty()) else {
            return;
        };
        let inside = pids_below(&dir.path).unwrap_or_default();
        for pid in pids.difference(&inside) {
            let _ = file::write(&dir.path.join("cgroup.procs"), &pid.to_string());
        }
    }

    /// True if `cgroup.kill` reached everybody.
    fn kill_by_unified(&self) -> Result<bool, Error> {
        let Some(unified) = self.unified() else {
            return Ok(false);
        };
        let inside = if self.is_v2() {
            BTreeSet::new()
        } else {
            pids_below(&unified.path)?
        };
        let kill = unified.path.join("cgroup.kill");
        match file::write(&kill, "1") {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::file("kill by", &kill, e)),
        }
        if self.is_v2() {
            return Ok(true);
        }
        // A hybrid machine: someone may have left the v2 tree but not the v1 trees.
        if self.frozen()? {
            self.thaw()?;
        }
        let all: BTreeSet<i32> = self.pids()?.into_iter().collect();
        self.fetch_to_freezer(&all);
        Ok(all.is_subset(&inside))
    }

    fn sweep(&self, signal: i32, frozen: bool) -> Result<(), Error> {
        let mut done = BTreeSet::new();
        for _ in 0..SWEEPS {
            let new: Vec<i32> = self
                .pids()?
                .into_iter()
                .filter(|p| !done.contains(p))
                .collect();
            for &pid in &new {
                match sys::kill::kill(pid, signal) {
                    Err(e) if e.raw_os_error() != Some(Errno::SRCH.raw_os_error()) => {
                        let path = Path::new("/proc").join(pid.to_string());
                        return Err(Error::file("signal", &path, e));
                    }
                    _ => done.insert(pid),
                };
            }
            if frozen || new.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

/// The processes of a cgroup directory and those below it.
pub(super) fn pids_below(path: &Path) -> Result<BTreeSet<i32>, Error> {
    let mut pids = BTreeSet::new();
    let mut todo = vec![path.to_owned()];
    while let Some(dir) = todo.pop() {
        match read_pids(&dir) {
            Ok(text) => {
                // 0 stands for a process outside of our pid namespace. kill(0) is our own group.
                pids.extend(
                    text.lines()
                        .filter_map(|l| l.parse::<i32>().ok())
                        .filter(|&p| p > 0),
                );
            }
            Err(e) if gone(&e) => continue,
            Err(e) => return Err(e),
        }
        todo.extend(child_dirs(&dir)?);
    }
    Ok(pids)
}

/// `cgroup.procs`, or `cgroup.threads` of a threaded cgroup2, whose procs file can't be read.
fn read_pids(dir: &Path) -> Result<String, Error> {
    match file::read(&dir.join("cgroup.procs")) {
        Err(e) if e.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
            file::read(&dir.join("cgroup.threads"))
        }
        other => other,
    }
}

/// Removed between listing and reading: ENOENT, or ENODEV on a file that was open.
fn gone(e: &Error) -> bool {
    [Errno::NOENT, Errno::NODEV]
        .iter()
        .any(|n| e.raw_os_error() == Some(n.raw_os_error()))
}
