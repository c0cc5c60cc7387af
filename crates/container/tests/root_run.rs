//! Containers from create to destroy, with real namespaces, mounts and cgroups.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use std::{fs, path::Path};

use common::{Bundle, cgroup_gone};
use serde_json::json;

#[test]
fn a_plain_container_runs_and_its_code_comes_back() {
    let bundle = Bundle::script("echo hello; exit 7");
    let ran = bundle.run();
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (7, "hello\n", "")
    );
    assert!(cgroup_gone(bundle.id.as_str()));
}

#[test]
fn it_has_namespaces_of_its_own() {
    let bundle = Bundle::script(
        "echo $$; hostname; cat /proc/self/cgroup | cut -d: -f3 | sort -u; ip link | wc -l; \
         for n in mnt pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done; \
         ip -o link show lo | grep -c UP",
    );
    let ran = bundle.run();
    let lines: Vec<&str> = ran.ok().lines().collect();
    assert_eq!(&lines[..4], ["1", "box", "/", "2"], "{lines:?}");
    for (name, line) in ["mnt", "pid", "net", "ipc", "uts", "cgroup"]
        .iter()
        .zip(&lines[4..])
    {
        let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(ours.to_str().unwrap(), *line);
    }
    assert_eq!(lines[10], "1");
}

#[test]
fn a_namespace_that_is_not_named_is_ours() {
    let mut bundle = Bundle::script("readlink /proc/self/ns/net; readlink /proc/self/ns/ipc");
    bundle.json["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid"}]);
    bundle.json["hostname"] = json!("");
    let ran = bundle.run();
    for (name, line) in ["net", "ipc"].iter().zip(ran.ok().lines()) {
        let ours = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_eq!(ours.to_str().unwrap(), line);
    }
}

#[test]
fn devices_and_links_are_there() {
    let bundle = Bundle::script(
        "cd /dev; stat -c '%n %F %a' null zero full random urandom tty; \
         for l in fd stdin stdout stderr ptmx; do readlink $l; done; echo x > null; \
         head -c 3 zero | wc -c",
    );
    let ran = bundle.run();
    let expected = "null character special file 666\nzero character special file 666\n\
        full character special file 666\nrandom character special file 666\n\
        urandom character special file 666\ntty character special file 666\n\
        /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n3";
    assert_eq!(ran.ok(), expected);
}

#[test]
fn masked_and_read_only_paths_are_so() {
    let mut bundle = Bundle::script(
        "wc -c < /proc/version; wc -c < /proc/uptime; ls /proc/fs | wc -l; ls /proc/irq | wc -l; \
         echo 1 > /proc/sys/kernel/pid_max || echo denied; touch /sys/x || echo denied",
    );
    bundle.json["linux"]["maskedPaths"] = json!([
        "/proc/version",
        "/proc/uptime",
        "/proc/fs",
        "/proc/irq",
        "/proc/none"
    ]);
    let ran = bundle.run();
    assert_eq!(ran.stdout, "0\n0\n0\n0\ndenied\ndenied\n", "{ran:?}");
}

#[test]
fn masked_and_read_only_paths_lead_over_links() {
    let mut bundle = Bundle::script(
        "cat /real/dir/file /real/dir/other /real/secret /top /second; ls /real/dir/sub; \
         touch /real/dir/ro/x || echo denied; touch /real/x || echo denied; touch /free/x && echo made",
    );
    let root = bundle.root();
    for dir in ["real/dir/sub", "real/dir/ro", "free"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    for file in [
        "real/dir/file",
        "real/dir/other",
        "real/dir/sub/inner",
        "real/secret",
        "top",
        "second",
    ] {
        std::fs::write(root.join(file), "seen\n").unwrap();
    }
    // On the way, at the end, both, and to the directory that the link is in.
    for (to, from) in [
        ("real/dir", "link"),
        ("dir/other", "real/other"),
        ("real", "up"),
        (".", "real/here"),
    ] {
        std::os::unix::fs::symlink(to, root.join(from)).unwrap();
    }
    bundle.json["linux"]["maskedPaths"] = json!([
        "/real/secret",
        "/link/file",
        "/link/file/below",
        "/link/none",
        "/link/none/below",
        "/up/other",
        "/top",
        "/link/sub",
        "/second"
    ]);
    bundle.json["linux"]["readonlyPaths"] = json!(["/up/dir/ro", "/up/dir/none", "/real/here"]);
    let ran = bundle.run();
    assert_eq!(ran.stdout, "denied\ndenied\nmade\n", "{ran:?}");
    assert!(!root.join("real/dir/none").exists());
}

#[test]
fn the_root_can_be_read_only() {
    let mut bundle =
        Bundle::script("touch /x || echo denied; touch /tmp/x; touch /dev/shm/x && echo ok");
    bundle.json["root"]["readonly"] = json!(true);
    let ran = bundle.run();
    assert_eq!(ran.stdout, "denied\nok\n", "{ran:?}");
    assert!(!bundle.root().join("x").exists());
}

#[test]
fn its_cgroup_is_all_it_sees_of_cgroups() {
    let v2 = common::engine().hierarchy().is_v2();
    let (dir, members) = if v2 {
        ("", "cgroup.procs")
    } else {
        ("/pids", "tasks")
    };
    let bundle = Bundle::script(&format!(
        "ls /sys/fs/cgroup | tr '\\n' ' '; echo; \
         cat /sys/fs/cgroup{dir}/{members}; mkdir /sys/fs/cgroup{dir}/x",
    ));
    let ran = bundle.run();
    let mut lines = ran.stdout.lines();
    let first = lines.next().unwrap();
    let there = if v2 {
        ["pids.max ", "memory.max "]
    } else {
        ["pids ", "memory "]
    };
    assert!(there.iter().all(|name| first.contains(name)), "{first}");
    assert_eq!(lines.next(), Some("1"), "{ran:?}");
    assert!(ran.stderr.contains("Read-only"), "{ran:?}");
}

#[test]
fn sysctls_are_set() {
    let mut bundle = Bundle::script(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced",
    );
    bundle.json["linux"]["sysctl"] =
        json!({"net.ipv4.ip_unprivileged_port_start": "99", "kernel.shm_rmid_forced": "1"});
    assert_eq!(bundle.run().ok(), "99\n1");
    // Of a user namespace, and of that alone.
    let host = std::fs::read_to_string("/proc/sys/user/max_net_namespaces").unwrap();
    let mut bundle = Bundle::script("cat /proc/sys/user/max_net_namespaces");
    bundle.json["linux"]["sysctl"] = json!({"user.max_net_namespaces": "7"});
    assert!(bundle.fails().contains("without a user namespace"));
    let namespaces = bundle.json["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
    for map in ["uidMappings", "gidMappings"] {
        bundle.json["linux"][map] = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    }
    assert_eq!(bundle.run().ok(), "7");
    let after = std::fs::read_to_string("/proc/sys/user/max_net_namespaces").unwrap();
    assert_eq!(after, host);
}

#[test]
fn without_pivot_the_root_is_the_same() {
    let bundle = Bundle::script("ls /; cat /etc/passwd | wc -l");
    let spec = bundle.spec();
    let (stdio, output) = common::piped();
    let mut request = bundle.request(&spec, stdio, container::Gate::None);
    request.no_pivot = true;
    let container = common::engine().create(request).unwrap();
    let (stdout, stderr) = output.read();
    assert_eq!(
        (stdout.as_str(), stderr.as_str()),
        ("bin\ndev\netc\nproc\nsys\ntmp\n2\n", "")
    );
    container::destroy(&container.as_ref(&spec, bundle.dir.path())).unwrap();
    sys::wait::wait(std::os::fd::AsFd::as_fd(&container.init.pidfd)).unwrap();
}

/// A procfs on the host until it is dropped.
struct Procfs<'a>(&'a Path);

impl<'a> Procfs<'a> {
    fn mounted(at: &'a Path) -> Self {
        let mut mount = std::process::Command::new("mount");
        let done = mount.args(["-t", "proc", "proc"]).arg(at).status().unwrap();
        assert!(done.success());
        Self(at)
    }
}

impl Drop for Procfs<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn without_pivot_no_whole_proc_lies_below() {
    let mut bundle = Bundle::script(
        "busybox unshare -mrpf busybox mount -t proc none /tmp 2>&1 && echo mounted",
    );
    for set in ["bounding", "effective", "permitted"] {
        let set = &mut bundle.json["process"]["capabilities"][set];
        set.as_array_mut().unwrap().push(json!("CAP_SETFCAP"));
    }
    let spec = bundle.spec();
    // Not that at /proc alone: a chroot of somebody has one, too.
    let other = bundle.dir.path().join("other place");
    fs::create_dir(&other).unwrap();
    let _other = Procfs::mounted(&other);
    for no_pivot in [true, false] {
        let (stdio, output) = common::piped();
        let mut request = bundle.request(&spec, stdio, container::Gate::None);
        request.no_pivot = no_pivot;
        let container = common::engine().create(request).unwrap();
        let (stdout, _) = output.read();
        assert!(stdout.contains("mount: permission denied"), "{stdout}");
        container::destroy(&container.as_ref(&spec, bundle.dir.path())).unwrap();
        sys::wait::wait(std::os::fd::AsFd::as_fd(&container.init.pidfd)).unwrap();
    }
}

#[test]
fn host_mounts_are_not_seen() {
    let ran = Bundle::script("cut -d' ' -f5 /proc/self/mountinfo | sort -u").run();
    let seen = ran.ok();
    assert!(
        seen.lines()
            .all(|l| l == "/" || ["/proc", "/dev", "/sys"].iter().any(|p| l.starts_with(p))),
        "{seen}"
    );
}
