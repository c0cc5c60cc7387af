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
use common::{Pod, soon, status};
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
    let exec = common::exec("e1", &["no-such-program"]);
    let (code, text) = status(calls.own.exec_process(soon(), &exec).await);
    assert_eq!(code, Code::NOT_FOUND, "{text}");
    assert!(
        text.contains("executable file not found in $PATH"),
        "{text}"
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
