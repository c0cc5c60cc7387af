//! Attach.

use cri_api::v1;
use system_tests::{
    Client, Node, Stream, configs,
    stream::{V5, Want},
};

use crate::soon;

/// A created container, not started.
struct Created {
    node: Node,
    client: Client,
    id: String,
}

impl Created {
    async fn new(script: &str, change: impl FnOnce(&mut v1::ContainerConfig)) -> Created {
        let (node, image) = Node::with_image().await;
        let client = node.client().await;
        let pod_config = configs::pod("p", &node.logs());
        let mut config = configs::shell("main", &image, script);
        change(&mut config);
        let pod = client.run_pod(&pod_config).await.unwrap();
        let id = client.create(&pod, &pod_config, &config).await.unwrap();
        Created { node, client, id }
    }

    async fn attach(&self, want: Want) -> Stream {
        let url = self.client.attach_url(&self.id, want).await.unwrap();
        Stream::open(&self.node, &url, &[V5]).await.unwrap()
    }

    async fn log(&self) -> String {
        let status = self.client.status(&self.id).await.unwrap();
        std::fs::read_to_string(status.log_path).unwrap()
    }
}

#[tokio::test]
async fn a_client_that_comes_before_the_start_misses_nothing() {
    let it = Created::new("echo first; echo problem >&2; exit 4", |_| {}).await;
    let early = it.attach(Want::OUTPUT).await;
    it.client.start(&it.id).await.unwrap();
    let got = early.finish().await;
    assert_eq!(
        (got.text(1), got.text(2)),
        ("first\n".into(), "problem\n".into())
    );
    // The container's exit code is told by its status, as Kubernetes has it.
    assert_eq!(got.exit_code(), Some(0));
    assert_eq!(it.client.wait(&it.id).await.unwrap().exit_code, 4);
    assert!(it.log().await.contains(" stdout F first\n"));
    it.node.finish().await;
}

#[tokio::test]
async fn clients_come_and_go_and_the_container_stays() {
    let script = "while read line; do echo got $line; done; echo over";
    let it = Created::new(script, |config| config.stdin = true).await;
    it.client.start(&it.id).await.unwrap();
    let mut first = it.attach(Want::ALL).await;
    let mut second = it.attach(Want::OUTPUT).await;
    first.send(0, b"one\n").await;
    first.until(1, "got one\n").await;
    second.until(1, "got one\n").await;
    // Neither a closed channel nor a cut connection ends the container's input.
    first.close_channel(0).await;
    drop(first);
    let mut third = it.attach(Want::ALL).await;
    third.send(0, b"two\n").await;
    third.until(1, "got two\n").await;
    second.until(1, "got two\n").await;
    assert!(!third.got.text(1).contains("one"));
    drop(third);
    it.client.stop(&it.id, 1).await.unwrap();
    let got = second.finish().await;
    assert_eq!(got.exit_code(), Some(0), "{got:?}");
    it.node.finish().await;
}

#[tokio::test]
async fn stdin_once_ends_with_the_first_client() {
    let once = |config: &mut v1::ContainerConfig| {
        config.stdin = true;
        config.stdin_once = true;
    };
    // Said by the client.
    let it = Created::new("cat; echo over", once).await;
    let mut stream = it.attach(Want::ALL).await;
    it.client.start(&it.id).await.unwrap();
    stream.send(0, b"all of it\n").await;
    stream.close_channel(0).await;
    let got = stream.finish().await;
    assert_eq!(got.text(1), "all of it\nover\n");
    it.node.finish().await;

    // By a client that is gone; what it had sent arrives.
    let it = Created::new("cat; echo over", once).await;
    it.client.start(&it.id).await.unwrap();
    let mut stream = it.attach(Want::ALL).await;
    stream.send(0, b"the rest\n").await;
    drop(stream);
    it.client.wait(&it.id).await.unwrap();
    let log = it.log().await;
    assert!(
        log.contains("the rest\n") && log.contains(" over\n"),
        "{log}"
    );
    it.node.finish().await;
}

#[tokio::test]
async fn a_terminal_is_resized_and_typed_at() {
    // Resizing is not answered: the program itself looks until it sees the size.
    let script = "is() { until [ \"$(stty size)\" = \"$1\" ]; do sleep 0.02; done; echo $1; }; \
        is '30 90'; read line; is '20 70'; echo bye $line";
    let it = Created::new(script, |config| {
        config.stdin = true;
        config.tty = true;
    })
    .await;
    let mut stream = it.attach(Want::TTY).await;
    stream.resize(90, 30).await;
    it.client.start(&it.id).await.unwrap();
    stream.until(1, "30 90\r\n").await;
    stream.resize(70, 20).await;
    stream.send(0, b"you\r").await;
    stream.until(1, "20 70\r\n").await;
    stream.until(1, "bye you\r\n").await;
    let got = stream.finish().await;
    assert_eq!(got.exit_code(), Some(0));
    it.node.finish().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nobody_up() {
    // Much more than every buffer on the way.
    let script = "head -c 30000000 /dev/zero | tr '\\0' 'x'; echo; echo done";
    let it = Created::new(script, |_| {}).await;
    let stream = it.attach(Want::OUTPUT).await;
    it.client.start(&it.id).await.unwrap();
    let status = it.client.wait(&it.id).await.unwrap();
    assert_eq!(status.exit_code, 0);
    let log = it.log().await;
    assert!(log.trim_end().ends_with(" done"));
    let logged = log.bytes().filter(|byte| *byte == b'x').count();
    assert_eq!(logged, 30_000_000, "the log is whole");
    let got = stream.finish().await;
    assert!(
        got.text(2).contains("bytes of output were not shown"),
        "{}",
        got.text(2)
    );
    assert!(got.text(1).len() < 30_000_000);
    assert!(got.text(1).ends_with("done\n"));
    it.node.finish().await;
}

#[tokio::test]
async fn a_container_without_a_log_is_read_by_its_client() {
    let it = Created::new("cat; echo over; echo err >&2", |config| {
        config.log_path.clear();
        config.stdin = true;
        config.stdin_once = true;
    })
    .await;
    it.client.start(&it.id).await.unwrap();
    let mut stream = it.attach(Want::ALL).await;
    stream.send(0, b"in\n").await;
    stream.until(1, "in\n").await;
    stream.close_channel(0).await;
    let got = stream.finish().await;
    assert_eq!(
        (got.text(1), got.text(2)),
        ("in\nover\n".into(), "err\n".into())
    );
    it.node.finish().await;
}

#[tokio::test]
async fn a_restarted_daemon_can_be_attached_to() {
    let script = "while read line; do echo got $line; done";
    let mut it = Created::new(script, |config| config.stdin = true).await;
    it.client.start(&it.id).await.unwrap();
    let mut before = it.attach(Want::ALL).await;
    before.send(0, b"one\n").await;
    before.until(1, "got one\n").await;
    it.node.kill();
    let got = before.finish().await;
    assert!(got.ended && got.close.is_none(), "{got:?}");
    it.node.start().await;
    it.client = it.node.client().await;
    let mut after = it.attach(Want::ALL).await;
    after.send(0, b"two\n").await;
    after.until(1, "got two\n").await;
    drop(after);
    let pid = it.node.pid();
    soon("the daemon has closed the connection", || {
        connections(pid) == 0
    })
    .await;
    it.node.finish().await;
}

/// TCP sockets of a process that are connected.
fn connections(pid: i32) -> usize {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    // State 01: established.
    table
        .lines()
        .filter(|line| line.split_whitespace().nth(3) == Some("01"))
        .count()
}
