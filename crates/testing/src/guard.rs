//! Drop guards: what a test started ends with it, also when it fails.
//!
//! A guard cleans up as well as it can and never panics; [`leaks`](crate::leaks) finds what is left.

use std::{
    fmt, fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Child,
    time::{Duration, Instant},
};

use rustix::{
    mount::{UnmountFlags, unmount},
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
    },
};

/// Runs a closure when dropped.
pub struct Guard<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Guard<F> {
    /// `undo` runs at the end of the scope.
    pub fn new(undo: F) -> Self {
        Self(Some(undo))
    }

    /// The end came in order: `undo` is not needed.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for Guard<F> {
    fn drop(&mut self) {
        if let Some(undo) = self.0.take() {
            undo();
        }
    }
}

impl<F: FnOnce()> fmt::Debug for Guard<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

/// A process that is killed and, if it is our child, reaped. Held by pidfd: a reused pid is safe.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    fd: Option<OwnedFd>,
}

impl Process {
    /// Guards a running process; one that is gone already is fine.
    #[must_use]
    pub fn new(pid: i32) -> Self {
        let fd = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        Self { pid, fd }
    }

    /// Guards a child; its handle is given up, the guard reaps.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "two owners would reap it twice"
    )]
    pub fn child(child: Child) -> Self {
        Self::new(i32::try_from(child.id()).unwrap_or(0))
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends a signal; `false` if the process is gone.
    pub fn signal(&self, signal: Signal) -> bool {
        self.fd
            .as_ref()
            .is_some_and(|fd| pidfd_send_signal(fd, signal).is_ok())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.signal(Signal::KILL)
            && let Some(fd) = &self.fd
        {
            use std::os::fd::AsFd;
            // ECHILD when it is not our child: its parent reaps it.
            let _ = waitid(WaitId::PidFd(fd.as_fd()), WaitIdOptions::EXITED);
        }
    }
}

/// A mount point that is detached; with [`Mount::pin`] the file below it is removed as well.
#[derive(Debug)]
pub struct Mount {
    path: PathBuf,
    unlink: bool,
}

impl Mount {
    /// Guards a mount at a path.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            unlink: false,
        }
    }

    /// Guards a namespace pin: the bind mount and the file that it is mounted on.
    #[must_use]
    pub fn pin(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            unlink: true,
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Mounts stack: each call takes one off.
        for _ in 0..16 {
            if unmount(&self.path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_err() {
                break;
            }
        }
        if self.unlink {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What is mounted in a directory and below it; detached when dropped.
#[derive(Debug)]
pub struct MountsBelow(PathBuf);

impl MountsBelow {
    /// Guards the mounts below a path, also those that come later.
    #[must_use]
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self(base.into())
    }
}

impl Drop for MountsBelow {
    fn drop(&mut self) {
        unmount_below(&self.0);
    }
}

/// Detaches what is mounted on `base` and below it, the last mounted first.
pub fn unmount_below(base: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let mut ours: Vec<&str> = points
        .filter(|point| Path::new(point).starts_with(base))
        .collect();
    ours.reverse();
    for point in ours {
        let _ = unmount(point, UnmountFlags::DETACH);
    }
}

/// A cgroup, the same relative path in every hierarchy: its processes are killed, it is removed
/// with all below it.
#[derive(Debug)]
pub struct Cgroup {
    path: String,
}

impl Cgroup {
    /// Guards the cgroup at `path` (`/coffer-test-7/pod`), relative to the hierarchies' mounts.
    #[must_use]
    pub fn new(path: impl Into<String>) -> Self {
        Self { path: path.into() }
    }

    /// Its directories that exist, one for each hierarchy.
    #[must_use]
    pub fn dirs(&self) -> Vec<PathBuf> {
        let relative = self.path.trim_matches('/');
        if relative.is_empty() || relative.split('/').any(|part| part == "..") {
            return Vec::new();
        }
        cgroup_mounts()
            .into_iter()
            .map(|m| m.join(relative))
            .filter(|d| d.is_dir())
            .collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        for dir in self.dirs() {
            while dir.is_dir() && Instant::now() < deadline {
                let mut tree = Vec::new();
                collect_dirs(&dir, &mut tree);
                for leaf in tree.iter().rev() {
                    thaw(leaf);
                    for pid in pids(leaf) {
                        drop(Process::new(pid));
                    }
                    let _ = fs::remove_dir(leaf);
                }
                if dir.is_dir() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
    }
}

/// Where cgroup hierarchies are mounted, v1 and v2.
#[must_use]
pub fn cgroup_mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let path = fields.next()?;
            matches!(fields.next()?, "cgroup" | "cgroup2").then(|| PathBuf::from(path))
        })
        .collect()
}

/// A frozen process does not die of a signal; v1 and v2.
fn thaw(cgroup: &Path) {
    let _ = fs::write(cgroup.join("freezer.state"), "THAWED");
    let _ = fs::write(cgroup.join("cgroup.freeze"), "0");
}

fn pids(cgroup: &Path) -> Vec<i32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    text.lines()
        .filter_map(|line| line.parse().ok())
        .filter(|&pid| pid > 1 && pid != own)
        .collect()
}

/// `dir` and all directories below it, parents first.
fn collect_dirs(dir: &Path, into: &mut Vec<PathBuf>) {
    into.push(dir.to_owned());
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect_dirs(&entry.path(), into);
        }
    }
}
