//! Dialling into a pod's namespace and reading its counters: needs root.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpListener,
    path::PathBuf,
    time::Duration,
};

use network::Netns;

/// A pinned namespace that goes with this value.
struct Pin {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Pin {
    fn new() -> Pin {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("net");
        Netns::create(&path).unwrap();
        Pin { path, _dir: dir }
    }

    fn listen(&self, address: &str) -> TcpListener {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        use std::os::fd::AsFd;
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let ns = std::fs::File::open(&self.path).unwrap();
                move_into_link_name_space(ns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                TcpListener::bind(address).unwrap()
            });
            inside.join().unwrap()
        })
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let _ = Netns::delete(&self.path);
    }
}

#[test]
fn a_port_inside_is_reached_on_either_loopback() {
    let pin = Pin::new();
    for address in ["127.0.0.1:4321", "[::1]:4322"] {
        let listener = pin.listen(address);
        let port = listener.local_addr().unwrap().port();
        let mut stream = network::connect(Some(&pin.path), port, Duration::from_secs(2)).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
        drop(stream);
        let mut text = String::new();
        other.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello", "{address}");
    }
}

#[test]
fn nobody_listening_and_nothing_pinned_are_told_apart() {
    let pin = Pin::new();
    let limit = Duration::from_secs(2);
    let refused = network::connect(Some(&pin.path), 4321, limit).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let missing = network::connect(Some(&pin.path.with_extension("x")), 4321, limit).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn a_namespace_without_interfaces_counts_nothing() {
    let pin = Pin::new();
    let stats = network::stats(&pin.path).unwrap();
    assert!(
        stats.iter().all(|interface| interface.rx_bytes == 0),
        "{stats:?}"
    );
    assert!(network::stats(&pin.path.with_extension("x")).is_err());
}
