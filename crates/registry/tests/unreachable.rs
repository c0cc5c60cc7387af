//! A node whose packets go nowhere: its default route leads to a link where nobody answers. A pull
//! ends after `registry.connect_timeout`, twice that at most, and says what was not reached.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use image::FetchErrorKind as Kind;
use support::{Node, kind};

const CONNECT: Duration = Duration::from_secs(3);

/// A link that swallows what is sent, and a name server behind it.
const SETUP: &str = "set -e
ip link set lo up
ip link add dead type veth peer name end
ip link set end up
ip addr add 192.0.2.2/24 dev dead
ip link set dead arp off up
ip route add default via 192.0.2.1
mount --bind \"$0\" /etc/resolv.conf
exec \"$@\"";

#[test]
#[ignore = "run by the test below, in namespaces of its own"]
fn child() {
    for (image, parts) in [
        (
            "registry.example/lib/app:1",
            ["look up registry.example", "192.0.2.53"],
        ),
        // Another name server would not help: the host itself is not reached.
        (
            "198.51.100.7:5000/lib/app:1",
            ["198.51.100.7:5000", "connect_timeout"],
        ),
    ] {
        let mut node = Node::new();
        node.settings.connect = CONNECT;
        node.settings.stall = Duration::from_secs(100);
        let began = Instant::now();
        let error = node.pull(image).unwrap_err();
        let took = began.elapsed();
        assert_eq!(kind(&error), Some(Kind::Unavailable), "{error}");
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(
            took < 2 * CONNECT + Duration::from_secs(2),
            "{took:?}: {text}"
        );
        node.assert_empty();
    }
}

#[test]
fn what_is_not_reached_is_given_up_soon_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("resolv.conf");
    fs::write(&conf, "nameserver 192.0.2.53\nnameserver 192.0.2.54\n").unwrap();
    let output = Command::new("unshare")
        .args(["--net", "--mount", "/bin/sh", "-c", SETUP])
        .arg(&conf)
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
