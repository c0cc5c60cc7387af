//! Clients that go away in the middle of an ExecSync: what only they wanted ends.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use system_tests::{Node, configs, procs};

/// Waits until a process with this in its command line is there, or is not.
async fn until(container: &str, what: &str, there: bool) {
    for tries in 0.. {
        let found: Vec<String> = procs::in_cgroup(container)
            .keys()
            .map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default())
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .collect();
        if found.iter().any(|line| line.starts_with(what)) == there {
            return;
        }
        assert!(tries < 1000, "{what} there: {} ({found:?})", !there);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_command_ends_with_the_client_that_waits_for_it() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("one", &node.logs());
    let config = configs::shell("main", &image, configs::FOREVER);
    let (_, container) = client.run(&pod_config, &config).await.unwrap();
    let exec = |client: system_tests::Client, script: &'static str| {
        let id = container.clone();
        tokio::spawn(async move { client.exec(&id, &["/bin/sh", "-c", script]).await })
    };

    // The call is given up; the silent command and its child end.
    let call = exec(node.client().await, "sleep 1511 & sleep 1512");
    until(&container, "sleep 1511", true).await;
    until(&container, "sleep 1512", true).await;
    call.abort();
    until(&container, "sleep 1511", false).await;
    until(&container, "sleep 1512", false).await;

    // So they do when the daemon is killed, whose connection it was.
    let call = exec(node.client().await, "sleep 1611 & sleep 1612");
    until(&container, "sleep 1611", true).await;
    until(&container, "sleep 1612", true).await;
    node.kill();
    until(&container, "sleep 1611", false).await;
    until(&container, "sleep 1612", false).await;
    assert!(call.await.unwrap().is_err());
    assert!(
        !procs::in_cgroup(&container).is_empty(),
        "the container lives"
    );

    node.start().await;
    let client = node.client().await;
    let (code, said) = client
        .exec(&container, &["/bin/echo", "well"])
        .await
        .unwrap();
    assert_eq!((code, said.as_str()), (0, "well\n"));
    node.finish().await;
}
