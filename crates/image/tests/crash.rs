//! What a process does that imports, pulls and removes is broken off at every failpoint: by SIGKILL,
//! by a power cut (what was not on the disk is gone), by an error of the system. After a restart each
//! image is whole and verified, or absent, nothing half-made is left, and what was acknowledged stays.
#![cfg(feature = "failpoints")]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::atomic::AtomicBool,
};

use image::{ImportOptions, PullOptions, Reference, Store, rootfs_read};
use support::memory::Memory;
use testing::{
    guard,
    image::{Builder, pack},
    layer::Layer,
};

const ROOT: &str = "COFFER_IMAGE_TEST_ROOT";

fn builder(tag: &str) -> Builder {
    Builder::new(&format!("a/app:{tag}"))
        .layer(
            Layer::new()
                .dir("etc", 0o755)
                .file("etc/base", 0o644, b"base"),
        )
        .layer(Layer::new().file("etc/tag", 0o644, tag.as_bytes()))
}

fn archive(tag: &str) -> Vec<u8> {
    pack(&builder(tag).oci_files().unwrap())
}

fn import(store: &Store, tag: &str) -> Result<(), image::Error> {
    let cancel = AtomicBool::new(false);
    let options = ImportOptions::default();
    let archive = archive(tag);
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

/// What the process does that is broken off: imports `a/app:new`, pulls `a/app:pulled`, removes
/// `a/app:old`.
#[test]
#[ignore = "run by the sweeps below, in a process of its own"]
fn child() {
    let root = std::env::var_os(ROOT).expect("started by a sweep");
    let store = Store::open(Path::new(&root)).unwrap();
    import(&store, "new").unwrap();
    pull(&store, "pulled").unwrap();
    assert!(store.untag("a/app:old", &|_| false).unwrap());
}

/// The same, where one of the three meets an error once: it leaves nothing, and works when tried
/// again.
#[test]
#[ignore = "run by the sweeps below, in a process of its own"]
fn child_with_an_error() {
    let root = std::env::var_os(ROOT).expect("started by a sweep");
    let root = Path::new(&root);
    let store = Store::open(root).unwrap();
    let mut failures = 0;
    let mut tried = |what: &str, act: &dyn Fn() -> Result<(), image::Error>| {
        let before = content(root);
        if let Err(error) = act() {
            failures += 1;
            assert!(
                error.sentence().contains("injected"),
                "{what}: {}",
                error.sentence()
            );
            assert!(!error.is_invalid_input(), "{what}: {error:?}");
            assert_eq!(content(root), before, "{what}");
            act().unwrap();
        }
    };
    tried("import", &|| import(&store, "new"));
    tried("pull", &|| pull(&store, "pulled"));
    tried("remove", &|| store.untag("a/app:old", &|_| false).map(drop));
    assert_eq!(failures, 1);
}

/// The number of the call before which [`child_cut`] is killed.
#[cfg(target_arch = "x86_64")]
const CALL: &str = "COFFER_IMAGE_TEST_CALL";

/// A pull that is killed before one of its calls that may change something on the disk.
#[cfg(target_arch = "x86_64")]
#[test]
#[ignore = "run by the sweeps below, in a process of its own"]
fn child_cut() {
    let root = std::env::var_os(ROOT).expect("started by a sweep");
    let nth = std::env::var(CALL).unwrap().parse().unwrap();
    let store = Store::open(Path::new(&root)).unwrap();
    let (pulled, _) =
        sys::fault::nth(nth, sys::fault::Act::Kill, || pull(&store, "pulled")).unwrap();
    pulled.unwrap();
}

/// What lies in the directories of content.
fn content(root: &Path) -> BTreeSet<PathBuf> {
    let dirs = ["layers", "images/tmp", "images/blobs/sha256"];
    let list = |dir: &str| fs::read_dir(root.join(dir)).unwrap();
    let entries = dirs.into_iter().flat_map(list);
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn run(root: &Path, failpoints: &str, trace: Option<&Path>) -> ExitStatus {
    run_child("child", root, failpoints, trace)
}

fn run_child(child: &str, root: &Path, failpoints: &str, trace: Option<&Path>) -> ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", child])
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
    import(&store, "old").unwrap();
    dir
}

fn check(root: &Path, what: &str) {
    let store = Store::open(root).unwrap();
    assert_eq!(store.findings(), [] as [String; 0], "{what}");
    let images = store.list().unwrap();
    let tags: Vec<&String> = images.iter().flat_map(|image| &image.repo_tags).collect();
    assert!(!tags.is_empty() && tags.len() <= 3, "{what}: {tags:?}");
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
    import(&store, "new").unwrap();
    pull(&store, "pulled").unwrap();
    store.untag("a/app:old", &|_| false).unwrap();
    assert_eq!(store.list().unwrap().len(), 2, "{what}");
}

/// Every failpoint that `child` passes, with how often: `name=2*` is its second time.
fn passed() -> Vec<String> {
    let dir = prepared();
    let trace = tempfile::NamedTempFile::new().unwrap();
    assert!(run(dir.path(), "", Some(trace.path())).success());
    check(dir.path(), "no failure");
    let mut count = BTreeMap::<String, usize>::new();
    let mut places = Vec::new();
    for name in fs::read_to_string(trace.path()).unwrap().lines() {
        let hit = count.entry(name.to_owned()).or_default();
        *hit += 1;
        places.push(format!("{name}={hit}*"));
    }
    assert!(
        count.len() >= 12,
        "the sweep must see the failpoints: {count:?}"
    );
    places
}

#[test]
fn a_kill_at_every_failpoint_leaves_whole_images() {
    for place in passed() {
        let dir = prepared();
        let failpoint = format!("{place}kill");
        let status = run(dir.path(), &failpoint, None);
        assert_eq!(status.signal(), Some(9), "{failpoint}: {status:?}");
        check(dir.path(), &failpoint);
    }
}

#[test]
fn an_error_of_the_system_at_every_commit_point_leaves_nothing() {
    // Places that can answer an error; the others are behind the point where nothing can fail.
    let mut tried = 0;
    for place in passed() {
        let able = [
            "spooled",
            "unpacked",
            "synced",
            "renamed",
            "commit.before",
            "chosen",
        ];
        let name = place.split('=').next().unwrap();
        if !able.iter().any(|part| name.ends_with(part)) {
            continue;
        }
        // The start of the store commits, too: not what is tried here.
        if place == "image.database.commit.before=1*" {
            continue;
        }
        let dir = prepared();
        let failpoint = format!("{place}error(injected)");
        let status = run_child("child_with_an_error", dir.path(), &failpoint, None);
        assert!(status.success(), "{failpoint}: {status:?}");
        check(dir.path(), &failpoint);
        tried += 1;
    }
    assert!(tried >= 9, "{tried} places were tried");
}

/// A disk in a file: what lies in the file is what has reached the disk.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Disk {
        let dir = tempfile::Builder::new()
            .prefix("coffer-image-disk-")
            .tempdir()
            .unwrap();
        let disk = Disk { dir };
        fs::create_dir(disk.point()).unwrap();
        let file = new_file(&disk.file());
        file.set_len(24 << 20).unwrap();
        command("mkfs.ext4", &["-q", "-F", disk.file().to_str().unwrap()]);
        disk
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn point(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    /// Mounts it so that nothing reaches the disk but what is asked to: no commit of its own for as
    /// long as a test takes, no mercy with renames of files that were not synced.
    fn mount(&self) -> guard::Mount {
        let (file, point) = (self.file(), self.point());
        let options = "loop,noauto_da_alloc,commit=900";
        command(
            "mount",
            &[
                "-o",
                options,
                file.to_str().unwrap(),
                point.to_str().unwrap(),
            ],
        );
        guard::Mount::new(point)
    }
}

fn new_file(path: &Path) -> fs::File {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).open(path).unwrap()
}

fn command(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output();
    let done = done.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        done.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn a_power_cut_at_every_failpoint_leaves_whole_images() {
    let disk = Disk::new();
    let root = disk.point().join("root");
    {
        let _mounted = disk.mount();
        let store = Store::open(&root).unwrap();
        import(&store, "old").unwrap();
    }
    let before = disk.dir.path().join("before");
    fs::copy(disk.file(), &before).unwrap();
    let mut places: Vec<Option<String>> = passed().into_iter().map(Some).collect();
    // And right after the end, before anything else is written.
    places.push(None);
    for place in places {
        let after = disk.dir.path().join("after");
        // A file of its own each time: the last one's device may still be on its way out.
        fs::remove_file(disk.file()).unwrap();
        fs::copy(&before, disk.file()).unwrap();
        {
            let _mounted = disk.mount();
            let failpoint = place.as_ref().map(|place| format!("{place}kill"));
            let status = run(&root, failpoint.as_deref().unwrap_or(""), None);
            match &place {
                Some(place) => assert_eq!(status.signal(), Some(9), "{place}"),
                None => assert!(status.success()),
            }
            // The power goes: what is in memory only does not come along.
            fs::copy(disk.file(), &after).unwrap();
        }
        fs::rename(&after, disk.file()).unwrap();
        let _mounted = disk.mount();
        if place.is_none() {
            let store = Store::open(&root).unwrap();
            let tags = |tag: &str| store.get(&format!("a/app:{tag}")).unwrap().is_some();
            // What was acknowledged is so.
            assert!(tags("new") && tags("pulled") && !tags("old"));
        }
        check(&root, place.as_deref().unwrap_or("the end"));
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_power_cut_before_any_call_of_a_pull_leaves_whole_images() {
    let disk = Disk::new();
    let root = disk.point().join("root");
    {
        let _mounted = disk.mount();
        let store = Store::open(&root).unwrap();
        import(&store, "old").unwrap();
    }
    let (before, after) = (
        disk.dir.path().join("before"),
        disk.dir.path().join("after"),
    );
    fs::copy(disk.file(), &before).unwrap();
    let mut cuts = 0;
    for nth in 1.. {
        // A file of its own each time: the last one's device may still be on its way out.
        fs::remove_file(disk.file()).unwrap();
        fs::copy(&before, disk.file()).unwrap();
        let output = {
            let _mounted = disk.mount();
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "child_cut"])
                .env(ROOT, &root)
                .env(CALL, nth.to_string())
                .output()
                .unwrap();
            // The power goes: what is in memory only does not come along.
            fs::copy(disk.file(), &after).unwrap();
            output
        };
        if output.status.success() {
            break;
        }
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.signal(), Some(9), "call {nth}: {said}");
        cuts += 1;
        fs::rename(&after, disk.file()).unwrap();
        let _mounted = disk.mount();
        check(&root, &format!("a power cut before call {nth}"));
    }
    println!("the power was cut before {cuts} calls");
    assert!(cuts > 30, "only {cuts} calls");
}

/// What ext4 does at an error of the disk: its journal is given up, nothing can be written any more.
#[test]
fn a_disk_that_fails_is_an_error_and_what_was_there_is_there_again() {
    let disk = Disk::new();
    let root = disk.point().join("root");
    {
        let _mounted = disk.mount();
        let store = Store::open(&root).unwrap();
        import(&store, "old").unwrap();
        let point = disk.point();
        command("mount", &["-o", "remount,abort", point.to_str().unwrap()]);
        for error in [import(&store, "new"), pull(&store, "pulled")] {
            let error = error.unwrap_err();
            let text = error.sentence();
            assert!(
                text.contains("Read-only") || text.contains("Input/output"),
                "{text}"
            );
            assert!(!error.is_invalid_input());
        }
        assert!(store.get("a/app:old").unwrap().is_some(), "reads go on");
    }
    let _mounted = disk.mount();
    check(&root, "after an error of the disk");
}

#[test]
fn a_disk_that_fills_up_anywhere_leaves_nothing() {
    let disk = Disk::new();
    let root = disk.point().join("root");
    let _mounted = disk.mount();
    let store = Store::open(&root).unwrap();
    import(&store, "old").unwrap();
    let filler = disk.point().join("filler");
    let (mut failed, mut free) = (0, 0u64);
    loop {
        // As much as there is, but for `free` bytes; the file's own map takes some, too.
        let room = rustix::fs::statvfs(disk.point()).unwrap();
        let mut bytes = (room.f_bfree * room.f_frsize).saturating_sub(free);
        let file = new_file(&filler);
        while rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).is_err() {
            bytes -= 4096;
        }
        drop(file);
        let before = content(&root);
        match import(&store, "new").and_then(|()| pull(&store, "pulled")) {
            Ok(()) => break,
            Err(error) => {
                failed += 1;
                let text = error.sentence();
                assert!(
                    text.contains("No space left") || text.contains("full"),
                    "{text}"
                );
                assert!(!error.is_invalid_input(), "{text}");
            }
        }
        fs::remove_file(&filler).unwrap();
        // The first of the two may have been done.
        store.untag("a/app:new", &|_| false).unwrap();
        assert_eq!(content(&root), before, "with {free} bytes");
        free += 8 << 10;
    }
    assert!(failed >= 3, "{failed} tries met a full disk");
    fs::remove_file(&filler).unwrap();
    drop(store);
    check(&root, "full");
}
