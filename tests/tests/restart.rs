//! The daemon may end at any time; pods do not notice.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{fs, time::Duration};

use cri_api::v1;
use system_tests::{Client, Node, configs, procs};

async fn first_process(client: &Client, container: &str) -> (i32, u64) {
    let request = v1::ContainerStatusRequest {
        container_id: container.to_owned(),
        verbose: true,
    };
    let answer = client
        .runtime
        .clone()
        .container_status(request)
        .await
        .unwrap()
        .into_inner();
    let info: serde_json::Value = serde_json::from_str(&answer.info["info"]).unwrap();
    let pid = i32::try_from(info["pid"].as_i64().unwrap()).unwrap();
    (pid, procs::started(pid).unwrap())
}

#[tokio::test]
async fn a_pod_lives_through_a_killed_daemon_and_no_log_line_is_lost() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::shell("count", &image, configs::COUNT);
    let (pod, container) = client
        .run(&configs::pod("kill", &node.logs()), &config)
        .await
        .unwrap();
    let before = first_process(&client, &container).await;
    let path = client.status(&container).await.unwrap().log_path;
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.kill();
    tokio::time::sleep(Duration::from_millis(700)).await;
    let while_dead = configs::assert_counted(&fs::read_to_string(&path).unwrap());
    assert!(
        while_dead > 5,
        "only {while_dead} lines were written without a daemon"
    );
    node.start().await;
    let client = node.client().await;
    assert_eq!(
        first_process(&client, &container).await,
        before,
        "another process"
    );
    let status = client.status(&container).await.unwrap();
    assert_eq!(status.state(), v1::ContainerState::ContainerRunning);
    let pod_status = client.pod_status(&pod).await.unwrap();
    assert_eq!(pod_status.state(), v1::PodSandboxState::SandboxReady);
    assert_eq!(client.exec(&container, &["/bin/true"]).await.unwrap().0, 0);
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.stop(&container, 5).await.unwrap();
    assert!(configs::assert_counted(&fs::read_to_string(&path).unwrap()) > while_dead);
    node.finish().await;
}

#[tokio::test]
async fn sigterm_ends_the_daemon_and_not_the_pods() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::shell("main", &image, configs::FOREVER);
    let (_, container) = client
        .run(&configs::pod("term", &node.logs()), &config)
        .await
        .unwrap();
    let before = first_process(&client, &container).await;
    let status = node.terminate();
    assert!(status.success(), "{status}");
    assert!(!node.socket().exists(), "the socket of an ended daemon");
    assert_eq!(procs::started(before.0), Some(before.1));
    node.start().await;
    assert_eq!(
        first_process(&node.client().await, &container).await,
        before
    );
    node.finish().await;
}

#[tokio::test]
async fn exits_while_no_daemon_runs_are_known_to_the_next_one() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::shell("main", &image, "sleep 0.5; exit 42");
    let (_, container) = client
        .run(&configs::pod("exit", &node.logs()), &config)
        .await
        .unwrap();
    node.kill();
    tokio::time::sleep(Duration::from_millis(1000)).await;
    node.start().await;
    let status = node.client().await.status(&container).await.unwrap();
    assert_eq!(status.state(), v1::ContainerState::ContainerExited);
    assert_eq!(status.exit_code, 42);
    assert!(status.finished_at > status.started_at);
    node.finish().await;
}

#[tokio::test]
async fn a_killed_agent_is_a_container_that_ended_with_a_reason() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("agent", &node.logs());
    let config = configs::shell("done", &image, "exit 5");
    let pod = client.run_pod(&pod_config).await.unwrap();
    let done = client.create(&pod, &pod_config, &config).await.unwrap();
    client.start(&done).await.unwrap();
    client.wait(&done).await.unwrap();
    let config = configs::shell("main", &image, configs::FOREVER);
    let running = client.create(&pod, &pod_config, &config).await.unwrap();
    client.start(&running).await.unwrap();
    let agents = procs::in_cgroup(&format!("/{}-agents/", node.cgroup_root));
    assert_eq!(agents.len(), 1, "{agents:?}");
    let agent = rustix::process::Pid::from_raw(*agents.keys().next().unwrap()).unwrap();
    rustix::process::kill_process(agent, rustix::process::Signal::KILL).unwrap();
    let ended = client.wait(&running).await.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_str()), (137, "AgentLost"));
    let kept = client.status(&done).await.unwrap();
    assert_eq!(kept.exit_code, 5, "an exit code that was known stays");
    assert!(
        procs::in_cgroup(&running).is_empty(),
        "processes without an agent are ended"
    );
    let status = client.pod_status(&pod).await.unwrap();
    assert_eq!(status.state(), v1::PodSandboxState::SandboxNotready);
    node.finish().await;
}

#[tokio::test]
async fn an_agent_killed_while_no_daemon_runs_is_noticed_at_the_start() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::shell("main", &image, configs::FOREVER);
    let (_, container) = client
        .run(&configs::pod("gone", &node.logs()), &config)
        .await
        .unwrap();
    node.kill();
    for pid in procs::in_cgroup(&format!("/{}-agents/", node.cgroup_root)).keys() {
        let pid = rustix::process::Pid::from_raw(*pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    node.start().await;
    let ended = node.client().await.wait(&container).await.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_str()), (137, "AgentLost"));
    assert!(procs::in_cgroup(&container).is_empty());
    node.finish().await;
}

#[tokio::test]
async fn records_that_cannot_be_read_are_set_aside_and_the_others_serve() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let mut pods = Vec::new();
    for name in ["good", "bad"] {
        let config = configs::shell("main", &image, configs::FOREVER);
        pods.push(
            client
                .run(&configs::pod(name, &node.logs()), &config)
                .await
                .unwrap(),
        );
    }
    node.kill();
    let record = node.state().join("pods").join(&pods[1].0).join("pod.json");
    let bytes = fs::read(&record).unwrap();
    fs::write(&record, &bytes[..bytes.len() / 2]).unwrap();
    node.start().await;
    let client = node.client().await;
    let status = client.status(&pods[0].1).await.unwrap();
    assert_eq!(
        status.state(),
        v1::ContainerState::ContainerRunning,
        "the other pod"
    );
    let names: Vec<String> = client
        .pods()
        .await
        .unwrap()
        .into_iter()
        .map(|pod| pod.id)
        .collect();
    assert_eq!(names, [pods[0].0.clone()]);
    let log = node.daemon_log();
    assert!(log.contains("pod.json"), "the log names the record: {log}");
    for _ in 0..200 {
        if procs::in_cgroup(&pods[1].0).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(
        procs::in_cgroup(&pods[1].0).is_empty(),
        "nobody owns these processes"
    );
    // The same pod can be made again.
    let config = configs::shell("main", &image, configs::FOREVER);
    client
        .run(&configs::pod("bad", &node.logs()), &config)
        .await
        .unwrap();
    let corrupt = find_corrupt(&node.state());
    assert!(
        !corrupt.is_empty(),
        "the record is kept for people to look at"
    );
    for path in corrupt {
        let _ = fs::remove_dir_all(&path);
        let _ = fs::remove_file(&path);
    }
    node.finish().await;
}

fn find_corrupt(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().contains(".corrupt") {
            found.push(path);
        } else if path.is_dir() {
            found.extend(find_corrupt(&path));
        }
    }
    found
}
