//! A runtime without privileges: the container's user namespace is all it has. This test program runs
//! itself again as an ordinary user.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

use common::{Bundle, Live, piped, process};
use container::Gate;
use rustix::{
    mount::{MountPropagationFlags, mount_bind, mount_change},
    thread::UnshareFlags,
};
use serde_json::json;

const INSIDE: &str = "COFFER_TEST_ROOTLESS";
const USER: u32 = 54321;

fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs one test of this program as an ordinary user, in a cgroup if one is named.
fn as_user(test: &str, cgroup: Option<&Path>) {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    chown(home.path(), Some(USER), Some(USER)).unwrap();
    let program = home.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let join = cgroup.map_or(String::new(), |dir| {
        format!("echo $$ > {}/cgroup.procs; ", dir.display())
    });
    let script = format!(
        // PATH: without shadow's own newuidmap, if it is there.
        "{join}exec setpriv --reuid={USER} --regid={USER} --clear-groups --bounding-set=-all \
         env PATH={} {} --exact {test} --nocapture",
        home.path().display(),
        program.display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .env(INSIDE, "1")
        .env("TMPDIR", home.path())
        .env("HELPERS", home.path())
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn rootless(script: &str) -> Bundle {
    let mut bundle = Bundle::script(script);
    let map = |host: u32| json!([{"containerID": 0, "hostID": host, "size": 1}]);
    bundle.json["linux"]["uidMappings"] = map(rustix::process::getuid().as_raw());
    bundle.json["linux"]["gidMappings"] = map(rustix::process::getgid().as_raw());
    bundle.json["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "user"}));
    // The one group that is mapped is not devpts' 5.
    for mount in bundle.json["mounts"].as_array_mut().unwrap() {
        if let Some(options) = mount["options"].as_array_mut() {
            options.retain(|o| o != "gid=5");
        }
    }
    bundle
}

#[test]
fn an_ordinary_user_runs_containers_without_a_cgroup() {
    if !inside() {
        return as_user("an_ordinary_user_runs_containers_without_a_cgroup", None);
    }
    let mut bundle = rootless(
        "id -u; hostname; echo > /dev/null && head -c 1 /dev/zero | wc -c; cat /proc/kcore; \
         ls -A /sys/fs/cgroup; touch /sys/fs/cgroup/x || echo empty; cat /data; \
         cat /proc/self/setgroups; exec sleep 100",
    );
    let data = bundle.dir.path().join("data");
    fs::write(&data, "bound").unwrap();
    bundle.json["mounts"].as_array_mut().unwrap().push(
        json!({"destination": "/data", "source": data, "type": "bind", "options": ["rbind", "ro"]}),
    );
    let spec = bundle.spec();
    let (stdio, output) = piped();
    let mut live = Live::create(&bundle, &spec, stdio, Gate::Pipe).unwrap();
    assert!(live.container.cgroup.is_none());
    assert!(live.container.cgroup.record().path.is_empty());
    live.container.start().unwrap();
    // It shares our id: what it may not look into is us.
    let ran = live.exec(process(&[
        "sh",
        "-c",
        "id -u; tr -s ' ' < /proc/self/uid_map",
    ]));
    assert_eq!(ran.ok(), format!("0\n 0 {USER} 1"));
    let all_said = "until [ \"$(cat /proc/1/comm)\" = sleep ]; do sleep 0.02; done";
    live.exec(process(&["sh", "-c", all_said])).ok();
    container::destroy(&live.container.as_ref(&spec, bundle.dir.path())).unwrap();
    let (stdout, stderr) = output.read();
    assert_eq!(stdout, "0\nbox\n1\nempty\nbounddeny\n", "{stderr}");

    bundle.json["linux"]["resources"] = json!({"pids": {"limit": 5}});
    let said = bundle.fails();
    assert!(
        said.starts_with("cannot set pids limit: ") && said.contains("Permission denied"),
        "{said}"
    );
    bundle.json["linux"]["resources"] = json!({});
    bundle.json["process"]["user"]["additionalGids"] = json!([7]);
    let said = bundle.fails();
    assert!(
        said.contains("additionalGids is not supported: without CAP_SETGID"),
        "{said}"
    );
    bundle.json["process"]["user"] = json!({});
    let of_us = json!({"containerID": 0, "hostID": USER, "size": 1});
    let map = json!([of_us, {"containerID": 1, "hostID": 100_000, "size": 9}]);
    bundle.json["linux"]["uidMappings"] = map;
    // The programs that may do more are asked, by its path with what they are told; here they refuse.
    let helper = Path::new(&std::env::var_os("HELPERS").unwrap()).join("newuidmap");
    let write = |text: &str| {
        fs::write(&helper, text).unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    };
    write("#!/bin/sh\nshift; echo \"no range for $*\" >&2; exit 1\n");
    let said = bundle.fails();
    let asked = format!("by newuidmap: no range for 0 {USER} 1 1 100000 9");
    assert!(said.contains(&asked), "{said}");
    fs::remove_file(&helper).unwrap();
    let said = bundle.fails();
    assert!(said.contains("only one's own id can be mapped"), "{said}");
    assert!(said.contains("newuidmap, which is not in PATH"), "{said}");
    bundle.json["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .retain(|n| n["type"] != "user");
    bundle.json["linux"]["uidMappings"] = json!([]);
    bundle.json["linux"]["gidMappings"] = json!([]);
    let said = bundle.fails();
    assert!(
        said.contains("a container needs a user namespace"),
        "{said}"
    );
}

#[test]
fn an_ordinary_user_has_time_namespaces_and_joins_its_own_containers() {
    if !inside() {
        return as_user(
            "an_ordinary_user_has_time_namespaces_and_joins_its_own_containers",
            None,
        );
    }
    let mut first = rootless("cut -d. -f1 /proc/uptime; exec sleep 100");
    let namespaces = first.json["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "time"}));
    first.json["linux"]["timeOffsets"] = json!({"boottime": {"secs": 100_000_000}});
    // In a new user namespace a device is a bind; this one is a link to the container's own.
    first.json["linux"]["devices"] =
        json!([{"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2}]);
    let spec = first.spec();
    let (stdio, output) = piped();
    let mut live = Live::create(&first, &spec, stdio, Gate::Pipe).unwrap();
    let error = live.try_exec(process(&["true"])).unwrap_err();
    let said = common::chain(&error);
    assert!(said.contains("start the container first"), "{said}");
    live.container.start().unwrap();
    let link = live.exec(process(&["readlink", "/dev/ptmx"]));
    assert_eq!(link.ok(), "pts/ptmx");

    let mut second = rootless("readlink /proc/self/ns/pid; readlink /proc/self/ns/user");
    let of_first = |name: &str| format!("/proc/{}/ns/{name}", live.container.init.pid);
    for (type_, name) in [("pid", "pid"), ("user", "user")] {
        let namespaces = second.json["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|n| n["type"] != type_);
        namespaces.push(json!({"type": type_, "path": of_first(name)}));
    }
    second.json["linux"]["uidMappings"] = json!([]);
    second.json["linux"]["gidMappings"] = json!([]);
    let link = |name: &str| fs::read_link(of_first(name)).unwrap().display().to_string();
    let wanted = format!("{}\n{}", link("pid"), link("user"));
    assert_eq!(second.run().ok(), wanted);
    container::destroy(&live.container.as_ref(&spec, first.dir.path())).unwrap();
    let (uptime, said) = output.read();
    let uptime: u64 = uptime.trim().parse().unwrap();
    assert!(uptime > 100_000_000, "{uptime} {said}");
}

#[test]
fn a_delegated_cgroup2_is_used() {
    if inside() {
        let mut bundle = rootless("cat /proc/self/cgroup | tail -n 1; exec sleep 100");
        bundle.json["linux"]["cgroupsPath"] = json!(format!("inner-{}", bundle.id));
        let spec = bundle.spec();
        let (stdio, _output) = piped();
        let mut live = Live::create(&bundle, &spec, stdio, Gate::Pipe).unwrap();
        live.container.start().unwrap();
        let path = live.container.cgroup.path().to_owned();
        assert!(path.starts_with("/coffer-delegated-"), "{path}");
        let of_init = fs::read_to_string(format!("/proc/{}/cgroup", live.container.init.pid));
        assert!(
            of_init
                .unwrap()
                .lines()
                .any(|line| line == format!("0::{path}"))
        );
        live.container.cgroup.freeze().unwrap();
        live.container.cgroup.thaw().unwrap();
        let seen = live.exec(process(&["sh", "-c", "tail -n 1 /proc/self/cgroup"]));
        assert_eq!(seen.ok(), "0::/");
        container::destroy(&live.container.as_ref(&spec, bundle.dir.path())).unwrap();
        assert!(!live.container.cgroup.exists());
        return;
    }
    std::thread::scope(|scope| {
        let ran = scope.spawn(|| {
            sys::thread::unshare(UnshareFlags::NEWNS).unwrap();
            let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
            mount_change("/", private).unwrap();
            if Path::new("/sys/fs/cgroup/unified").is_dir() {
                mount_bind("/sys/fs/cgroup/unified", "/sys/fs/cgroup").unwrap();
            }
            let name = format!("coffer-delegated-{}", std::process::id());
            let dir = Path::new("/sys/fs/cgroup").join(name);
            let own = dir.join("own");
            fs::create_dir_all(&own).unwrap();
            for file in [
                "",
                "cgroup.procs",
                "cgroup.subtree_control",
                "own/cgroup.procs",
            ] {
                chown(dir.join(file), Some(USER), Some(USER)).unwrap();
            }
            let ran =
                std::panic::catch_unwind(|| as_user("a_delegated_cgroup2_is_used", Some(&own)));
            fs::remove_dir(&own).unwrap();
            fs::remove_dir(&dir).unwrap();
            ran
        });
        if let Err(panic) = ran.join().unwrap() {
            std::panic::resume_unwind(panic);
        }
    });
}
