//! Memory and CPU time of processes that are measured, read from /proc.

use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Each look reads the whole process table: not so often that it takes time from what is measured.
const INTERVAL: Duration = Duration::from_millis(50);

/// Follows the resident memory of a command and of its descendants until it is asked for.
#[derive(Debug)]
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Watch {
    pub(crate) fn of(pid: u32) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut peak = 0;
            while !stopped.load(Ordering::Relaxed) {
                peak = peak.max(tree(pid));
                thread::sleep(INTERVAL);
            }
            peak
        });
        Watch { stop, thread }
    }

    /// The largest sum that was seen, KiB.
    pub(crate) fn peak(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

fn tree(pid: u32) -> u64 {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else {
            continue;
        };
        if let Some(parent) = stat(pid, 1) {
            let parent = u32::try_from(parent).unwrap_or(0);
            children.entry(parent).or_default().push(pid);
        }
    }
    let (mut sum, mut todo) = (0, vec![pid]);
    while let Some(pid) = todo.pop() {
        sum += resident(pid);
        todo.extend(children.remove(&pid).unwrap_or_default());
    }
    sum
}

/// Resident memory of one process, KiB.
pub(crate) fn resident(pid: u32) -> u64 {
    field(pid, "VmRSS:")
}

/// The largest that it ever was, KiB.
pub(crate) fn most(pid: u32) -> u64 {
    field(pid, "VmHWM:")
}

fn field(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// The number at a place after the name in `/proc/PID/stat`, the state being at 0.
fn stat(pid: u32, at: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(at)?.parse().ok()
}

/// User and system time of a living process and of the children that it has reaped.
pub(crate) fn cpu(pid: u32) -> Duration {
    // utime, stime, cutime, cstime of proc(5).
    let ticks: u64 = (11..15).filter_map(|at| stat(pid, at)).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1))
}
