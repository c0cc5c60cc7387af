//! The core's tests, and those of coffer-oci, as they are on the host: on a machine with cgroup v2 only,
//! every controller, AppArmor, and all of root's capabilities.

use std::time::Duration;

use vm_tests::programs::{self, binary};
use vm_tests::suite::Suite;

/// Those that only compute, race against time, are about v1, or play what the guest has not (systemd's bus,
/// an ordinary user with a program of his own) are left to the host.
const CORE: [&str; 14] = [
    "cgroup",
    "cgroup_limits",
    "cgroup_limits_v2",
    "root_exec",
    "root_fail",
    "root_fields",
    "root_identity",
    "root_mounts",
    "root_nested",
    "root_notify",
    "root_run",
    "root_security",
    "root_v2",
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
fn the_core_runs_containers() {
    Suite {
        programs: programs::of("container", &CORE),
        helpers: vec![],
        without: &V1,
        env: &[],
        modules: &["tun", "veth"],
        deadline: PATIENCE,
    }
    .run();
}

#[test]
fn coffer_oci_runs_bundles() {
    Suite {
        programs: programs::of("oci-cli", &OCI),
        helpers: vec![binary("coffer-oci")],
        without: &[],
        env: &[],
        modules: &[],
        deadline: PATIENCE,
    }
    .run();
}

/// On a quiet machine it takes a minute or so; on a busy one much more.
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
