//! Mounts of all kinds, hooks in their order, and the gate between create and start.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::allow_attributes,
    reason = "tests"
)]

mod common;

use std::{
    fs,
    os::{fd::AsFd, unix::fs::PermissionsExt},
};

use common::{Bundle, Live, chain, piped};
use container::{ErrorKind, Gate, Rootfs, Stdio};
use serde_json::{Value, json};

fn mount(bundle: &mut Bundle, mount: Value) {
    bundle.json["mounts"].as_array_mut().unwrap().push(mount);
}

#[test]
fn binds_have_their_options() {
    let mut bundle = Bundle::script(
        "cat /data/f; touch /data/x || echo ro; cat /file; mount | grep -E ' (/data|/file) ' | cut -d' ' -f3,6",
    );
    let dir = bundle.dir.path().join("data");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("f"), "content\n").unwrap();
    mount(
        &mut bundle,
        json!({"destination": "/data", "type": "bind", "source": "data",
        "options": ["rbind", "ro", "nosuid", "nodev", "noexec", "rprivate"]}),
    );
    mount(
        &mut bundle,
        json!({"destination": "/file", "type": "bind", "source": "data/f",
        "options": ["bind", "rw", "noatime"]}),
    );
    let ran = bundle.run();
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(&lines[..3], ["content", "ro", "content"], "{ran:?}");
    assert!(
        lines[3].starts_with("/data (ro,nosuid,nodev,noexec"),
        "{ran:?}"
    );
    assert!(
        lines[4].starts_with("/file (rw,") && lines[4].contains("noatime"),
        "{ran:?}"
    );
}

#[test]
fn propagation_is_slave_by_default_and_as_asked() {
    let mut bundle = Bundle::script(
        "grep -E ' (/|/private|/shared|/default) ' /proc/self/mountinfo | cut -d' ' -f5,7 | sort",
    );
    for (name, extra) in [
        ("private", "rprivate"),
        ("shared", "rshared"),
        ("default", "rw"),
    ] {
        let dir = bundle.dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        mount(
            &mut bundle,
            json!({"destination": format!("/{name}"), "type": "bind",
            "source": name, "options": ["rbind", extra]}),
        );
    }
    let ran = bundle.run();
    let text = ran.ok();
    assert!(text.contains("/shared shared:"), "{text}");
    assert!(
        !text.contains("/private shared") && !text.contains("/default shared"),
        "{text}"
    );
}

/// A shared tmpfs on the host with another in it, until it is dropped.
struct Shared(std::path::PathBuf);

impl Shared {
    fn mounted(at: std::path::PathBuf) -> Self {
        let script = "mkdir $0 && mount -t tmpfs tmpfs $0 && mount --make-shared $0 && \
                      mkdir $0/below && mount -t tmpfs tmpfs $0/below";
        let mut shell = std::process::Command::new("sh");
        assert!(
            shell
                .args(["-c", script])
                .arg(&at)
                .status()
                .unwrap()
                .success()
        );
        Self(at)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut umount = std::process::Command::new("umount");
        let _ = umount.arg("-R").arg(&self.0).status();
    }
}

#[test]
fn what_lies_below_a_bind_is_cut_off_from_the_host_too() {
    let mut bundle = Bundle::script(
        "awk '$5 ~ /below$/ { sub(/:.*/, \"\", $7); print $5, $7 }' /proc/self/mountinfo | sort",
    );
    let host = Shared::mounted(bundle.dir.path().join("host"));
    for word in ["slave", "private", "unbindable", "shared"] {
        mount(
            &mut bundle,
            json!({"destination": format!("/{word}"), "type": "bind",
            "source": host.0, "options": ["rbind", word]}),
        );
    }
    assert_eq!(
        bundle.run().ok(),
        "/private/below master\n/shared/below master\n/slave/below master\n/unbindable/below master"
    );
}

#[test]
fn a_root_is_as_shared_as_it_was_asked_to_be() {
    for (word, expected) in [
        ("rshared", "/ shared"),
        ("shared", "/ shared"),
        ("rslave", "/ none"),
        ("rprivate", "/ none"),
        ("unbindable", "/ unbindable"),
        ("runbindable", "/ unbindable"),
    ] {
        let mut bundle = Bundle::script(
            "awk '$5 == \"/\" { sub(/:.*/, \"\", $7); print $5, $7 ~ /^(shared|unbindable)/ ? $7 : \"none\" }' \
             /proc/self/mountinfo",
        );
        // What is copied out of the root on the way.
        bundle.json["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
        bundle.json["linux"]["maskedPaths"] = json!(["/proc/kcore", "/proc/keys", "/sys/firmware"]);
        bundle.json["linux"]["rootfsPropagation"] = json!(word);
        assert_eq!(bundle.run().ok(), expected, "{word}");
        // The same for a root that comes as a mount.
        let spec = bundle.spec();
        let (stdio, output) = piped();
        let mut request = bundle.request(&spec, stdio, Gate::None);
        request.rootfs = Rootfs::Mount(sys::mount::detached_copy(&bundle.root(), false).unwrap());
        let container = common::engine().create(request).unwrap();
        assert_eq!(output.read().0, format!("{expected}\n"), "{word}");
        container::destroy(&container.as_ref(&spec, bundle.dir.path())).unwrap();
        sys::wait::wait(container.init.pidfd.as_fd()).unwrap();
    }
}

#[test]
fn long_overlay_options_are_mounted_too() {
    let mut bundle = Bundle::script("cat /merged/a /merged/b; echo z > /merged/z");
    let base = bundle.dir.path().join("l".repeat(120));
    for name in ["a", "b", "upper", "work"] {
        fs::create_dir_all(base.join(name)).unwrap();
        fs::write(base.join(name).join(name), format!("{name}\n")).unwrap();
    }
    fs::remove_file(base.join("work/work")).unwrap();
    let base = base.to_str().unwrap().to_owned();
    mount(
        &mut bundle,
        json!({"destination": "/merged", "type": "overlay", "source": "overlay",
        "options": [format!("lowerdir={base}/a:{base}/b"), format!("upperdir={base}/upper"),
            format!("workdir={base}/work")]}),
    );
    assert_eq!(bundle.run().ok(), "a\nb");
    assert_eq!(
        fs::read_to_string(format!("{base}/upper/z")).unwrap(),
        "z\n"
    );
}

#[test]
fn a_tmpfs_can_start_with_what_was_there() {
    let mut bundle = Bundle::script(
        "cd /kept; cat f sub/g; stat -c '%a %u' f; readlink l; echo more > f; mount | grep -c ' /kept type tmpfs'",
    );
    let kept = bundle.root().join("kept");
    fs::create_dir_all(kept.join("sub")).unwrap();
    fs::write(kept.join("f"), "f\n").unwrap();
    fs::write(kept.join("sub/g"), "g\n").unwrap();
    fs::set_permissions(kept.join("f"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(kept.join("f"), Some(33), Some(33)).unwrap();
    std::os::unix::fs::symlink("sub/g", kept.join("l")).unwrap();
    // The capabilities of the plain container do not open a stranger's file.
    bundle.json["process"]["user"] = json!({"uid": 33, "gid": 33});
    mount(
        &mut bundle,
        json!({"destination": "/kept", "type": "tmpfs", "source": "tmpfs",
        "options": ["tmpcopyup", "mode=777"]}),
    );
    assert_eq!(bundle.run().ok(), "f\ng\n640 33\nsub/g\n1");
    assert_eq!(fs::read_to_string(kept.join("f")).unwrap(), "f\n");
}

#[test]
fn ids_of_a_bind_are_mapped() {
    let mut bundle = Bundle::script("stat -c %u /data/f; stat -c %u /data/g");
    let dir = bundle.dir.path().join("data");
    fs::create_dir(&dir).unwrap();
    for (name, owner) in [("f", 0), ("g", 5)] {
        fs::write(dir.join(name), "").unwrap();
        std::os::unix::fs::chown(dir.join(name), Some(owner), Some(owner)).unwrap();
    }
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    mount(
        &mut bundle,
        json!({"destination": "/data", "type": "bind", "source": "data",
        "options": ["bind"], "uidMappings": map, "gidMappings": map}),
    );
    assert_eq!(bundle.run().ok(), "1000\n1005");
}

#[test]
fn a_detached_root_never_touches_the_host() {
    let bundle = Bundle::script("cat /etc/passwd | wc -l");
    let spec = bundle.spec();
    let (stdio, output) = piped();
    let mut request = bundle.request(&spec, stdio, Gate::None);
    request.rootfs = Rootfs::Mount(sys::mount::detached_copy(&bundle.root(), false).unwrap());
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let container = common::engine().create(request).unwrap();
    let name = bundle.dir.path().to_str().unwrap();
    assert!(!before.contains(name));
    assert!(
        !fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .contains(name)
    );
    assert_eq!(output.read().0, "2\n");
    container::destroy(&container.as_ref(&spec, bundle.dir.path())).unwrap();
    sys::wait::wait(container.init.pidfd.as_fd()).unwrap();
}

fn hook(bundle: &Bundle, name: &str, then: &str) -> Value {
    let log = bundle.dir.path().join("log");
    // The state comes on stdin; the environment is only what the document gives.
    let script = format!(
        "s=$(cat); echo {name} $(echo \"$s\" | /bin/busybox tr , '\\n' | /bin/busybox grep -o '\"status\":\"[a-z]*' | /bin/busybox cut -d'\"' -f4) \
         $(/bin/busybox hostname) ${{X}} ${{HOME:-clean}} >> {}; {then}",
        log.display()
    );
    json!({"path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["X=y"], "timeout": 5})
}

#[test]
fn hooks_run_in_order_where_they_belong() {
    let mut bundle = Bundle::script("true");
    // createContainer sees the host's files still; startContainer only the container's.
    let log = bundle.dir.path().join("log");
    fs::write(&log, "").unwrap();
    let inside = bundle.root().join(log.strip_prefix("/").unwrap());
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    fs::write(&inside, "").unwrap();
    bundle.json["hooks"] = json!({
        "prestart": [hook(&bundle, "prestart", "")],
        "createRuntime": [hook(&bundle, "createRuntime", "")],
        "createContainer": [hook(&bundle, "createContainer", "")],
        "startContainer": [hook(&bundle, "startContainer", "")],
        "poststart": [hook(&bundle, "poststart", "")],
        "poststop": [hook(&bundle, "poststop", "")],
    });
    // sed with -n 's//p' is in busybox; it is not among the linked applets, but in our /bin/busybox.
    bundle.run().ok();
    let ours = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let ours = ours.trim();
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        format!(
            "prestart creating {ours} y clean\ncreateRuntime creating {ours} y clean\n\
             createContainer creating box y clean\npoststart running {ours} y clean\n\
             poststop stopped {ours} y clean\n"
        )
    );
    assert_eq!(
        fs::read_to_string(&inside).unwrap(),
        "startContainer created box y clean\n"
    );
}

#[test]
fn start_container_hooks_are_confined_like_the_program() {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL"}],
    });
    for (kind, fails) in [("startContainer", true), ("createContainer", false)] {
        let mut bundle = Bundle::script("true");
        // The host's for createContainer.
        let made = bundle.dir.path().join("made").display().to_string();
        bundle.json["process"]["noNewPrivileges"] = json!(true);
        bundle.json["linux"]["seccomp"] = filter.clone();
        bundle.json["hooks"] = json!({ kind: [
            {"path": "/bin/busybox", "args": ["mkdir", "-p", made]}
        ]});
        if fails {
            let said = bundle.fails();
            let text = "error running startContainer hook #0: run hook /bin/busybox: it died of signal 31 (bad system call)";
            assert!(said.contains(text), "{said}");
        } else {
            bundle.run().ok();
        }
    }
}

#[test]
fn a_failing_hook_ends_the_create() {
    for (kind, then, text) in [
        (
            "createRuntime",
            "exit 3",
            "error running createRuntime hook #0: run hook /bin/busybox: it ended with code 3",
        ),
        (
            "createContainer",
            "exit 4",
            "error running createContainer hook #0: run hook /bin/busybox: it ended with code 4",
        ),
        (
            "startContainer",
            "exit 5",
            "error running startContainer hook #0: run hook /bin/busybox: it ended with code 5",
        ),
        (
            "prestart",
            "kill -9 $$",
            "error running prestart hook #0: run hook /bin/busybox: it died of signal 9",
        ),
    ] {
        let mut bundle = Bundle::script("echo ran");
        bundle.json["hooks"] = json!({ kind: [
            {"path": "/bin/busybox", "args": ["sh", "-c", then]}
        ]});
        let said = bundle.fails();
        assert!(said.contains(text), "{kind}: {said}");
    }
    // What it printed is told with it, and not what others did; other runtimes' users look there first.
    for kind in ["prestart", "createContainer", "startContainer"] {
        let mut bundle = Bundle::script("echo ran");
        let hook = |then| json!({"path": "/bin/busybox", "args": ["sh", "-c", then]});
        bundle.json["hooks"] = json!({ kind: [
            hook("echo fine"), hook("echo one; echo two >&2; exit 3")
        ]});
        let said = bundle.fails();
        let text = "it ended with code 3, and printed: one; two";
        assert!(said.ends_with(text), "{kind}: {said}");
    }
    // Streams can be opened anew, as scripts do.
    for into in [
        ">/dev/stderr",
        ">>/dev/stdout",
        "| tee -a /dev/stderr >/dev/null",
    ] {
        let mut bundle = Bundle::script("echo ran");
        let then = format!("set -e; echo opened {into}; exit 3");
        bundle.json["hooks"] = json!({"createRuntime": [
            {"path": "/bin/busybox", "args": ["sh", "-c", then]}
        ]});
        let said = bundle.fails();
        assert!(
            said.ends_with("with code 3, and printed: opened"),
            "{into}: {said}"
        );
    }
    let mut bundle = Bundle::new();
    bundle.json["hooks"] = json!({"createRuntime": [
        {"path": "/bin/busybox", "args": ["sleep", "60"], "timeout": 1}
    ]});
    assert!(
        bundle.fails().contains("did not end in time"),
        "{}",
        bundle.fails()
    );
    bundle.json["hooks"] = json!({"createContainer": [{"path": "/no/hook"}]});
    let said = bundle.fails();
    assert!(said.contains("run hook /no/hook"), "{said}");
}

#[test]
fn a_fifo_starts_from_elsewhere_and_only_once() {
    let bundle = Bundle::script("echo started");
    let spec = bundle.spec();
    let fifo = bundle.dir.path().join("exec.fifo");
    let (stdio, output) = piped();
    let live = Live::create(&bundle, &spec, stdio, Gate::Fifo(fifo.clone())).unwrap();
    let reference = live.container.as_ref(&spec, bundle.dir.path());
    container::start_by_fifo(&reference, &fifo).unwrap();
    let again = container::start_by_fifo(&reference, &fifo).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::State);
    let ran = live.finish(output);
    assert_eq!(ran.ok(), "started");
}

#[test]
fn what_fails_after_the_gate_reaches_the_starter() {
    let mut bundle = Bundle::new();
    fs::write(bundle.root().join("bin/odd"), "not a program").unwrap();
    fs::set_permissions(
        bundle.root().join("bin/odd"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    bundle.json["process"]["args"] = json!(["odd"]);
    let said = bundle.fails();
    assert!(said.contains("exec odd: exec format error"), "{said}");
    let spec = bundle.spec();
    let fifo = bundle.dir.path().join("exec.fifo");
    let stdio = || Stdio::Fds {
        stdin: None,
        stdout: None,
        stderr: None,
    };
    let live = Live::create(&bundle, &spec, stdio(), Gate::Fifo(fifo.clone())).unwrap();
    let reference = live.container.as_ref(&spec, bundle.dir.path());
    let error = container::start_by_fifo(&reference, &fifo).unwrap_err();
    assert!(
        chain(&error).contains("exec odd: exec format error"),
        "{}",
        chain(&error)
    );
}

#[test]
fn a_created_container_that_was_killed_cannot_be_started() {
    let bundle = Bundle::script("true");
    let spec = bundle.spec();
    let fifo = bundle.dir.path().join("exec.fifo");
    let stdio = || Stdio::Fds {
        stdin: None,
        stdout: None,
        stderr: None,
    };
    let live = Live::create(&bundle, &spec, stdio(), Gate::Fifo(fifo.clone())).unwrap();
    sys::pidfd::send_signal(live.container.init.pidfd.as_fd(), 9).unwrap();
    assert_eq!(live.wait(), 137);
    let reference = live.container.as_ref(&spec, bundle.dir.path());
    let error = container::start_by_fifo(&reference, &fifo).unwrap_err();
    assert!(
        chain(&error).contains("cannot start a stopped container"),
        "{}",
        chain(&error)
    );
    std::mem::forget(live);
    container::cgroup::Cgroup::open(
        common::engine().hierarchy(),
        &format!("/coffer-test-{}", bundle.id),
    )
    .unwrap()
    .remove()
    .unwrap();
}

#[test]
fn destinations_options_and_remounts_of_the_older_forms() {
    let mut bundle = Bundle::script(
        "mount | grep -E ' (/relative|/counted|/grown) ' | cut -d' ' -f3,6 | sort; stat -f -c %b /grown",
    );
    mount(
        &mut bundle,
        json!({"destination": "relative", "type": "tmpfs", "options": ["size=4k"]}),
    );
    mount(
        &mut bundle,
        json!({"destination": "/counted", "type": "tmpfs", "options": ["iversion", "size=4k"]}),
    );
    mount(
        &mut bundle,
        json!({"destination": "/grown", "type": "tmpfs", "options": ["size=4k"]}),
    );
    mount(
        &mut bundle,
        json!({"destination": "/grown", "options": ["remount", "size=16k", "nosuid"]}),
    );
    let ran = bundle.run();
    let lines: Vec<&str> = ran.ok().lines().collect();
    assert!(
        lines[0].starts_with("/counted (rw,") && lines[0].contains("size=4k"),
        "{ran:?}"
    );
    assert!(
        lines[1].starts_with("/grown (rw,nosuid") && lines[1].contains("size=16k"),
        "{ran:?}"
    );
    assert!(lines[2].starts_with("/relative (rw,"), "{ran:?}");
    assert_eq!(lines[3], "4", "blocks of 4096 bytes");
}

#[test]
fn a_tmpfs_has_the_mode_of_what_it_covers_unless_it_says_one() {
    let mut bundle = Bundle::script("stat -c %a /covered /said /new");
    for dir in ["covered", "said"] {
        let dir = bundle.root().join(dir);
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(dir, fs::Permissions::from_mode(0o6710)).unwrap();
    }
    for (name, options) in [
        ("covered", json!(["nodev"])),
        ("said", json!(["mode=1500"])),
        ("new", json!([])),
    ] {
        let tmpfs = json!({"destination": format!("/{name}"), "type": "tmpfs", "options": options});
        mount(&mut bundle, tmpfs);
    }
    assert_eq!(bundle.run().ok(), "6710\n1500\n1777");
}

#[test]
fn a_read_only_tmpfs_takes_what_belongs_into_it_first() {
    let mut bundle = Bundle::script(
        "grep -cE '^tmpfs /(dev|a) tmpfs ro,' /proc/mounts; test -c /dev/null && touch /a/b/x && echo y",
    );
    let mounts = bundle.json["mounts"].as_array_mut().unwrap();
    for dev in mounts.iter_mut().filter(|m| m["destination"] == "/dev") {
        dev["options"].as_array_mut().unwrap().push(json!("ro"));
    }
    for (name, options) in [("/a", json!(["ro"])), ("/a/b", json!([]))] {
        mount(
            &mut bundle,
            json!({"destination": name, "type": "tmpfs", "source": "tmpfs", "options": options}),
        );
    }
    assert_eq!(bundle.run().ok(), "2\ny");
}

#[test]
fn proc_is_mounted_on_no_link() {
    let bundle = Bundle::script("true");
    let proc = bundle.root().join("proc");
    fs::remove_dir(&proc).unwrap();
    std::os::unix::fs::symlink("/elsewhere", &proc).unwrap();
    let text = bundle.fails();
    assert!(
        text.contains("must be mounted on ordinary directory"),
        "{text}"
    );
}

#[test]
fn an_empty_home_is_none() {
    let mut bundle = Bundle::script("echo $HOME; env | grep -c ^HOME=");
    let env = bundle.json["process"]["env"].as_array_mut().unwrap();
    env.extend([json!("HOME=/override"), json!("HOME=")]);
    fs::create_dir_all(bundle.root().join("etc")).unwrap();
    fs::write(
        bundle.root().join("etc/passwd"),
        "root:x:0:0::/mine:/bin/sh\n",
    )
    .unwrap();
    assert_eq!(bundle.run().ok(), "/mine\n1");
}
