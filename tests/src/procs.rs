//! Processes as the kernel shows them, found by their cgroup.

use std::{collections::BTreeMap, fs};

/// Living processes (zombies do not count) one of whose cgroups contains `part`, with their names.
pub fn in_cgroup(part: &str) -> BTreeMap<i32, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        if !read("cgroup").contains(part) {
            continue;
        }
        let stat = read("stat");
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next());
        if matches!(state, None | Some('Z' | 'X')) {
            continue;
        }
        found.insert(pid, read("comm").trim_end().to_owned());
    }
    found
}

/// Those of them that are the first process of a pid namespace: one for each container that has its
/// own. Others come and go with what a container does.
pub fn first_in_cgroup(part: &str) -> BTreeMap<i32, String> {
    let mut found = in_cgroup(part);
    found.retain(|pid, _| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        let ids: Vec<&str> = ids.unwrap_or_default().split_whitespace().collect();
        ids.len() > 1 && ids.last() == Some(&"1")
    });
    found
}

/// When the process started, in ticks since the boot: with the pid it names one process for ever.
pub fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()
}
