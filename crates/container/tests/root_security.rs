//! The lessons of the field, by the numbers of docs/threat-model.md's list: each a test that plays the attacker.
//! S3 is `root_race`, S7 is coffer-oci's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use common::{Bundle, Live, chain, piped, process};
use container::{ContainerId, Gate, Stdio};
use serde_json::{Value, json};

fn quiet() -> Stdio {
    Stdio::Fds {
        stdin: None,
        stdout: None,
        stderr: None,
    }
}

/// CVE-2019-5736: somebody inside watches every process that enters, for our program or our
/// descriptors, while many do.
#[test]
fn s1_our_program_is_never_seen_from_inside() {
    let bundle = Bundle::script(
        "while test ! -e /tmp/stop; do for p in /proc/[0-9]*; do \
         t=$(readlink $p/exe) && test $t != /bin/busybox && echo exe $t; \
         (: >> $p/exe) 2>/dev/null && echo written; \
         for f in $p/fd/*; do t=$(readlink $f) && case $t in \
         (/dev/null|/proc*|pipe:*|/tmp/*|/bin/*) ;; (*) echo fd $t;; esac; done; \
         done; done 2>/dev/null >/tmp/saw; echo ended",
    );
    let spec = bundle.spec();
    let (stdio, output) = piped();
    let mut live = Live::create(&bundle, &spec, stdio, Gate::Pipe).unwrap();
    live.container.start().unwrap();
    for _ in 0..40 {
        live.exec(process(&["true"])).ok();
    }
    fs::write(bundle.root().join("tmp/stop"), "").unwrap();
    let ran = live.finish(output);
    assert_eq!(ran.stdout, "ended\n", "{ran:?}");
    let saw = fs::read_to_string(bundle.root().join("tmp/saw")).unwrap();
    assert_eq!(saw, "");
}

/// CVE-2024-21626: no descriptor of ours is there at exec, nor may the working directory be outside.
#[test]
fn s2_neither_descriptors_nor_the_working_directory_lead_out() {
    // A directory of the host that is open in this process, on purpose without CLOEXEC.
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    let leaked = rustix::fs::open("/", flags, rustix::fs::Mode::empty()).unwrap();
    let mut bundle = Bundle::script("pwd; ls /proc/self/fd | tr '\\n' ' '");
    // 3 is the directory that ls itself reads.
    assert_eq!(bundle.run().ok(), "/\n0 1 2 3");
    for number in 3..40 {
        bundle.json["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        let said = bundle.fails();
        assert!(
            said.starts_with("chdir to cwd") || said.starts_with("make the working directory"),
            "{said}"
        );
    }
    drop(leaked);
}

/// CVE-2025-31133, -52565, CVE-2019-16884: what is bound over masked paths and the console is what it should
/// be, whatever the image brings.
#[test]
fn s4_devices_are_verified_and_proc_is_ours() {
    let mut bundle = Bundle::script("stat -c %t:%T /dev/null");
    bundle.json["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
    // An image with a /dev of its own, in which null is somebody else's file.
    let dev = bundle.root().join("dev");
    fs::write(dev.join("null"), "bait").unwrap();
    let said = bundle.fails();
    assert!(
        said.contains("/dev/null") && said.contains("something else is there"),
        "{said}"
    );
    fs::remove_file(dev.join("null")).unwrap();
    symlink("/etc/passwd", dev.join("null")).unwrap();
    let said = bundle.fails();
    assert!(said.contains("something else is there"), "{said}");
    fs::remove_file(dev.join("null")).unwrap();
    assert_eq!(bundle.run().ok(), "1:3");
    // A /proc that is a link is not followed (CVE-2019-19921).
    fs::remove_dir(bundle.root().join("proc")).unwrap();
    fs::create_dir(bundle.root().join("bait")).unwrap();
    symlink("bait", bundle.root().join("proc")).unwrap();
    let said = bundle.fails();
    assert!(
        said.starts_with("mount proc at /proc") && said.contains("look up the path"),
        "{said}"
    );
}

/// CVE-2026-41579 and its kin: directories that every runtime touches, as an image may bring them.
#[test]
fn s5_an_image_with_odd_directories_harms_nobody() {
    let outside = tempfile::tempdir().unwrap();
    for kind in [
        "missing", "file", "fifo", "absolute", "relative", "magic", "dangling",
    ] {
        for name in ["dev", "sys", "etc", "run", "proc", "tmp"] {
            let mut bundle = Bundle::script("exit 0");
            let path = bundle.root().join(name);
            if path.exists() {
                fs::remove_dir_all(&path).unwrap();
            }
            let up = format!("../../../../../../../..{}", outside.path().display());
            match kind {
                "missing" => {}
                "file" => fs::write(&path, "").unwrap(),
                "fifo" => rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap(),
                "absolute" => symlink(outside.path(), &path).unwrap(),
                "relative" => symlink(up, &path).unwrap(),
                "magic" => symlink("/proc/self/root", &path).unwrap(),
                _ => symlink(outside.path().join("nothing"), &path).unwrap(),
            }
            bundle.json["mounts"].as_array_mut().unwrap().extend([
                json!({"destination": "/etc/x/y", "type": "tmpfs"}),
                json!({"destination": "/run/z", "type": "bind", "source": "/dev/null", "options": ["bind"]}),
            ]);
            match bundle.try_run() {
                Ok(ran) => assert_eq!(ran.code, 0, "{kind} {name}: {ran:?}"),
                // A sentence, at once; never a wait for a fifo's other side.
                Err(error) => assert!(chain(&error).len() > 20, "{kind} {name}"),
            }
            let left: Vec<_> = fs::read_dir(outside.path()).unwrap().collect();
            assert!(left.is_empty(), "{kind} {name}: {left:?}");
            assert!(common::cgroup_gone(bundle.id.as_str()));
        }
    }
}

/// CVE-2022-29162: inheritable capabilities only when asked for, the bounding set as asked; of create and exec.
#[test]
fn s6_capability_sets_are_as_asked_for_create_and_exec() {
    let bundle = Bundle::script("grep ^Cap /proc/self/status | cut -f2; exec sleep 100");
    let spec = bundle.spec();
    let mut live = Live::create(&bundle, &spec, quiet(), Gate::Pipe).unwrap();
    live.container.start().unwrap();
    // Inheritable, permitted, effective, bounding, ambient.
    let three = "0000000020000420";
    let none = "0000000000000000";
    let wanted = [none, three, three, three, none].join("\n");
    let status = |pid: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let sets = text
            .lines()
            .filter_map(|l| l.strip_prefix("Cap")?.split('\t').nth(1));
        sets.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(status(&live.container.init.pid.to_string()), wanted);
    let show = process(&["sh", "-c", "grep ^Cap /proc/self/status | cut -f2"]);
    assert_eq!(live.exec(show.clone()).ok(), wanted);
    let mut bare = show;
    bare.as_object_mut().unwrap().remove("capabilities");
    assert_eq!(live.exec(bare).ok(), [none; 5].join("\n"));
}

/// The host's cgroups are not to be seen, and never to be written, with a cgroup namespace or without.
#[test]
fn s9_no_writable_host_cgroup() {
    for own in [true, false] {
        let mut bundle = Bundle::script(
            "cd /sys/fs/cgroup && for d in . *; do test -e $d/cgroup.procs && cat $d/cgroup.procs; done | sort -u; \
             mkdir pids/inner 2>/dev/null || mkdir inner; echo $$ > ../../../cgroup.procs; ls -d */..",
        );
        if !own {
            let namespaces = bundle.json["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|n| n["type"] != "cgroup");
        }
        // Read-write, as who manages cgroups of its own asks for it.
        let mounts = bundle.json["mounts"].as_array_mut().unwrap();
        for mount in mounts.iter_mut().filter(|m| m["type"] == "cgroup") {
            mount["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
        }
        let ran = bundle.run();
        let pids: Vec<i32> = ran.stdout.lines().filter_map(|l| l.parse().ok()).collect();
        // Its own processes only: the shell and its children.
        assert!(
            !pids.is_empty() && pids.iter().all(|pid| *pid < 100),
            "{ran:?}"
        );
        assert!(common::cgroup_gone(bundle.id.as_str()), "{ran:?}");
        assert!(!Path::new("/sys/fs/cgroup/pids/inner").exists());
    }
}

/// Names that become paths.
#[test]
fn s10_names_and_paths_do_not_climb() {
    for name in [
        "",
        ".",
        "..",
        "a/b",
        "../a",
        "a\0b",
        "a b",
        "a\nb",
        &"x".repeat(2000),
    ] {
        assert!(ContainerId::new(name).is_err(), "{name:?}");
    }
    for path in ["../x", "/a/../../x", "/.", "/"] {
        let mut bundle = Bundle::script("true");
        bundle.json["linux"]["cgroupsPath"] = json!(path);
        let said = bundle.fails();
        assert!(said.starts_with("cgroup path"), "{path}: {said}");
    }
}

/// CVE-2022-0811: kernel parameters of namespaces only, and of no namespace that is the host's.
#[test]
fn s12_the_hosts_parameters_are_not_a_containers() {
    let host_name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let forward = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let join = |bundle: &mut Bundle, type_: &str, file: &str| {
        for namespace in bundle.json["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == type_ {
                namespace["path"] = json!(format!("/proc/self/ns/{file}"));
            }
        }
        // sysfs is the network's.
        let mounts = bundle.json["mounts"].as_array_mut().unwrap();
        mounts.retain(|m| !m["destination"].as_str().unwrap().starts_with("/sys"));
    };
    let cases: [(Value, &str); 4] = [
        (json!({"kernel.core_pattern": "|/x"}), "belongs to the host"),
        (json!({"vm.overcommit_memory": "1"}), "belongs to the host"),
        (
            json!({"net/../kernel/core_pattern": "|/x"}),
            "belongs to the host",
        ),
        (
            json!({"kernel.shm_rmid_forced+kernel.core_pattern": "1"}),
            "belongs to the host",
        ),
    ];
    for (sysctl, text) in cases {
        let mut bundle = Bundle::script("true");
        bundle.json["linux"]["sysctl"] = sysctl.clone();
        let said = bundle.fails();
        assert!(said.contains(text), "{sysctl}: {said}");
    }
    let mut bundle = Bundle::script("true");
    bundle.json["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    join(&mut bundle, "network", "net");
    let said = bundle.fails();
    assert!(
        said.starts_with("/proc/self/ns/net is the network namespace of the host"),
        "{said}"
    );
    let mut bundle = Bundle::script("true");
    join(&mut bundle, "uts", "uts");
    let said = bundle.fails();
    assert!(
        said.starts_with("/proc/self/ns/uts is the uts namespace of the host"),
        "{said}"
    );
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        host_name
    );
    assert_eq!(
        fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
        forward
    );
}

/// Hooks see what the document gives them: no environment, descriptor, signal or terminal of ours.
#[test]
fn s13_hooks_run_clean() {
    let mut bundle = Bundle::script("true");
    let out = bundle.dir.path().join("out");
    fs::create_dir(&out).unwrap();
    let hook = bundle.dir.path().join("hook");
    // Of createContainer the shell's own number means another process in the runtime's procfs.
    let script = format!(
        "#!/bin/sh\n{{ tr '\\0' '\\n' < /proc/self/environ; ls /proc/self/fd | tr '\\n' ' '; echo; \
         grep -E '^Sig(Blk|Ign)' /proc/self/status; }} > {}/$1\n",
        out.display()
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let one = |kind: &str| json!([{"path": hook, "args": ["hook", kind], "env": [format!("KIND={kind}")], "timeout": 30}]);
    let kinds = [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ];
    for kind in kinds {
        bundle.json["hooks"][kind] = one(kind);
    }
    bundle.run().ok();
    for kind in kinds {
        let saw = fs::read_to_string(out.join(kind)).unwrap();
        let mut lines = saw.lines();
        assert_eq!(lines.next(), Some(format!("KIND={kind}").as_str()), "{saw}");
        // 3 is the directory that ls reads.
        assert_eq!(lines.next(), Some("0 1 2 3 "), "{kind}: {saw}");
        assert!(saw.contains("SigBlk:\t0000000000000000\n"), "{saw}");
        assert!(saw.contains("SigIgn:\t0000000000000000\n"), "{saw}");
    }
}
