//! The disk fails at one system call of a pull, an import or a removal: the first, the second, and so
//! on, until one passes without meeting the fault. Whichever call it was, and whoever made it (the
//! database, too): what was acknowledged is whole, what failed has left nothing, and the same work
//! done again succeeds.
#![cfg(all(feature = "failpoints", target_arch = "x86_64"))]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use image::{ImportOptions, Limits, PullOptions, Reference, Store};
use rustix::io::Errno;
use support::memory::Memory;
use sys::fault::{self, Act, Seen};
use testing::{
    image::{Builder, pack},
    layer::Layer,
};

/// Calls that take something away: where they fail, something stays until the next start.
const TAKES_AWAY: [&str; 4] = ["unlink", "unlinkat", "rmdir", "getdents64"];

fn builder(tag: &str) -> Builder {
    // More than a megabyte takes the way past the page cache.
    let words = if tag == "new" { 262_200u32 } else { 1 };
    let large: Vec<u8> = (0..words)
        .flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    Builder::new(&format!("a/app:{tag}"))
        .layer(
            Layer::new()
                .dir("etc", 0o755)
                .file("etc/base", 0o644, b"base")
                .file("etc/gone", 0o644, b"gone"),
        )
        .layer(
            Layer::new()
                .file("etc/tag", 0o640, tag.as_bytes())
                .whiteout("etc/gone")
                .file("large", 0o600, &large),
        )
}

fn import(store: &Store, tag: &str) -> Result<(), image::Error> {
    let (options, cancel) = (ImportOptions::default(), AtomicBool::new(false));
    let archive = pack(&builder(tag).oci_files().unwrap());
    let imported = store.import(&mut archive.as_slice(), &options, &|_| (), &cancel);
    imported.map(drop)
}

fn pull(store: &Store, tag: &str) -> Result<(), image::Error> {
    let built = builder(tag).build().unwrap();
    let reference: Reference = format!("a/app:{tag}").parse().unwrap();
    let (options, cancel) = (PullOptions::default(), AtomicBool::new(false));
    let pulled = store.pull(&reference, &Memory(&built), &options, &|_| (), &cancel);
    pulled.map(drop)
}

/// What lies in the directories of content.
fn content(root: &Path) -> BTreeSet<PathBuf> {
    let dirs = ["layers", "images/tmp", "images/blobs/sha256"];
    let list = |dir: &str| fs::read_dir(root.join(dir)).unwrap();
    let entries = dirs.into_iter().flat_map(list);
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The tags that are there.
fn tags(store: &Store) -> Vec<String> {
    let images = store.list().unwrap().into_iter();
    let tags = images.flat_map(|image| image.repo_tags);
    let mut tags: Vec<String> = tags
        .map(|tag| tag.strip_prefix("docker.io/a/app:").unwrap().to_owned())
        .collect();
    tags.sort();
    tags
}

/// The same, each of an image that is what its digests say.
fn whole(store: &Store, what: &str) -> Vec<String> {
    let cancel = AtomicBool::new(false);
    for tag in tags(store) {
        let problems = store
            .verify(&format!("a/app:{tag}"), &Limits::default(), &cancel)
            .unwrap_or_else(|error| panic!("{what}: {tag}: {}", error.sentence()));
        assert_eq!(problems, Some(Vec::new()), "{what}: {tag}");
    }
    tags(store)
}

/// What is tried, and the tags that are there before and after it.
struct Work<'a> {
    act: &'a (dyn Fn(&Store) -> Result<(), image::Error> + Sync),
    before: &'a [&'a str],
    after: &'a [&'a str],
    /// It has happened once the record of it is written; a failure of what follows is told, and the next
    /// start clears up.
    recorded_first: bool,
}

/// Fails the first call, the second, …; answers how often each kind of call has failed.
fn sweep(name: &str, errno: Errno, work: &Work<'_>) -> BTreeMap<&'static str, usize> {
    let mut failed = BTreeMap::new();
    for nth in 1.. {
        let dir = tempfile::Builder::new()
            .prefix("coffer-image-fault-")
            .tempdir()
            .unwrap();
        let root = dir.path();
        let store = Store::open(root).unwrap();
        import(&store, "old").unwrap();
        let before = content(root);
        let (done, seen) =
            fault::nth(nth, Act::Fail(errno.raw_os_error()), || (work.act)(&store)).unwrap();
        let Seen {
            failed: Some(call), ..
        } = seen
        else {
            assert!(nth > 30, "only {nth} calls");
            done.unwrap();
            break;
        };
        *failed.entry(call).or_default() += 1;
        let what = format!("{name}: call {nth}, {call}, {errno:?}");
        match &done {
            // What can be done without (an early start of writing, a removal) fails silently.
            Ok(()) => assert_eq!(tags(&store), work.after, "{what}"),
            Err(error) => {
                assert!(
                    !error.is_invalid_input(),
                    "{what} is no fault of the image: {}",
                    error.sentence()
                );
                let there = tags(&store);
                let recorded = work.recorded_first && there == work.after;
                if !recorded {
                    assert_eq!(there, work.before, "{what}");
                }
                if !recorded && !TAKES_AWAY.contains(&call) {
                    assert_eq!(content(root), before, "{what}: {}", error.sentence());
                }
            }
        }
        // The same again, in the store as it is.
        (work.act)(&store).unwrap_or_else(|error| panic!("{what}, again: {}", error.sentence()));
        assert_eq!(tags(&store), work.after, "{what}");
        drop(store);
        // And after a start nothing lies around that no image needs.
        let store = Store::open(root).unwrap();
        assert_eq!(store.findings(), [] as [String; 0], "{what}");
        assert_eq!(whole(&store, &what), work.after, "{what}");
        let images = store.list().unwrap();
        let layers: BTreeSet<_> = images.iter().flat_map(|image| &image.layers).collect();
        let count = |dir: &str| fs::read_dir(root.join(dir)).unwrap().count();
        assert_eq!(count("layers"), layers.len(), "{what}");
        assert_eq!(count("images/tmp"), 0, "{what}");
        let blobs = if images.is_empty() {
            0
        } else {
            1 + 3 * images.len()
        };
        assert_eq!(
            count("images/blobs/sha256"),
            blobs,
            "{what}: base is shared"
        );
    }
    let total: usize = failed.values().sum();
    println!("{name}, {errno:?}: {total} calls failed: {failed:?}");
    failed
}

fn a_pull(errno: Errno) {
    let failed = sweep(
        "pull",
        errno,
        &Work {
            act: &|store| pull(store, "new"),
            before: &["old"],
            after: &["new", "old"],
            recorded_first: false,
        },
    );
    for call in ["write", "pwrite64", "fsync", "syncfs", "openat", "rename"] {
        assert!(failed.contains_key(call), "{call}: {failed:?}");
    }
}

fn an_import(errno: Errno) {
    sweep(
        "import",
        errno,
        &Work {
            act: &|store| import(store, "new"),
            before: &["old"],
            after: &["new", "old"],
            recorded_first: false,
        },
    );
}

fn a_removal(errno: Errno) {
    sweep(
        "removal",
        errno,
        &Work {
            act: &|store| store.remove("a/app:old", &|_| false).map(drop),
            before: &["old"],
            after: &[],
            recorded_first: true,
        },
    );
}

#[test]
fn a_pull_meets_an_error_of_the_disk_at_any_call() {
    a_pull(Errno::IO);
}

#[test]
fn a_pull_meets_a_full_disk_at_any_call() {
    a_pull(Errno::NOSPC);
}

#[test]
fn an_import_meets_an_error_of_the_disk_at_any_call() {
    an_import(Errno::IO);
}

#[test]
fn an_import_meets_a_full_disk_at_any_call() {
    an_import(Errno::NOSPC);
}

#[test]
fn a_removal_meets_an_error_of_the_disk_at_any_call() {
    a_removal(Errno::IO);
}

#[test]
fn a_removal_meets_a_full_disk_at_any_call() {
    a_removal(Errno::NOSPC);
}
