//! Real network namespaces: needs root.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use std::{
    fs,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use network::{Error, Netns};
use rustix::{
    mount::UnmountFlags,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// A temporary directory whose pin is taken away even when the test fails.
struct Pin {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Pin {
    fn new() -> Pin {
        let dir = tempfile::tempdir().unwrap();
        Pin {
            path: dir.path().join("net"),
            _dir: dir,
        }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        while rustix::mount::unmount(&self.path, UnmountFlags::DETACH).is_ok() {}
    }
}

/// Kills and reaps a child at the end of a test.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `work` on a thread that has entered the namespace.
fn inside<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        scope
            .spawn(|| {
                let ns = fs::File::open(path).unwrap();
                move_into_link_name_space(ns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            })
            .join()
            .unwrap()
    })
}

fn mounts_below(dir: &Path) -> usize {
    let dir = dir.to_str().unwrap();
    fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .filter(|l| l.contains(dir))
        .count()
}

#[test]
fn a_new_namespace_has_loopback_and_nothing_else() {
    let pin = Pin::new();
    let netns = Netns::create(&pin.path).unwrap();
    assert_eq!(netns.path(), pin.path);
    assert!(Netns::exists(&pin.path).unwrap());
    assert_eq!(Netns::open(&pin.path).unwrap(), Some(netns));
    assert_ne!(
        fs::metadata(&pin.path).unwrap().ino(),
        fs::metadata("/proc/self/ns/net").unwrap().ino(),
        "the test's own namespace is pinned"
    );
    let (interfaces, echoed) = inside(&pin.path, || {
        let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let names: Vec<String> = table
            .lines()
            .skip(2)
            .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
            .collect();
        // Only a loopback that is up carries this.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        (
            names,
            std::net::TcpStream::connect(listener.local_addr().unwrap()).is_ok(),
        )
    });
    // Some kernels bring fallback tunnels (sit0, tunl0 …) into each new namespace: all down.
    assert!(interfaces.contains(&"lo".to_owned()), "{interfaces:?}");
    assert!(
        !interfaces.iter().any(|name| name.starts_with("eth")),
        "{interfaces:?}"
    );
    assert!(echoed, "127.0.0.1 does not answer");
    Netns::delete(&pin.path).unwrap();
}

#[test]
fn deleting_leaves_neither_mount_nor_file_and_may_be_repeated() {
    let pin = Pin::new();
    Netns::create(&pin.path).unwrap();
    assert_eq!(mounts_below(&pin.path), 1);
    for _ in 0..3 {
        Netns::delete(&pin.path).unwrap();
        assert_eq!(mounts_below(&pin.path), 0);
        assert!(!pin.path.exists());
        assert!(!Netns::exists(&pin.path).unwrap());
    }
    Netns::delete(&pin.path.join("below/nothing")).unwrap();
}

#[test]
fn a_second_create_is_refused_and_changes_nothing() {
    let pin = Pin::new();
    Netns::create(&pin.path).unwrap();
    let before = fs::metadata(&pin.path).unwrap().ino();
    let error = Netns::create(&pin.path).unwrap_err();
    assert!(matches!(error, Error::AlreadyPinned { .. }), "{error}");
    assert_eq!(fs::metadata(&pin.path).unwrap().ino(), before);
    Netns::delete(&pin.path).unwrap();
}

#[test]
fn a_half_made_pin_is_no_namespace_and_is_taken_over() {
    let pin = Pin::new();
    fs::write(&pin.path, "").unwrap();
    assert!(!Netns::exists(&pin.path).unwrap());
    assert_eq!(Netns::open(&pin.path).unwrap(), None);
    Netns::create(&pin.path).unwrap();
    assert!(Netns::exists(&pin.path).unwrap());
    Netns::delete(&pin.path).unwrap();

    fs::write(&pin.path, "").unwrap();
    Netns::delete(&pin.path).unwrap();
    assert!(!pin.path.exists());
}

#[test]
fn what_is_not_a_plain_file_is_not_taken_over() {
    let pin = Pin::new();
    std::os::unix::fs::symlink("/proc/self/ns/net", &pin.path).unwrap();
    let error = Netns::create(&pin.path).unwrap_err();
    assert!(matches!(error, Error::PinFile { .. }), "{error}");
    // A symbolic link is never followed, neither to look nor to delete.
    assert!(!Netns::exists(&pin.path).unwrap());
    Netns::delete(&pin.path).unwrap();
    assert!(pin.path.symlink_metadata().is_err());
    assert!(Path::new("/proc/self/ns/net").exists());
}

#[test]
fn a_missing_directory_is_an_error_that_names_the_file() {
    let pin = Pin::new();
    let error = Netns::create(&pin.path.join("net")).unwrap_err();
    assert!(error.to_string().contains("/net/net"), "{error}");
    assert_eq!(mounts_below(&pin.path), 0);
}

#[test]
fn deleting_detaches_copies_in_other_mount_namespaces() {
    let pin = Pin::new();
    Netns::create(&pin.path).unwrap();
    // unshare(1) copies all mounts, the pin among them, into a private mount namespace.
    let mut other = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            "echo ready; exec sleep 60",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .map(Reaped)
        .unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(other.0.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let table = format!("/proc/{}/mountinfo", other.0.id());
    let copies = || {
        let path = pin.path.to_str().unwrap();
        fs::read_to_string(&table)
            .unwrap()
            .lines()
            .filter(|line| line.contains(path))
            .count()
    };
    assert_eq!(copies(), 1);
    Netns::delete(&pin.path).unwrap();
    assert_eq!(copies(), 0, "the copy holds the namespace");
}

#[test]
fn many_can_be_made_at_once() {
    let pins: Vec<Pin> = (0..16).map(|_| Pin::new()).collect();
    thread::scope(|scope| {
        for pin in &pins {
            scope.spawn(|| Netns::create(&pin.path).unwrap());
        }
    });
    let mut inodes: Vec<u64> = pins
        .iter()
        .map(|pin| fs::metadata(&pin.path).unwrap().ino())
        .collect();
    inodes.sort_unstable();
    inodes.dedup();
    assert_eq!(inodes.len(), 16);
    for pin in &pins {
        Netns::delete(&pin.path).unwrap();
    }
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert_eq!(
        own,
        fs::read_link("/proc/self/ns/net").unwrap(),
        "the caller was moved"
    );
}
