//! A runtime in a container whose seccomp profile is older than clone3 (2019): the answer is ENOSYS (of
//! older runtimes EPERM, with which no program of today's C library makes a thread, this one neither),
//! and the launch falls back to clone. This test program is the container's program.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use std::os::fd::AsFd;

use common::{Bundle, piped};
use container::{Gate, Rootfs};
use serde_json::json;

const INSIDE: &str = "COFFER_TEST_INSIDE";

/// Names of the capabilities that we have.
fn capabilities() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = status
        .lines()
        .find_map(|l| l.strip_prefix("CapBnd:"))
        .unwrap()
        .trim();
    let bounding = u64::from_str_radix(bounding, 16).unwrap();
    let names = oci::runtime::capability::NAMES.iter().enumerate();
    names
        .filter(|(n, _)| bounding & (1 << n) != 0)
        .map(|(_, name)| *name)
        .collect()
}

#[test]
fn without_clone3_containers_start_all_the_same() {
    if std::env::var_os(INSIDE).is_some() {
        let ran = Bundle::script("echo inside $$").run();
        assert_eq!(ran.ok(), "inside 1");
        return;
    }
    let mut outer = Bundle::new();
    let me = std::env::current_exe().unwrap();
    outer.json["process"]["args"] = json!([
        me,
        "--exact",
        "without_clone3_containers_start_all_the_same"
    ]);
    outer.json["process"]["env"] = json!([format!("{INSIDE}=1"), "PATH=/bin:/usr/bin"]);
    let all = json!(capabilities());
    outer.json["process"]["capabilities"] =
        json!({"bounding": all, "effective": all, "permitted": all});
    outer.json["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    outer.json["hostname"] = json!("");
    outer.json["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid"}]);
    outer.json["linux"]["maskedPaths"] = json!([]);
    outer.json["linux"]["readonlyPaths"] = json!([]);
    outer.json["linux"]["resources"] = json!({"devices": [{"allow": true, "access": "rwm"}]});
    outer.json["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
    });
    let spec = outer.spec();
    let (stdio, output) = piped();
    let mut request = outer.request(&spec, stdio, Gate::None);
    request.rootfs = Rootfs::Path("/".into());
    let container = common::engine()
        .create(request)
        .unwrap_or_else(|e| panic!("{}", common::chain(&e)));
    let (stdout, stderr) = output.read();
    let ended = sys::wait::wait(container.init.pidfd.as_fd()).unwrap();
    container::destroy(&container.as_ref(&spec, outer.dir.path())).unwrap();
    assert!(
        stdout.contains("1 passed") && ended.exit.code() == 0,
        "{stdout} {stderr}"
    );
}
