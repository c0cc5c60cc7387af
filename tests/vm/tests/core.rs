//! The core's tests, and those of coffer-oci, as they are on the host: on a machine with cgroup v2 only,
//! every controller, AppArmor, and all of root's capabilities.

#![allow(clippy::panic, reason = "a test that cannot go on fails")]

use std::process::Command;
use std::time::Duration;

use vm_tests::programs::{self, Program, binary};
use vm_tests::suite::Suite;

/// Those that only compute, race against time, are about v1, or play what the guest has not (systemd's bus,
/// an ordinary user with a program of his own) are left to the host.
const LIMITS: [&str; 6] = [
    "cgroup",
    "cgroup_limits",
    "cgroup_limits_v2",
    "root_v2",
    "root_exec",
    "root_fail",
];
const LAUNCH: [&str; 8] = [
    "root_fields",
    "root_identity",
    "root_mounts",
    "root_nested",
    "root_notify",
    "root_run",
    "root_security",
    "seccomp",
];

/// Errors, documents and the command line are the same everywhere.
const OCI: [&str; 6] = [
    "clean_start",
    "exec",
    "fields",
    "foreground",
    "lifecycle",
    "resources",
];

#[test]
fn the_core_limits_containers() {
    Suite {
        without: &V1,
        modules: &["tun", "veth"],
        ..suite(programs::of("container", &LIMITS))
    }
    .run();
}

#[test]
fn the_core_runs_containers() {
    Suite {
        modules: &["tun", "veth"],
        ..suite(programs::of("container", &LAUNCH))
    }
    .run();
}

#[test]
fn coffer_oci_runs_bundles() {
    Suite {
        helpers: vec![binary("coffer-oci")],
        ..suite(programs::of("oci-cli", &OCI))
    }
    .run();
}

/// What the tests of `root_apparmor` expect to be loaded.
const PROFILE: &str = "abi <abi/3.0>,
profile coffer-test flags=(attach_disconnected, mediate_deleted) {
  file, capability, network, mount, umount, pivot_root, signal, ptrace, unix,
  deny /denied/** wlk,
}
";

#[test]
fn apparmor_confines_containers() {
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    let (text, compiled) = (dir.path().join("profile"), dir.path().join("compiled"));
    std::fs::write(&text, PROFILE).unwrap_or_else(|e| panic!("{e}"));
    // The features of a kernel: this machine's may have no AppArmor.
    let mut command = Command::new("apparmor_parser");
    command.args(["--stdout", "--skip-cache", "-M", "/etc/apparmor.d/abi/3.0"]);
    let output = command.arg(&text).output();
    let output = output.unwrap_or_else(|e| panic!("apparmor_parser: {e} (package apparmor)"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "apparmor_parser: {said}");
    std::fs::write(&compiled, output.stdout).unwrap_or_else(|e| panic!("{e}"));
    Suite {
        files: &[(compiled, "/etc/coffer-test".into())],
        before: "cat /etc/coffer-test > /sys/kernel/security/apparmor/.load",
        ..suite(programs::of("container", &["root_apparmor"]))
    }
    .run();
}

#[test]
fn systemd_keeps_the_cgroups() {
    Suite {
        helpers: vec![binary("coffer-oci")],
        systemd: true,
        ..suite(programs::of("oci-cli", &["systemd"]))
    }
    .run();
}

fn suite(programs: Vec<Program>) -> Suite<'static> {
    Suite {
        programs,
        helpers: vec![],
        without: &[],
        env: &[],
        files: &[],
        before: "",
        systemd: false,
        modules: &[],
        deadline: PATIENCE,
    }
}

/// Each takes one or two minutes; on a busy machine twice as long.
const PATIENCE: Duration = Duration::from_secs(500);

const ITS_FILES: &str = "it is about the files of cgroup v1";

/// Tests for the host's hybrid hierarchy alone.
const V1: [(&str, &str); 5] = [
    (
        "container::cgroup::a_device_rule_that_v1_would_ignore_is_refused",
        "v2 keeps such a rule",
    ),
    (
        "container::cgroup_limits::memory_limits_move_up_down_and_away_in_any_order",
        ITS_FILES,
    ),
    (
        "container::cgroup_limits::settings_that_the_kernel_only_pretends_to_take_are_errors",
        ITS_FILES,
    ),
    (
        "container::cgroup_limits::cpu_pids_cpuset_and_block_limits_arrive",
        ITS_FILES,
    ),
    (
        "container::cgroup_limits::block_throttles_name_a_device",
        ITS_FILES,
    ),
];
