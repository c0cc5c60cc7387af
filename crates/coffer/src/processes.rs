//! The processes of a container, as `/proc` has them: those in the cgroup of its first process, and
//! below.

use std::{fs, io};

use serde::Serialize;

/// One process.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub(crate) struct Process {
    /// As the container sees it.
    pub(crate) pid: i32,
    /// As the host sees it.
    pub(crate) host_pid: i32,
    pub(crate) host_parent: i32,
    pub(crate) uid: u32,
    /// One letter, as ps(1) has them.
    pub(crate) state: String,
    /// CPU time, milliseconds.
    pub(crate) cpu_ms: u64,
    pub(crate) rss_bytes: u64,
    pub(crate) command: String,
}

/// The processes of the container whose first process is `init` on the host, by pid.
pub(crate) fn of_container(init: i32) -> io::Result<Vec<Process>> {
    let group = cgroup(&fs::read_to_string(format!("/proc/{init}/cgroup"))?);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // A process may end at any time: then it is none of the container's any more.
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else {
            continue;
        };
        if within(&cgroup(&text), &group)
            && let Some(process) = read(pid)
        {
            found.push(process);
        }
    }
    found.sort_by_key(|process| process.host_pid);
    Ok(found)
}

/// The longest path of `/proc/PID/cgroup`, with its hierarchy: the one that a container has to itself.
fn cgroup(text: &str) -> (String, String) {
    let lines = text.lines().filter_map(|line| {
        let (hierarchy, path) = line.rsplit_once(':')?;
        Some((hierarchy.to_owned(), path.to_owned()))
    });
    lines.max_by_key(|(_, path)| path.len()).unwrap_or_default()
}

fn within(inner: &(String, String), outer: &(String, String)) -> bool {
    inner.1 == outer.1
        || inner
            .1
            .strip_prefix(&outer.1)
            .is_some_and(|rest| rest.starts_with('/'))
}

fn read(pid: i32) -> Option<Process> {
    let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let (stat, status) = (file("stat")?, file("status")?);
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    parse(&stat, &status, &command)
}

fn parse(stat: &str, status: &str, command: &[u8]) -> Option<Process> {
    // The name is in parentheses and may have any byte in it: fields start after the last one.
    let (start, fields) = stat.rsplit_once(") ")?;
    let (pid, name) = start.split_once(" (")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let line = |key: &str| {
        let mut lines = status.lines();
        lines.find_map(|line| line.strip_prefix(key)).map(str::trim)
    };
    let host_pid = pid.parse().ok()?;
    let command = command.strip_suffix(b"\0").unwrap_or(command);
    let command = if command.is_empty() {
        format!("[{name}]")
    } else {
        String::from_utf8_lossy(command).replace('\0', " ")
    };
    Some(Process {
        pid: line("NSpid:")?.split_whitespace().last()?.parse().ok()?,
        host_pid,
        host_parent: fields.get(1)?.parse().ok()?,
        uid: line("Uid:")?.split_whitespace().next()?.parse().ok()?,
        state: (*fields.first()?).to_owned(),
        // Ticks of user and system; Linux tells them in hundredths of a second on every architecture.
        cpu_ms: (number(11)? + number(12)?) * 10,
        rss_bytes: number(21)? * rustix::param::page_size() as u64,
        command,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_no_trap() {
        let fields =
            "S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 99 8192 12 18446744073709551615";
        let stat = format!("7 (a) b) {fields}");
        let status = "Name:\ta\nUid:\t1000\t1000\t1000\t1000\nNSpid:\t7\t1\n";
        let process = parse(&stat, status, b"sh\0-c\0true\0").unwrap();
        assert_eq!((process.host_pid, process.pid, process.uid), (7, 1, 1000));
        assert_eq!(
            (process.cpu_ms, process.rss_bytes),
            (2000, 12 * rustix::param::page_size() as u64)
        );
        assert_eq!(process.command, "sh -c true");
        assert_eq!(parse(&stat, status, b"").unwrap().command, "[a) b]");
    }

    #[test]
    fn cgroups_below_belong_to_the_container() {
        let group = cgroup("5:memory:/a/b\n1:name=systemd:/\n0::/\n");
        assert_eq!(group, ("5:memory".to_owned(), "/a/b".to_owned()));
        let at = |path: &str| ("5:memory".to_owned(), path.to_owned());
        assert!(within(&at("/a/b"), &group) && within(&at("/a/b/c"), &group));
        assert!(!within(&at("/a/bc"), &group) && !within(&at("/a"), &group));
    }

    #[test]
    fn this_very_process_can_be_read() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let found = read(pid).unwrap();
        assert_eq!(found.host_pid, pid);
        assert!(found.rss_bytes > 0 && !found.command.is_empty());
    }
}
