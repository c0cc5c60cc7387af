//! Limits of cgroup v2 as the kernel then has them. They need a machine whose controllers are all in its
//! cgroup2, so they are ignored elsewhere; the tests in virtual machines run them.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test")]

mod cgroup_support;

use std::fs;

use cgroup_support::*;

#[test]
#[ignore = "needs every controller in cgroup v2"]
fn memory_limits_move_up_down_and_away_in_any_order() {
    let cgroup = TestCgroup::new(&host(), "memory");
    for (limit, swap, want) in [
        (64 << 20, 128 << 20, ["67108864", "67108864"]),
        (256 << 20, 512 << 20, ["268435456", "268435456"]),
        (32 << 20, 32 << 20, ["33554432", "0"]),
        (1 << 30, -1, ["1073741824", "max"]),
        (16 << 20, 16 << 20, ["16777216", "0"]),
        (-1, 0, ["max", "max"]),
        // Nothing said, nothing changed.
        (0, 0, ["max", "max"]),
    ] {
        let json = format!(r#"{{"memory":{{"limit":{limit},"swap":{swap}}}}}"#);
        apply(&cgroup, &json).unwrap();
        let has = ["memory.max", "memory.swap.max"].map(|name| file(&cgroup, "memory", name));
        assert_eq!(has, want, "{json}");
    }
    apply(&cgroup, r#"{"memory":{"reservation":33554432}}"#).unwrap();
    assert_eq!(file(&cgroup, "memory", "memory.low"), "33554432");
    apply(&cgroup, r#"{"memory":{"limit":67108864}}"#).unwrap();
    let usage = cgroup.stats().unwrap().memory.unwrap();
    assert_eq!(usage.usage.limit, 67_108_864);
}

#[test]
#[ignore = "needs every controller in cgroup v2"]
fn cpu_pids_and_cpuset_limits_arrive() {
    let cgroup = TestCgroup::new(&host(), "limits");
    let json = r#"{"cpu":{"shares":512,"quota":20000,"period":50000,"burst":10000,
                          "cpus":"0","mems":"0"},
                   "pids":{"limit":17}}"#;
    apply(&cgroup, json).unwrap();
    for (name, want) in [
        ("cpu.max", "20000 50000"),
        ("cpu.max.burst", "10000"),
        ("cpuset.cpus", "0"),
        ("cpuset.cpus.effective", "0"),
        ("cpuset.mems", "0"),
        ("pids.max", "17"),
    ] {
        assert_eq!(file(&cgroup, "", name), want, "{name}");
    }
    let weight: u32 = file(&cgroup, "", "cpu.weight").parse().unwrap();
    assert!(
        (1..100).contains(&weight),
        "{weight} for half the usual shares"
    );
    // The quota falls below the old burst, then everything is lifted.
    apply(&cgroup, r#"{"cpu":{"quota":5000,"burst":1000}}"#).unwrap();
    assert_eq!(file(&cgroup, "", "cpu.max"), "5000 50000");
    assert_eq!(file(&cgroup, "", "cpu.max.burst"), "1000");
    let lifted = r#"{"cpu":{"quota":-1,"burst":0,"idle":1},"pids":{"limit":-1}}"#;
    apply(&cgroup, lifted).unwrap();
    assert_eq!(file(&cgroup, "", "cpu.max"), "max 50000");
    assert_eq!(file(&cgroup, "", "cpu.idle"), "1");
    assert_eq!(file(&cgroup, "", "pids.max"), "max");
    // From idle to a weight: the weight is only taken after the flag is gone.
    apply(&cgroup, r#"{"cpu":{"shares":2048,"idle":0}}"#).unwrap();
    assert_eq!(file(&cgroup, "", "cpu.idle"), "0");
    let said = apply(&cgroup, r#"{"cpu":{"cpus":"4000"}}"#).unwrap_err();
    let said = said.to_string();
    assert!(
        said.starts_with("set cpu.cpus: write \"4000\" to /"),
        "{said}"
    );
}

#[test]
#[ignore = "needs every controller in cgroup v2"]
fn block_throttles_name_a_device() {
    let cgroup = TestCgroup::new(&host(), "throttle");
    let device = fs::read_dir("/sys/block").unwrap().next();
    let device = device.expect("a block device").unwrap();
    let number = fs::read_to_string(device.path().join("dev")).unwrap();
    let (major, minor) = number.trim().split_once(':').unwrap();
    let at = format!(r#""major":{major},"minor":{minor}"#);
    let json = format!(
        r#"{{"blockIO":{{"throttleReadBpsDevice":[{{{at},"rate":1048576}}],
            "throttleWriteIOPSDevice":[{{{at},"rate":100}}]}}}}"#
    );
    apply(&cgroup, &json).unwrap();
    let want = format!("{major}:{minor} rbps=1048576 wbps=max riops=max wiops=100");
    assert_eq!(file(&cgroup, "", "io.max"), want);
}

#[test]
#[ignore = "needs every controller in cgroup v2"]
fn files_named_directly_are_written_and_v1_settings_are_errors() {
    let cgroup = TestCgroup::new(&host(), "unified");
    let json = r#"{"unified":{"memory.high":"33554432","pids.max":"9","cpu.weight":"77"}}"#;
    apply(&cgroup, json).unwrap();
    for (name, want) in [
        ("memory.high", "33554432"),
        ("pids.max", "9"),
        ("cpu.weight", "77"),
    ] {
        assert_eq!(file(&cgroup, "", name), want, "{name}");
    }
    for (json, setting) in [
        (r#"{"memory":{"kernel":33554432}}"#, "memory.kernel"),
        (r#"{"memory":{"swappiness":10}}"#, "memory.swappiness"),
        (
            r#"{"memory":{"disableOOMKiller":true}}"#,
            "memory.disableOOMKiller",
        ),
        (r#"{"network":{"classID":5}}"#, "network.classID"),
        (r#"{"cpu":{"realtimeRuntime":1000}}"#, "cpu.realtimeRuntime"),
        (r#"{"unified":{"memory.none":"1"}}"#, "no memory.none in"),
    ] {
        let said = apply(&cgroup, json).unwrap_err().to_string();
        assert!(said.contains(setting), "{json}: {said}");
    }
}

#[test]
#[ignore = "needs every controller in cgroup v2"]
fn a_process_over_its_limit_is_killed_and_counted() {
    let cgroup = TestCgroup::new(&host(), "oom");
    apply(&cgroup, r#"{"memory":{"limit":8388608,"swap":8388608}}"#).unwrap();
    let mut child = run_in(&cgroup, "exec tail /dev/zero");
    assert_eq!(child.end(), 9);
    let events = file(&cgroup, "", "memory.events");
    let kills = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    assert_eq!(kills, Some("1"), "{events}");
}
