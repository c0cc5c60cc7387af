//! The agent dies at every failpoint that it passes in a pod's life; the daemon, which lives on, ends
//! what is left, keeps what was told, and lets everything be removed.
//!
//! ```text
//! trace: run, create, start, update, exec, stop, remove ─► names of the agent's failpoints
//! for each of them:  agents with that one armed ─► the same calls, as far as they go
//!                    ─► I2 no process is left, I5 ends are as they were told, I3 nothing after removal
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use cri_api::v1;
use system_tests::{Client, Node, configs, procs};
use tonic::Status;

/// Ends by itself with 7 once it is told to by a file, by SIGTERM with 9.
const SCRIPT: &str = "trap 'exit 9' TERM; echo started; \
                      while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 7";

/// What a client has learnt before a call failed.
#[derive(Debug, Default)]
struct Learnt {
    pod: Option<String>,
    container: Option<String>,
    /// The end of the container as it was told.
    exit: Option<v1::ContainerStatus>,
}

/// A pod's life, as far as it goes.
async fn life(
    client: &Client,
    pod: &v1::PodSandboxConfig,
    image: &str,
    learnt: &mut Learnt,
) -> Result<(), Status> {
    let config = configs::shell("main", image, SCRIPT);
    let id = client.run_pod(pod).await?;
    learnt.pod = Some(id.clone());
    let container = client.create(&id, pod, &config).await?;
    learnt.container = Some(container.clone());
    client.start(&container).await?;
    let limits = v1::UpdateContainerResourcesRequest {
        container_id: container.clone(),
        linux: Some(v1::LinuxContainerResources {
            cpu_shares: 512,
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut runtime = client.runtime.clone();
    runtime.update_container_resources(limits).await?;
    client.exec(&container, &["/bin/touch", "/tmp/end"]).await?;
    let exit = client.wait(&container).await?;
    learnt.exit = Some(exit);
    client.stop(&container, 1).await?;
    client.remove(&container).await?;
    learnt.container = None;
    client.stop_pod(&id).await?;
    client.remove_pod(&id).await?;
    learnt.pod = None;
    Ok(())
}

/// The agent's failpoints in a trace file.
fn trace(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let agents = text.lines().filter(|name| name.starts_with("agent."));
    agents.map(str::to_owned).collect()
}

/// Waits until no process of any pod is left, agents included if `agents`.
async fn assert_no_processes(node: &Node, agents: bool, place: &str) {
    let mut parts = vec![format!("/{}/", node.cgroup_root)];
    if agents {
        parts.push(format!("/{}-agents/", node.cgroup_root));
    }
    for part in parts {
        for tries in 0.. {
            let left = procs::in_cgroup(&part);
            if left.is_empty() {
                break;
            }
            assert!(
                tries < 500,
                "I2 after {place}: {left:?}\n{}",
                node.daemon_log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn the_agent_may_die_anywhere() {
    let (mut node, image) = Node::with_image().await;
    node.terminate();
    let file = node.base.join("trace");
    let traced = file.display().to_string();
    let tracing = [("COFFER_FAILPOINT_TRACE", traced.as_str())];
    node.start_with(&tracing).await;
    let pod = configs::pod("trace", &node.logs());
    let client = node.client().await;
    life(&client, &pod, &image, &mut Learnt::default())
        .await
        .unwrap();
    node.terminate();
    let places = trace(&file);
    assert!(places.len() >= 20, "too few for a sweep: {places:?}");
    let mut slowest = Duration::ZERO;

    for (number, place) in places.iter().enumerate() {
        fs::write(&file, "").unwrap();
        let armed = format!("{place}=1*kill");
        node.start_with(&[tracing[0], ("COFFER_FAILPOINTS", &armed)])
            .await;
        let client = node.client().await;
        let pod = configs::pod(&format!("sweep{number}"), &node.logs());
        let mut learnt = Learnt::default();
        let ended = life(&client, &pod, &image, &mut learnt).await;
        let lost = Instant::now();
        assert!(trace(&file).contains(place), "{place} was not reached");
        let seen = assert_told(&client, &learnt, place, &node).await;
        slowest = slowest.max(lost.elapsed());
        // Whoever is told of an end may find its agent still on its way out.
        assert_no_processes(&node, true, place).await;
        // A daemon that starts now sees the same.
        node.kill();
        node.start().await;
        let client = node.client().await;
        let again = assert_told(&client, &learnt, place, &node).await;
        assert_eq!(seen, again, "I5 after {place}: {ended:?}");
        for pod in client.pods().await.unwrap() {
            client.stop_pod(&pod.id).await.unwrap();
            client.remove_pod(&pod.id).await.unwrap();
        }
        assert!(client.containers().await.unwrap().is_empty(), "{place}");
        assert_no_processes(&node, true, place).await;
        node.assert_no_pod_files();
        node.terminate();
        node.assert_clean();
    }
    node.finish().await;
    println!("{slowest:?} at most until the end of a lost agent's containers was told");
}

/// What was told is still so; what nobody could tell is an end by force. Answers code and reason.
async fn assert_told(
    client: &Client,
    learnt: &Learnt,
    place: &str,
    node: &Node,
) -> Option<(i32, String)> {
    let context = || format!("after {place}:\n{}", node.daemon_log());
    if let Some(pod) = &learnt.pod {
        for tries in 0.. {
            let status = client.pod_status(pod).await.unwrap();
            if status.state() == v1::PodSandboxState::SandboxNotready {
                break;
            }
            assert!(tries < 500, "the pod without agent is ready {}", context());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let container = learnt.container.as_ref()?;
    let status = match client.status(container).await {
        Ok(status) => status,
        // Its removal was under way.
        Err(status) if place.starts_with("agent.remove.") => {
            assert_eq!(status.code(), tonic::Code::NotFound, "{}", context());
            return None;
        }
        Err(status) => panic!("{status:?} {}", context()),
    };
    assert_eq!(
        status.state(),
        v1::ContainerState::ContainerExited,
        "{}",
        context()
    );
    let told = (status.exit_code, status.reason.clone());
    match &learnt.exit {
        Some(exit) => assert_eq!(
            told,
            (exit.exit_code, exit.reason.clone()),
            "I5 {}",
            context()
        ),
        // Its end was on the disk before the agent died.
        None if place == "agent.exit.record.after" => {
            assert_eq!(told, (7, "Error".to_owned()), "I5 {}", context());
        }
        None => assert_eq!(told, (137, "AgentLost".to_owned()), "I5 {}", context()),
    }
    Some(told)
}
