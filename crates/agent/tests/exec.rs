//! Further processes in a container.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure fails the test"
)]

mod common;

use std::fs;
use std::time::{Duration, Instant};

use agent_api::grpc;
use agent_api::sandbox;
use agent_api::ttrpc::Code;
use common::{Calls, Pod, process, soon, status};

async fn exec(calls: &Calls, id: &str, args: &[&str]) -> i32 {
    let request = common::exec(id, args);
    calls.own.exec_process(soon(), &request).await.unwrap().pid
}

async fn wait(calls: &Calls, id: &str) -> Result<i32, agent_api::ttrpc::Error> {
    let request = grpc::WaitProcessRequest {
        container_id: "c1".into(),
        exec_id: id.into(),
    };
    calls
        .agent
        .wait_process(soon(), &request)
        .await
        .map(|r| r.status)
}

#[tokio::test]
async fn a_process_joins_the_container_and_its_code_is_read_once() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    let pid = exec(
        &calls,
        "e1",
        &["sh", "-c", "echo $$; hostname; exec sleep 100"],
    )
    .await;
    let read = grpc::ReadStreamRequest {
        container_id: "c1".into(),
        exec_id: "e1".into(),
        len: 4096,
    };
    let mut out = String::new();
    while out.lines().count() < 2 {
        let data = calls.agent.read_stdout(soon(), &read).await.unwrap().data;
        out.push_str(&String::from_utf8(data).unwrap());
    }
    assert!(out.ends_with("pod-host\n"), "{out}");
    let init = calls.state("c1").await.unwrap().pid;
    for ns in ["mnt", "pid", "ipc", "uts", "net"] {
        let of = |pid| fs::read_link(format!("/proc/{pid}/ns/{ns}")).unwrap();
        assert_eq!(of(pid), of(init), "{ns}");
    }
    let cgroup = |pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(cgroup(pid), cgroup(init));
    calls.signal("c1", "e1", libc::SIGTERM).await.unwrap();
    assert_eq!(wait(&calls, "e1").await.unwrap(), 143);
    assert_eq!(status(wait(&calls, "e1").await).0, Code::NOT_FOUND);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn output_is_collected_from_both_streams() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    let (code, out, err) = calls.sh("c1", "echo out; echo err >&2; exit 9").await;
    assert_eq!((code, out.as_str(), err.as_str()), (9, "out\n", "err\n"));
    let (_, out, _) = calls.sh("c1", "head -c 3000000 /dev/zero").await;
    assert_eq!(out.len(), 3_000_000);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn output_over_the_limit_is_dropped_and_said_so() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    let mut request = sandbox::ExecCollectRequest {
        container_id: "c1".into(),
        process_json: process(&["sh", "-c", "head -c 500000 /dev/zero; echo end >&2; exit 3"]),
        max_bytes: 100_000,
        ..Default::default()
    };
    let (exit, out, err) = calls.collect(&request).await.unwrap();
    assert_eq!(
        (exit.code, exit.truncated, exit.timed_out),
        (3, true, false)
    );
    assert_eq!(out.len() + err.len(), 100_000);
    request.max_bytes = 500_004;
    let (exit, out, err) = calls.collect(&request).await.unwrap();
    assert_eq!((exit.truncated, out.len(), err.len()), (false, 500_000, 4));
    pod.destroy(calls).await;
}

#[tokio::test]
async fn the_whole_process_group_ends_at_the_timeout() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    let begin = Instant::now();
    let request = sandbox::ExecCollectRequest {
        container_id: "c1".into(),
        process_json: process(&["sh", "-c", "echo before; sleep 77 & sleep 77"]),
        timeout_ns: 300_000_000,
        ..Default::default()
    };
    let (exit, out, _) = calls.collect(&request).await.unwrap();
    assert_eq!((exit.code, exit.timed_out), (137, true));
    assert_eq!(out, b"before\n");
    assert!(begin.elapsed() < Duration::from_secs(5));
    common::until("the group's end", async || {
        !calls.sh("c1", "ps").await.1.contains("sleep 77")
    })
    .await;
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_process_along() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    let other = pod.connect().await;
    let request = sandbox::ExecCollectRequest {
        container_id: "c1".into(),
        process_json: process(&["sh", "-c", "while :; do echo y; sleep 0.01; done; : marker"]),
        ..Default::default()
    };
    let mut events = other.own.exec_collect(soon(), &request).await.unwrap();
    events.recv().await.unwrap();
    drop(events);
    drop(other);
    common::until("its end", async || {
        !calls.sh("c1", "ps").await.1.contains("marker")
    })
    .await;
    pod.destroy(calls).await;
}

#[tokio::test]
async fn many_run_at_the_same_time() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    let calls = std::sync::Arc::new(calls);
    let running: Vec<_> = (0..100)
        .map(|i| {
            let calls = std::sync::Arc::clone(&calls);
            tokio::spawn(
                async move { calls.sh("c1", &format!("echo {i}; exit {}", i % 100)).await },
            )
        })
        .collect();
    for (i, task) in running.into_iter().enumerate() {
        let (code, out, _) = task.await.unwrap();
        assert_eq!(
            (code, out),
            (i32::try_from(i % 100).unwrap(), format!("{i}\n"))
        );
    }
    let fds = fs::read_dir(format!("/proc/{}/fd", pod.pid()))
        .unwrap()
        .count();
    assert!(fds < 40, "{fds} descriptors left open");
    let calls = std::sync::Arc::into_inner(calls).unwrap();
    pod.destroy(calls).await;
}

#[tokio::test]
async fn nothing_runs_in_a_container_that_has_ended() {
    let (pod, calls) = Pod::sandbox().await;
    calls.run(&pod.container("c1", &["true"], |_| {})).await;
    calls.wait("c1").await;
    let request = sandbox::ExecCollectRequest {
        container_id: "c1".into(),
        process_json: process(&["true"]),
        ..Default::default()
    };
    let (code, text) = status(calls.collect(&request).await);
    assert_eq!(code, Code::FAILED_PRECONDITION, "{text}");
    pod.destroy(calls).await;
}
