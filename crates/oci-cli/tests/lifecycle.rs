//! A container's life by the command line: create, state, start, kill, delete, run.

mod common;

use common::{Oci, eventually, script, sleeper};
use serde_json::{Value, json};
use testing::bundle::Bundle;

#[test]
fn a_container_lives_and_leaves_nothing() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.id("life");
    let pid_file = oci.dir().join("pid");
    oci.detached(&[
        "create",
        "-b",
        bundle.path().to_str().expect("UTF-8"),
        "--pid-file",
        pid_file.to_str().expect("UTF-8"),
        &id,
    ])
    .succeeds();

    let state = oci.state(&id);
    let pid = state["pid"].as_i64().expect("a pid");
    assert!(pid > 1);
    assert_eq!(
        std::fs::read_to_string(&pid_file).expect("pid file"),
        pid.to_string()
    );
    assert_eq!(state["id"], id);
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], bundle.path().to_str().expect("UTF-8"));
    assert_eq!(state["rootfs"], bundle.rootfs().to_str().expect("UTF-8"));
    assert_eq!(state["owner"], "root");
    assert!(
        state["ociVersion"]
            .as_str()
            .is_some_and(|version| version.starts_with("1."))
    );
    let created = state["created"].as_str().expect("a time");
    assert!(created.ends_with('Z') && created.len() == 30, "{created}");

    oci.run(&["start", &id]).succeeds();
    assert_eq!(oci.status(&id), "running");
    eventually("the user's program runs", || {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == b"sleep\x001000\0")
    });

    // The first process of a pid namespace ignores TERM unless it has a handler.
    oci.run(&["kill", &id, "KILL"]).succeeds();
    oci.await_status(&id, "stopped");
    assert_eq!(oci.state(&id)["pid"], 0);
    oci.run(&["delete", &id]).succeeds();
    oci.run(&["state", &id]).fails(1, &["does not exist"]);
    oci.assert_empty();
}

#[test]
fn run_gives_output_and_exit_code() {
    let oci = Oci::new();
    let bundle = script("echo out; echo err >&2; cat; exit 42");
    let done = oci.run(&[
        "run",
        "-b",
        bundle.path().to_str().expect("UTF-8"),
        &oci.id("run"),
    ]);
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (42, "out\n", "err\n")
    );
    oci.assert_empty();
}

#[test]
fn a_signal_counts_from_128() {
    let oci = Oci::new();
    let bundle = Bundle::new(&["sh", "-c", "kill -9 $$; exit 3"], |spec| {
        // Without a pid namespace, so that the signal is not ignored.
        let namespaces = spec["linux"]["namespaces"]
            .as_array_mut()
            .expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "pid");
    })
    .expect("a bundle");
    let done = oci.run(&[
        "run",
        "-b",
        bundle.path().to_str().expect("UTF-8"),
        &oci.id("signal"),
    ]);
    assert_eq!(done.code, 137, "{done:?}");
    oci.assert_empty();
}

#[test]
fn run_detached_returns_at_once() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.id("detached");
    oci.detached(&[
        "run",
        "-d",
        "-b",
        bundle.path().to_str().expect("UTF-8"),
        &id,
    ])
    .succeeds();
    assert_eq!(oci.status(&id), "running");
    oci.run(&["delete", &id])
        .fails(1, &["that is not stopped: running", "--force"]);
    oci.run(&["delete", &id, "-f"]).succeeds();
    oci.assert_empty();
}

#[test]
fn run_keep_keeps_the_stopped_container() {
    let (oci, bundle) = (Oci::new(), script("exit 5"));
    let id = oci.id("kept");
    let done = oci.run(&[
        "run",
        "--keep",
        "-b",
        bundle.path().to_str().expect("UTF-8"),
        &id,
    ]);
    assert_eq!(done.code, 5, "{done:?}");
    assert_eq!(oci.status(&id), "stopped");
    oci.run(&["delete", &id]).succeeds();
}

#[test]
fn the_bundle_is_the_current_directory_by_default() {
    let (oci, bundle) = (Oci::new(), script("pwd; hostname"));
    let id = oci.id("here");
    let output = oci
        .command(&["run", &id])
        .current_dir(bundle.path())
        .output()
        .expect("starts");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "/\nbundle\n");
}

#[test]
fn a_created_container_can_be_deleted() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.create("waiting", &bundle);
    oci.run(&["delete", &id]).succeeds();
    oci.assert_empty();
}

#[test]
fn signals_by_name_and_number_reach_the_process() {
    let oci = Oci::new();
    let bundle =
        script("trap 'echo usr1 > /got' USR1; trap 'exit 0' TERM; while :; do sleep 0.01; done");
    let id = oci.start("signals", &bundle);
    let got = bundle.rootfs().join("got");
    for signal in ["USR1", "SIGUSR1", "10"] {
        eventually(&format!("the handler of {signal} has run"), || {
            // Again and again: the shell may not have set the trap yet.
            oci.status(&id) == "running"
                && oci.run(&["kill", &id, signal]).code == 0
                && got.exists()
        });
        std::fs::remove_file(&got).expect("the handler's file");
    }
    oci.run(&["kill", &id, "0"]).succeeds();
    oci.run(&["kill", &id]).succeeds();
    oci.await_status(&id, "stopped");
    oci.run(&["kill", &id, "0"])
        .fails(1, &["container not running"]);
    oci.run(&["kill", "-a", &id, "0"]).succeeds();
}

#[test]
fn kill_all_reaches_every_process() {
    let oci = Oci::new();
    let bundle = script(
        "trap '' TERM; \
        sh -c 'trap \"echo all > /got; exit\" USR2; > /ready; while :; do sleep 0.01; done' & \
        trap 'true' USR2; while :; do sleep 0.01; done",
    );
    let id = oci.start("all", &bundle);
    let got = bundle.rootfs().join("got");
    // A signal before its trap would end the child: only the init of a pid namespace is spared.
    let ready = bundle.rootfs().join("ready");
    eventually("the child has set its trap", || ready.exists());
    eventually("the child's handler has run", || {
        oci.run(&["kill", "--all", &id, "USR2"]).succeeds();
        got.exists()
    });
    oci.run(&["kill", "-a", &id, "KILL"]).succeeds();
    oci.await_status(&id, "stopped");
    oci.run(&["kill", "-a", &id, "KILL"]).succeeds();
}

#[test]
fn pause_and_resume() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("frozen", &bundle);
    oci.run(&["resume", &id])
        .fails(1, &["cannot resume", "running"]);
    oci.run(&["pause", &id]).succeeds();
    assert_eq!(oci.status(&id), "paused");
    oci.run(&["pause", &id])
        .fails(1, &["cannot pause", "paused"]);
    oci.run(&["exec", &id, "true"])
        .fails(255, &["cannot exec in a paused container"]);
    oci.run(&["resume", &id]).succeeds();
    assert_eq!(oci.status(&id), "running");
    oci.run(&["pause", &id]).succeeds();
    oci.run(&["kill", &id, "KILL"]).succeeds();
    oci.await_status(&id, "stopped");
    oci.run(&["delete", &id]).succeeds();
    oci.assert_empty();
}

#[test]
fn a_paused_container_can_be_deleted_by_force() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let id = oci.start("ice", &bundle);
    oci.run(&["pause", &id]).succeeds();
    oci.run(&["delete", &id])
        .fails(1, &["that is not stopped: paused"]);
    oci.run(&["delete", "--force", &id]).succeeds();
    oci.assert_empty();
}

#[test]
fn list_and_ps_show_it() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let (one, two) = (oci.start("one", &bundle), oci.create("two", &bundle));
    let pid = oci.state(&one)["pid"].clone();

    assert_eq!(
        oci.run(&["list", "--quiet"]).stdout,
        format!("{one}\n{two}\n")
    );
    let table = oci.run(&["list"]).succeeds().stdout;
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|row| row.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[0],
        ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    );
    assert_eq!((rows[1][0], rows[1][2]), (one.as_str(), "running"));
    assert_eq!((rows[2][0], rows[2][2]), (two.as_str(), "created"));
    let json: Value = serde_json::from_str(&oci.run(&["list", "-f", "json"]).stdout).expect("JSON");
    assert_eq!(
        (&json[0]["pid"], json[1]["status"].as_str()),
        (&pid, Some("created"))
    );

    let pids: Value =
        serde_json::from_str(&oci.run(&["ps", "-f", "json", &one]).stdout).expect("JSON");
    assert_eq!(pids, Value::Array(vec![pid]));
    let lines = oci.run(&["ps", &one]).succeeds().stdout;
    assert!(
        lines.contains("sleep 1000") && lines.lines().count() == 2,
        "{lines}"
    );
}

/// As crun has it: each whose id the expression is found in; one that fails is told of, not all.
#[test]
fn an_expression_names_several_containers() {
    let (oci, bundle) = (Oci::new(), sleeper());
    let ids: Vec<String> = ["web-1", "web-2", "db-1"]
        .iter()
        .map(|name| oci.start(name, &bundle))
        .collect();
    oci.run(&["kill", "--regex", "web-[0-9]+$", "KILL"])
        .succeeds();
    for (id, status) in ids.iter().zip(["stopped", "stopped", "running"]) {
        eventually(status, || oci.status(id) == status);
    }
    // The one that runs is left, and said to be.
    let done = oci.run(&["delete", "-r", "1$"]).succeeds();
    assert!(
        done.stderr.contains("db-1") && done.stderr.contains("running"),
        "{done:?}"
    );
    oci.run(&["state", &ids[0]]).fails(1, &["does not exist"]);
    assert_eq!(oci.status(&ids[2]), "running");
    oci.run(&["delete", "--regex", "--force", ""]).succeeds();
    oci.assert_empty();
    oci.run(&["delete", "--regex", "nobody"]).succeeds();
    oci.run(&["kill", "-r", "("])
        .fails(1, &["no extended regular expression", "a ) is missing"]);
}

#[test]
fn signals_that_end_a_process_end_one_that_waits_for_its_start() {
    let (oci, bundle) = (Oci::new(), sleeper());
    for signal in ["HUP", "INT", "QUIT", "TERM"] {
        let id = oci.create(signal, &bundle);
        // What it would do nothing about waits with it.
        oci.run(&["kill", &id, "USR1"]).succeeds();
        assert_eq!(oci.status(&id), "created");
        oci.run(&["kill", &id, signal]).succeeds();
        oci.await_status(&id, "stopped");
        oci.run(&["start", &id]).fails(1, &["stopped"]);
        oci.run(&["delete", &id]).succeeds();
    }
    oci.assert_empty();
}

#[test]
fn a_process_that_waits_for_its_start_holds_nothing_of_the_hosts() {
    let oci = Oci::new();
    let mut counts = Vec::new();
    // A file among them is masked by the host's null device; a directory is not.
    for masked in [&["/proc/keys"][..], &["/proc/irq"], &["/nothing"], &[]] {
        let bundle = Bundle::new(&["sleep", "1000"], |spec| {
            spec["linux"]["maskedPaths"] = json!(masked);
        });
        let bundle = bundle.expect("a bundle");
        let id = oci.create(&format!("holds-{}", counts.len()), &bundle);
        let pid = &oci.state(&id)["pid"];
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process");
        let mut count = 0;
        for fd in fds.flatten() {
            let to = std::fs::read_link(fd.path()).unwrap_or_default();
            let to = to.to_str().expect("UTF-8");
            let known = ["pipe:", "socket:", "anon_inode:", "/memfd:"];
            let harmless = known.iter().any(|kind| to.starts_with(kind));
            let root = matches!(to, "/" | "/proc" | "/dev/null");
            let own = to.contains("/exec.fifo") || to.contains("/stderr");
            assert!(harmless || root || own, "{masked:?}: {to}");
            // Not the socket to `create`, which it may be closing just now.
            count += u32::from(!to.starts_with("socket:"));
        }
        counts.push(count);
    }
    // The link of a mount that is nowhere attached says only "/": none is held more for a mask.
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}
