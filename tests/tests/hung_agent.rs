//! An agent that is there and does not answer: every way to stop has a stronger one behind it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::{Duration, Instant};

use cri_api::v1;
use rustix::process::{Pid, Signal, kill_process};
use system_tests::{Node, configs, procs};

/// Stops the agent of a pod; it goes on when this is dropped.
fn hang(node: &Node, pod: &str) -> impl Drop + use<> {
    let record = std::fs::read(node.state().join("pods").join(pod).join("agent.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    let pid = i32::try_from(record["pid"].as_i64().unwrap()).unwrap();
    let agent = Pid::from_raw(pid).unwrap();
    kill_process(agent, Signal::STOP).unwrap();
    testing::guard::Guard::new(move || {
        let _ = kill_process(agent, Signal::CONT);
    })
}

#[tokio::test]
async fn a_container_is_stopped_and_removed_past_its_agent() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("one", &node.logs());
    let pod = client.run_pod(&pod_config).await.unwrap();
    let mut ids = Vec::new();
    for (name, script) in [
        ("stopped", configs::FOREVER),
        ("removed", configs::FOREVER),
        ("ended", "sleep 1; exit 3"),
        ("stays", configs::FOREVER),
    ] {
        let config = configs::shell(name, &image, script);
        let id = client.create(&pod, &pod_config, &config).await.unwrap();
        client.start(&id).await.unwrap();
        ids.push(id);
    }
    let [stopped, removed, ended, stays] = &ids[..] else {
        panic!("four containers");
    };
    let hung = hang(&node, &pod);
    // It ends by itself, and its agent cannot tell.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !procs::in_cgroup(ended).is_empty() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let began = Instant::now();
    let (a, b, c) = tokio::join!(
        client.stop(stopped, 1),
        client.remove(removed),
        client.stop(ended, 0)
    );
    for done in [a, b, c] {
        done.unwrap();
    }
    assert!(
        began.elapsed() < Duration::from_secs(40),
        "{:?}",
        began.elapsed()
    );
    for id in [stopped, removed] {
        assert!(procs::in_cgroup(id).is_empty());
    }
    assert!(!procs::in_cgroup(stays).is_empty(), "the others live");
    let status = client.status(stopped).await.unwrap();
    assert_eq!(status.state(), v1::ContainerState::ContainerExited);
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "Error"));
    assert!(
        status.message.contains("agent") && status.message.contains("sending signal"),
        "{}",
        status.message
    );
    assert!(client.status(removed).await.is_err());
    let status = client.status(ended).await.unwrap();
    assert_eq!(status.exit_code, 3, "what the kernel knows is not lost");

    // The agent goes on, and so does the pod.
    drop(hung);
    let (code, said) = client.exec(stays, &["/bin/echo", "here"]).await.unwrap();
    assert_eq!((code, said.as_str()), (0, "here\n"));
    let status = client.status(ended).await.unwrap();
    assert_eq!(status.exit_code, 3);
    let config = configs::shell("removed", &image, "echo again");
    let again = client.create(&pod, &pod_config, &config).await.unwrap();
    client.start(&again).await.unwrap();
    assert_eq!(client.wait(&again).await.unwrap().exit_code, 0);
    for id in [stopped, ended] {
        client.remove(id).await.unwrap();
    }
    node.finish().await;
}

#[tokio::test]
async fn what_was_ended_past_the_agent_is_known_to_the_next_daemon() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("one", &node.logs());
    let config = configs::shell("main", &image, configs::FOREVER);
    let (pod, container) = client.run(&pod_config, &config).await.unwrap();
    let hung = hang(&node, &pod);
    client.stop(&container, 0).await.unwrap();
    let before = client.status(&container).await.unwrap();
    node.kill();
    node.start().await;
    drop(hung);
    let client = node.client().await;
    let after = client.status(&container).await.unwrap();
    assert_eq!(after.state(), v1::ContainerState::ContainerExited);
    assert_eq!(
        (after.exit_code, after.finished_at, after.message),
        (before.exit_code, before.finished_at, before.message)
    );
    client.remove(&container).await.unwrap();
    node.finish().await;
}
