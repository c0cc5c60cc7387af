//! An agent in a network namespace of its own.

use std::process::Command;

use super::{Calls, Pod};

/// Runs `ip` in the agent's namespace.
pub(crate) fn ip(pod: &Pod, words: &str) -> String {
    let output = Command::new("nsenter")
        .args(["--net", &format!("--target={}", pod.pid()), "ip"])
        .args(words.split(' '))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "ip {words}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// An agent whose namespace has two pairs of interfaces: eth0 with peer0, eth1 with peer1.
pub(crate) async fn pod() -> (Pod, Calls) {
    let pod = Pod::start_in_netns();
    let calls = pod.connect().await;
    for words in [
        "link set lo up",
        "link add eth0 address 02:00:00:00:00:01 type veth peer name peer0",
        "link add eth1 address 02:00:00:00:00:02 type veth peer name peer1",
        "link set peer0 up",
        "link set peer1 up",
    ] {
        ip(&pod, words);
    }
    (pod, calls)
}
