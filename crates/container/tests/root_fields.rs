//! Fields that set one thing each, as the process then finds it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use common::Bundle;
use serde_json::{Value, json};

/// What a script prints in a container whose document has this value at this place.
fn says(script: &str, pointer: &str, value: Value) -> String {
    let mut bundle = Bundle::script(script);
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = if parent.is_empty() {
        &mut bundle.json
    } else {
        bundle.json.pointer_mut(parent).unwrap()
    };
    parent[key] = value;
    bundle.run().ok().to_owned()
}

#[test]
fn each_field_is_found_by_the_process() {
    // Fields 19 and 41 of stat: nice and policy.
    let schedule = "awk '{print $19, $41}' /proc/self/stat";
    let numa = "head -n 1 /proc/self/numa_maps | cut -d' ' -f2";
    let table = [
        (
            "cat /proc/sys/kernel/domainname",
            "/domainname",
            json!("nis.example"),
            "nis.example",
        ),
        (
            schedule,
            "/process/scheduler",
            json!({"policy": "SCHED_BATCH", "nice": 5}),
            "5 3",
        ),
        (
            schedule,
            "/process/scheduler",
            json!({"policy": "SCHED_OTHER", "nice": 3}),
            "3 0",
        ),
        (
            schedule,
            "/process/scheduler",
            json!({"policy": "SCHED_IDLE"}),
            "0 5",
        ),
        (
            "busybox ionice",
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 6}),
            "best-effort: prio 6",
        ),
        (
            "busybox ionice",
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_IDLE"}),
            "idle",
        ),
        (
            "busybox uname -m",
            "/linux/personality",
            json!({"domain": "LINUX32"}),
            "i686",
        ),
        (
            "busybox uname -m",
            "/linux/personality",
            json!({"domain": "LINUX"}),
            std::env::consts::ARCH,
        ),
        (
            numa,
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}),
            "interleave:0",
        ),
        (
            numa,
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
            "bind=static:0",
        ),
        (
            numa,
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_LOCAL"}),
            "local",
        ),
        ("umask", "/process/user", json!({"umask": 0o27}), "0027"),
        ("umask", "/process/user", json!({}), "0022"),
        (
            "stat -c '%F %a %t:%T %u:%g' /dev/one /dev/two /dev/three",
            "/linux/devices",
            json!([
                {"path": "/dev/one", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4},
                {"path": "/dev/two", "type": "b", "major": 7, "minor": 300},
                {"path": "/dev/three", "type": "p", "fileMode": 0o622},
            ]),
            "character special file 640 1:5 3:4\nblock special file 666 7:12c 0:0\nfifo 622 0:0 0:0",
        ),
    ];
    for (script, pointer, value, wanted) in table {
        assert_eq!(
            says(script, pointer, value.clone()),
            wanted,
            "{pointer} {value}"
        );
    }
}

#[test]
fn all_sixteen_limits_hold() {
    // Not over what any machine has, not under what a shell needs.
    let limits = [
        ("RLIMIT_CPU", 1000_u64, "Max cpu time"),
        ("RLIMIT_FSIZE", 1 << 30, "Max file size"),
        ("RLIMIT_DATA", 1 << 29, "Max data size"),
        ("RLIMIT_STACK", 1 << 22, "Max stack size"),
        ("RLIMIT_CORE", 0, "Max core file size"),
        ("RLIMIT_RSS", 1 << 29, "Max resident set"),
        ("RLIMIT_NPROC", 500, "Max processes"),
        ("RLIMIT_NOFILE", 100, "Max open files"),
        ("RLIMIT_MEMLOCK", 65536, "Max locked memory"),
        ("RLIMIT_AS", 1 << 30, "Max address space"),
        ("RLIMIT_LOCKS", 10, "Max file locks"),
        ("RLIMIT_SIGPENDING", 100, "Max pending signals"),
        ("RLIMIT_MSGQUEUE", 8192, "Max msgqueue size"),
        ("RLIMIT_NICE", 0, "Max nice priority"),
        ("RLIMIT_RTPRIO", 0, "Max realtime priority"),
        ("RLIMIT_RTTIME", 1_000_000, "Max realtime timeout"),
    ];
    let list: Vec<Value> = limits
        .iter()
        .map(|(name, value, _)| json!({"type": name, "soft": value, "hard": value}))
        .collect();
    let shown = says("cat /proc/self/limits", "/process/rlimits", json!(list));
    for (name, value, title) in limits {
        let line = shown.lines().find(|line| line.starts_with(title)).unwrap();
        let numbers: Vec<&str> = line[title.len()..].split_whitespace().take(2).collect();
        assert_eq!(
            numbers,
            [value.to_string(), value.to_string()],
            "{name}: {line}"
        );
    }
}

/// Every action and flag, as the kernel has them; what their verdicts are for which calls is tried by
/// `seccomp`'s interpreter.
#[test]
fn seccomp_actions_have_their_effects() {
    const SIGSYS: &str = "159";
    for (action, errno, wanted) in [
        ("SCMP_ACT_KILL", None, SIGSYS),
        ("SCMP_ACT_KILL_THREAD", None, SIGSYS),
        ("SCMP_ACT_KILL_PROCESS", None, SIGSYS),
        ("SCMP_ACT_TRAP", None, SIGSYS),
        ("SCMP_ACT_ERRNO", Some(95), "1"),
        // Nobody traces: the call is not there.
        ("SCMP_ACT_TRACE", Some(3), "1"),
        ("SCMP_ACT_LOG", None, "0"),
        ("SCMP_ACT_ALLOW", None, "0"),
    ] {
        let mut bundle = Bundle::script("/bin/mkdir /tmp/x; echo $?");
        let mut rule = json!({"names": ["mkdir", "mkdirat"], "action": action});
        if let Some(errno) = errno {
            rule["errnoRet"] = json!(errno);
        }
        bundle.json["linux"]["seccomp"] = json!({
            "defaultAction": if action == "SCMP_ACT_ALLOW" { "SCMP_ACT_LOG" } else { "SCMP_ACT_ALLOW" },
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC",
                "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
            "syscalls": [rule],
        });
        let ran = bundle.run();
        assert_eq!(ran.stdout.trim_end(), wanted, "{action}: {ran:?}");
    }
}
