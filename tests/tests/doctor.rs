//! `coffer doctor`: verdicts with and without a daemon, in each form, and that nothing stays.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{fs, process::Command};

use serde_json::Value;
use system_tests::{Node, configs, node::program};

/// `coffer doctor -o json` for this node: its exit code and its findings.
fn doctor(node: &Node, more: &[&str]) -> (i32, Vec<Value>) {
    let root = node.root();
    let mut words = vec!["doctor", "-o", "json", "--cgroup-root", &node.cgroup_root];
    let (root, state) = (
        root.display().to_string(),
        node.state().display().to_string(),
    );
    words.extend(["--root", &root, "--state", &state]);
    words.extend(more);
    let output = node.coffer(&words);
    let findings: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (
        output.status.code().unwrap(),
        findings.as_array().unwrap().clone(),
    )
}

#[track_caller]
fn of<'a>(findings: &'a [Value], area: &str, check: &str) -> &'a Value {
    findings
        .iter()
        .find(|one| one["area"] == area && one["check"] == check)
        .unwrap_or_else(|| panic!("no {area}/{check} in {findings:#?}"))
}

#[tokio::test]
async fn this_machine_is_fit_for_pods_with_and_without_a_daemon() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::shell("app", &image, configs::FOREVER);
    client
        .run(&configs::host_pod("web", &node.logs()), &config)
        .await
        .unwrap();

    let (code, found) = doctor(&node, &[]);
    let failed: Vec<_> = found
        .iter()
        .filter(|one| one["verdict"] == "fail")
        .collect();
    assert!(failed.is_empty() && code == 0, "{failed:#?}");
    for (area, check) in [
        ("kernel", "overlay"),
        ("kernel", "seccomp"),
        ("kernel", "user namespaces"),
        ("cgroups", "memory"),
        ("cgroups", "writable"),
        ("network", "pod and ports"),
        ("network", "subnets"),
        ("disk", "overlay on root"),
        ("coffer", "agent"),
        ("coffer", "daemon"),
        ("coffer", "RuntimeReady"),
        ("leftovers", "cgroups"),
        ("leftovers", "mounts"),
        ("leftovers", "writable layers"),
    ] {
        assert_eq!(of(&found, area, check)["verdict"], "ok", "{area}/{check}");
    }
    for one in &found {
        let fix = one["fix"].as_str().unwrap();
        assert_eq!(fix.is_empty(), one["verdict"] == "ok", "{one}");
        assert!(!one["found"].as_str().unwrap().is_empty(), "{one}");
    }

    node.kill();
    let (code, found) = doctor(&node, &[]);
    let daemon = of(&found, "coffer", "daemon");
    assert_eq!((code, &daemon["verdict"]), (0, &"warn".into()));
    assert!(
        daemon["found"]
            .as_str()
            .unwrap()
            .contains("was killed or crashed"),
        "{daemon}"
    );
    assert_eq!(of(&found, "leftovers", "cgroups")["verdict"], "ok");

    // What no record owns.
    let stray = "e".repeat(64);
    fs::create_dir(node.root().join("containers").join(&stray)).unwrap();
    let (_, found) = doctor(&node, &[]);
    let layers = of(&found, "leftovers", "writable layers");
    assert_eq!(layers["verdict"], "warn");
    assert!(
        layers["found"].as_str().unwrap().contains(&stray),
        "{layers}"
    );
    node.start().await;
    let (_, found) = doctor(&node, &[]);
    assert_eq!(of(&found, "leftovers", "writable layers")["verdict"], "ok");
    node.finish().await;
}

#[tokio::test]
async fn a_daemon_that_answers_says_what_is_to_be_looked_at() {
    let mut node = Node::new();
    node.configuration =
        "network.bridge = \"other0\"\nnetwork.ipv4 = \"10.99.0.0/16\"\n".to_owned();
    node.start().await;
    let client = node.client().await;
    // The bridge is there: its subnets are in nobody's way but its own.
    let pod = configs::pod("web", &node.logs());
    client.run_pod(&pod).await.unwrap();
    let output = node.coffer(&["doctor", "-o", "json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = found.as_array().unwrap();
    let said = |area, check| of(found, area, check)["found"].as_str().unwrap().to_owned();
    let settings = said("network", "settings");
    assert!(
        settings.contains("10.99.0.0/16") && settings.contains("other0"),
        "{settings}"
    );
    assert_eq!(of(found, "network", "subnets")["verdict"], "ok");
    let root = node.root().display().to_string();
    assert!(said("disk", "root filesystem").contains(&root));
    assert_eq!(output.status.code(), Some(0), "{found:#?}");
    node.finish().await;
}

#[tokio::test]
async fn what_pods_need_and_is_missing_ends_with_one_and_a_fix() {
    let node = Node::new();
    fs::create_dir(node.state()).unwrap();
    let config = node.base.join("wrong.toml");
    fs::write(&config, "agent = \"/nonexistent/coffer-agent\"\n").unwrap();
    let config = config.display().to_string();
    let (code, found) = doctor(&node, &["--config", &config]);
    let agent = of(&found, "coffer", "agent");
    assert_eq!((code, &agent["verdict"]), (1, &"fail".into()));
    assert!(
        agent["found"]
            .as_str()
            .unwrap()
            .contains("/nonexistent/coffer-agent")
    );
    assert!(agent["fix"].as_str().unwrap().contains("install"));

    fs::write(&config, "[network]\nipv4 = \"127.0.0.0/8\"\nipv6 = \"\"\n").unwrap();
    let (code, found) = doctor(&node, &["--config", &config]);
    let network: Vec<_> = found
        .iter()
        .filter(|one| one["area"] == "network")
        .collect();
    assert!(
        code == 1 && network.iter().any(|one| one["verdict"] == "fail"),
        "{network:#?}"
    );
}

#[tokio::test]
async fn a_person_reads_a_table_and_can_ask_for_the_bad_news_alone() {
    let node = Node::new();
    fs::create_dir(node.state()).unwrap();
    let run = |words: &[&str]| {
        let output = Command::new(program("coffer"))
            .args(["doctor", "--cgroup-root", &node.cgroup_root])
            .arg("--root")
            .arg(node.root())
            .arg("--state")
            .arg(node.state())
            .args(words)
            .env("COFFER_SOCKET", node.socket())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let all = run(&[]);
    assert!(all.starts_with("kernel\n  ok "), "{all}");
    assert!(!all.contains('\u{1b}'), "painted in a pipe: {all}");
    assert!(all.contains("→ start it: `coffer serve`"), "{all}");
    let bad = run(&["-q"]);
    assert!(bad.len() < all.len() && !bad.contains("  ok "), "{bad}");
    assert!(run(&["-o", "yaml"]).starts_with("- area: kernel\n"));
}
