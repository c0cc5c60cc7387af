//! Limits that a node with many pods meets: descriptors, processes, watches, connections.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::{Area, Finding};

/// A limit under /proc/sys: its name, what is enough, what it is for.
const SYSCTLS: [(&str, u64, &str); 8] = [
    (
        "fs.inotify.max_user_instances",
        512,
        "log readers and file watchers in containers",
    ),
    (
        "fs.inotify.max_user_watches",
        65_536,
        "log readers and file watchers in containers",
    ),
    ("fs.file-max", 100_000, "open files of all pods together"),
    ("kernel.pid_max", 32_768, "processes of all pods together"),
    ("kernel.threads-max", 32_768, "threads of all pods together"),
    ("vm.max_map_count", 65_530, "databases in containers"),
    (
        "user.max_net_namespaces",
        1024,
        "pods with a network of their own",
    ),
    ("user.max_mnt_namespaces", 1024, "containers"),
];

/// Looks at the limits.
pub(crate) fn look() -> Vec<Finding> {
    let mut area = Area::new("limits");
    let files = getrlimit(Resource::Nofile);
    let hard = files.maximum.unwrap_or(u64::MAX);
    let shown =
        |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    let found = format!(
        "{} soft, {} hard",
        shown(files.current),
        shown(files.maximum)
    );
    if hard < 65_536 {
        let fix = "raise the hard limit of the daemon to 65536 or more (LimitNOFILE=, ulimit -Hn)";
        area.warn("open files of a process", found, fix);
    } else {
        area.ok("open files of a process", found);
    }
    for (name, enough, what) in SYSCTLS {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let Ok(text) = fs::read_to_string(&path) else {
            area.warn(
                name,
                format!("{path} can't be read"),
                "mount /proc of the host",
            );
            continue;
        };
        sysctl(&mut area, name, text.trim(), enough, what);
    }
    // Only there while connections are tracked.
    if let Ok(text) = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max") {
        let name = "net.netfilter.nf_conntrack_max";
        sysctl(
            &mut area,
            name,
            text.trim(),
            65_536,
            "connections of all pods through published ports",
        );
    }
    area.done()
}

fn sysctl(area: &mut Area, name: &str, text: &str, enough: u64, what: &str) {
    match text.parse::<u64>() {
        Ok(value) if value < enough => {
            let fix = format!("raise it for {what}: sysctl -w {name}={enough}");
            area.warn(name, format!("{value}, less than {enough}"), &fix);
        }
        Ok(value) => area.ok(name, value.to_string()),
        Err(_) => area.warn(
            name,
            format!("{text:?} is no number"),
            "mount /proc of the host",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Verdict, *};

    #[test]
    fn a_small_limit_is_told_with_the_command_that_raises_it() {
        let mut area = Area::new("limits");
        sysctl(&mut area, "a.b", "100", 512, "watches");
        sysctl(&mut area, "a.b", "512", 512, "watches");
        sysctl(&mut area, "a.b", "x", 512, "watches");
        let found = area.done();
        let verdicts: Vec<_> = found.iter().map(|one| one.verdict).collect();
        assert_eq!(verdicts, [Verdict::Warn, Verdict::Ok, Verdict::Warn]);
        assert_eq!(found[0].fix, "raise it for watches: sysctl -w a.b=512");
    }

    #[test]
    fn every_limit_is_looked_at() {
        assert!(look().len() > SYSCTLS.len());
    }
}
