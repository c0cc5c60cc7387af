//! Output, input and terminals.
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
use common::{Calls, Pod, soon, status};
use serde_json::json;

async fn read(calls: &Calls, id: &str, len: u32) -> Vec<u8> {
    let request = grpc::ReadStreamRequest {
        container_id: id.into(),
        exec_id: id.into(),
        len,
    };
    calls
        .agent
        .read_stdout(soon(), &request)
        .await
        .unwrap()
        .data
}

async fn read_all(calls: &Calls, id: &str) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let data = read(calls, id, 65536).await;
        if data.is_empty() {
            return all;
        }
        all.extend(data);
    }
}

#[tokio::test]
async fn the_log_is_complete_when_the_exit_is_told() {
    let (pod, calls) = Pod::sandbox().await;
    let script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; \
                  echo oops >&2; printf unfinished";
    calls
        .run(&pod.container("c1", &["sh", "-c", script], |_| {}))
        .await;
    assert_eq!(calls.wait("c1").await.exit_code, 0);
    let log = pod.log("c1");
    let out: Vec<_> = log.iter().filter(|l| l.starts_with("stdout")).collect();
    assert_eq!(out.len(), 5001);
    for (i, line) in out[..5000].iter().enumerate() {
        assert_eq!(**line, format!("stdout F line {i}"));
    }
    assert_eq!(out[5000], "stdout P unfinished");
    assert!(log.contains(&"stderr F oops".to_owned()));
    let raw = fs::read_to_string(pod.log_path("c1")).unwrap();
    let time = raw.split(' ').next().unwrap();
    assert!(
        time.len() == 30 && time.ends_with('Z') && time.starts_with("20"),
        "{time}"
    );
    pod.destroy(calls).await;
}

#[tokio::test]
async fn long_and_binary_lines_are_cut_into_tagged_parts() {
    let (pod, calls) = Pod::sandbox().await;
    let script = "head -c 40000 /dev/zero; echo; head -c 3 /dev/zero | tr '\\0' '\\377'; echo";
    calls
        .run(&pod.container("c1", &["sh", "-c", script], |_| {}))
        .await;
    calls.wait("c1").await;
    let bytes = fs::read(pod.log_path("c1")).unwrap();
    let records: Vec<_> = bytes
        .strip_suffix(b"\n")
        .unwrap()
        .split(|b| *b == b'\n')
        .map(|r| (char::from(r[38]), r[40..].to_vec()))
        .collect();
    let sizes: Vec<_> = records
        .iter()
        .map(|(tag, data)| (*tag, data.len()))
        .collect();
    assert_eq!(
        sizes,
        [('P', 16384), ('P', 16384), ('F', 40000 - 32768), ('F', 3)]
    );
    assert_eq!(records[3].1, [0xff; 3]);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn rotation_loses_nothing() {
    let (pod, calls) = Pod::sandbox().await;
    let script = "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done";
    calls
        .run(&pod.container("c1", &["sh", "-c", script], |_| {}))
        .await;
    let path = pod.log_path("c1");
    let mut rotated = Vec::new();
    let request = sandbox::ReopenLogRequest { id: "c1".into() };
    for i in 0..5 {
        let old = path.with_extension(format!("{i}"));
        fs::rename(&path, &old).unwrap();
        calls.own.reopen_log(soon(), &request).await.unwrap();
        rotated.push(old);
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    calls.wait("c1").await;
    rotated.push(path);
    let text: String = rotated
        .iter()
        .map(|p| fs::read_to_string(p).unwrap())
        .collect();
    let numbers: Vec<u32> = text
        .lines()
        .map(|l| l.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(numbers, (0..20000).collect::<Vec<_>>());
    let none = sandbox::ReopenLogRequest { id: "none".into() };
    assert_eq!(
        status(calls.own.reopen_log(soon(), &none).await).0,
        Code::NOT_FOUND
    );
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_background_child_holds_up_neither_the_exit_nor_the_end_of_output() {
    let (pod, calls) = Pod::sandbox().await;
    let begin = Instant::now();
    // In the host's pid namespace the child outlives the first process.
    let mut request = pod.container("log", &["sh", "-c", "echo out; sleep 30 &"], |_| {});
    request.pid = sandbox::PidMode::Node.into();
    calls.run(&request).await;
    assert_eq!(calls.wait("log").await.exit_code, 0);
    assert_eq!(pod.log("log"), ["stdout F out"]);
    let mut request = pod.container("read", &["sh", "-c", "echo out; sleep 30 &"], |_| {});
    request.pid = sandbox::PidMode::Node.into();
    request.log = None;
    calls.run(&request).await;
    assert_eq!(read_all(&calls, "read").await, b"out\n");
    assert_eq!(calls.wait("read").await.exit_code, 0);
    // The end is told again and again.
    assert_eq!(read(&calls, "read", 10).await, b"");
    calls
        .run(&pod.container("exec", &["sleep", "100"], |_| {}))
        .await;
    assert_eq!(calls.sh("exec", "sleep 30 & echo x").await.1, "x\n");
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "{:?}",
        begin.elapsed()
    );
    pod.destroy(calls).await;
}

#[tokio::test]
async fn without_stdin_a_process_reads_the_end() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sh", "-c", "cat; echo end"], |_| {}))
        .await;
    calls.wait("c1").await;
    assert_eq!(pod.log("c1"), ["stdout F end"]);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_terminals_output_goes_to_the_log() {
    let (pod, calls) = Pod::sandbox().await;
    let request = pod.container("c1", &["sh", "-c", "echo hello; echo err >&2"], |spec| {
        spec["process"]["terminal"] = json!(true);
    });
    calls.run(&request).await;
    calls.wait("c1").await;
    assert_eq!(pod.log("c1"), ["stdout F hello\r", "stdout F err\r"]);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_log_that_cannot_be_opened_fails_the_create() {
    let (pod, calls) = Pod::sandbox().await;
    let mut request = pod.container("c1", &["true"], |_| {});
    request.log = Some(sandbox::LogConfig {
        path: "/no/such/dir/0.log".into(),
        ..Default::default()
    });
    let (_, text) = status(calls.own.create_container(soon(), &request).await);
    assert!(
        text.contains("/no/such/dir/0.log") && text.contains("No such file"),
        "{text}"
    );
    assert!(calls.state("c1").await.is_none());
    pod.destroy(calls).await;
}

#[tokio::test]
async fn an_agent_without_clients_keeps_writing() {
    let (pod, calls) = Pod::sandbox().await;
    let script = "i=0; while [ $i -lt 300 ]; do head -c 10000 /dev/zero | tr '\\0' x; echo; \
                  i=$((i+1)); done; touch /done";
    calls
        .run(&pod.container("c1", &["sh", "-c", script], |_| {}))
        .await;
    drop(calls);
    let done = pod.dir.path().join("rw/c1/upper/done");
    common::until("the end", async || done.exists()).await;
    let calls = pod.connect().await;
    calls.wait("c1").await;
    assert_eq!(pod.log("c1").len(), 300);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_full_disk_neither_blocks_the_application_nor_tears_records() {
    use rustix::mount::{MountFlags, mount};
    let (pod, calls) = Pod::sandbox().await;
    let small = pod.dir.path().join("small");
    fs::create_dir(&small).unwrap();
    mount(
        "tmpfs",
        &small,
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=1m"),
    )
    .unwrap();
    let mounted = testing::guard::Mount::new(&small);
    fs::write(small.join("filler"), vec![0; 800 << 10]).unwrap();
    let script = "yes 0123456789 | head -n 20000; touch /written; while [ ! -e /go ]; do sleep 0.02; done; \
                  echo after";
    let mut request = pod.container("c1", &["sh", "-c", script], |_| {});
    request.log = Some(sandbox::LogConfig {
        path: common::text(&small.join("c1.log")),
        ..Default::default()
    });
    calls.run(&request).await;
    // It gets on although nothing more can be written.
    common::until("the writer's end", async || {
        calls.sh("c1", "test -e /written").await.0 == 0
    })
    .await;
    // Room for what may still be in the pipe, five times over as records.
    fs::remove_file(small.join("filler")).unwrap();
    assert_eq!(calls.sh("c1", "touch /go").await.0, 0);
    let state = calls.wait("c1").await;
    assert_eq!(state.exit_code, 0);
    let log = fs::read_to_string(small.join("c1.log")).unwrap();
    let lines: Vec<_> = log.lines().map(|l| &l[31..]).collect();
    let (gap, whole): (Vec<&str>, Vec<&str>) = lines
        .iter()
        .copied()
        .partition(|l| l.contains("bytes of log are missing here"));
    assert_eq!(gap.len(), 1, "{gap:?}");
    assert!(gap[0].contains("No space left on device"), "{gap:?}");
    let (last, rest) = whole.split_last().unwrap();
    assert_eq!(*last, "stdout F after");
    assert!(rest.len() > 500 && rest.iter().all(|l| *l == "stdout F 0123456789"));
    let missing: u64 = gap[0].split(' ').nth(3).unwrap().parse().unwrap();
    assert_eq!(missing, state.log_bytes_lost);
    // A record is 30 bytes of time, 10 of stream and tag, the line, a newline.
    assert_eq!(usize::try_from(missing).unwrap() / 51, 20000 - rest.len());
    calls.remove("c1").await;
    drop(mounted);
    pod.destroy(calls).await;
}
