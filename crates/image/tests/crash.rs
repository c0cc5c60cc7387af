//! The process is killed at every failpoint of an import and of a removal; after a restart each image
//! is whole and verified, or absent, and nothing half-made is left.
#![cfg(feature = "failpoints")]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, ExitStatus},
    sync::atomic::AtomicBool,
};

use image::{ImportOptions, Store, rootfs_read};
use testing::{
    image::{Builder, pack},
    layer::Layer,
};

const ROOT: &str = "COFFER_IMAGE_TEST_ROOT";

fn archive(tag: &str) -> Vec<u8> {
    let builder = Builder::new(&format!("a/app:{tag}"))
        .layer(
            Layer::new()
                .dir("etc", 0o755)
                .file("etc/base", 0o644, b"base"),
        )
        .layer(Layer::new().file("etc/tag", 0o644, tag.as_bytes()));
    pack(&builder.oci_files().unwrap())
}

/// What the killed process does: opens the store, imports `a/app:new`, removes `a/app:old`.
#[test]
#[ignore = "run by the sweep below, in a process of its own"]
fn child() {
    let root = std::env::var_os(ROOT).expect("started by the sweep");
    let store = Store::open(Path::new(&root)).unwrap();
    let cancel = AtomicBool::new(false);
    let mut archive = archive_slice();
    store
        .import(&mut archive, &ImportOptions::default(), &|_| (), &cancel)
        .unwrap();
    assert!(store.remove("a/app:old", &|_| false).unwrap());
}

fn archive_slice() -> impl std::io::Read {
    std::io::Cursor::new(archive("new"))
}

fn run(root: &Path, failpoints: &str, trace: Option<&Path>) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "child"])
        .env(ROOT, root)
        .env("COFFER_FAILPOINTS", failpoints)
        .stdout(std::process::Stdio::null());
    if let Some(trace) = trace {
        command.env("COFFER_FAILPOINT_TRACE", trace);
    }
    command.status().unwrap()
}

/// A store with `a/app:old` in it, closed.
fn prepared() -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix("coffer-image-crash-")
        .tempdir()
        .unwrap();
    let store = Store::open(dir.path()).unwrap();
    let cancel = AtomicBool::new(false);
    let archive = archive("old");
    store
        .import(
            &mut archive.as_slice(),
            &ImportOptions::default(),
            &|_| (),
            &cancel,
        )
        .unwrap();
    dir
}

fn check(root: &Path, what: &str) {
    let store = Store::open(root).unwrap();
    assert_eq!(store.findings(), [] as [String; 0], "{what}");
    let images = store.list().unwrap();
    let tags: Vec<&String> = images.iter().flat_map(|image| &image.repo_tags).collect();
    assert!(!tags.is_empty() && tags.len() <= 2, "{what}: {tags:?}");
    for image in &images {
        let tag = image.repo_tags[0].strip_prefix("docker.io/a/app:").unwrap();
        let read = |path: &str| rootfs_read(&image.layers, path, 100).unwrap();
        assert_eq!(
            read("etc/base").as_deref(),
            Some(b"base".as_slice()),
            "{what}"
        );
        assert_eq!(read("etc/tag").as_deref(), Some(tag.as_bytes()), "{what}");
    }
    // On disk lies what these images need and nothing else.
    let layers: BTreeSet<_> = images
        .iter()
        .flat_map(|image| image.layers.clone())
        .collect();
    let names = |dir: &str| fs::read_dir(root.join(dir)).unwrap().count();
    assert_eq!(names("layers"), layers.len(), "{what}");
    assert_eq!(names("images/tmp"), 0, "{what}");
    assert_eq!(
        names("images/blobs/sha256"),
        1 + 3 * images.len(),
        "{what}: base is shared"
    );
    // And it works on: what was under way can be done again.
    let cancel = AtomicBool::new(false);
    let archive = archive("new");
    store
        .import(
            &mut archive.as_slice(),
            &ImportOptions::default(),
            &|_| (),
            &cancel,
        )
        .unwrap();
    store.remove("a/app:old", &|_| false).unwrap();
    assert_eq!(store.list().unwrap().len(), 1, "{what}");
}

#[test]
fn a_kill_at_every_failpoint_leaves_whole_images() {
    let dir = prepared();
    let trace = tempfile::NamedTempFile::new().unwrap();
    assert!(run(dir.path(), "", Some(trace.path())).success());
    check(dir.path(), "no failure");
    let passed = fs::read_to_string(trace.path()).unwrap();
    let mut count = std::collections::BTreeMap::<&str, usize>::new();
    for name in passed.lines() {
        let hit = count.entry(name).or_default();
        *hit += 1;
        let dir = prepared();
        let failpoint = format!("{name}={hit}*kill");
        let status = run(dir.path(), &failpoint, None);
        assert_eq!(status.signal(), Some(9), "{failpoint}: {status:?}");
        check(dir.path(), &failpoint);
    }
    assert!(
        count.len() >= 10,
        "the sweep must see the failpoints: {count:?}"
    );
}
