//! Where a container is in its life, as the kernel has it.
//!
//! ```text
//!  process gone, a zombie, or another with its number   stopped
//!  lives, cgroup frozen                                 paused
//!  lives, exec.fifo there                               created
//!  lives                                                running
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use container::cgroup::{Cgroup, Hierarchy};
use container::{Annotations, ContainerRef};
use oci::runtime::Status;

use crate::error::Error;
use crate::record::{Record, StateDir};

/// A container: its record, and what the kernel says of it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) dir: StateDir,
    pub(crate) record: Box<Record>,
    pub(crate) status: Status,
    pub(crate) cgroup: Cgroup,
    init: Option<OwnedFd>,
}

impl Live {
    /// Finds a container by its record.
    pub(crate) fn find(root: &Path, id: &str) -> Result<Self, Error> {
        let (dir, record) = read(root, id)?;
        let cgroup = Cgroup::reopen(&record.cgroup)?;
        Ok(Self::of(dir, record, cgroup))
    }

    /// As [`Live::find`], where the hierarchy is known already.
    pub(crate) fn find_in(hierarchy: &Hierarchy, root: &Path, id: &str) -> Result<Self, Error> {
        let (dir, record) = read(root, id)?;
        let cgroup = Cgroup::from_record(hierarchy, &record.cgroup)?;
        Ok(Self::of(dir, record, cgroup))
    }

    fn of(dir: StateDir, record: Box<Record>, cgroup: Cgroup) -> Self {
        let init = open_init(&record);
        let status = if init.is_none() {
            Status::Stopped
        } else if cgroup.frozen().unwrap_or(false) {
            Status::Paused
        } else if dir.fifo().exists() {
            Status::Created
        } else {
            Status::Running
        };
        Self {
            dir,
            record,
            status,
            cgroup,
            init,
        }
    }

    /// Pid of its init, 0 if that has ended.
    pub(crate) fn pid(&self) -> i32 {
        if self.init.is_some() {
            self.record.init_process_pid
        } else {
            0
        }
    }

    /// pidfd of its init, `None` if that has ended.
    pub(crate) fn init(&self) -> Option<BorrowedFd<'_>> {
        self.init.as_ref().map(AsFd::as_fd)
    }

    /// The container as the core knows it.
    pub(crate) fn as_ref(&self) -> ContainerRef<'_> {
        ContainerRef {
            id: &self.dir.id,
            spec: &self.record.config,
            bundle: &self.record.bundle,
            init_pid: self.pid(),
            init_pidfd: self.init(),
            cgroup: &self.cgroup,
            annotations: Annotations::Honoured,
        }
    }
}

fn read(root: &Path, id: &str) -> Result<(StateDir, Box<Record>), Error> {
    let dir = StateDir::new(root, id)?;
    let record = dir.read()?;
    Ok((dir, record))
}

/// The init of a record, if it still runs: the number could be another's by now, so the start time
/// is compared after the descriptor is held.
fn open_init(record: &Record) -> Option<OwnedFd> {
    let pid = record.init_process_pid;
    let pidfd = sys::pidfd::open(pid).ok()?;
    let (state, start) = stat(pid)?;
    let ended = matches!(state, b'Z' | b'X');
    (!ended && start == record.init_process_start).then_some(pidfd)
}

/// State letter and start time (clock ticks after boot) of a process.
fn stat(pid: i32) -> Option<(u8, u64)> {
    let text = sys::small_file::read(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    // The name, in brackets, may hold anything; what follows its last bracket is words.
    let after = text.iter().rposition(|byte| *byte == b')')? + 2;
    let rest = std::str::from_utf8(text.get(after..)?).ok()?;
    let mut words = rest.split(' ');
    let state = *words.next()?.as_bytes().first()?;
    // The state is field 3, the start time field 22.
    Some((state, words.nth(18)?.parse().ok()?))
}

/// Start time of a process that runs, in clock ticks after boot.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    stat(pid).map(|(_, start)| start)
}

#[cfg(test)]
mod tests {
    use super::stat;

    #[test]
    fn our_own_process_runs() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        let (state, start) = stat(pid).expect("stat");
        assert!(matches!(state, b'R' | b'S'), "{}", char::from(state));
        assert!(start > 0);
        assert_eq!(stat(i32::MAX), None);
    }
}
