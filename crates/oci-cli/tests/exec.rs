//! Processes that enter a running container.

mod common;

use common::{Oci, eventually, sleeper};

#[test]
fn exec_runs_in_the_container() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("exec", &bundle);
    let done = oci.run(&[
        "exec",
        &id,
        "sh",
        "-c",
        "hostname; pwd; cat /etc/hostname; exit 7",
    ]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (7, "bundle\n/\nbusybox\n"),
        "{done:?}"
    );
    let done = oci.run(&["exec", &id, "cat", "/proc/1/cmdline"]).succeeds();
    assert_eq!(done.stdout, "sleep\x001000\0");
}

#[test]
fn options_change_the_process() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("options", &bundle);
    let text = "id -u; id -g; id -G; pwd; echo $GREETING; grep NoNewPrivs /proc/self/status";
    let done = oci
        .run(&[
            "exec",
            "--user",
            "1000:44",
            "-g",
            "26,55",
            "--cwd",
            "/tmp",
            "--env",
            "GREETING=hello",
            "--no-new-privs",
            &id,
            "sh",
            "-c",
            text,
        ])
        .succeeds();
    assert_eq!(
        done.stdout,
        "1000\n44\n44 26 55\n/tmp\nhello\nNoNewPrivs:\t1\n"
    );
}

#[test]
fn a_process_document_is_run() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("document", &bundle);
    let file = oci.dir().join("process.json");
    let text = r#"{"args":["sh","-c","echo $A; id -u"],"env":["PATH=/bin","A=b"],"cwd":"/",
        "user":{"uid":3,"gid":3}}"#;
    std::fs::write(&file, text).expect("writes");
    let file = file.to_str().expect("UTF-8");
    assert_eq!(
        oci.run(&["exec", "--process", file, &id]).succeeds().stdout,
        "b\n3\n"
    );
    std::fs::write(file, r#"{"args":[],"cwd":"x"}"#).expect("writes");
    oci.run(&["exec", "-p", file, &id])
        .fails(255, &[file, "process.cwd", "process.args"]);
    oci.run(&["exec", "-p", "/nowhere.json", &id])
        .fails(255, &["/nowhere.json"]);
}

#[test]
fn detached_processes_stay() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("stay", &bundle);
    let pid_file = oci.dir().join("pid");
    oci.detached(&[
        "exec",
        "-d",
        "--pid-file",
        pid_file.to_str().expect("UTF-8"),
        &id,
        "sleep",
        "999",
    ])
    .succeeds();
    let pid: i64 = std::fs::read_to_string(&pid_file)
        .expect("pid file")
        .parse()
        .expect("a pid");
    eventually("the program runs", || {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x00999\0")
    });
    let pids: Vec<i64> =
        serde_json::from_str(&oci.run(&["ps", "-f", "json", &id]).stdout).expect("JSON");
    assert!(pids.contains(&pid) && pids.len() == 2, "{pids:?}");
    oci.run(&["kill", &id, "KILL"]).succeeds();
    oci.await_status(&id, "stopped");
    oci.run(&["delete", &id]).succeeds();
    oci.assert_empty();
}

#[test]
fn failures_name_the_program() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("missing", &bundle);
    oci.run(&["exec", &id, "frobnicate"])
        .fails(255, &["\"frobnicate\": executable file not found in $PATH"]);
    oci.run(&["exec", &id, "/frobnicate"])
        .fails(255, &["/frobnicate", "no such file or directory"]);
    oci.run(&["exec", &id, "/etc/passwd"])
        .fails(255, &["/etc/passwd", "permission denied"]);
    oci.run(&["exec", "--cwd", "/nowhere", &id, "true"])
        .fails(255, &["/nowhere"]);
    oci.run(&["exec", "--cgroup", "x", &id, "true"])
        .fails(255, &["/x/cgroup.procs: no such file or directory"]);
    oci.run(&["exec", "--cgroup", "../x", &id, "true"])
        .fails(255, &["../x is not a sub cgroup path"]);
    oci.run(&["exec", "--cgroup", "moon:x", &id, "true"])
        .fails(255, &["unknown controller moon"]);
}

#[test]
fn many_at_a_time() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("many", &bundle);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (oci, id) = (&oci, &id);
            scope.spawn(move || {
                let done = oci.run(&["exec", id, "sh", "-c", &format!("echo {n}; exit {n}")]);
                assert_eq!((done.code, done.stdout), (n, format!("{n}\n")));
            });
        }
    });
}

#[test]
fn a_cgroup_below_the_containers() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("below", &bundle);
    let hierarchy = container::cgroup::Hierarchy::probe().expect("cgroups");
    let cgroup = container::cgroup::Cgroup::open(&hierarchy, &id).expect("the container's");
    if cgroup.is_v2() {
        // As the container would: with controllers handed on from one that has processes, it could have none.
        std::fs::create_dir(cgroup.paths()[""].join("sub")).expect("one below");
    } else {
        container::cgroup::Cgroup::create(&hierarchy, &format!("{id}/sub")).expect("one below");
    }
    let places = |options: &[&str]| {
        let mut line = vec!["exec"];
        line.extend(options);
        // Without a cgroup namespace of its own it would see where it is from outside.
        line.extend([id.as_str(), "cat", "/proc/self/cgroup"]);
        oci.run(&line).succeeds().stdout
    };
    // A hierarchy that somebody mounts elsewhere is none of ours.
    let known = cgroup.paths();
    let ours = |line: &&str| {
        let names = line.split(':').nth(1).unwrap_or_default();
        names.split(',').any(|name| known.contains_key(name))
    };
    for (options, texts) in [
        (
            "..",
            &[" .. is not a sub cgroup path", "bad sub cgroup path"][..],
        ),
        (
            "nowhere",
            &[" adding pid ", "/nowhere/cgroup.procs: no such file "],
        ),
        ("moon:/", &["unknown controller moon"]),
    ] {
        oci.run(&["exec", "--cgroup", options, &id, "true"])
            .fails(255, texts);
    }
    let all = places(&["--cgroup", "sub"]);
    let inside = all.lines().filter(ours).all(|line| line.ends_with("/sub"));
    assert!(inside, "{all}");
    assert!(places(&[]).lines().all(|line| line.ends_with('/')));
    if !cgroup.is_v2() {
        let one = places(&["--cgroup", "pids:/sub"]);
        let (inside, outside): (Vec<_>, Vec<_>) = one.lines().partition(|l| l.ends_with("/sub"));
        assert!(inside.len() == 1 && inside[0].contains("pids"), "{one}");
        assert!(!outside.is_empty());
    }
}

#[test]
fn a_paused_container_is_entered_when_it_may_wait() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("paused", &bundle);
    oci.run(&["pause", &id]).succeeds();
    oci.run(&["exec", &id, "true"]).fails(
        255,
        &["cannot exec in a paused container", "--ignore-paused"],
    );
    let mut waiting = oci
        .command(&["exec", "--ignore-paused", &id, "sh", "-c", "exit 7"])
        .spawn()
        .expect("starts");
    common::eventually("it is in the frozen cgroup", || {
        let pids = oci.run(&["ps", "-f", "json", &id]).succeeds().stdout;
        pids.contains(',')
    });
    assert!(waiting.try_wait().expect("wait").is_none());
    oci.run(&["resume", &id]).succeeds();
    assert_eq!(common::finish(&mut waiting), 7);
}

#[test]
fn a_capability_that_is_inheritable_is_ambient_for_an_exec_that_asks_for_it() {
    let oci = Oci::new();
    let bundle = testing::bundle::Bundle::new(&["sleep", "1000"], |spec| {
        spec["process"]["capabilities"] = serde_json::json!({
            "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SYSLOG"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "inheritable": ["CAP_CHOWN", "CAP_SYSLOG"], "ambient": ["CAP_CHOWN", "CAP_KILL"],
        });
    });
    let id = oci.id("ambient");
    let bundle = bundle.expect("a bundle");
    let path = bundle.path().to_str().expect("UTF-8");
    let done = oci.detached(&["run", "-d", "-b", path, &id]).succeeds();
    let said = "can't raise ambient capability CAP_KILL: ";
    assert!(done.stderr.contains(said), "{done:?}");
    let caps = |options: &[&str]| {
        let mut line = vec!["exec"];
        line.extend(options);
        line.extend([id.as_str(), "grep", "CapAmb", "/proc/self/status"]);
        oci.run(&line).succeeds().stdout
    };
    assert_eq!(caps(&[]), "CapAmb:\t0000000000000001\n");
    let more = ["--cap", "CAP_SYSLOG", "--cap", "CAP_KILL"];
    assert_eq!(caps(&more), "CapAmb:\t0000000400000001\n");
}
