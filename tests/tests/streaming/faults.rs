//! Clients and daemons that behave badly.

use std::time::{Duration, Instant};

use system_tests::{
    Node, Stream,
    stream::{V5, Want},
};

use crate::{Waiting, running, soon};

/// Resident memory of a process, KiB.
fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

#[tokio::test]
async fn slow_readers_hold_bounded_memory_and_disturb_nobody() {
    const READERS: u64 = 8;
    let it = Waiting::new().await;
    // Once for what the first stream of a daemon sets up.
    it.shell("true", Want::OUTPUT).await.finish().await;
    let before = resident(it.node.pid());
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(
            it.shell("exec head -c 1000000000 /dev/zero", Want::OUTPUT)
                .await,
        );
    }
    soon("all run", || {
        running(&it.id, "1000000000") == usize::try_from(READERS).unwrap()
    })
    .await;
    for _ in 0..20 {
        let start = Instant::now();
        it.client.status(&it.id).await.unwrap();
        let (code, _) = it.client.exec(&it.id, &["/bin/true"]).await.unwrap();
        assert_eq!(code, 0);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(2), "a call took {took:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let grown = resident(it.node.pid()).saturating_sub(before);
    // Less than a megabyte each.
    assert!(grown < READERS * 1024, "{READERS} readers hold {grown} KiB");
    assert_eq!(
        running(&it.id, "1000000000"),
        8,
        "the commands are held up, not ended"
    );
    drop(readers);
    soon("their commands are gone", || {
        running(&it.id, "1000000000") == 0
    })
    .await;
    it.node.finish().await;
}

#[tokio::test]
async fn streams_leave_nothing_behind() {
    let it = Waiting::new().await;
    it.shell("true", Want::OUTPUT).await.finish().await;
    let pid = it.node.pid();
    let before = descriptors(pid);
    for round in 0..3 {
        let mut open = Vec::new();
        for at in 0..10 {
            let mut stream = it.shell("echo up; exec sleep 86003", Want::ALL).await;
            stream.until(1, "up").await;
            stream.send(0, b"unread").await;
            stream.resize(10 + at, 10 + round).await;
            open.push(stream);
        }
        for at in 0..10 {
            let got = it.shell(&format!("exit {at}"), Want::OUTPUT).await;
            assert_eq!(got.finish().await.exit_code(), Some(at));
        }
        drop(open);
        soon("no command is left", || running(&it.id, "86003") == 0).await;
    }
    soon("no descriptor is left", || descriptors(pid) <= before).await;
    it.node.finish().await;
}

#[tokio::test]
async fn a_killed_daemon_takes_commands_along_and_leaves_containers() {
    let mut it = Waiting::new().await;
    let mut stream = it
        .shell("echo up; sleep 86004 | cat; true", Want::OUTPUT)
        .await;
    stream.until(1, "up").await;
    it.node.kill();
    soon("the command is gone", || running(&it.id, "86004") == 0).await;
    let got = stream.finish().await;
    assert_eq!(got.close, None);
    it.node.start().await;
    it.client = it.node.client().await;
    let got = it.shell("echo again", Want::OUTPUT).await.finish().await;
    assert_eq!(got.text(1), "again\n");
    it.node.finish().await;
}

#[tokio::test]
async fn a_daemon_that_ends_says_so() {
    let mut it = Waiting::new().await;
    let mut stream = it.shell("echo up; exec sleep 86005", Want::OUTPUT).await;
    stream.until(1, "up").await;
    // One that does not read must not hold up the end.
    let stuck = it.shell("exec cat /dev/zero", Want::OUTPUT).await;
    let start = Instant::now();
    assert!(it.node.terminate().success());
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    let got = stream.finish().await;
    let close = got.close.unwrap();
    assert_eq!(u16::from(close.code), 1001);
    assert_eq!(close.reason.as_str(), "the daemon is ending");
    drop(stuck);
    soon("the commands are gone", || {
        running(&it.id, "86005") + running(&it.id, "/dev/zero") == 0
    })
    .await;
    it.node.start().await;
    it.node.finish().await;
}

#[tokio::test]
async fn a_stream_without_data_ends() {
    let it = Waiting::configured("[stream]\nidle_timeout = \"1s\"\n").await;
    let mut stream = it.shell("echo up; exec sleep 86006", Want::ALL).await;
    stream.until(1, "up").await;
    // Data in either direction keeps it.
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        stream.send(0, b"x").await;
    }
    assert_eq!(running(&it.id, "86006"), 1);
    let got = stream.finish().await;
    let close = got.close.unwrap();
    assert_eq!(u16::from(close.code), 1001);
    assert_eq!(close.reason.as_str(), "no data for 1s");
    soon("the command is gone", || running(&it.id, "86006") == 0).await;
    it.node.finish().await;
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_stream() {
    use futures::SinkExt;
    use tokio_tungstenite::tungstenite::Message;
    let it = Waiting::new().await;
    let mut stream = it.shell("echo up; exec sleep 86007", Want::ALL).await;
    stream.until(1, "up").await;
    let (mut sink, mut source) = futures::StreamExt::split(stream.into_socket());
    // The server may close before it has taken all of it.
    let _ = sink
        .send(Message::Binary(vec![0; (4 << 20) + 1].into()))
        .await;
    let mut code = None;
    while let Some(Ok(message)) = futures::StreamExt::next(&mut source).await {
        if let Message::Close(Some(frame)) = message {
            code = Some(u16::from(frame.code));
        }
    }
    assert_eq!(code, Some(1009));
    soon("the command is gone", || running(&it.id, "86007") == 0).await;
    it.node.finish().await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let mut node = Node::new();
    let taken = node.within(|| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = taken.local_addr().unwrap();
    node.configuration = format!("[stream]\naddress = \"{address}\"\n");
    let mut command = node.serve();
    let status = node.spawn(&mut command).unwrap().wait().unwrap();
    assert!(!status.success());
    let log = node.daemon_log();
    assert!(
        log.contains(&address.to_string()) && log.contains("stream.address"),
        "{log}"
    );
    node.finish().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_container() {
    let it = Waiting::new().await;
    let mut stream = it.shell("echo up; exec sleep 86008", Want::OUTPUT).await;
    stream.until(1, "up").await;
    it.client.stop(&it.id, 0).await.unwrap();
    let got = stream.finish().await;
    assert_eq!(got.exit_code(), Some(137), "{got:?}");
    // One that was asked for before the end and comes after it.
    let url = it.client.exec_url(&it.id, &["true"], Want::OUTPUT).await;
    assert!(url.is_err());
    it.node.finish().await;
}

#[tokio::test]
async fn a_container_that_ended_before_the_client_came_is_told_on_the_stream() {
    let it = Waiting::new().await;
    let url = it
        .client
        .exec_url(&it.id, &["/bin/true"], Want::OUTPUT)
        .await
        .unwrap();
    it.client.stop(&it.id, 0).await.unwrap();
    let stream = Stream::open(&it.node, &url, &[V5]).await.unwrap();
    let got = stream.finish().await;
    let message = got.status()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("is not running"), "{message}");
    it.node.finish().await;
}
