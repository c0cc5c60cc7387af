//! What a client sees of a container's output, and what ends with its connection.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure fails the test"
)]

mod common;

use std::time::{Duration, Instant};

use agent_api::grpc;
use agent_api::sandbox;
use agent_api::ttrpc::Code;
use common::{Calls, Pod, process, soon, status, until};
use serde_json::json;

async fn open(calls: &Calls, id: &str) -> u64 {
    let request = sandbox::OpenOutputRequest {
        container_id: id.into(),
    };
    calls.own.open_output(soon(), &request).await.unwrap().view
}

fn read(id: &str, view: u64) -> sandbox::ReadOutputRequest {
    sandbox::ReadOutputRequest {
        container_id: id.into(),
        view,
        max_bytes: 0,
    }
}

/// Reads a view to its end: stdout, stderr, bytes dropped.
async fn read_all(calls: &Calls, id: &str, view: u64) -> (Vec<u8>, Vec<u8>, u64) {
    let (mut out, mut err, mut dropped) = (Vec::new(), Vec::new(), 0);
    loop {
        let chunk = calls.own.read_output(soon(), &read(id, view)).await;
        let chunk = chunk.unwrap();
        assert!(chunk.ended || !chunk.stdout.is_empty() || !chunk.stderr.is_empty());
        out.extend(chunk.stdout);
        err.extend(chunk.stderr);
        dropped += chunk.dropped_bytes;
        if chunk.ended {
            return (out, err, dropped);
        }
    }
}

fn exec(name: &str, script: &str, ends_with_connection: bool) -> sandbox::ExecProcessRequest {
    sandbox::ExecProcessRequest {
        ends_with_connection,
        ..common::exec(name, &["sh", "-c", script])
    }
}

/// A container that waits for /go and then runs `script`.
async fn waiting(pod: &Pod, calls: &Calls, script: &str) {
    let script = format!("while [ ! -e /go ]; do sleep 0.01; done; {script}");
    calls
        .run(&pod.container("c1", &["sh", "-c", &script], |_| {}))
        .await;
}

async fn go(calls: &Calls) {
    assert_eq!(calls.sh("c1", "touch /go").await.0, 0);
}

/// Whether a process with this in its command line runs in the container.
async fn runs(calls: &Calls, what: &str) -> bool {
    let (first, rest) = what.split_at(1);
    calls
        .sh("c1", &format!("ps -o args | grep -q '[{first}]{rest}'"))
        .await
        .0
        == 0
}

#[tokio::test]
async fn those_who_look_see_all_that_the_log_gets() {
    let (pod, calls) = Pod::sandbox().await;
    waiting(
        &pod,
        &calls,
        "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo oops >&2",
    )
    .await;
    let (one, two) = (open(&calls, "c1").await, open(&calls, "c1").await);
    assert_ne!(one, two);
    go(&calls).await;
    let (a, b) = tokio::join!(read_all(&calls, "c1", one), read_all(&calls, "c1", two));
    assert_eq!(a, b);
    let expected: String = (0..20000).map(|i| format!("line {i}\n")).collect();
    assert!(a.0 == expected.as_bytes(), "{} bytes", a.0.len());
    assert_eq!((a.1.as_slice(), a.2), (&b"oops\n"[..], 0));
    calls.wait("c1").await;
    assert_eq!(pod.log("c1").len(), 20001);
    // A view that is opened after the end is at its end.
    let late = open(&calls, "c1").await;
    assert_eq!(read_all(&calls, "c1", late).await, (vec![], vec![], 0));
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_view_that_nobody_reads_costs_a_bound_and_holds_nothing_up() {
    const BYTES: usize = 64 << 20;
    let (pod, calls) = Pod::sandbox().await;
    let script = format!("head -c {BYTES} /dev/zero");
    waiting(&pod, &calls, &script).await;
    let view = open(&calls, "c1").await;
    let before = rss(pod.pid());
    go(&calls).await;
    let began = Instant::now();
    let state = calls.wait("c1").await;
    assert_eq!(state.exit_code, 0);
    assert!(began.elapsed() < Duration::from_secs(60));
    let grown = rss(pod.pid()).saturating_sub(before);
    assert!(grown < 3 << 20, "{grown} bytes more");
    let (out, _, dropped) = read_all(&calls, "c1", view).await;
    assert_eq!(out.len(), 256 * 1024);
    assert_eq!(
        out.len() + usize::try_from(dropped).unwrap(),
        BYTES,
        "what is not shown is counted"
    );
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_view_ends_by_close_by_its_connection_and_with_its_container() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "1000"], |_| {}))
        .await;
    let other = pod.connect().await;
    let views = [
        open(&calls, "c1").await,
        open(&other, "c1").await,
        open(&calls, "c1").await,
    ];
    let (id, reader) = ("c1", calls.own.clone());
    let pending: Vec<_> = views
        .map(|view| {
            let (reader, request) = (reader.clone(), read(id, view));
            tokio::spawn(async move { reader.read_output(soon(), &request).await })
        })
        .into();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(pending.iter().all(|p| !p.is_finished()));
    let request = sandbox::CloseOutputRequest {
        container_id: "c1".into(),
        view: views[0],
    };
    for _ in 0..2 {
        calls.own.close_output(soon(), &request).await.unwrap();
    }
    drop(other);
    let mut pending = pending.into_iter();
    for closed in [pending.next().unwrap(), pending.next().unwrap()] {
        assert_eq!(status(closed.await.unwrap()).0, Code::NOT_FOUND);
    }
    let last = pending.next().unwrap();
    assert!(!last.is_finished());
    calls.remove("c1").await;
    assert!(last.await.unwrap().unwrap().ended);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn output_without_a_log_file_has_no_views() {
    let (pod, calls) = Pod::sandbox().await;
    let mut request = pod.container("c1", &["sleep", "1000"], |_| {});
    request.log = None;
    calls.run(&request).await;
    let open = |id: &str| sandbox::OpenOutputRequest {
        container_id: id.into(),
    };
    let (code, text) = status(calls.own.open_output(soon(), &open("c1")).await);
    assert_eq!(code, Code::FAILED_PRECONDITION);
    assert!(text.contains("c1") && text.contains("ReadStdout"), "{text}");
    let (code, _) = status(calls.own.open_output(soon(), &open("none")).await);
    assert_eq!(code, Code::NOT_FOUND);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_client_that_is_gone_takes_its_processes_with_it_and_no_others() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "1000"], |_| {}))
        .await;
    let other = pod.connect().await;
    for request in [
        exec("with", "sleep 1111 & sleep 1112", true),
        exec("without", "sleep 1113 & sleep 1114", false),
        exec("done", "exit 3", true),
    ] {
        other.own.exec_process(soon(), &request).await.unwrap();
    }
    for what in ["sleep 1111", "sleep 1112", "sleep 1113", "sleep 1114"] {
        until(what, async || runs(&calls, what).await).await;
    }
    drop(other);
    for what in ["sleep 1111", "sleep 1112"] {
        until(what, async || !runs(&calls, what).await).await;
    }
    assert!(runs(&calls, "sleep 1113").await && runs(&calls, "sleep 1114").await);
    // Their names are free again.
    for name in ["with", "done"] {
        until(name, async || {
            let request = exec(name, "true", true);
            calls.own.exec_process(soon(), &request).await.is_ok()
        })
        .await;
    }
    let (code, _) = status(
        calls
            .own
            .exec_process(soon(), &exec("without", "true", true))
            .await,
    );
    assert_eq!(code, Code::ALREADY_EXISTS);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_silent_command_ends_when_its_collector_is_gone() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "1000"], |_| {}))
        .await;
    let other = pod.connect().await;
    let request = sandbox::ExecCollectRequest {
        container_id: "c1".into(),
        process_json: process(&["sh", "-c", "sleep 1234 & sleep 1235"]),
        ..Default::default()
    };
    let events = other.own.exec_collect(soon(), &request).await.unwrap();
    until("its start", async || runs(&calls, "sleep 1235").await).await;
    drop(events);
    drop(other);
    for what in ["sleep 1234", "sleep 1235"] {
        until("its end", async || !runs(&calls, what).await).await;
    }
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_command_that_is_collected_can_be_killed_by_its_name() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "1000"], |_| {}))
        .await;
    let request = sandbox::ExecCollectRequest {
        container_id: "c1".into(),
        process_json: process(&["sh", "-c", "sleep 1311 & sleep 1312"]),
        exec_id: "named".into(),
        ..Default::default()
    };
    let kill = sandbox::KillExecRequest {
        container_id: "c1".into(),
        exec_id: "named".into(),
    };
    // At once, while it is being started, and when it runs.
    for wait in [false, true] {
        let (collector, collect) = (pod.connect().await, request.clone());
        let collected = tokio::spawn(async move { collector.collect(&collect).await });
        if wait {
            until("its start", async || runs(&calls, "sleep 1312").await).await;
        }
        until("the kill", async || {
            calls.own.kill_exec(soon(), &kill).await.is_ok()
        })
        .await;
        let (exit, _, _) = collected.await.unwrap().unwrap();
        assert_eq!(exit.code, 137);
        assert!(!runs(&calls, "sleep 1311").await);
    }
    until("its name", async || {
        calls.own.kill_exec(soon(), &kill).await.is_err()
    })
    .await;
    pod.destroy(calls).await;
}

#[tokio::test]
async fn killing_an_exec_takes_its_group_and_forgets_it() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "1000"], |_| {}))
        .await;
    let request = exec("e1", "sleep 1411 & sleep 1412", false);
    calls.own.exec_process(soon(), &request).await.unwrap();
    until("its start", async || runs(&calls, "sleep 1412").await).await;
    let request = sandbox::KillExecRequest {
        container_id: "c1".into(),
        exec_id: "e1".into(),
    };
    calls.own.kill_exec(soon(), &request).await.unwrap();
    for what in ["sleep 1411", "sleep 1412"] {
        until("its end", async || !runs(&calls, what).await).await;
    }
    until("its name", async || {
        let gone = calls.own.kill_exec(soon(), &request).await;
        gone.is_err_and(|e| format!("{e:?}").contains("has no process e1"))
    })
    .await;
    let request = sandbox::KillExecRequest {
        container_id: "c1".into(),
        exec_id: "c1".into(),
    };
    let (code, _) = status(calls.own.kill_exec(soon(), &request).await);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(calls.state("c1").await.unwrap().pid > 0);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_terminal_has_its_size_before_the_program_starts() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "1000"], |_| {}))
        .await;
    let process = json!({
        "terminal": true,
        "consoleSize": { "height": 33, "width": 111 },
        "args": ["stty", "size"],
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": { "uid": 0, "gid": 0 },
    });
    let request = sandbox::ExecProcessRequest {
        process_json: serde_json::to_vec(&process).unwrap(),
        ..exec("tty", "", true)
    };
    calls.own.exec_process(soon(), &request).await.unwrap();
    let request = grpc::ReadStreamRequest {
        container_id: "c1".into(),
        exec_id: "tty".into(),
        len: 0,
    };
    let mut all = Vec::new();
    loop {
        let data = calls
            .agent
            .read_stdout(soon(), &request)
            .await
            .unwrap()
            .data;
        if data.is_empty() {
            break;
        }
        all.extend(data);
    }
    assert_eq!(String::from_utf8_lossy(&all), "33 111\r\n");
    pod.destroy(calls).await;
}

#[tokio::test]
async fn limits_are_set_anew_from_a_document() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "1000"], |_| {}))
        .await;
    let update = |json: &str| sandbox::UpdateContainerRequest {
        id: "c1".into(),
        resources_json: json.into(),
    };
    let limits = update(r#"{"pids":{"limit":77},"memory":{"limit":33554432}}"#);
    calls.own.update_container(soon(), &limits).await.unwrap();
    let request = sandbox::PodStatsRequest {
        ids: vec!["c1".into()],
    };
    let stats = calls.own.pod_stats(soon(), &request).await.unwrap();
    let cgroup = stats.containers[0].cgroup.clone().unwrap();
    assert_eq!(cgroup.pids_stats.unwrap().limit, 77);
    let memory = cgroup.memory_stats.unwrap().usage.unwrap();
    assert_eq!(memory.limit, 33_554_432);
    let (code, text) = status(
        calls
            .own
            .update_container(soon(), &update(r#"{"pids":{"limit":"many"}}"#))
            .await,
    );
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(text.contains("pids.limit"), "{text}");
    pod.destroy(calls).await;
}

/// Resident memory of a process, bytes.
fn rss(pid: i32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}
