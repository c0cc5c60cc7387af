//! A container's life through the services: created, started, signalled, waited for, removed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure fails the test"
)]

mod common;

use std::fs;

use agent_api::grpc;
use agent_api::sandbox::{self, State};
use agent_api::ttrpc::Code;
use common::{Pod, process, soon, status};
use serde_json::{Value, json};

#[tokio::test]
async fn a_container_lives_and_is_recorded_before_anyone_is_told() {
    let (pod, calls) = Pod::sandbox().await;
    let request = pod.container("c1", &["sh", "-c", "echo hello; exit 3"], |_| {});
    let pid = calls.create(&request).await;
    let created = calls.state("c1").await.unwrap();
    assert_eq!(
        (created.state(), created.pid, created.started_at_ns),
        (State::Created, pid, 0)
    );
    assert!(created.created_at_ns > 0);
    calls.start("c1").await;
    let ended = calls.wait("c1").await;
    assert_eq!((ended.state(), ended.exit_code), (State::Exited, 3));
    assert_eq!((ended.reason.as_str(), ended.oom_killed), ("Error", false));
    assert!(ended.started_at_ns >= ended.created_at_ns);
    assert!(ended.finished_at_ns >= ended.created_at_ns);
    assert_eq!(pod.log("c1"), ["stdout F hello"]);
    let record: Value =
        serde_json::from_slice(&fs::read(pod.state("c1").join("exit.json")).unwrap()).unwrap();
    assert_eq!(
        record,
        json!({
            "version": 1, "exit_code": 3, "finished_at_ns": ended.finished_at_ns,
            "oom_killed": false, "reason": "Error"
        })
    );
    // The code of a first process stays readable until its removal.
    assert_eq!(calls.wait("c1").await, ended);
    calls.remove("c1").await;
    assert!(calls.state("c1").await.is_none());
    assert!(!pod.state("c1").exists());
    calls.remove("c1").await;
    calls.remove("never-was").await;
    pod.destroy(calls).await;
}

#[tokio::test]
async fn exit_codes_are_128_plus_the_signal() {
    let (pod, calls) = Pod::sandbox().await;
    for (n, (script, code)) in [
        ("exit 0", 0),
        ("exit 255", 255),
        ("sleep 100 & exec sleep 100", 128 + 9),
        ("trap 'exit 5' TERM; while :; do sleep 0.02; done", 5),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("c{n}");
        calls
            .run(&pod.container(&id, &["sh", "-c", script], |_| {}))
            .await;
        match code {
            // A first process without a handler never sees SIGTERM: it is killed instead.
            137 => calls.signal(&id, &id, libc::SIGTERM).await.unwrap(),
            5 => {
                common::until("the trap", async || {
                    let status = fs::read_to_string(format!(
                        "/proc/{}/status",
                        calls.state(&id).await.unwrap().pid
                    ));
                    status.unwrap().lines().any(|l| {
                        l.strip_prefix("SigCgt:").is_some_and(|m| {
                            u64::from_str_radix(m.trim(), 16).unwrap() & (1 << 14) != 0
                        })
                    })
                })
                .await;
                calls.signal(&id, &id, libc::SIGTERM).await.unwrap();
            }
            _ => {}
        }
        assert_eq!(calls.wait(&id).await.exit_code, code, "{script}");
    }
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_duplicate_or_second_start_changes_nothing() {
    let (pod, calls) = Pod::sandbox().await;
    let request = pod.container("c1", &["sleep", "100"], |_| {});
    calls.run(&request).await;
    let (code, text) = status(calls.own.create_container(soon(), &request).await);
    assert_eq!(code, Code::ALREADY_EXISTS);
    assert!(text.contains("c1"), "{text}");
    let start = grpc::StartContainerRequest {
        container_id: "c1".into(),
    };
    let (code, text) = status(calls.agent.start_container(soon(), &start).await);
    assert_eq!(code, Code::FAILED_PRECONDITION, "{text}");
    let again = calls
        .own
        .create_sandbox(soon(), &pod.sandbox_request())
        .await;
    assert_eq!(status(again).0, Code::ALREADY_EXISTS);
    assert_eq!(calls.state("c1").await.unwrap().state(), State::Running);
    assert_eq!(calls.sh("c1", "echo alive").await.1, "alive\n");
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_missing_program_fails_the_create_and_leaves_nothing() {
    let (pod, calls) = Pod::sandbox().await;
    for (program, expected, code) in [
        (
            "no-such-program",
            "executable file not found in $PATH",
            Code::NOT_FOUND,
        ),
        ("/no/such", "no such file or directory", Code::NOT_FOUND),
        ("/etc/passwd", "permission denied", Code::PERMISSION_DENIED),
    ] {
        let request = pod.container("c1", &[program], |_| {});
        let (got, text) = status(calls.own.create_container(soon(), &request).await);
        assert!(text.contains(expected), "{text}");
        assert_eq!(got, code, "{text}");
        assert!(calls.state("c1").await.is_none());
    }
    calls
        .run(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    let exec = sandbox::ExecProcessRequest {
        container_id: "c1".into(),
        exec_id: "e1".into(),
        process_json: process(&["no-such-program"]),
        stdin: false,
        ends_with_connection: false,
    };
    let (code, text) = status(calls.own.exec_process(soon(), &exec).await);
    assert_eq!(code, Code::NOT_FOUND, "{text}");
    assert!(
        text.contains("executable file not found in $PATH"),
        "{text}"
    );
    pod.destroy(calls).await;
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let (pod, calls) = Pod::sandbox().await;
    let (none, exec) = ("none".to_owned(), "e".to_owned());
    let start = grpc::StartContainerRequest {
        container_id: none.clone(),
    };
    assert_eq!(
        status(calls.agent.start_container(soon(), &start).await).0,
        Code::NOT_FOUND
    );
    let wait = grpc::WaitProcessRequest {
        container_id: none.clone(),
        exec_id: exec,
    };
    assert_eq!(
        status(calls.agent.wait_process(soon(), &wait).await).0,
        Code::NOT_FOUND
    );
    assert_eq!(
        status(calls.signal("none", "none", 9).await).0,
        Code::NOT_FOUND
    );
    let stats = grpc::StatsContainerRequest {
        container_id: none.clone(),
    };
    assert_eq!(
        status(calls.agent.stats_container(soon(), &stats).await).0,
        Code::NOT_FOUND
    );
    let collect = sandbox::ExecCollectRequest {
        container_id: none,
        process_json: process(&["true"]),
        ..Default::default()
    };
    assert_eq!(status(calls.collect(&collect).await).0, Code::NOT_FOUND);
    calls
        .run(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    assert_eq!(
        status(calls.signal("c1", "none", 9).await).0,
        Code::NOT_FOUND
    );
    assert_eq!(
        status(calls.signal("c1", "c1", 77).await).0,
        Code::INVALID_ARGUMENT
    );
    for bad in ["", "..", "a/b", "-\u{7f}"] {
        let mut request = pod.container("x", &["true"], |_| {});
        request.id = bad.into();
        let (code, text) = status(calls.own.create_container(soon(), &request).await);
        assert_eq!(code, Code::INVALID_ARGUMENT, "{text}");
    }
    pod.destroy(calls).await;
}

#[tokio::test]
async fn nothing_is_no_exec_id() {
    let (pod, calls) = Pod::sandbox().await;
    let mut request = pod.container("c1", &["cat"], |_| {});
    (request.log, request.stdin) = (None, true);
    calls.run(&request).await;
    let id = || "c1".to_owned();
    let agent = &calls.agent;
    let wait = grpc::WaitProcessRequest {
        container_id: id(),
        ..Default::default()
    };
    let read = grpc::ReadStreamRequest {
        container_id: id(),
        ..Default::default()
    };
    let write = grpc::WriteStreamRequest {
        container_id: id(),
        data: b"x".to_vec(),
        ..Default::default()
    };
    let close = grpc::CloseStdinRequest {
        container_id: id(),
        ..Default::default()
    };
    let resize = grpc::TtyWinResizeRequest {
        container_id: id(),
        ..Default::default()
    };
    for (code, said) in [
        status(agent.wait_process(soon(), &wait).await),
        status(agent.read_stdout(soon(), &read).await),
        status(agent.read_stderr(soon(), &read).await),
        status(agent.write_stdin(soon(), &write).await),
        status(agent.close_stdin(soon(), &close).await),
        status(agent.tty_win_resize(soon(), &resize).await),
    ] {
        assert_eq!(code, Code::INVALID_ARGUMENT, "{said}");
        assert!(said.contains("exec_id"), "{said}");
    }
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_container_that_waits_for_its_start_can_be_paused() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .create(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    let pause = grpc::PauseContainerRequest {
        container_id: "c1".into(),
    };
    calls.agent.pause_container(soon(), &pause).await.unwrap();
    assert_eq!(calls.state("c1").await.unwrap().state(), State::Paused);
    let start = grpc::StartContainerRequest {
        container_id: "c1".into(),
    };
    let (code, said) = status(calls.agent.start_container(soon(), &start).await);
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(said.contains("paused"), "{said}");
    let resume = grpc::ResumeContainerRequest {
        container_id: "c1".into(),
    };
    calls.agent.resume_container(soon(), &resume).await.unwrap();
    let again = calls.agent.resume_container(soon(), &resume).await;
    assert_eq!(status(again).0, Code::FAILED_PRECONDITION);
    assert_eq!(calls.state("c1").await.unwrap().state(), State::Created);
    calls.start("c1").await;
    assert_eq!(calls.state("c1").await.unwrap().state(), State::Running);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_signal_for_all_reaches_descendants() {
    let (pod, calls) = Pod::sandbox().await;
    let script = "trap : TERM; sleep 100 & wait; wait; echo gone; while :; do sleep 0.02; done";
    calls
        .run(&pod.container("c1", &["sh", "-c", script], |_| {}))
        .await;
    common::until("the child", async || {
        calls.sh("c1", "ps").await.1.contains("sleep 100")
    })
    .await;
    calls.signal("c1", "", libc::SIGTERM).await.unwrap();
    common::until("its end", async || {
        pod.log("c1").iter().any(|l| l.contains("gone"))
    })
    .await;
    assert_eq!(calls.state("c1").await.unwrap().state(), State::Running);
    calls.signal("c1", "", libc::SIGKILL).await.unwrap();
    assert_eq!(calls.wait("c1").await.exit_code, 137);
    // Ended: SIGKILL to all is done already, anything else has nobody to go to.
    calls.signal("c1", "", libc::SIGKILL).await.unwrap();
    assert_eq!(
        status(calls.signal("c1", "c1", libc::SIGTERM).await).0,
        Code::NOT_FOUND
    );
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_container_that_was_never_started_can_be_killed_and_removed() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .create(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    calls.signal("c1", "c1", libc::SIGKILL).await.unwrap();
    let state = calls.wait("c1").await;
    assert_eq!((state.exit_code, state.started_at_ns), (137, 0));
    let start = grpc::StartContainerRequest {
        container_id: "c1".into(),
    };
    assert_eq!(
        status(calls.agent.start_container(soon(), &start).await).0,
        Code::FAILED_PRECONDITION
    );
    calls.remove("c1").await;
    calls
        .create(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    calls.remove("c1").await;
    calls.run(&pod.container("c1", &["true"], |_| {})).await;
    assert_eq!(calls.wait("c1").await.exit_code, 0);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn orphans_are_reaped() {
    let (pod, calls) = Pod::sandbox().await;
    // The host's pid namespace: what a daemonising child leaves becomes the agent's.
    let mut request = pod.container("c1", &["sleep", "100"], |_| {});
    request.pid = sandbox::PidMode::Node.into();
    calls.run(&request).await;
    for _ in 0..20 {
        assert_eq!(calls.sh("c1", "(sleep 0.05 &) ; true").await.0, 0);
    }
    common::until("no zombies", async || {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pod.pid()));
        children.unwrap().split_whitespace().count() <= 1
    })
    .await;
    pod.destroy(calls).await;
}

#[tokio::test]
async fn what_was_recorded_outlives_a_killed_agent() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("done", &["sh", "-c", "exit 7"], |_| {}))
        .await;
    calls
        .run(&pod.container("running", &["sleep", "100"], |_| {}))
        .await;
    calls.wait("done").await;
    pod.kill_agent();
    let record: Value =
        serde_json::from_slice(&fs::read(pod.state("done").join("exit.json")).unwrap()).unwrap();
    assert_eq!(record["exit_code"], 7);
    assert!(!pod.state("running").join("exit.json").exists());
}

#[tokio::test]
async fn destroy_kills_what_runs_and_keeps_the_records() {
    let (pod, calls) = Pod::sandbox().await;
    for id in ["a", "b", "c"] {
        calls
            .run(&pod.container(id, &["sh", "-c", "trap '' TERM; sleep 100"], |_| {}))
            .await;
    }
    calls
        .create(&pod.container("created", &["true"], |_| {}))
        .await;
    let request = grpc::DestroySandboxRequest {};
    calls.agent.destroy_sandbox(soon(), &request).await.unwrap();
    pod.assert_gone().await;
    for id in ["a", "b", "c", "created"] {
        let record = fs::read(pod.state(id).join("exit.json")).unwrap();
        let record: Value = serde_json::from_slice(&record).unwrap();
        assert_eq!(record["exit_code"], 137, "{id}");
    }
}

#[tokio::test]
async fn a_hung_hook_delays_no_other_container_and_no_deadline() {
    use agent_api::ttrpc::context::with_duration;
    use std::time::{Duration, Instant};
    let (pod, calls) = Pod::sandbox().await;
    let hung = pod.container("hung", &["sleep", "100"], |spec| {
        spec["hooks"] = json!({
            "createRuntime": [{ "path": "/bin/busybox", "args": ["sleep", "3"] }]
        });
    });
    let deadline = with_duration(Duration::from_millis(300));
    let begin = Instant::now();
    let (late, ()) = tokio::join!(calls.own.create_container(deadline, &hung), async {
        calls
            .run(&pod.container("c1", &["sleep", "100"], |_| {}))
            .await;
        assert_eq!(calls.sh("c1", "echo prompt").await.1, "prompt\n");
        calls.remove("c1").await;
    });
    assert!(late.is_err());
    assert!(
        begin.elapsed() < Duration::from_millis(2500),
        "{:?}",
        begin.elapsed()
    );
    // The work of the call that nobody waits for any more goes on, and its name is taken.
    assert_eq!(
        status(calls.own.create_container(soon(), &hung).await).0,
        Code::ALREADY_EXISTS
    );
    common::until("its end", async || calls.state("hung").await.is_some()).await;
    calls.start("hung").await;
    pod.destroy(calls).await;
}

#[tokio::test]
async fn descriptors_and_threads_go_with_their_containers() {
    let (pod, calls) = Pod::sandbox().await;
    let count = |what: &str| {
        fs::read_dir(format!("/proc/{}/{what}", pod.pid()))
            .unwrap()
            .count()
    };
    // Threads of the pool end when they have been idle for half a second.
    common::until("an idle agent", async || count("task") == 1).await;
    let before = (count("fd"), count("task"));
    for round in 0..3 {
        let ids: Vec<_> = (0..5).map(|i| format!("c{round}-{i}")).collect();
        for id in &ids {
            calls
                .run(&pod.container(id, &["sleep", "100"], |_| {}))
                .await;
            calls.sh(id, "true").await;
        }
        let each = (count("fd") - before.0) / ids.len();
        assert!(each <= 6, "{each} descriptors a container");
        for id in &ids {
            calls.remove(id).await;
        }
    }
    common::until("the end of all", async || {
        (count("fd"), count("task")) == before
    })
    .await;
    pod.destroy(calls).await;
}
