//! What users of crun do and users of runc do not: annotations, mount options, hooks, user namespaces
//! without mappings.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Done, Oci, sleeper};
use serde_json::{Value, json};
use testing::bundle::Bundle;

fn path(bundle: &Bundle) -> &str {
    bundle.path().to_str().expect("UTF-8")
}

fn bundle(script: &str, edit: impl FnOnce(&mut Value)) -> Bundle {
    Bundle::new(&["sh", "-c", script], edit).expect("a bundle")
}

fn run(oci: &Oci, name: &str, bundle: &Bundle) -> Done {
    oci.run(&["run", "-b", path(bundle), &oci.id(name)])
}

fn mount(spec: &mut Value, mount: Value) {
    spec["mounts"].as_array_mut().expect("a list").push(mount);
}

fn hook(script: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script] })
}

fn add_namespace(spec: &mut Value, namespace: Value) {
    let list = spec["linux"]["namespaces"].as_array_mut();
    list.expect("a list").push(namespace);
}

fn all_ids() -> Value {
    json!([{ "containerID": 0, "hostID": 0, "size": 4_294_967_295_u32 }])
}

#[test]
fn links_are_mounted_and_copied_when_asked_for() {
    let oci = Oci::new();
    let (file, link) = (oci.dir().join("file"), oci.dir().join("link"));
    fs::write(&file, "inside\n").expect("writes");
    symlink(&file, &link).expect("a link");
    let bound = |options: &[&str], script: &str, userns: bool| {
        let bundle = bundle(script, |spec| {
            if userns {
                add_namespace(spec, json!({ "type": "user" }));
            }
            mount(
                spec,
                json!({ "destination": "/target", "source": link, "options": options }),
            );
        });
        symlink("nowhere", bundle.rootfs().join("target")).expect("a link");
        bundle
    };
    for userns in [false, true] {
        let options = ["bind", "src-nofollow", "dest-nofollow"];
        let itself = bound(&options, "readlink /target", userns);
        let done = run(&oci, &format!("itself-{userns}"), &itself).succeeds();
        assert_eq!(done.stdout.trim_end(), file.to_str().expect("UTF-8"));
        let options = ["bind", "dest-nofollow"];
        let followed = bound(&options, "cat /target", userns);
        let done = run(&oci, &format!("followed-{userns}"), &followed).succeeds();
        assert_eq!(done.stdout, "inside\n");
        let left = fs::read_link(followed.rootfs().join("target")).expect("the image's link");
        assert_eq!(left, Path::new("nowhere"), "the image is as it was");
    }
}

/// What stands at /proc/self must be procfs' own link: a link of a container's maker would lead those
/// astray who look there for themselves.
#[test]
fn no_link_is_mounted_in_a_procfs() {
    let oci = Oci::new();
    let link = oci.dir().join("link");
    symlink("/etc", &link).expect("a link");
    // By another name of the directory, too.
    for (at, name) in [("/proc/self", "plain"), ("/other/self", "alias")] {
        let bundle = bundle("readlink /proc/self", |spec| {
            mount(
                spec,
                json!({ "destination": at, "source": link,
                        "options": ["bind", "src-nofollow", "dest-nofollow"] }),
            );
        });
        symlink("proc", bundle.rootfs().join("other")).expect("a link");
        run(&oci, name, &bundle).fails(1, &["nothing in a procfs is mounted on"]);
    }
}

#[test]
fn a_link_is_copied_by_copy_symlink() {
    let oci = Oci::new();
    let link = oci.dir().join("broken");
    symlink("no/such/file", &link).expect("a link");
    let bundle = bundle("readlink /a/new/link", |spec| {
        mount(
            spec,
            json!({ "destination": "/a/new/link", "source": link,
                    "options": ["rbind", "copy-symlink"] }),
        );
    });
    // The second time it is there already.
    for name in ["copy", "copy-again"] {
        let done = run(&oci, name, &bundle).succeeds();
        assert_eq!(done.stdout, "no/such/file\n");
    }
    fs::remove_file(bundle.rootfs().join("a/new/link")).expect("removes");
    fs::write(bundle.rootfs().join("a/new/link"), "a file").expect("writes");
    run(&oci, "copy-over", &bundle).fails(1, &["something else is there already"]);
    let kept = fs::read_to_string(bundle.rootfs().join("a/new/link")).expect("the file");
    assert_eq!(kept, "a file");
}

#[test]
fn mounts_come_and_go_while_it_runs() {
    let oci = Oci::new();
    let dir = oci.dir().join("late");
    fs::create_dir(&dir).expect("a directory");
    fs::write(dir.join("file"), "late\n").expect("writes");
    let file = oci.dir().join("mounts.json");
    let list = json!([
        { "destination": "/late", "source": dir, "options": ["bind", "ro"] },
        { "destination": "/late-tmpfs", "type": "tmpfs", "source": "tmpfs" },
    ]);
    fs::write(&file, list.to_string()).expect("writes");
    let file = file.to_str().expect("UTF-8");
    for userns in [false, true] {
        let bundle = bundle("sleep 1000", |spec| {
            if userns {
                add_namespace(spec, json!({ "type": "user" }));
            }
        });
        let id = oci.start(&format!("mounts-{userns}"), &bundle);
        let seen = "cat /late/file; touch /late/x 2>/dev/null || echo read-only; \
                    grep -c /late-tmpfs /proc/mounts";
        let look = || oci.run(&["exec", &id, "sh", "-c", seen]).stdout;
        oci.run(&["mounts", "add", &id, file]).succeeds();
        assert_eq!(look(), "late\nread-only\n1\n");
        oci.run(&["mounts", "remove", &id, file]).succeeds();
        assert_eq!(look(), "0\n");
        // The mount points are directories now; nothing is mounted at them.
        oci.run(&["mounts", "remove", &id, file])
            .fails(1, &["unmount /late-tmpfs: invalid argument"]);
        assert!(dir.join("file").exists(), "the source is as it was");
    }
    let gone = oci.id("gone");
    oci.run(&["mounts", "add", &gone, file])
        .fails(1, &["does not exist"]);
    oci.run(&["mounts", "move", &gone, file])
        .fails(1, &["add or remove"]);
}

#[test]
fn id_mappings_may_stand_in_the_option() {
    let oci = Oci::new();
    let dir = oci.dir().join("shared");
    fs::create_dir(&dir).expect("a directory");
    fs::write(dir.join("file"), "").expect("writes");
    let mapped = |option: &str| {
        bundle("stat -c %u:%g /m/file", |spec| {
            mount(
                spec,
                json!({ "destination": "/m", "source": dir, "options": ["bind", option] }),
            );
        })
    };
    let done = run(&oci, "own", &mapped("idmap=uids=0-1000-1;gids=0-2000-1")).succeeds();
    assert_eq!(done.stdout, "1000:2000\n");
    run(&oci, "bad", &mapped("idmap=uids=0-1000")).fails(1, &["FROM-TO-COUNT"]);
}

#[test]
fn a_user_namespace_without_mappings_has_its_callers() {
    let oci = Oci::new();
    let bundle = bundle("id -u; cat /proc/self/uid_map /proc/self/gid_map", |spec| {
        add_namespace(spec, json!({ "type": "user" }));
    });
    let done = run(&oci, "maps", &bundle).succeeds();
    let words: Vec<&str> = done.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "0", "1", "0", "0", "1"], "{done:?}");
}

#[test]
fn devices_of_a_user_namespace_are_what_the_document_says() {
    let oci = Oci::new();
    let report = "stat -c '%F %a %u:%g %t:%T' /dev/odd; head -c 3 /dev/odd | od -An -tx1";
    let bundle = bundle(report, |spec| {
        add_namespace(spec, json!({ "type": "user" }));
        spec["linux"]["uidMappings"] = all_ids();
        spec["linux"]["gidMappings"] = all_ids();
        spec["linux"]["devices"] = json!([
            { "path": "/dev/odd", "type": "c", "major": 1, "minor": 5, "uid": 10, "gid": 11,
              "fileMode": 0o644 }
        ]);
    });
    let done = run(&oci, "devices", &bundle).succeeds();
    assert_eq!(
        done.stdout,
        "character special file 644 10:11 1:5\n 00 00 00\n"
    );
}

#[test]
fn sysfs_of_the_hosts_network_is_the_hosts() {
    let oci = Oci::new();
    let script =
        "ls /sys/class/net | wc -l; ls -A /sys/fs/cgroup; touch /sys/x 2>&1 | grep -c Read-only";
    let bundle = bundle(script, |spec| {
        add_namespace(spec, json!({ "type": "user" }));
        let list = spec["linux"]["namespaces"].as_array_mut().expect("a list");
        list.retain(|namespace| namespace["type"] != "network");
    });
    let done = run(&oci, "sysfs", &bundle).succeeds();
    let lines: Vec<&str> = done.stdout.lines().collect();
    let here = fs::read_dir("/sys/class/net").expect("sysfs").count();
    assert_eq!(lines, [here.to_string().as_str(), "1"], "{done:?}");
}

#[test]
fn every_poststop_hook_runs_and_one_that_fails_is_told_of() {
    let oci = Oci::new();
    let mark = oci.dir().join("mark");
    let bundle = bundle("true", |spec| {
        let touch = format!("touch {}", mark.display());
        spec["hooks"] = json!({ "poststop": [hook("exit 3"), hook(&touch)] });
    });
    let done = run(&oci, "poststop", &bundle).succeeds();
    let text = "poststop hook failed with exit code 3";
    assert!(done.stderr.contains(text), "{done:?}");
    assert!(mark.exists(), "the second one ran");
}

#[test]
fn poststop_hooks_undo_a_create_that_failed() {
    let oci = Oci::new();
    let mark = oci.dir().join("mark");
    for failing in ["prestart", "createRuntime", "createContainer"] {
        let bundle = bundle("true", |spec| {
            let touch = format!("touch {}", mark.display());
            spec["hooks"] = json!({ "poststop": [hook(&touch)] });
            spec["hooks"][failing] = json!([{ "path": "/bin/false" }]);
        });
        run(&oci, failing, &bundle).fails(1, &[failing]);
        fs::remove_file(&mark).expect(failing);
    }
}

#[test]
fn a_failed_poststart_hook_removes_the_container() {
    let oci = Oci::new();
    let bundle = bundle("sleep 100", |spec| {
        spec["hooks"] = json!({ "poststart": [{ "path": "/bin/false" }] });
    });
    let id = oci.create("poststart", &bundle);
    oci.run(&["start", &id])
        .fails(1, &["error running poststart hook #0"]);
    oci.run(&["state", &id]).fails(1, &["does not exist"]);
    oci.assert_empty();
}

/// As with other runtimes, whose start is over with the gate.
#[test]
fn poststart_hooks_run_also_after_a_start_container_hook_that_fails() {
    let oci = Oci::new();
    let log = oci.dir().join("log");
    let write = |word: &str| hook(&format!("echo {word} >>{}", log.display()));
    let bundle = bundle("true", |spec| {
        spec["hooks"] = json!({
            "prestart": [write("prestart")], "createRuntime": [write("createRuntime")],
            "createContainer": [write("createContainer")],
            // Inside there is no such directory.
            "startContainer": [write("startContainer")],
            "poststart": [write("poststart")], "poststop": [write("poststop")],
        });
    });
    let id = oci.create("order", &bundle);
    oci.run(&["start", &id])
        .fails(1, &["error running startContainer hook #0"]);
    oci.await_status(&id, "stopped");
    oci.run(&["delete", &id]).succeeds();
    let text = fs::read_to_string(&log).expect("the log");
    let words: Vec<&str> = text.lines().collect();
    assert_eq!(
        words,
        [
            "prestart",
            "createRuntime",
            "createContainer",
            "poststart",
            "poststop"
        ]
    );
}

/// The environment of a hook that names none, where it starts, and what it sees of the root.
#[test]
fn hooks_start_in_the_bundle_with_an_environment() {
    let oci = Oci::new();
    let out = oci.dir().join("out");
    let bundle = bundle("true", |spec| {
        spec["process"]["env"] = json!(["PATH=/bin:/usr/bin", "INSIDE=yes"]);
        spec["annotations"] = json!({ "run.oci.hooks.stdout": out });
        let says = |name: &str| hook(&format!("echo {name} $OUTSIDE,$INSIDE,$OWN $(pwd)"));
        let mut own = says("own");
        own["env"] = json!(["OWN=mine", "PATH=/bin:/usr/bin"]);
        spec["hooks"] = json!({
            "prestart": [says("prestart"), own],
            "createContainer": [
                says("createContainer"), hook("test -e rootfs/proc/self && echo mounted")
            ],
            "startContainer": [says("startContainer")],
        });
    });
    let link = oci.dir().join("bundle");
    symlink(bundle.path(), &link).expect("a link");
    let id = oci.id("env");
    let mut command = oci.command(&["run", "-b", link.to_str().expect("UTF-8"), &id]);
    let output = command.env("OUTSIDE", "here").output().expect("starts");
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&out).expect("what they print");
    let here = bundle.path().display();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            format!("prestart here,, {here}").as_str(),
            &format!("own ,,mine {here}"),
            &format!("createContainer here,, {here}"),
            "mounted",
            "startContainer ,yes, /",
        ]
    );
}

#[test]
fn hooks_inside_are_told_their_own_pid_and_the_bundle_as_it_was_named() {
    let oci = Oci::new();
    let out = |name: &str| oci.dir().join(name);
    for (name, status) in [
        ("createContainer", "created"),
        ("startContainer", "created"),
    ] {
        let bundle = bundle("true", |spec| {
            spec["annotations"] = json!({ "run.oci.hooks.stdout": out(name) });
            spec["hooks"] = json!({});
            spec["hooks"][name] = json!([{ "path": "/bin/cat" }]);
        });
        let link = oci.dir().join(format!("link-{name}"));
        symlink(bundle.path(), &link).expect("a link");
        let id = oci.id(name);
        oci.run(&["run", "-b", link.to_str().expect("UTF-8"), &id])
            .succeeds();
        let state = fs::read(out(name)).expect("the state");
        let state: Value = serde_json::from_slice(&state).expect("JSON");
        assert_eq!(state["pid"], 1, "{state}");
        assert_eq!(state["status"], status, "{state}");
        assert_eq!(state["bundle"], link.to_str().expect("UTF-8"), "{state}");
    }
    // Who does not ask by crun's annotation gets the specification's word.
    let file = out("plain");
    let bundle = bundle("true", |spec| {
        let copy = format!("cat >{}", file.display());
        spec["hooks"] = json!({ "createContainer": [hook(&copy)] });
    });
    run(&oci, "plain", &bundle).succeeds();
    let state: Value = serde_json::from_slice(&fs::read(&file).expect("it")).expect("JSON");
    assert_eq!(state["status"], "creating", "{state}");
}

#[test]
fn hooks_print_where_annotations_say() {
    let oci = Oci::new();
    let (out, err) = (oci.dir().join("out"), oci.dir().join("err"));
    let bundle = bundle("true", |spec| {
        spec["annotations"] = json!({ "run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err });
        spec["hooks"] = json!({ "prestart": [hook("echo one; echo two >&2")],
                                "poststop": [hook("echo three")] });
    });
    run(&oci, "print", &bundle).succeeds();
    assert_eq!(fs::read_to_string(&out).expect("out"), "one\nthree\n");
    assert_eq!(fs::read_to_string(&err).expect("err"), "two\n");
    assert_eq!(fs::metadata(&out).expect("out").mode() & 0o777, 0o600);
}

#[test]
fn a_pidfd_goes_where_the_annotation_says() {
    let oci = Oci::new();
    let socket = oci.dir().join("socket");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let bundle = Bundle::new(&["sleep", "1000"], |spec| {
        spec["annotations"] = json!({ "run.oci.pidfd_receiver": socket });
    })
    .expect("a bundle");
    let id = oci.start("pidfd", &bundle);
    let (stream, _) = listener.accept().expect("it has connected");
    let mut room = [0; 64];
    let mut io = [std::io::IoSliceMut::new(&mut room)];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let flags = rustix::net::RecvFlags::CMSG_CLOEXEC;
    rustix::net::recvmsg(&stream, &mut io, &mut control, flags).expect("a message");
    let fds = control.drain().filter_map(|message| match message {
        rustix::net::RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds: Vec<_> = fds.flatten().collect();
    let number = std::os::fd::AsRawFd::as_raw_fd(fds.first().expect("a descriptor"));
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).expect("fdinfo");
    let pid = oci.state(&id)["pid"].clone();
    assert!(info.contains(&format!("Pid:\t{pid}\n")), "{info}");
}

#[test]
fn supplementary_groups_are_kept_when_asked_for() {
    let oci = Oci::new();
    let groups = |keep: &str, name: &str| {
        let bundle = bundle("grep Groups: /proc/self/status", |spec| {
            spec["annotations"] = json!({ "run.oci.keep_original_groups": keep });
        });
        let line = format!(
            "exec setpriv --groups 11,12 {} --root {} run -b {} {}",
            common::program(),
            oci.root().display(),
            path(&bundle),
            oci.id(name)
        );
        let output = Command::new("sh").args(["-c", &line]).output().expect("sh");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    };
    assert_eq!(groups("1", "keep").trim_end(), "Groups:\t11 12");
    assert_eq!(groups("0", "drop").trim_end(), "Groups:");
}

#[test]
fn a_capability_that_nobody_knows_is_left_out_of_exec() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("cap", &bundle);
    let line = [
        "exec",
        "--cap",
        "CAP_FLY",
        &id,
        "grep",
        "CapInh",
        "/proc/self/status",
    ];
    let done = oci.run(&line).succeeds();
    assert!(done.stderr.contains("CAP_FLY"), "{done:?}");
    assert_eq!(done.stdout, "CapInh:\t0000000000000000\n");
}

#[test]
fn the_record_has_cruns_name_too() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("status", &bundle);
    let file = oci.root().join(&id).join("status");
    let status: Value = serde_json::from_slice(&fs::read(file).expect("it")).expect("JSON");
    let streams = status["external_descriptors"].as_str().expect("a text");
    let streams: Vec<String> = serde_json::from_str(streams).expect("a list");
    assert_eq!(streams.len(), 3);
    assert_eq!(streams[..2], ["/dev/null", "/dev/null"]);
}

#[test]
fn a_listener_goes_to_its_socket_without_a_rule_that_notifies() {
    let oci = Oci::new();
    let socket = oci.dir().join("agent");
    let listening = |path: &Path| {
        bundle("true", |spec| {
            spec["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
                "listenerMetadata": "some text",
            });
        })
    };
    // Nobody needs to be there.
    run(&oci, "nobody", &listening(&socket)).succeeds();
    let listener = UnixListener::bind(&socket).expect("a socket");
    run(&oci, "agent", &listening(&socket)).succeeds();
    let (mut stream, _) = listener.accept().expect("it has connected");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).expect("reads");
    let state: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(state["ociVersion"], "0.2.0");
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["metadata"], "some text");
    assert_eq!(state["state"]["status"], "creating");
    assert_eq!(state["state"]["id"], oci.id("agent"));
}

/// Somebody has put the process into a frozen cgroup of the v1 freezer, where it does not die.
#[test]
fn delete_force_ends_a_process_that_was_frozen_elsewhere() {
    let freezer = Path::new("/sys/fs/cgroup/freezer");
    if !freezer.join("cgroup.procs").exists() {
        // cgroup2 freezes what is in the container's cgroup only.
        return;
    }
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("frozen", &bundle);
    let elsewhere = freezer.join(oci.id("elsewhere"));
    fs::create_dir(&elsewhere).expect("a cgroup");
    let put = |file: &str, text: &str| {
        let file = fs::OpenOptions::new()
            .write(true)
            .open(elsewhere.join(file));
        file.and_then(|mut file| file.write_all(text.as_bytes()))
    };
    let frozen = put("cgroup.procs", &oci.state(&id)["pid"].to_string())
        .and_then(|()| put("freezer.state", "FROZEN"));
    let done = oci.run(&["delete", "--force", &id]);
    let thawed = put("freezer.state", "THAWED");
    let removed = fs::remove_dir(&elsewhere);
    frozen.expect("it is frozen");
    done.succeeds();
    thawed.expect("it is thawed");
    removed.expect("nobody is left in it");
    oci.assert_empty();
}

#[test]
fn times_of_sched_deadline_are_checked_before_anything_happens() {
    let oci = Oci::new();
    for (number, (times, text)) in [
        (json!({ "deadline": 2000 }), "requires `runtime`"),
        (json!({ "runtime": 2000 }), "requires `deadline`"),
        (
            json!({ "runtime": 0, "deadline": 2 }),
            "runtime must be greater than 0",
        ),
        (
            json!({ "runtime": 3000, "deadline": 2000 }),
            "runtime 3000 must be <= the deadline",
        ),
        (
            json!({ "runtime": 2000, "deadline": 4000, "period": 3000 }),
            "deadline 4000 must be <= the period",
        ),
        (
            json!({ "runtime": 1023, "deadline": 4000 }),
            "runtime 1023 must be between 1024 and",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let bundle = bundle("true", |spec| {
            spec["process"]["scheduler"] = times.clone();
            spec["process"]["scheduler"]["policy"] = json!("SCHED_DEADLINE");
        });
        let text = format!("sched_setattr: `SCHED_DEADLINE` {text}");
        run(&oci, &format!("deadline-{number}"), &bundle).fails(1, &[&text]);
    }
}

#[test]
fn help_begins_with_the_usage_that_crun_writes() {
    for (verb, words) in [
        ("start", "start CONTAINER"),
        ("delete", "delete CONTAINER"),
        ("update", "update [OPTION]... CONTAINER"),
        ("mounts", "mounts [add|remove] CONTAINER FILE"),
    ] {
        let mut command = Command::new(common::program());
        let output = command.args([verb, "--help"]).stdin(Stdio::null()).output();
        let text = String::from_utf8(output.expect("starts").stdout).expect("UTF-8");
        let usage = format!("Usage: coffer-oci [OPTION...] {words}");
        assert!(text.contains(&usage), "{text}");
    }
}
