//! What the processes of a container hold open, read from `/proc`. The agent could say it too, but
//! every question to it is paid for by each pod; this is asked for by metrics alone.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Error,
    cgroup::{Mounts, Name},
};

/// Figures of the processes in a cgroup and below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessFigures {
    /// Processes, threads not counted.
    pub processes: u64,
    /// Open file descriptors of all of them.
    pub file_descriptors: u64,
    /// Of these, sockets.
    pub sockets: u64,
    /// Soft limit of open files of the process that is in the cgroup longest; `None` where there is
    /// none, or no limit.
    pub open_files_limit: Option<u64>,
}

/// Reads figures of processes, a cgroup at a time.
#[derive(Debug)]
pub struct ProcessReader(Mounts);

impl ProcessReader {
    /// Finds where the cgroups are mounted.
    ///
    /// # Errors
    /// [`Error::Cgroups`] when no hierarchy is mounted.
    pub fn probe() -> Result<Self, Error> {
        Mounts::probe().map(Self)
    }

    /// The figures of the cgroup `path` (as in [`crate::ContainerSpec`]); a process that ends
    /// meanwhile counts nothing. Blocks; takes about 20 µs for each open file.
    ///
    /// # Errors
    /// [`Error::Cgroups`] when `path` does not name a cgroup.
    pub fn read(&self, path: &str) -> Result<ProcessFigures, Error> {
        let name = Name::new(path)?;
        let dir = self.0.paths().map(|mount| name.below(mount));
        let dir = dir.into_iter().find(|dir| dir.is_dir());
        Ok(dir.map(|dir| count(&dir)).unwrap_or_default())
    }
}

fn count(dir: &Path) -> ProcessFigures {
    let mut figures = ProcessFigures::default();
    let mut pids = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        let below = fs::read_dir(&dir).into_iter().flatten().flatten();
        todo.extend(
            below
                .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
                .map(|e| e.path()),
        );
    }
    pids.sort_unstable();
    for pid in &pids {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let Ok(open) = fs::read_dir(process.join("fd")) else {
            continue;
        };
        figures.processes += 1;
        for fd in open.flatten() {
            let Ok(what) = fs::read_link(fd.path()) else {
                continue;
            };
            figures.file_descriptors += 1;
            figures.sockets +=
                u64::from(what.as_os_str().as_encoded_bytes().starts_with(b"socket:"));
        }
        if figures.processes == 1 {
            let limits = fs::read_to_string(process.join("limits")).unwrap_or_default();
            figures.open_files_limit = open_files(&limits);
        }
    }
    figures
}

/// `Max open files            1024                 524288               files`
fn open_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             7                    8                    processes \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(text), Some(1024));
        assert_eq!(open_files(&text.replace("1024", "unlimited")), None);
        assert_eq!(open_files(""), None);
    }

    #[test]
    fn files_and_sockets_of_a_process_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("below");
        fs::create_dir(&below).unwrap();
        fs::write(dir.path().join("cgroup.procs"), "").unwrap();
        let gone = u32::MAX;
        let procs = format!("{gone}\n{}\n", std::process::id());
        fs::write(below.join("cgroup.procs"), procs).unwrap();
        let before = count(dir.path());
        let sockets = std::os::unix::net::UnixStream::pair().unwrap();
        let after = count(dir.path());
        drop(sockets);
        assert_eq!(before.processes, 1);
        assert!(before.file_descriptors >= 3, "{before:?}");
        // Other tests of this program open and close files at the same time.
        assert!(after.sockets >= 2, "{after:?}");
        assert!(before.open_files_limit.is_some());
        assert_eq!(count(&dir.path().join("none")), ProcessFigures::default());
    }

    #[test]
    fn a_cgroup_that_is_not_there_has_none_and_a_bad_name_is_refused() {
        let reader = ProcessReader::probe().unwrap();
        let none = reader.read("/coffer-no-such-cgroup").unwrap();
        assert_eq!(none, ProcessFigures::default());
        assert!(reader.read("/a/../b").is_err());
    }
}
