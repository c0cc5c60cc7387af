//! Exec, attach and port-forward through the streaming server, by a client that knows channels and
//! nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure fails the test"
)]

mod attach;
mod exec;
mod faults;
mod forward;
mod http;

use std::time::{Duration, Instant};

use system_tests::{
    Client, Node, Stream, configs, procs,
    stream::{V5, Want},
};

/// A node with one container that waits.
struct Waiting {
    node: Node,
    client: Client,
    pod: String,
    id: String,
}

impl Waiting {
    async fn new() -> Waiting {
        Waiting::configured("").await
    }

    /// With a configuration of the daemon.
    async fn configured(configuration: &str) -> Waiting {
        let mut node = Node::new();
        node.configuration = configuration.to_owned();
        node.start().await;
        let image = node.import_busybox().await;
        let client = node.client().await;
        let pod_config = configs::pod("p", &node.logs());
        let config = configs::shell("main", &image, configs::FOREVER);
        let (pod, id) = client.run(&pod_config, &config).await.unwrap();
        Waiting {
            node,
            client,
            pod,
            id,
        }
    }

    async fn exec(&self, command: &[&str], want: Want, protocols: &[&str]) -> Stream {
        let url = self.client.exec_url(&self.id, command, want).await.unwrap();
        Stream::open(&self.node, &url, protocols).await.unwrap()
    }

    async fn shell(&self, script: &str, want: Want) -> Stream {
        self.exec(&["/bin/sh", "-c", script], want, &[V5]).await
    }
}

/// Waits until `found` answers yes.
async fn soon(what: &str, mut found: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !found() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Processes of the container with this word in their command line.
fn running(container: &str, word: &str) -> usize {
    procs::in_cgroup(container)
        .keys()
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(word)
        })
        .count()
}
