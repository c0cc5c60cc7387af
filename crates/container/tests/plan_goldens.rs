//! Plans as text. No root is needed: planning touches nothing. After a wanted change:
//! `UPDATE_GOLDENS=1 cargo test -p container --test plan_goldens`, and read the difference.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use std::path::{Path, PathBuf};

use container::{
    Facts,
    plan::{self, Gate, Join, Options, Plan, Streams},
};
use oci::runtime::Spec;
use serde_json::{Value, json};

/// A machine that does not change: all capabilities but CAP_SYS_RESOURCE, hybrid cgroups.
fn facts() -> Facts {
    Facts {
        capabilities: 0x1ff_ffff_ffff & !(1 << 24),
        uid: 0,
        gid: 0,
        capability_count: 41,
        oom_score_adj: || 0,
        apparmor: || true,
        selinux: || false,
        rootless: false,
        setgroups: true,
        cgroup_v1: vec![
            ("cpu,cpuacct".into(), vec!["cpu".into(), "cpuacct".into()]),
            ("pids".into(), vec!["pids".into()]),
            ("systemd".into(), vec!["name=systemd".into()]),
        ],
    }
}

fn options() -> Options {
    Options {
        joins: 3,
        unified: true,
        ..Options::new(Path::new("/bundle"))
    }
}

fn spec(edit: impl FnOnce(&mut Value)) -> Spec {
    let mut json = common::plain("golden");
    edit(&mut json);
    serde_json::from_value(json).unwrap()
}

fn golden(name: &str, plan: &Plan) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/goldens")
        .join(name);
    let text = plan.to_string();
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, expected, "{name}");
}

#[test]
fn plain() {
    let spec = spec(|_| {});
    golden(
        "plain.txt",
        &plan::create(&facts(), &spec, &options()).unwrap(),
    );
}

#[test]
fn everything() {
    let spec = spec(|json| {
        json["process"]["terminal"] = json!(true);
        json["process"]["user"] =
            json!({"uid": 33, "gid": 34, "umask": 63, "additionalGids": [5, 6]});
        json["process"]["cwd"] = json!("/srv");
        json["process"]["noNewPrivileges"] = json!(true);
        json["process"]["apparmorProfile"] = json!("coffer-default");
        json["process"]["oomScoreAdj"] = json!(-500);
        json["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 4096}]);
        json["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
        json["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 4});
        json["root"]["readonly"] = json!(true);
        json["domainname"] = json!("example");
        json["linux"]["sysctl"] = json!({"net.core.somaxconn": "256"});
        json["linux"]["rootfsPropagation"] = json!("rshared");
        json["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        json["linux"]["devices"] = json!([
            {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o660, "gid": 9}]);
        json["linux"]["personality"] = json!({"domain": "LINUX32"});
        json["mounts"].as_array_mut().unwrap().extend([
            json!({"destination": "/data", "type": "bind", "source": "data", "options": ["rbind", "ro", "rprivate"]}),
            json!({"destination": "/shared", "source": "/srv/shared", "options": ["rbind", "rro", "rshared"]}),
            json!({"destination": "/run", "type": "tmpfs", "options": ["tmpcopyup", "nosuid", "size=1m"]}),
        ]);
        json["hooks"] = json!({
            "createRuntime": [{"path": "/h/runtime"}],
            "createContainer": [{"path": "/h/container", "args": ["container", "x"], "timeout": 3}],
            "startContainer": [{"path": "/h/start"}],
        });
    });
    let options = Options {
        stdio: Streams::Terminal,
        gate: Gate::Fifo,
        preserve_fds: 2,
        ..options()
    };
    golden(
        "everything.txt",
        &plan::create(&facts(), &spec, &options).unwrap(),
    );
}

#[test]
fn user_namespace_and_joins() {
    let spec = spec(|json| {
        json["linux"]["namespaces"] = json!([
            {"type": "user"}, {"type": "mount"}, {"type": "uts"},
            {"type": "pid", "path": "/proc/7/ns/pid"}, {"type": "network", "path": "/run/netns/x"},
            {"type": "time"},
        ]);
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        json["linux"]["uidMappings"] = map.clone();
        json["linux"]["gidMappings"] = map;
        json["linux"]["timeOffsets"] = json!({"monotonic": {"secs": 3, "nanosecs": 4}});
        json["process"]["oomScoreAdj"] = json!(100);
        json["process"]["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
    });
    golden(
        "user.txt",
        &plan::create(&facts(), &spec, &options()).unwrap(),
    );
}

#[test]
fn exec() {
    let spec = spec(|json| {
        json["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW"});
    });
    let process = serde_json::from_value(common::process(&["ls", "-l"])).unwrap();
    let options = Options {
        stdio: Streams::Given([false, true, true]),
        ..options()
    };
    let join = Join {
        flags: 0x6c02_0000,
        pids_by_clone: true,
    };
    golden(
        "exec.txt",
        &plan::exec(&facts(), &spec, &process, join, &options).unwrap(),
    );
}

#[test]
fn who_cannot_come_back_from_a_pid_namespace_sends_a_child_and_forks() {
    let process = serde_json::from_value(common::process(&["ls"])).unwrap();
    let plan = |flags, pids_by_clone| {
        let join = Join {
            flags,
            pids_by_clone,
        };
        let plan = plan::exec(&facts(), &spec(|_| {}), &process, join, &options());
        plan.unwrap().to_string()
    };
    let (all, time, ipc) = (0x6c02_0000, 0x6c02_0080, 0x0800_0000);
    for (flags, by_clone, forks) in [
        (all, true, false),
        (all, false, true),
        // Offsets are for children only, too, and the child's child has our number for it.
        (time, true, true),
        (ipc, true, false),
    ] {
        let text = plan(flags, by_clone);
        let line = format!("{flags:x} {by_clone}: {text}");
        assert_eq!(text.contains("fork into the namespaces"), forks, "{line}");
        let born = text.starts_with("clone with no new namespaces, in the container's pid");
        assert_eq!(born, by_clone && flags == all, "{line}");
        assert_eq!(
            text.contains("mount,pid,"),
            flags == time || flags == all && !by_clone,
            "{line}"
        );
    }
}

#[test]
fn planning_is_pure() {
    let spec = spec(|_| {});
    let plan = || {
        plan::create(&facts(), &spec, &options())
            .unwrap()
            .to_string()
    };
    assert_eq!(plan(), plan());
}

#[test]
fn a_relative_destination_starts_at_the_root() {
    let spec = spec(|json| json["mounts"] = json!([{"destination": "proc", "type": "proc"}]));
    let text = plan::create(&facts(), &spec, &options())
        .unwrap()
        .to_string();
    assert!(text.contains("mount proc at /proc"), "{text}");
    let note = "note: mounts[0].destination \"proc\" is relative, which is deprecated";
    assert!(text.contains(note), "{text}");
}

#[test]
fn what_cannot_be_is_said_by_field() {
    for (pointer, value, text) in [
        (
            "/linux/namespaces",
            json!([{"type": "pid"}]),
            "linux.namespaces without mount is not supported",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "mount"}]),
            "hostname: without a uts namespace",
        ),
        (
            "/linux",
            json!({"namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "user"}],
                "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}),
            "linux.uidMappings, linux.gidMappings: a new user namespace needs both",
        ),
        (
            "/linux",
            json!({"namespaces": [{"type": "mount"}, {"type": "uts"}], "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x", "syscalls": [
                    {"names": ["getpid", "sendto"], "action": "SCMP_ACT_NOTIFY"}]}}),
            "syscalls[0]: SCMP_ACT_NOTIFY cannot be used for the sendto syscall: it is not supported",
        ),
        (
            "/mounts/0",
            json!({"destination": "/x", "type": "bind", "options": ["bind"]}),
            "a bind mount without source",
        ),
        (
            "/mounts/0",
            json!({"destination": "/x", "type": "bind", "source": "a", "options": ["bind", "mode=7", "nosiud"]}),
            "options that a bind mount does not have: mode nosiud",
        ),
        (
            "/process/cwd",
            json!("x"),
            "process.cwd: \"x\" is not an absolute path",
        ),
        (
            "/process/env",
            json!(["A"]),
            "process.env: \"A\" is no NAME=value",
        ),
    ] {
        let spec = spec(|json| *json.pointer_mut(pointer).unwrap() = value);
        let error = plan::create(&facts(), &spec, &options())
            .unwrap_err()
            .to_string();
        assert!(error.contains(text), "{error}");
    }
}
