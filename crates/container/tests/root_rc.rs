//! A document of the 1.0.0-rc form, run: what it says in its own words holds in the container.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use common::{Bundle, Live, piped};
use container::Gate;
use oci::runtime::{machine, parse, validate};
use serde_json::json;

#[test]
fn a_document_of_the_rc_form_runs_as_it_says() {
    let mut bundle = Bundle::script(
        "grep ^Cap /proc/self/status | cut -f2; cat /proc/self/oom_score_adj; mkdir /tmp/x; \
         stat -c %a:%t:%T /dev/mine; cat /sys/fs/cgroup/memory/memory.oom_control | head -n 1; \
         cat /sys/fs/cgroup/memory/memory.soft_limit_in_bytes; ulimit -n; id -G; \
         cat /proc/sys/net/ipv4/ip_forward; test -r /proc/1/environ && echo proc",
    );
    bundle.json["ociVersion"] = json!("1.0.0-rc1");
    bundle.json["platform"] = json!({"os": "linux", "arch": machine()});
    bundle.json["process"]["capabilities"] = json!(["CAP_KILL", "CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
    bundle.json["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [7]});
    bundle.json["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "hard": 99, "soft": 88}]);
    bundle.json["hooks"] = json!({"prestart": null});
    let linux = &mut bundle.json["linux"];
    linux["namespaces"].as_array_mut().unwrap()[0]["path"] = json!("");
    linux["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    // A Go writer's kind of file is above the low 12 bits.
    linux["devices"] = json!([{"path": "/dev/mine", "type": "u", "major": 1, "minor": 3,
        "fileMode": 0o20640, "uid": null}]);
    linux["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": null, "syscalls": [
        {"name": "mkdir", "action": "SCMP_ACT_ERRNO"}, {"name": "mkdirat", "action": "SCMP_ACT_ERRNO"},
        {"name": "no_such_call", "action": "SCMP_ACT_KILL"}]});
    linux["resources"] = json!({
        "devices": null, "disableOOMKiller": true, "oomScoreAdj": 77,
        "memory": {"limit": 67_108_864, "reservation": 33_554_432, "swap": 18_446_744_073_709_551_615_u64,
            "kernel": null, "kernelTCP": null, "swappiness": 10},
        "cpu": {"shares": 512, "quota": 18_446_744_073_709_551_615_u64, "cpus": null},
        "pids": {"limit": 50}, "network": {"classID": null},
    });
    // cgroup2 has neither of the two and other names.
    let v2 = common::engine().hierarchy().is_v2();
    if v2 {
        let resources = linux["resources"].as_object_mut().unwrap();
        resources.remove("disableOOMKiller");
        resources["memory"]
            .as_object_mut()
            .unwrap()
            .remove("swappiness");
        let script = bundle.json["process"]["args"][2].as_str().unwrap();
        let script = script
            .replace(
                "cat /sys/fs/cgroup/memory/memory.oom_control | head -n 1",
                "echo oom_kill_disable 1",
            )
            .replace(
                "/sys/fs/cgroup/memory/memory.soft_limit_in_bytes",
                "/sys/fs/cgroup/memory.low",
            );
        bundle.json["process"]["args"][2] = json!(script);
    }
    let spec = parse(bundle.json.to_string().as_bytes()).unwrap();
    validate(&spec).unwrap();
    let (stdio, output) = piped();
    let mut live = Live::create(&bundle, &spec, stdio, Gate::Pipe).unwrap();
    live.container.start().unwrap();
    let ran = live.finish(output);
    let caps = "0000000000000023";
    let none = "0000000000000000";
    let wanted = format!(
        "{none}\n{caps}\n{caps}\n{caps}\n{none}\n77\n640:1:3\noom_kill_disable 1\n33554432\n88\n0 7\n1\nproc\n"
    );
    assert_eq!(ran.stdout, wanted, "{ran:?}");
    assert!(ran.stderr.contains("Operation not permitted"), "{ran:?}");
}
