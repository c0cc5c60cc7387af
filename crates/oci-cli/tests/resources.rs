//! `update` and `events`: limits that change, figures, and word of kills.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use common::{Oci, finish, sleeper};
use container::cgroup::{Cgroup, Hierarchy};
use serde_json::{Value, json};
use testing::bundle::Bundle;

fn cgroup(id: &str) -> Cgroup {
    let hierarchy = Hierarchy::probe().expect("cgroups");
    Cgroup::open(&hierarchy, id).expect("the container's cgroup")
}

/// A file of the container's cgroup, by its name in v1 or v2.
fn file(id: &str, controller: &str, v1: &str, v2: &str) -> String {
    let paths = cgroup(id).paths();
    let path = match paths.get(controller) {
        Some(dir) => dir.join(v1),
        None => paths[""].join(v2),
    };
    let text = std::fs::read_to_string(path).expect("a control file");
    text.trim().to_owned()
}

/// The limits in the container's record.
fn recorded(oci: &Oci, id: &str) -> Value {
    let text = std::fs::read(oci.root().join(id).join("state.json")).expect("the record");
    let record: Value = serde_json::from_slice(&text).expect("JSON");
    record["config"]["linux"]["resources"].clone()
}

#[test]
fn limits_change_and_are_remembered() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("update", &bundle);
    let memory = || file(&id, "memory", "memory.limit_in_bytes", "memory.max");
    let pids = || file(&id, "pids", "pids.max", "pids.max");
    oci.run(&["update", "--memory", "64m", "--pids-limit", "33", &id])
        .succeeds();
    assert_eq!((memory(), pids()), ("67108864".into(), "33".into()));
    oci.run(&["update", &id, "--memory", "32m"]).succeeds();
    assert_eq!((memory(), pids()), ("33554432".into(), "33".into()));
    let limits = recorded(&oci, &id);
    assert_eq!(limits["memory"]["limit"], json!(33_554_432));
    assert_eq!(limits["pids"]["limit"], json!(33));

    oci.run(&[
        "update",
        "--cpu-quota",
        "20000",
        "--cpu-period",
        "50000",
        &id,
    ])
    .succeeds();
    oci.run(&["update", "--cpu-share", "300", "--pids-limit", "-1", &id])
        .succeeds();
    assert_eq!(pids(), "max");
    let quota = file(&id, "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(
        ["20000", "20000 50000"].contains(&quota.as_str()),
        "{quota}"
    );
    assert_eq!(recorded(&oci, &id)["cpu"]["quota"], json!(20000));
}

#[test]
fn limits_come_as_a_document_too() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("document", &bundle);
    let feed = |text: &str| {
        let mut child = oci
            .command(&["update", "--resources", "-", "--pids-limit", "5", &id])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(text.as_bytes()).expect("writes");
        drop(stdin);
        let output = child.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = feed(r#"{"pids":{"limit":44},"cpu":null}"#);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        file(&id, "pids", "pids.max", "pids.max"),
        "44",
        "not the option's 5"
    );
    let (code, said) = feed(r#"{"pids":{"limit":"many"}}"#);
    assert_eq!(code, Some(1));
    assert!(said.contains("pids.limit"), "{said}");
    let limits = oci.dir().join("limits.json");
    std::fs::write(&limits, r#"{"pids":{"limit":45}}"#).expect("writes");
    let path = limits.to_str().expect("UTF-8");
    oci.run(&["update", "-r", path, &id]).succeeds();
    assert_eq!(file(&id, "pids", "pids.max", "pids.max"), "45");
}

#[test]
fn a_refused_limit_is_named_and_a_stopped_container_has_none() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("refused", &bundle);
    let before = recorded(&oci, &id);
    oci.run(&["update", "--cpuset-cpus", "4000", &id])
        .fails(1, &["cpus", "4000"]);
    assert_eq!(recorded(&oci, &id), before, "the record says what holds");
    oci.run(&["kill", &id, "KILL"]).succeeds();
    oci.await_status(&id, "stopped");
    for command in [&["update", "--pids-limit", "9", &id][..], &["events", &id]] {
        oci.run(command).fails(1, &["container not running"]);
    }
}

#[test]
fn figures_are_told_once_or_at_intervals() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("figures", &bundle);
    let check = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(
            (&event["type"], &event["id"]),
            (&json!("stats"), &json!(id))
        );
        let data = &event["data"];
        assert!(
            data["memory"]["usage"]["usage"].as_u64() > Some(0),
            "{event}"
        );
        assert_eq!(data["pids"]["current"], json!(1), "{event}");
        assert!(data["cpu"]["usage"]["total"].is_u64(), "{event}");
    };
    let once = oci.run(&["events", "--stats", &id]).succeeds().stdout;
    assert_eq!(once.lines().count(), 1);
    check(&once);
    let mut child = oci
        .command(&["events", "--interval", "20ms", &id])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    for _ in 0..3 {
        check(&lines.next().expect("a line").expect("text"));
    }
    oci.run(&["kill", &id, "KILL"]).succeeds();
    // What is still in the pipe, then its end.
    assert!(lines.all(|line| line.is_ok()));
    assert_eq!(finish(&mut child), 0, "it ends with the container");
}

#[test]
fn a_kill_for_want_of_memory_is_told() {
    let oci = Oci::new();
    let bundle = Bundle::new(&["sleep", "1000"], |spec| {
        spec["linux"]["resources"]["memory"] = json!({"limit": 16 << 20, "swap": 16 << 20});
    })
    .expect("a bundle");
    let id = oci.start("oom", &bundle);
    let mut child = oci
        .command(&["events", "--interval", "1h", &id])
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    // It watches once it sleeps in poll: an eventfd or inotify is open by then.
    let watching = |pid: u32| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
        fds.flatten()
            .filter_map(|fd| std::fs::read_link(fd.path()).ok())
            .any(|link| {
                let link = link.display().to_string();
                link.contains("eventfd") || link.contains("inotify")
            })
    };
    let asleep = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        stat.contains("poll")
    };
    common::eventually("it watches", || watching(child.id()) && asleep(child.id()));
    // tail keeps an endless line in memory.
    let done = oci.run(&["exec", &id, "tail", "/dev/zero"]);
    assert_eq!(done.code, 137, "{done:?}");
    let line = lines.next().expect("a line").expect("text");
    let event: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(event, json!({"type": "oom", "id": id}));
    assert_eq!(oci.status(&id), "running", "the first process lives on");
    oci.run(&["delete", "--force", &id]).succeeds();
    assert_eq!(finish(&mut child), 0);
}

#[test]
fn lines_for_resctrl_need_a_resctrl() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("rdt", &bundle);
    for option in ["--l3-cache-schema", "--mem-bw-schema"] {
        let line = ["update", option, "L3:0=1", "--pids-limit", "77", &id];
        let mounted = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        if mounted.contains(" - resctrl ") {
            oci.run(&line).succeeds();
        } else {
            oci.run(&line)
                .fails(1, &["linux.intelRdt", "mount -t resctrl"]);
        }
    }
}
