//! `coffer explain`: a pod that works, a start that fails, an agent that hangs, and no daemon.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use system_tests::{Node, configs};

/// `coffer explain -o json`: the pods, and what was said on standard error.
#[track_caller]
fn explain(node: &Node, words: &[&str]) -> (Vec<Value>, String) {
    let mut all = vec!["explain", "-o", "json"];
    all.extend(words);
    let output = node.coffer(&all);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{words:?}: {said}\n{}",
        node.daemon_log()
    );
    let pods: Value = serde_json::from_slice(&output.stdout).unwrap();
    (pods.as_array().unwrap().clone(), said)
}

fn text<'a>(told: &'a Value, field: &str) -> &'a str {
    told[field].as_str().unwrap()
}

#[tokio::test]
async fn a_pod_is_explained_with_and_without_its_daemon() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::host_pod("web", &node.logs());
    let config = configs::shell("app", &image, configs::FOREVER);
    let (pod, container) = client.run(&pod_config, &config).await.unwrap();
    let ends = configs::shell("short", &image, "exit 3");
    let ended = client.create(&pod, &pod_config, &ends).await.unwrap();
    client.start(&ended).await.unwrap();
    client.wait(&ended).await.unwrap();

    for word in ["web", "pod/web", &pod, &pod[..12]] {
        let (pods, said) = explain(&node, &[word]);
        assert_eq!((pods.len(), said.as_str()), (1, ""), "{word}");
        assert_eq!(text(&pods[0], "stage"), "Ready");
        assert_eq!(text(&pods[0], "waiting_on"), "");
        let containers = pods[0]["containers"].as_array().unwrap();
        assert_eq!(text(&containers[0], "stage"), "Running");
        assert!(containers[0]["since"].as_str().unwrap().starts_with("20"));
        assert_eq!(text(&containers[1], "stage"), "Exited (3)");
        assert!(text(&containers[1], "next_try").contains("restartPolicy"));
    }
    // A container: its pod with this container alone.
    for word in ["app", "container/app", &container[..12]] {
        let (pods, _) = explain(&node, &[word]);
        assert_eq!(pods[0]["containers"].as_array().unwrap().len(), 1, "{word}");
        assert_eq!(text(&pods[0]["containers"][0], "id"), container);
    }

    node.kill();
    let (pods, said) = explain(&node, &["web"]);
    assert!(
        said.contains("was killed or crashed") && said.contains("coffer serve"),
        "{said}"
    );
    assert!(
        text(&pods[0], "stage").contains("goes on without the daemon"),
        "{pods:?}"
    );
    assert_eq!(text(&pods[0]["containers"][0], "stage"), "Running");
    assert_eq!(text(&pods[0]["containers"][1], "stage"), "Exited (3)");
    let unknown = node.coffer(&["explain", "nope"]);
    assert_eq!(unknown.status.code(), Some(1));

    node.start().await;
    assert_eq!(explain(&node, &["web"]).0[0]["stage"], "Ready");
    node.terminate();
    let (_, said) = explain(&node, &["web"]);
    assert!(said.contains("ended in good order"), "{said}");
    node.start().await;
    node.finish().await;
}

#[tokio::test]
async fn a_start_that_failed_is_explained_after_it_was_taken_back() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    // The pod's files can't be made: nothing can be made below a file.
    let pods = node.state().join("pods");
    std::fs::rename(&pods, node.base.join("aside")).unwrap();
    std::fs::write(&pods, "").unwrap();
    for _ in 0..2 {
        let config = configs::host_pod("broken", &node.logs());
        assert!(client.run_pod(&config).await.is_err());
    }
    std::fs::remove_file(&pods).unwrap();
    std::fs::rename(node.base.join("aside"), &pods).unwrap();
    let check = |node: &Node| {
        let (pods, _) = explain(node, &["broken"]);
        assert!(text(&pods[0], "stage").contains("failed"), "{pods:?}");
        let error = text(&pods[0], "last_error");
        assert!(
            error.starts_with("RunPodSandbox: cannot create directory"),
            "{error}"
        );
        assert!(error.ends_with("(2 times)"), "{error}");
        assert!(text(&pods[0], "next_try").contains("kubelet"), "{pods:?}");
        assert!(pods[0]["last_error_at"].is_string());
        assert_eq!(explain(node, &[]).0.len(), 1, "without a name: all");
    };
    check(&node);
    node.kill();
    check(&node);
    node.start().await;
    check(&node);

    // A container that can't be created is the last error of its pod.
    let client = node.client().await;
    let pod_config = configs::host_pod("web", &node.logs());
    let pod = client.run_pod(&pod_config).await.unwrap();
    let config = configs::shell("app", "no-such-image", "true");
    assert!(client.create(&pod, &pod_config, &config).await.is_err());
    let (told, _) = explain(&node, &["web"]);
    let error = text(&told[0], "last_error");
    assert!(
        error.contains("CreateContainer of container app: image \"no-such-image\""),
        "{error}"
    );
    assert!(text(&told[0], "waiting_on").contains("no container"));
    let config = configs::shell("app", &image, "true");
    client.create(&pod, &pod_config, &config).await.unwrap();
    let (told, _) = explain(&node, &["web"]);
    let container = &told[0]["containers"][0];
    assert_eq!(text(container, "stage"), "Created");
    assert!(text(container, "waiting_on").contains("StartContainer"));
    node.finish().await;
}

#[tokio::test]
async fn a_stop_that_waits_and_an_agent_that_hangs_say_so() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::shell(
        "stubborn",
        &image,
        "trap '' TERM; while :; do sleep 0.1; done",
    );
    let (pod, container) = client
        .run(&configs::host_pod("web", &node.logs()), &config)
        .await
        .unwrap();
    let stopping = tokio::spawn({
        let (client, container) = (client.clone(), container.clone());
        async move { client.stop(&container, 3).await }
    });
    let mut seen = String::new();
    for _ in 0..40 {
        let (pods, _) = explain(&node, &["stubborn"]);
        text(&pods[0]["containers"][0], "waiting_on").clone_into(&mut seen);
        if seen.contains("SIGKILL") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(
        seen.starts_with("StopContainer (for ") && seen.contains("its end by signal 15"),
        "{seen}"
    );
    stopping.await.unwrap().unwrap();

    node.kill();
    let record = std::fs::read(node.state().join("pods").join(&pod).join("agent.json")).unwrap();
    let agent = serde_json::from_slice::<Value>(&record).unwrap()["pid"]
        .as_i64()
        .unwrap();
    let agent = Pid::from_raw(i32::try_from(agent).unwrap()).unwrap();
    kill_process(agent, Signal::STOP).unwrap();
    let going = testing::guard::Guard::new(move || {
        let _ = kill_process(agent, Signal::CONT);
    });
    node.start().await;
    let (pods, _) = explain(&node, &["web"]);
    let waits = text(&pods[0], "waiting_on");
    assert!(
        waits.starts_with("recovery (for ") && waits.contains("agent"),
        "{waits}"
    );
    drop(going);
    for tries in 0.. {
        let (pods, _) = explain(&node, &["web"]);
        if text(&pods[0], "waiting_on").is_empty() {
            break;
        }
        assert!(tries < 600, "{pods:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.finish().await;
}
