//! What cannot be: a sentence that names the act, the object and the cause, and nothing left behind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use common::{Bundle, cgroup_gone};
use serde_json::json;

#[test]
fn a_failing_step_is_told_and_leaves_nothing() {
    let cases: [(&str, serde_json::Value, &str); 15] = [
        (
            "/process/args",
            json!(["nothing"]),
            "exec: \"nothing\": executable file not found in $PATH",
        ),
        (
            "/process/args",
            json!(["/none"]),
            "exec: \"/none\": no such file or directory",
        ),
        ("/process/args", json!([]), "process.args: names no program"),
        (
            "/process/cwd",
            json!("relative"),
            "process.cwd: \"relative\" is not an absolute path",
        ),
        ("/process/cwd", json!("/etc/passwd"), "/etc/passwd"),
        (
            "/mounts/0",
            json!({"destination": "/proc", "type": "nofs"}),
            "mount nofs at /proc",
        ),
        (
            "/mounts/0",
            json!({"destination": "/x", "type": "bind", "source": "/no/such", "options": ["rbind"]}),
            "bind mount /no/such at /x: No such file or directory",
        ),
        (
            "/mounts/1",
            json!({"destination": "/dev", "type": "tmpfs", "options": ["size=banana"]}),
            "mount tmpfs at /dev (size=banana): take an option: invalid argument",
        ),
        (
            "/linux/sysctl",
            json!({"net.nope": "1"}),
            "write \"1\" to sys/net/nope: open: no such file",
        ),
        (
            "/linux/sysctl",
            json!({"kernel.pid_max": "9"}),
            "linux.sysctl kernel.pid_max: it belongs to the host",
        ),
        (
            "/linux/sysctl",
            json!({"net.ipv4/../../kernel/pid_max": "9"}),
            "it belongs to the host",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1_000_000_000}]),
            "set RLIMIT_NOFILE to 1:1000000000: operation not permitted",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "mount"}, {"type": "ipc", "path": "/proc/self/ns/net"}]),
            "/proc/self/ns/net is not a ipc namespace",
        ),
        (
            "/process/apparmorProfile",
            json!("x"),
            // Where it is enabled, the profile is not loaded.
            match std::path::Path::new("/sys/kernel/security/apparmor").is_dir() {
                true => "apply apparmor profile `x`: profile not loaded",
                false => "AppArmor is not enabled",
            },
        ),
        (
            "/linux/rootfsPropagation",
            json!("odd"),
            "linux.rootfsPropagation: \"odd\" is none of",
        ),
    ];
    for (pointer, value, text) in cases {
        let mut bundle = Bundle::new();
        bundle.json["process"]["rlimits"] = json!([]);
        bundle.json["process"]["apparmorProfile"] = json!(null);
        bundle.json["linux"]["sysctl"] = json!({});
        bundle.json["linux"]["rootfsPropagation"] = json!(null);
        if pointer == "/linux/namespaces" {
            bundle.json["hostname"] = json!("");
        }
        *bundle.json.pointer_mut(pointer).unwrap() = value;
        let said = bundle.fails();
        assert!(said.contains(text), "{pointer}: {said}");
        assert!(
            cgroup_gone(bundle.id.as_str()),
            "{pointer}: the cgroup is there"
        );
    }
}

/// S5: whatever an image puts where mounts go, nothing outside changes.
#[test]
fn links_in_the_root_lead_nowhere_else() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    for name in ["dev", "proc", "sys", "etc"] {
        for target in [
            outside.path().to_str().unwrap().to_owned(),
            "../../../..".into(),
            "/tmp".into(),
        ] {
            let bundle = Bundle::script("true");
            let path = bundle.root().join(name);
            std::fs::remove_dir_all(&path).unwrap();
            symlink(&target, &path).unwrap();
            // It runs inside, or fails with a sentence; both leave the outside as it is.
            match bundle.try_run() {
                Ok(_) => {}
                Err(e) => assert!(!common::chain(&e).is_empty()),
            }
            assert_eq!(
                std::fs::read_dir(outside.path()).unwrap().count(),
                0,
                "{name} -> {target}"
            );
            assert!(cgroup_gone(bundle.id.as_str()));
        }
    }
    for name in ["dev", "proc", "sys"] {
        let bundle = Bundle::script("true");
        let path = bundle.root().join(name);
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::write(&path, "a file").unwrap();
        let said = bundle.fails();
        assert!(said.contains(&format!("/{name}")), "{said}");
        let bundle = Bundle::script("true");
        std::fs::remove_dir_all(bundle.root().join(name)).unwrap();
        bundle.run().ok();
    }
    let bundle = Bundle::script("true");
    std::fs::remove_dir_all(bundle.root().join("proc")).unwrap();
    symlink("/tmp", bundle.root().join("proc")).unwrap();
    let said = bundle.fails();
    assert!(
        said.contains("mount proc at /proc") && said.contains("symbolic links"),
        "{said}"
    );
}

#[test]
fn a_dangling_link_on_the_way_to_a_mount_point_is_followed_inside() {
    use std::os::unix::fs::symlink;
    let mut bundle = Bundle::script("cat /etc/resolv.conf; cat /run/resolve/stub");
    symlink("../run/resolve/stub", bundle.root().join("etc/resolv.conf")).unwrap();
    std::fs::write(bundle.dir.path().join("resolv"), "nameserver 1.1.1.1\n").unwrap();
    bundle.json["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/etc/resolv.conf", "type": "bind", "source": "resolv", "options": ["bind", "ro"],
    }));
    assert_eq!(bundle.run().ok(), "nameserver 1.1.1.1\nnameserver 1.1.1.1");
}
