//! R1 and R2: the daemon dies at every failpoint that a pod passes on its way to a running
//! container; the next daemon, and a client that simply repeats its calls, find everything whole.
//!
//! ```text
//! trace: run, create, start ─► names of the failpoints passed, with the count of each
//! for each of them:  daemon with that one armed ─► calls until it dies ─► daemon ─► same calls
//!                    ─► I1 one process, I2 known, I3 nothing left after removal, I5, I6 the log
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use cri_api::v1;
use system_tests::{Client, Node, configs, procs};
use tonic::Status;

const SCRIPT: &str = "trap 'exit 9' TERM; echo started; while :; do sleep 0.05; done";

/// The host's port of each pod.
const PUBLISHED: u16 = 8080;

/// A pod with a published port: every step that a start can have.
fn sweep_pod(node: &Node, name: &str) -> v1::PodSandboxConfig {
    let mut config = configs::pod(name, &node.logs());
    config.hostname = "sweep".to_owned();
    config.port_mappings.push(v1::PortMapping {
        protocol: v1::Protocol::Tcp.into(),
        container_port: 80,
        host_port: PUBLISHED.into(),
        host_ip: String::new(),
    });
    config
}

/// The calls of a client that wants one container to run, with the ids that it learns.
async fn calls(
    client: &Client,
    pod: &v1::PodSandboxConfig,
    image: &str,
) -> Result<(String, String), Status> {
    let config = configs::shell("main", image, SCRIPT);
    let id = client.run_pod(pod).await?;
    let container = client.create(&id, pod, &config).await?;
    if client.status(&container).await?.state() == v1::ContainerState::ContainerCreated {
        client.start(&container).await?;
    }
    Ok((id, container))
}

/// Takes the bridge away, so that a daemon with no pods finds the host as the trace's daemon did: it
/// passes the places of its making with the first pod and not when it starts.
fn forget_bridge(node: &Node) {
    let mut command = std::process::Command::new("ip");
    command
        .args(["link", "del", "coffer0"])
        .stderr(std::process::Stdio::null());
    node.within(|| command.status()).unwrap();
}

/// What a trace file has, each name with how often it was passed.
fn trace(path: &Path) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in fs::read_to_string(path).unwrap_or_default().lines() {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

/// Every place that the calls pass: name and how many times it was passed before they began.
async fn places(node: &mut Node, image: &str, calls_of: &str) -> Vec<(String, usize)> {
    let file = node.base.join(format!("trace-{calls_of}"));
    node.start_with(&[("COFFER_FAILPOINT_TRACE", &file.display().to_string())])
        .await;
    let client = node.client().await;
    let pod_config = sweep_pod(node, "trace");
    if calls_of == "removal" {
        calls(&client, &pod_config, image).await.unwrap();
    }
    let before = trace(&file);
    if calls_of == "removal" {
        remove(&client).await.unwrap();
    } else {
        calls(&client, &pod_config, image).await.unwrap();
    }
    let after = trace(&file);
    remove(&client).await.unwrap();
    node.terminate();
    let mut found = Vec::new();
    for (name, count) in after {
        // What the agent passes is its own and not the daemon's.
        if name.starts_with("agent.") {
            continue;
        }
        let earlier = before.get(&name).copied().unwrap_or(0);
        found.extend((earlier..count).map(|number| (name.clone(), number + 1)));
    }
    found
}

async fn remove(client: &Client) -> Result<(), Status> {
    for container in client.containers().await? {
        client.stop(&container.id, 5).await?;
        client.remove(&container.id).await?;
    }
    for pod in client.pods().await? {
        client.stop_pod(&pod.id).await?;
        client.remove_pod(&pod.id).await?;
    }
    Ok(())
}

/// I1, I2, I5, I6 for one running container, then I3 after its removal.
async fn assert_whole(node: &Node, client: &Client, pod: &str, container: &str, place: &str) {
    let context = || format!("after {place}:\n{}", node.daemon_log());
    let pods = client.pods().await.unwrap();
    assert_eq!(pods.len(), 1, "pods {pods:?} {}", context());
    assert_eq!(pods[0].id, pod, "{}", context());
    let containers = client.containers().await.unwrap();
    assert_eq!(
        containers.len(),
        1,
        "containers {containers:?} {}",
        context()
    );
    let status = client.status(container).await.unwrap();
    assert_eq!(
        status.state(),
        v1::ContainerState::ContainerRunning,
        "{}",
        context()
    );
    let first = procs::first_in_cgroup(container);
    assert_eq!(first.len(), 1, "I1: {first:?} {}", context());
    let all = procs::first_in_cgroup(&format!("/{}/", node.cgroup_root));
    assert_eq!(all, first, "I2: processes that nobody knows {}", context());
    let agents = procs::in_cgroup(&format!("/{}-agents/", node.cgroup_root));
    assert_eq!(agents.len(), 1, "I2: agents {agents:?} {}", context());
    for _ in 0..100 {
        if fs::read_to_string(&status.log_path).is_ok_and(|log| !log.is_empty()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    client.stop(container, 5).await.unwrap();
    let ended = client.status(container).await.unwrap();
    assert_eq!(ended.exit_code, 9, "I5 {}", context());
    let log = fs::read_to_string(&status.log_path).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert!(
        lines.iter().all(|line| line.ends_with(" stdout F started")) && !lines.is_empty(),
        "I6: {log:?} {}",
        context()
    );
}

/// Nothing of any pod is left while the daemon runs.
fn assert_nothing_left(node: &Node, place: &str) {
    node.assert_no_pod_files();
    let interfaces = node.pod_interfaces();
    assert!(
        interfaces.is_empty(),
        "I3 after {place}: {interfaces:?}\n{}",
        node.daemon_log()
    );
    // Nobody listens there, and no rule leads elsewhere any more.
    let published = node.connect(([127, 0, 0, 1], PUBLISHED).into());
    let refused = published.map_err(|error| error.kind());
    assert_eq!(
        refused.err(),
        Some(std::io::ErrorKind::ConnectionRefused),
        "I3 after {place}: the published port"
    );
    for part in [
        format!("/{}/", node.cgroup_root),
        format!("/{}-agents/", node.cgroup_root),
    ] {
        let mut left = procs::in_cgroup(&part);
        for _ in 0..200 {
            if left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            left = procs::in_cgroup(&part);
        }
        assert!(
            left.is_empty(),
            "I3 after {place}: {left:?}\n{}",
            node.daemon_log()
        );
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let base = node.base.display().to_string();
    let left: Vec<&str> = mounts.lines().filter(|line| line.contains(&base)).collect();
    assert!(
        left.is_empty(),
        "I3 after {place}: {left:?}\n{}",
        node.daemon_log()
    );
}

#[tokio::test]
async fn crash_sweep_of_run_create_and_start() {
    let (mut node, image) = Node::with_image().await;
    node.terminate();
    let places = places(&mut node, &image, "making").await;
    assert!(
        places.len() >= 10,
        "too few failpoints to speak of a sweep: {places:?}"
    );
    for (number, (name, count)) in places.iter().enumerate() {
        let place = format!("{name} (pass {count})");
        forget_bridge(&node);
        node.start_with(&[("COFFER_FAILPOINTS", &format!("{name}={count}*kill"))])
            .await;
        let pod_config = sweep_pod(&node, &format!("sweep{number}"));
        let died = calls(&node.client().await, &pod_config, &image).await;
        if died.is_ok() {
            // The place is passed after the answer: the daemon dies now or is about to.
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let status = node.wait();
        assert!(
            !status.success(),
            "{place} was not reached:\n{}",
            node.daemon_log()
        );
        node.start().await;
        let client = node.client().await;
        let (pod, container) = match calls(&client, &pod_config, &image).await {
            Ok(ids) => ids,
            Err(status) => panic!("retry after {place}: {status:?}\n{}", node.daemon_log()),
        };
        assert_whole(&node, &client, &pod, &container, &place).await;
        remove(&client).await.unwrap();
        assert_nothing_left(&node, &place);
        node.terminate();
        node.assert_clean();
    }
    node.finish().await;
}

#[tokio::test]
async fn crash_sweep_of_stop_and_remove() {
    let (mut node, image) = Node::with_image().await;
    node.terminate();
    let places = places(&mut node, &image, "removal").await;
    assert!(
        places.len() >= 5,
        "too few failpoints to speak of a sweep: {places:?}"
    );
    for (number, (name, count)) in places.iter().enumerate() {
        let place = format!("{name} (pass {count})");
        node.start_with(&[("COFFER_FAILPOINTS", &format!("{name}={count}*kill"))])
            .await;
        let pod_config = sweep_pod(&node, &format!("sweep{number}"));
        let client = node.client().await;
        calls(&client, &pod_config, &image).await.unwrap();
        if remove(&client).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        let status = node.wait();
        assert!(
            !status.success(),
            "{place} was not reached:\n{}",
            node.daemon_log()
        );
        node.start().await;
        let client = node.client().await;
        if let Err(status) = remove(&client).await {
            panic!("retry after {place}: {status:?}\n{}", node.daemon_log());
        }
        assert!(client.pods().await.unwrap().is_empty());
        assert_nothing_left(&node, &place);
        node.terminate();
        node.assert_clean();
    }
    node.finish().await;
}

/// A client that gives up after the crash and never comes back must not leave half a pod either.
#[tokio::test]
async fn crash_sweep_without_a_retry() {
    let (mut node, image) = Node::with_image().await;
    node.terminate();
    let places = places(&mut node, &image, "making").await;
    for (number, (name, count)) in places.iter().enumerate().step_by(2) {
        let place = format!("{name} (pass {count})");
        forget_bridge(&node);
        node.start_with(&[("COFFER_FAILPOINTS", &format!("{name}={count}*kill"))])
            .await;
        let pod_config = sweep_pod(&node, &format!("sweep{number}"));
        if calls(&node.client().await, &pod_config, &image)
            .await
            .is_ok()
        {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        node.wait();
        node.start().await;
        let client = node.client().await;
        // Whatever is listed can be removed; what is not listed must not exist.
        if let Err(status) = remove(&client).await {
            panic!("removal after {place}: {status:?}\n{}", node.daemon_log());
        }
        assert_nothing_left(&node, &place);
        node.terminate();
        node.assert_clean();
    }
    node.finish().await;
}
