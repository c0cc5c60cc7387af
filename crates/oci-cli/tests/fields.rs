//! Documents through the whole program: the 1.0.0-rc form, limits, hooks up to the last, many runs.

mod common;

use std::fs;
use std::path::Path;

use common::{Oci, eventually, script, sleeper};
use serde_json::{Value, json};
use testing::bundle::Bundle;

fn path(bundle: &Bundle) -> &str {
    bundle.path().to_str().expect("UTF-8")
}

/// A user namespace of the container's own, in which the first ids are the host's.
fn own_users(spec: &mut Value, size: u32) {
    let namespaces = spec["linux"]["namespaces"].as_array_mut();
    namespaces.expect("a list").push(json!({ "type": "user" }));
    let map = json!([{ "containerID": 0, "hostID": 0, "size": size }]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
}

#[test]
fn the_rc_form_runs() {
    let oci = Oci::new();
    let report = "grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status; cat /proc/self/oom_score_adj; \
        mkdir /tmp/x; ls -l /dev/odd | cut -c1-10";
    let bundle = Bundle::new(&["sh", "-c", report], |spec| {
        *spec = json!({
            "ociVersion": "1.0.0-rc1",
            "platform": { "os": "linux", "arch": oci::runtime::machine() },
            "process": {
                "terminal": false, "user": {}, "args": ["sh", "-c", report], "env": ["PATH=/bin"],
                "cwd": "/", "capabilities": ["CAP_KILL", "CAP_MKNOD"],
            },
            "root": { "path": "rootfs", "readonly": false },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": null },
            ],
            "hooks": {},
            "linux": {
                "resources": {
                    "devices": null, "oomScoreAdj": 321,
                    "memory": { "limit": u64::MAX, "kernelTCP": null },
                    "network": null, "pids": { "limit": 50 },
                },
                "namespaces": [
                    { "type": "pid", "path": "" }, { "type": "mount" }, { "type": "ipc" },
                    { "type": "uts" }, { "type": "network" },
                ],
                "devices": [
                    { "path": "/dev/odd", "type": "c", "major": 1, "minor": 3, "fileMode": 69206432 },
                ],
                "seccomp": {
                    "defaultAction": "SCMP_ACT_ALLOW", "architectures": null,
                    "syscalls": [
                        { "name": "mkdir", "action": "SCMP_ACT_ERRNO" },
                        { "name": "mkdirat", "action": "SCMP_ACT_ERRNO" },
                    ],
                },
            },
        });
    })
    .expect("a bundle");
    let done = oci.run(&["run", "-b", path(&bundle), &oci.id("rc")]);
    assert_eq!(
        done.stdout,
        "CapInh:\t0000000000000000\nCapPrm:\t0000000008000020\nCapEff:\t0000000008000020\n\
         CapBnd:\t0000000008000020\nCapAmb:\t0000000000000000\n321\ncrw-r-----\n",
        "{done:?}"
    );
    assert!(
        done.stderr
            .contains("mkdir: can't create directory '/tmp/x': Operation not permitted")
    );
}

/// Whether one hierarchy has every controller.
fn is_v2() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// The directory of a controller's cgroup.
fn cgroup(controller: &str, id: &str) -> std::path::PathBuf {
    let controller = if is_v2() { "" } else { controller };
    Path::new("/sys/fs/cgroup").join(controller).join(id)
}

#[test]
fn limits_are_in_force() {
    let oci = Oci::new();
    let bundle = Bundle::new(&["sleep", "1000"], |spec| {
        spec["linux"]["resources"] = json!({
            "memory": { "limit": 33_554_432 }, "pids": { "limit": 17 },
            "cpu": { "shares": 512, "quota": 50_000, "period": 100_000 },
        });
    })
    .expect("a bundle");
    let id = oci.start("limits", &bundle);
    let table: &[_] = match is_v2() {
        true => &[
            ("", "memory.max", "33554432"),
            ("", "pids.max", "17"),
            ("", "cpu.max", "50000 100000"),
        ],
        false => &[
            ("memory", "memory.limit_in_bytes", "33554432"),
            ("pids", "pids.max", "17"),
            ("cpu", "cpu.shares", "512"),
            ("cpu", "cpu.cfs_quota_us", "50000"),
        ],
    };
    for &(controller, file, wanted) in table {
        let text = fs::read_to_string(cgroup(controller, &id).join(file)).expect(file);
        assert_eq!(text.trim(), wanted, "{file}");
    }
    let pids = fs::read_to_string(cgroup("pids", &id).join("cgroup.procs")).expect("procs");
    assert_eq!(pids.trim(), oci.state(&id)["pid"].to_string());
}

#[test]
fn all_hooks_run_and_read_the_state() {
    let oci = Oci::new();
    let trace = oci.dir().join("trace");
    // The container's own start hook writes to where the bundle's root is for us.
    let hook = |name: &str, file: &str| {
        let text =
            format!("echo {name} $(tr -d ' \\n' | grep -o '\"status\":\"[a-z]*\"') >> {file}");
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", text], "env": ["PATH=/bin:/usr/bin"] }])
    };
    let file = trace.display().to_string();
    let bundle = Bundle::new(&["sleep", "1000"], |spec| {
        spec["hooks"] = json!({
            "prestart": hook("prestart", &file),
            "createRuntime": hook("createRuntime", &file),
            "createContainer": hook("createContainer", &file),
            "startContainer": hook("startContainer", "/trace"),
            "poststart": hook("poststart", &file),
            "poststop": hook("poststop", &file),
        });
    })
    .expect("a bundle");
    let read = |file: &Path| fs::read_to_string(file).unwrap_or_default();
    let id = oci.create("hooks", &bundle);
    let created = "prestart \"status\":\"creating\"\ncreateRuntime \"status\":\"creating\"\n\
        createContainer \"status\":\"creating\"\n";
    assert_eq!(read(&trace), created);
    oci.run(&["start", &id]).succeeds();
    let inside = bundle.rootfs().join("trace");
    assert_eq!(read(&inside), "startContainer \"status\":\"created\"\n");
    assert_eq!(
        read(&trace),
        format!("{created}poststart \"status\":\"running\"\n")
    );
    oci.run(&["delete", "--force", &id]).succeeds();
    assert_eq!(
        read(&trace),
        format!("{created}poststart \"status\":\"running\"\npoststop \"status\":\"stopped\"\n")
    );
    oci.assert_empty();
}

#[test]
fn a_failing_hook_undoes_the_container() {
    let oci = Oci::new();
    let bundle = Bundle::new(&["true"], |spec| {
        spec["hooks"] = json!({ "createRuntime": [
            { "path": "/bin/true" },
            { "path": "/bin/sh", "args": ["sh", "-c", "echo no luck >&2; exit 3"] },
        ] });
    })
    .expect("a bundle");
    oci.run(&["create", "-b", path(&bundle), &oci.id("failing")])
        .fails(1, &["error running createRuntime hook #1: ", "3"]);
    oci.assert_empty();
}

#[test]
fn a_failing_poststart_hook_ends_the_container() {
    let oci = Oci::new();
    let bundle = Bundle::new(&["sleep", "1000"], |spec| {
        spec["hooks"] = json!({ "poststart": [{ "path": "/bin/true" }, { "path": "/bin/false" }] });
    })
    .expect("a bundle");
    let words = ["error running poststart hook #1: "];
    for detach in [&[][..], &["-d"]] {
        let mut line = vec!["run", "-b", path(&bundle)];
        line.extend(detach);
        let id = oci.id("run");
        line.push(&id);
        oci.detached(&line).fails(1, &words);
    }
    oci.assert_empty();
    let id = oci.create("start", &bundle);
    oci.run(&["start", &id]).fails(1, &words);
    oci.assert_empty();
}

#[test]
fn annotations_are_in_the_state() {
    let oci = Oci::new();
    let bundle = Bundle::new(&["sleep", "1000"], |spec| {
        spec["annotations"] = json!({ "org.example.key": "value" });
    })
    .expect("a bundle");
    let id = oci.create("annotated", &bundle);
    assert_eq!(
        oci.state(&id)["annotations"],
        json!({ "org.example.key": "value" })
    );
}

#[test]
fn the_record_is_what_was_created_not_what_the_file_became() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.create("record", &bundle);
    let mut spec: Value =
        serde_json::from_slice(&fs::read(bundle.path().join("config.json")).expect("read"))
            .expect("JSON");
    spec["process"]["args"] = json!(["false"]);
    spec["process"]["user"] = json!({ "uid": 9, "gid": 9 });
    bundle.write(&spec).expect("writes");
    oci.run(&["start", &id]).succeeds();
    let pid = oci.state(&id)["pid"].clone();
    eventually("the first program runs", || {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x001000\0")
    });
    assert_eq!(oci.run(&["exec", &id, "id", "-u"]).succeeds().stdout, "0\n");
}

#[test]
fn many_short_runs_at_a_time_never_hang() {
    let (oci, bundle) = (Oci::new(), script("echo done"));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (oci, bundle) = (&oci, &bundle);
            scope.spawn(move || {
                for turn in 0..8 {
                    let id = oci.id(&format!("{thread}-{turn}"));
                    let done = oci.run(&["run", "-b", path(bundle), &id]);
                    assert_eq!((done.code, done.stdout.as_str()), (0, "done\n"), "{done:?}");
                }
            });
        }
    });
    oci.assert_empty();
}

/// A tmpfs with attributes, seen only by what runs the container, bound with each list of options.
#[test]
fn a_bind_that_says_anything_has_what_it_says_and_one_that_does_not_what_was_there() {
    let oci = Oci::new();
    let source = oci.dir().join("source");
    fs::create_dir(&source).expect("makes");
    let source = source.to_str().expect("UTF-8");
    let mount =
        format!("mount -t tmpfs -o mode=755 x {source} && mount -o remount,bind,$0 {source}");
    for (number, (of_source, options, user, wanted)) in [
        (
            "ro,noexec,nodiratime",
            "bind",
            false,
            "ro,noexec,nodiratime,relatime",
        ),
        ("ro,noexec", "bind,rprivate", true, "ro,noexec,relatime"),
        // Kubernetes' mounts say `rw`: a node's noexec is none of theirs.
        (
            "nosuid,nodev,noexec",
            "rbind,rprivate,rw",
            false,
            "rw,relatime",
        ),
        (
            "nosuid,nodev,noexec,noatime",
            "bind,ro",
            false,
            "ro,noatime",
        ),
        (
            "noatime",
            "bind,nodiratime",
            false,
            "rw,nodiratime,relatime",
        ),
        // The kernel locks them for a user namespace, but for links.
        ("nosuid,nosymfollow", "bind,ro", true, "ro,nosuid,relatime"),
        ("nodev", "bind,nosuid,rro", false, "ro,nosuid,relatime"),
    ]
    .into_iter()
    .enumerate()
    {
        let bundle = Bundle::new(&["grep", " /bound ", "/proc/mounts"], |spec| {
            spec["mounts"].as_array_mut().expect("a list").push(json!({
                "destination": "/bound", "source": source, "type": "bind",
                "options": options.split(',').collect::<Vec<_>>(),
            }));
            if user {
                own_users(spec, 65536);
            }
        });
        let bundle = bundle.expect("a bundle");
        let id = oci.id(&format!("bound-{number}"));
        let run = oci.command(&["run", "-b", path(&bundle), &id]);
        let mut command = std::process::Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c"]);
        command.arg(format!("{mount} && exec \"$@\""));
        command
            .args([of_source])
            .arg(run.get_program())
            .args(run.get_args());
        let output = command.output().expect("unshare starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let got = text.split_whitespace().nth(3).unwrap_or_default();
        let got = got.split(",size").next().unwrap_or_default();
        // What tmpfs says of itself differs between kernels.
        let of_tmpfs = |word: &str| word.contains('=') || word.starts_with("inode");
        let got: Vec<&str> = got.split(',').filter(|word| !of_tmpfs(word)).collect();
        assert_eq!(
            got.join(","),
            wanted,
            "{of_source} as {options}: {output:?}"
        );
    }
}

#[test]
fn ids_of_a_bind_are_those_of_the_user_namespace_that_is_joined() {
    let oci = Oci::new();
    let other = Bundle::new(&["sleep", "1000"], |spec| {
        own_users(spec, 10);
    });
    let id = oci.start("other", &other.expect("a bundle"));
    let pid = oci.state(&id)["pid"].to_string();
    let source = oci.dir().join("owned");
    fs::create_dir(&source).expect("makes");
    for owner in [7, 11] {
        let file = source.join(owner.to_string());
        fs::write(&file, "").expect("writes");
        std::os::unix::fs::chown(&file, Some(owner), Some(owner)).expect("owner");
    }
    let joining = Bundle::new(&["stat", "-c", "%n %u", "/owned/7", "/owned/11"], |spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut();
        namespaces.expect("a list").push(json!({
            "type": "user", "path": format!("/proc/{pid}/ns/user"),
        }));
        spec["mounts"].as_array_mut().expect("a list").push(json!({
            "destination": "/owned", "source": source, "type": "bind", "options": ["bind", "idmap"],
        }));
    });
    let joining = joining.expect("a bundle");
    let done = oci.run(&["run", "-b", path(&joining), &oci.id("joining")]);
    assert_eq!(done.succeeds().stdout, "/owned/7 7\n/owned/11 65534\n");
}

#[test]
fn real_time_needs_a_share_of_it_where_cgroups_share_it() {
    let oci = Oci::new();
    let run = |name: &str, cpu: Value| {
        let bundle = Bundle::new(&["cut", "-d ", "-f40,41", "/proc/self/stat"], |spec| {
            spec["process"]["scheduler"] = json!({ "policy": "SCHED_FIFO", "priority": 10 });
            spec["linux"]["resources"] = json!({ "cpu": cpu });
        });
        let bundle = bundle.expect("a bundle");
        oci.run(&["run", "-b", path(&bundle), &oci.id(name)])
    };
    if Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        run("none", json!({})).fails(1, &["linux.resources.cpu.realtimeRuntime"]);
        let some = json!({ "realtimeRuntime": 1000, "realtimePeriod": 1_000_000 });
        assert_eq!(run("some", some).succeeds().stdout, "10 1\n");
    } else {
        assert_eq!(run("all", json!({})).succeeds().stdout, "10 1\n");
    }
}

#[test]
fn a_bind_of_what_earlier_mounts_made_is_of_that() {
    let oci = Oci::new();
    for (user, maps) in [(false, false), (true, false), (false, true), (true, true)] {
        let script = "echo seen >/first/file; cat /again/file /deep/in/file; \
            mount | grep -c ' /deep/in '; stat -c %u /first/file /mapped/file";
        let bundle = Bundle::new(&["sh", "-c", script], |_| {}).expect("a bundle");
        let root = bundle.rootfs().to_str().expect("UTF-8").to_owned();
        let mut spec = testing::bundle::spec(&["sh", "-c", script]);
        let mounts = spec["mounts"].as_array_mut().expect("a list");
        let mount = |place: &str, type_: &str, source: &str, options: Value| json!({ "destination": place, "type": type_, "source": source, "options": options });
        mounts.push(mount("/first", "tmpfs", "tmpfs", json!([])));
        // By its path on the host, and through `..`; the place, too, may be named so.
        let first = format!("{root}/tmp/../first");
        mounts.push(mount("/again", "bind", &first, json!(["bind"])));
        mounts.push(mount(
            "/outer/in",
            "bind",
            &format!("{root}/first"),
            json!(["rbind"]),
        ));
        let outer = format!("{root}/outer");
        mounts.push(mount(
            &format!("{root}/deep"),
            "bind",
            &outer,
            json!(["rbind", "nosuid"]),
        ));
        let mut mapped = mount("/mapped", "bind", &first, json!(["bind"]));
        if maps {
            let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
            (mapped["uidMappings"], mapped["gidMappings"]) = (map.clone(), map);
        }
        mounts.push(mapped);
        if user {
            own_users(&mut spec, 65536);
        }
        bundle.write(&spec).expect("writes");
        let done = oci.run(&["run", "-b", path(&bundle), &oci.id("order")]);
        if maps && !tmpfs_maps_ids() {
            done.fails(1, &["map the ids of bind mount", "no id-mapped mounts"]);
            continue;
        }
        let owner = if maps { 1000 } else { 0 };
        assert_eq!(
            done.succeeds().stdout,
            format!("seen\nseen\n1\n0\n{owner}\n"),
            "user namespace: {user}"
        );
    }
}

/// Since Linux 6.3.
fn tmpfs_maps_ids() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("reads");
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).expect("a number");
    (next(), next()) >= (6, 3)
}

#[test]
fn ids_of_a_filesystem_without_mappings_are_refused_with_the_reason() {
    let oci = Oci::new();
    let bundle = Bundle::new(&["true"], |_| {}).expect("a bundle");
    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 10 }]);
    let proc = bundle.rootfs().join("proc");
    for source in [proc.as_path(), Path::new("/proc")] {
        let mut spec = testing::bundle::spec(&["true"]);
        spec["mounts"].as_array_mut().expect("a list").push(json!({
            "destination": "/mapped", "type": "bind", "source": source, "options": ["bind"],
            "uidMappings": map, "gidMappings": map,
        }));
        bundle.write(&spec).expect("writes");
        let done = oci.run(&["run", "-b", path(&bundle), &oci.id("procfs")]);
        done.fails(1, &["map the ids of bind mount", "no id-mapped mounts"]);
    }
}

#[test]
fn a_filter_that_knows_no_newer_calls_lets_the_program_be_found() {
    let oci = Oci::new();
    for (at, errno) in [1, 38].into_iter().enumerate() {
        let bundle = Bundle::new(&["echo", "found"], |spec| {
            spec["process"]["noNewPrivileges"] = json!(false);
            spec["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{
                    "names": ["faccessat2", "statx", "openat2", "close_range", "getcwd"],
                    "action": "SCMP_ACT_ERRNO",
                    "errnoRet": errno,
                }],
            });
        });
        let bundle = bundle.expect("a bundle");
        let id = oci.id(&format!("old-{at}"));
        let done = oci.run(&["run", "-b", path(&bundle), &id]).succeeds();
        assert_eq!(done.stdout, "found\n");
    }
}

#[test]
fn what_only_a_filesystem_takes_is_left_out_of_a_bind() {
    let oci = Oci::new();
    let source = oci.dir().join("bound");
    fs::create_dir(&source).expect("makes");
    let bundle = Bundle::new(&["grep", "-c", " /bound ", "/proc/mounts"], |spec| {
        spec["mounts"].as_array_mut().expect("a list").push(json!({
            "destination": "/bound", "source": source, "type": "bind",
            "options": ["bind", "shared", "mode=777", "size=64k"],
        }));
    });
    let bundle = bundle.expect("a bundle");
    let done = oci
        .run(&["run", "-b", path(&bundle), &oci.id("words")])
        .succeeds();
    assert_eq!(done.stdout, "1\n");
    assert!(done.stderr.contains("does not have: mode size"), "{done:?}");
}
