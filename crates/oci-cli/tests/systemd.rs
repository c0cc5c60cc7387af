//! `--systemd-cgroup` against a real systemd, which has its own word: for a machine whose first process is systemd
//! with a bus and cgroup v2. The tests in virtual machines make one; a systemd that is played is in the core's tests.

mod common;

use std::collections::BTreeMap;
use std::process::Command;

use common::{Oci, eventually};
use serde_json::json;
use testing::bundle::Bundle;

const NEEDS: &str = "needs systemd as the first process";

/// What systemd says of a unit.
fn show(unit: &str) -> BTreeMap<String, String> {
    let output = Command::new("systemctl").args(["show", unit]).output();
    let output = output.expect("systemctl starts");
    assert!(output.status.success(), "{NEEDS}: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// A sleeping bundle in the scope `coffer-<id>.scope` of `slice`, with limits.
fn bundle(slice: &str, id: &str) -> Bundle {
    Bundle::new(&["sleep", "1000"], |spec| {
        spec["linux"]["cgroupsPath"] = json!(format!("{slice}:coffer:{id}"));
        spec["linux"]["resources"] = json!({
            "memory": {"limit": 64 << 20},
            "cpu": {"quota": 20000, "period": 100_000, "shares": 512},
            "pids": {"limit": 55},
        });
        spec["annotations"] = json!({
            "org.systemd.property.TimeoutStopUSec": "uint64 5000000",
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
        });
    })
    .expect("a bundle")
}

fn create(oci: &Oci, id: &str, bundle: &Bundle) {
    let path = bundle.path().to_str().expect("UTF-8");
    oci.detached(&["--systemd-cgroup", "create", "--bundle", path, id])
        .succeeds();
    oci.run(&["--systemd-cgroup", "start", id]).succeeds();
}

fn file(slice: &str, unit: &str, name: &str) -> String {
    let path = format!("/sys/fs/cgroup/{slice}/{unit}/{name}");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| format!("{path}: {e}"));
    text.trim().to_owned()
}

#[test]
#[ignore = "needs systemd as the first process"]
fn a_container_is_a_scope_with_its_limits_until_it_is_deleted() {
    let oci = Oci::new();
    let (id, slice) = (oci.id("scope"), "coffertest.slice");
    let unit = format!("coffer-{id}.scope");
    let bundle = bundle(slice, &id);
    create(&oci, &id, &bundle);
    let said = show(&unit);
    for (property, value) in [
        ("ActiveState", "active"),
        ("SubState", "running"),
        ("Slice", slice),
        ("Delegate", "yes"),
        ("MemoryMax", "67108864"),
        ("CPUQuotaPerSecUSec", "200ms"),
        ("TasksMax", "55"),
        ("DevicePolicy", "strict"),
        ("TimeoutStopUSec", "5s"),
        ("CollectMode", "inactive-or-failed"),
    ] {
        assert_eq!(said[property], value, "{property} of {unit}");
    }
    assert_eq!(said["ControlGroup"], format!("/{slice}/{unit}"));
    // The first process and an exec are in it.
    let place = format!("0::/{slice}/{unit}");
    let pid = oci.state(&id)["pid"].to_string();
    let of_init = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a process");
    assert!(of_init.trim().starts_with(&place), "{of_init}");
    let exec = oci.run(&["--systemd-cgroup", "exec", &id, "cat", "/proc/self/cgroup"]);
    assert_eq!(
        exec.succeeds().stdout.trim(),
        "0::/",
        "a cgroup namespace of the container's"
    );

    // New limits are systemd's too: a reload changes nothing.
    oci.run(&[
        "--systemd-cgroup",
        "update",
        "--memory",
        "32m",
        "--pids-limit",
        "44",
        &id,
    ])
    .succeeds();
    let reload = Command::new("systemctl").arg("daemon-reload").status();
    assert!(reload.expect("systemctl starts").success());
    let said = show(&unit);
    assert_eq!(
        (said["MemoryMax"].as_str(), said["TasksMax"].as_str()),
        ("33554432", "44")
    );
    assert_eq!(file(slice, &unit, "memory.max"), "33554432");
    assert_eq!(file(slice, &unit, "pids.max"), "44");
    assert_eq!(file(slice, &unit, "cpu.max"), "20000 100000");

    // Paused and resumed, killed, deleted: the unit goes with the container.
    oci.run(&["--systemd-cgroup", "pause", &id]).succeeds();
    assert_eq!(oci.status(&id), "paused");
    oci.run(&["--systemd-cgroup", "resume", &id]).succeeds();
    oci.run(&["--systemd-cgroup", "delete", "--force", &id])
        .succeeds();
    assert_eq!(show(&unit)["LoadState"], "not-found");
    assert!(!std::path::Path::new(&format!("/sys/fs/cgroup/{slice}/{unit}")).exists());
}

#[test]
#[ignore = "needs systemd as the first process"]
fn a_stopped_scope_ends_its_container() {
    let oci = Oci::new();
    let (id, slice) = (oci.id("stopped"), "coffertest-stopped.slice");
    let unit = format!("coffer-{id}.scope");
    let bundle = bundle(slice, &id);
    create(&oci, &id, &bundle);
    let stop = Command::new("systemctl").args(["stop", &unit]).status();
    assert!(stop.expect("systemctl starts").success());
    eventually("the container's end", || oci.status(&id) == "stopped");
    oci.run(&["--systemd-cgroup", "delete", &id]).succeeds();
    assert_eq!(show(&unit)["LoadState"], "not-found");
}

#[test]
#[ignore = "needs systemd as the first process"]
fn a_name_that_is_taken_and_a_property_that_systemd_refuses_are_told() {
    let oci = Oci::new();
    let (id, slice) = (oci.id("refused"), "system.slice");
    let refused = Bundle::new(&["sleep", "1000"], |spec| {
        spec["linux"]["cgroupsPath"] = json!(format!("{slice}:coffer:{id}"));
        spec["annotations"] = json!({"org.systemd.property.NoSuchThing": "true"});
    });
    let refused = refused.expect("a bundle");
    let path = refused.path().to_str().expect("UTF-8");
    let done = oci.detached(&["--systemd-cgroup", "create", "--bundle", path, &id]);
    assert!(
        done.code != 0 && done.stderr.contains("NoSuchThing"),
        "{done:?}"
    );
    assert_eq!(
        show(&format!("coffer-{id}.scope"))["LoadState"],
        "not-found"
    );
    // The name is free: the next one takes it.
    let bundle = bundle(slice, &id);
    create(&oci, &id, &bundle);
    assert_eq!(oci.status(&id), "running");
}
