//! Killing all that runs in some cgroups: see the parent module.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

/// How long a subtree may take to freeze before it is killed unfrozen. A process in uninterruptible
/// sleep freezes only after it; the kill then works without.
const FREEZE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(2);

/// Which directory, and why.
pub(super) type Failure = (PathBuf, io::Error);

/// Processes that are still there, and the first directory that has one.
struct Left {
    dir: PathBuf,
    pids: BTreeSet<i32>,
}

/// Kills until every one of these directories (one cgroup in several hierarchies) is empty.
///
/// # Errors
/// The directory and why: ETIMEDOUT with processes left after `limit`.
pub(super) fn subtrees(dirs: &[PathBuf], limit: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    loop {
        let left = round(dirs)?;
        let Some(Left { dir, pids }) = left else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            let message = format!("process {pids:?} did not die within {limit:?}");
            return Err((dir, io::Error::new(io::ErrorKind::TimedOut, message)));
        }
        thread::sleep(PAUSE);
    }
}

/// One freeze, kill and thaw; answers what was found, `None` for nothing.
fn round(dirs: &[PathBuf]) -> Result<Option<Left>, Failure> {
    if find(dirs)?.is_none() {
        return Ok(None);
    }
    let freezers: Vec<&PathBuf> = dirs
        .iter()
        .filter(|dir| dir.join("freezer.state").exists())
        .collect();
    for dir in &freezers {
        freeze(dir);
    }
    let found = kill_found(dirs);
    // Whatever happened: nothing stays frozen.
    for dir in &freezers {
        thaw(dir);
    }
    found
}

fn kill_found(dirs: &[PathBuf]) -> Result<Option<Left>, Failure> {
    for dir in dirs {
        let kill = dir.join("cgroup.kill");
        if kill.exists() {
            fs::write(&kill, "1").map_err(|e| (dir.clone(), e))?;
        }
    }
    let found = find(dirs)?;
    if let Some(Left { dir, pids }) = &found {
        for pid in pids {
            send_kill(*pid).map_err(|e| (dir.clone(), e))?;
        }
    }
    Ok(found)
}

/// All processes in the directories and below, with the first directory that has one.
fn find(dirs: &[PathBuf]) -> Result<Option<Left>, Failure> {
    let mut pids = BTreeSet::new();
    let mut first = None;
    for dir in dirs {
        collect(dir, &mut pids).map_err(|e| (dir.clone(), e))?;
        if first.is_none() && !pids.is_empty() {
            first = Some(dir.clone());
        }
    }
    Ok(first.map(|dir| Left { dir, pids }))
}

fn collect(dir: &Path, pids: &mut BTreeSet<i32>) -> io::Result<()> {
    let gone = |e: &io::Error| {
        matches!(e.kind(), io::ErrorKind::NotFound)
            || e.raw_os_error() == Some(Errno::NODEV.raw_os_error())
    };
    let text = match fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(text) => text,
        Err(e) if gone(&e) => return Ok(()),
        Err(e) => return Err(e),
    };
    // 0 is a process that this pid namespace can't see: not ours to kill.
    pids.extend(
        text.lines()
            .filter_map(|line| line.parse::<i32>().ok())
            .filter(|pid| *pid > 0),
    );
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if gone(&e) => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), pids)?;
        }
    }
    Ok(())
}

/// SIGKILL; a process that is gone already is success. Our own process is never killed: a cgroup
/// that holds the daemon is not a pod's.
fn send_kill(pid: i32) -> io::Result<()> {
    if u32::try_from(pid).is_ok_and(|pid| pid == std::process::id()) {
        return Err(io::Error::other("this process itself is in the cgroup"));
    }
    let Some(pid) = Pid::from_raw(pid) else {
        return Ok(());
    };
    let sent = pidfd_open(pid, PidfdFlags::empty())
        .and_then(|pidfd| pidfd_send_signal(&pidfd, Signal::KILL));
    match sent {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Best effort: what does not freeze in time is killed running.
fn freeze(dir: &Path) {
    let state = dir.join("freezer.state");
    let deadline = Instant::now() + FREEZE;
    loop {
        // Written again each time: tasks that joined in between make it FREEZING anew.
        if fs::write(&state, "FROZEN").is_err() {
            return;
        }
        match fs::read_to_string(&state) {
            Ok(now) if now.trim() == "FREEZING" && Instant::now() < deadline => {
                thread::sleep(PAUSE)
            }
            _ => return,
        }
    }
}

/// Thaws the directory and what is below it: a container may have been paused for itself.
fn thaw(dir: &Path) {
    // A failure leaves its processes in find(), and so comes out as the kill's error.
    let _ = fs::write(dir.join("freezer.state"), "THAWED");
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            thaw(&entry.path());
        }
    }
}
