//! Damage on disk: the store opens, sets aside what it cannot read, says so, keeps the rest.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use image::{Error, Image, Store};
use support::{Fixture, fixture};
use testing::{
    image::{Builder, pack},
    layer::Layer,
};

fn two() -> (Fixture, Vec<Image>) {
    let f = fixture();
    for tag in ["one", "two"] {
        let builder = Builder::new(&format!("a/app:{tag}"))
            .layer(
                Layer::new()
                    .dir("etc", 0o755)
                    .file("etc/base", 0o644, b"base"),
            )
            .layer(Layer::new().file("etc/tag", 0o644, tag.as_bytes()));
        f.import(&pack(&builder.oci_files().unwrap())).unwrap();
    }
    f.store.pin("a/app:one", true).unwrap();
    let images = f.store.list().unwrap();
    (f, images)
}

/// Closes the store, spoils something, opens it again.
fn damaged(f: Fixture, spoil: impl FnOnce(&Path)) -> Fixture {
    let root = f.root();
    let Fixture { store, dir } = f;
    drop(store);
    spoil(&root);
    Fixture {
        store: Store::open(&root).unwrap(),
        dir,
    }
}

fn database(root: &Path) -> PathBuf {
    root.join("images/images.redb")
}

fn set_aside(root: &Path) -> usize {
    let names = fs::read_dir(root.join("images"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().contains("redb.corrupt-"))
        .count()
}

#[test]
fn a_damaged_database_is_made_again_from_the_layout() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, usize); 7] = [
        (
            "truncated",
            |p| fs::write(p, &fs::read(p).unwrap()[..5000]).unwrap(),
            1,
        ),
        ("short", |p| fs::write(p, b"redb").unwrap(), 1),
        ("empty", |p| fs::write(p, b"").unwrap(), 0),
        (
            "zeros",
            |p| fs::write(p, vec![0; fs::read(p).unwrap().len()]).unwrap(),
            1,
        ),
        ("rubbish", |p| fs::write(p, vec![0x5a; 100_000]).unwrap(), 1),
        ("gone", |p| fs::remove_file(p).unwrap(), 0),
        (
            "overwritten pages",
            |p| {
                let file = fs::OpenOptions::new().write(true).open(p).unwrap();
                let length = file.metadata().unwrap().len();
                for at in (4096..length).step_by(512) {
                    file.write_all_at(&[0xa5; 64], at).unwrap();
                }
            },
            1,
        ),
    ];
    for (what, spoil, aside) in cases {
        let (f, before) = two();
        let f = damaged(f, |root| spoil(&database(root)));
        assert_eq!(
            f.store.list().unwrap(),
            before,
            "{what}: {:?}",
            f.store.findings()
        );
        assert_eq!(set_aside(&f.root()), aside, "{what}");
        assert_eq!(f.store.findings().is_empty(), what == "gone", "{what}");
        let f = f.reopen();
        assert_eq!(f.store.list().unwrap(), before, "{what}");
        assert_eq!(f.store.findings(), [] as [String; 0], "{what}");
    }
}

#[test]
fn no_single_flipped_bit_of_the_database_loses_an_image_or_panics() {
    let (f, before) = two();
    let root = f.root();
    let Fixture { store, dir } = f;
    drop(store);
    let clean = fs::read(database(&root)).unwrap();
    let index = fs::read(root.join("images/index.json")).unwrap();
    // Pages of a fresh database are mostly empty; a prime step reaches all kinds of fields.
    let used = clean.iter().rposition(|&b| b != 0).unwrap();
    for at in (0..=used).step_by((used / 60).max(1) | 1) {
        let mut bytes = clean.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(database(&root), bytes).unwrap();
        fs::write(root.join("images/index.json"), &index).unwrap();
        let store = Store::open(&root).unwrap();
        assert_eq!(
            store.list().unwrap(),
            before,
            "bit of byte {at}: {:?}",
            store.findings()
        );
    }
    drop(dir);
}

#[test]
fn a_damaged_index_is_derived_again() {
    for content in [&b""[..], b"{\"schemaVersion\":", &[0; 300]] {
        let (f, before) = two();
        let index = f.root().join("images/index.json");
        let good = fs::read(&index).unwrap();
        let f = damaged(f, |_| fs::write(&index, content).unwrap());
        assert_eq!(f.store.list().unwrap(), before);
        assert_eq!(fs::read(&index).unwrap(), good);
    }
}

#[test]
fn with_database_and_index_lost_the_store_starts_empty_and_keeps_layers() {
    let (f, before) = two();
    let f = damaged(f, |root| {
        fs::write(database(root), b"x").unwrap();
        fs::write(root.join("images/index.json"), b"x").unwrap();
    });
    assert_eq!(f.store.list().unwrap(), []);
    assert_eq!(f.store.findings().len(), 2, "{:?}", f.store.findings());
    assert!(before[0].layers[0].exists(), "a container may run from it");
    assert!(f.store.gc(&|_| false).unwrap() > 0);
    assert!(!before[0].layers[0].exists());
}

#[test]
fn an_image_that_is_not_whole_is_dropped_and_the_others_stay() {
    type Spoil = fn(&Path, &Image);
    let cases: [(&str, Spoil); 4] = [
        ("manifest flipped", |root, image| {
            let path = root.join("images/blobs/sha256").join(&image.manifest[7..]);
            let mut bytes = fs::read(&path).unwrap();
            bytes[3] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("configuration gone", |root, image| {
            fs::remove_file(root.join("images/blobs/sha256").join(&image.id[7..])).unwrap();
        }),
        ("configuration cut off", |root, image| {
            fs::write(root.join("images/blobs/sha256").join(&image.id[7..]), b"{").unwrap();
        }),
        ("layer gone", |_, image| {
            fs::remove_dir_all(image.layers[0].parent().unwrap()).unwrap()
        }),
    ];
    for (what, spoil) in cases {
        let (f, before) = two();
        let (victim, other) = (before[0].clone(), before[1].clone());
        let f = damaged(f, |root| spoil(root, &victim));
        assert_eq!(f.store.list().unwrap(), [other], "{what}");
        let findings = f.store.findings().join("\n");
        assert!(
            findings.contains(&victim.repo_tags[0]),
            "{what}: {findings}"
        );
        // It can come in again, whole.
        let tag = victim.repo_tags[0].rsplit(':').next().unwrap();
        let builder = Builder::new(&format!("a/app:{tag}"))
            .layer(
                Layer::new()
                    .dir("etc", 0o755)
                    .file("etc/base", 0o644, b"base"),
            )
            .layer(Layer::new().file("etc/tag", 0o644, tag.as_bytes()));
        let again = f.import(&pack(&builder.oci_files().unwrap()));
        let again = again
            .unwrap_or_else(|e| panic!("{what}: {}", e.sentence()))
            .remove(0);
        assert_eq!(again.id, victim.id, "{what}");
        let read = image::rootfs_read(&again.layers, "etc/tag", 100).unwrap();
        assert_eq!(read.as_deref(), Some(tag.as_bytes()), "{what}");
        let f = f.reopen();
        assert_eq!(f.store.findings(), [] as [String; 0], "{what}");
        assert_eq!(f.store.list().unwrap().len(), 2, "{what}");
    }
}

#[test]
fn a_layers_record_is_mended_from_the_database() {
    let (f, before) = two();
    let record = before[0].layers[0].parent().unwrap().join("layer.json");
    for content in [&[0; 50][..], b"", br#"{"version":1}"#] {
        fs::write(&record, content).unwrap();
    }
    let f = f.reopen();
    assert_eq!(f.store.list().unwrap(), before);
    assert!(
        f.store.findings()[0].contains("written anew"),
        "{:?}",
        f.store.findings()
    );
    assert_eq!(f.reopen().store.findings(), [] as [String; 0]);
}

#[test]
fn what_a_crash_left_is_removed_and_foreign_names_do_not_stop_the_start() {
    let (f, before) = two();
    let clean = f.footprint();
    let f = damaged(f, |root| {
        fs::create_dir_all(root.join("layers/.new-1-2/diff/a")).unwrap();
        fs::create_dir_all(root.join("layers/.del-1-2/diff/a")).unwrap();
        fs::create_dir_all(root.join("layers/0123456789ab/diff")).unwrap();
        fs::create_dir_all(root.join("images/tmp/.import-1-0")).unwrap();
        fs::write(root.join("images/tmp/.import-1-0/blob"), b"x").unwrap();
        fs::write(root.join("images/blobs/sha256/abc"), b"x").unwrap();
        fs::write(root.join("images/.index.json.1.0.tmp"), b"x").unwrap();
    });
    assert_eq!(f.store.list().unwrap(), before);
    assert_eq!(f.footprint(), clean);
}

#[test]
fn a_root_that_cannot_be_made_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = Store::open(&file.join("root")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert!(
        error.sentence().contains("file/root"),
        "{}",
        error.sentence()
    );
    assert!(!error.is_invalid_input());
}

#[test]
fn a_full_disk_leaves_nothing_and_the_store_goes_on() {
    use rustix::mount::{MountFlags, mount};
    let dir = tempfile::tempdir().unwrap();
    mount(
        "none",
        dir.path(),
        "tmpfs",
        MountFlags::empty(),
        Some(c"size=6m"),
    )
    .unwrap();
    let _guard = testing::guard::Mount::new(dir.path());
    let store = Store::open(&dir.path().join("root")).unwrap();
    let cancel = std::sync::atomic::AtomicBool::new(false);
    let image = |size: usize| {
        let layer = Layer::new().file("f", 0o644, &vec![b'x'; size]);
        pack(
            &Builder::new(&format!("a/b:{size}"))
                .layer(layer)
                .oci_files()
                .unwrap(),
        )
    };
    let import = |size| {
        store.import(
            &mut image(size).as_slice(),
            &Default::default(),
            &|_| (),
            &cancel,
        )
    };
    let used = || {
        fs::read_dir(dir.path().join("root/layers"))
            .unwrap()
            .count()
    };
    for _ in 0..3 {
        let error = import(20 << 20).unwrap_err();
        assert!(
            error.sentence().contains("No space left"),
            "{}",
            error.sentence()
        );
        assert!(!error.is_invalid_input());
        assert_eq!(used(), 0);
    }
    import(1 << 20).unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
}
