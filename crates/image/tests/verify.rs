//! An image is held against its digests: whatever has changed on the disk is told, and nothing else.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::atomic::AtomicBool,
};

use image::Image;
use support::{Fixture, fixture};
use tar::EntryType;
use testing::{
    image::{Builder, Compression, pack},
    layer::{Entry, Layer},
};

fn made() -> (Fixture, Image) {
    let f = fixture();
    let attribute: [(&str, &[u8]); 1] = [("SCHILY.xattr.user.a", b"b")];
    let builder = Builder::new("a/b:1")
        .compression(Compression::Zstd)
        .layer(
            Layer::new()
                .dir("etc", 0o750)
                .file("etc/file", 0o644, b"content")
                .hardlink("etc/link", "etc/file")
                .symlink("etc/symlink", "file")
                .entry(&Entry {
                    pax: &attribute,
                    data: b"x",
                    ..Entry::new("etc/attribute", EntryType::Regular)
                })
                .entry(&Entry {
                    dev: (1, 3),
                    ..Entry::new("null", EntryType::Char)
                }),
        )
        // Its directory is as the layer below has it.
        .layer(
            Layer::new()
                .file("etc/top", 0o600, b"top")
                .whiteout("etc/symlink"),
        );
    let image = f.import(&pack(&builder.oci_files().unwrap())).unwrap();
    let image = image.into_iter().next().unwrap();
    (f, image)
}

fn verify(f: &Fixture) -> Vec<String> {
    let cancel = AtomicBool::new(false);
    let problems = f.store.verify("a/b:1", &image::Limits::default(), &cancel);
    problems.unwrap().unwrap()
}

#[test]
fn a_sound_image_has_no_problems_and_nothing_is_left_of_the_look() {
    let (f, _) = made();
    let before = f.footprint();
    assert_eq!(verify(&f), [] as [String; 0]);
    assert_eq!(f.footprint(), before);
    let cancel = AtomicBool::new(false);
    let limits = image::Limits::default();
    assert!(
        f.store
            .verify("no/such:1", &limits, &cancel)
            .unwrap()
            .is_none()
    );
    cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(
        f.store.verify("a/b:1", &limits, &cancel),
        Err(image::Error::Cancelled)
    ));
    assert_eq!(f.footprint(), before);
}

#[test]
fn each_change_on_the_disk_is_told() {
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str); 10] = [
        (
            "content",
            |d| fs::write(d.join("etc/file"), "cOntent").unwrap(),
            "etc/file has another",
        ),
        (
            "mode",
            |d| {
                fs::set_permissions(d.join("etc/attribute"), fs::Permissions::from_mode(0o4644))
                    .unwrap()
            },
            "mode",
        ),
        (
            "owner",
            |d| std::os::unix::fs::lchown(d.join("etc/symlink"), Some(7), None).unwrap(),
            "owner",
        ),
        (
            "missing",
            |d| fs::remove_file(d.join("null")).unwrap(),
            "null is missing",
        ),
        (
            "type",
            |d| {
                fs::remove_file(d.join("null")).unwrap();
                fs::write(d.join("null"), "").unwrap();
            },
            "type",
        ),
        (
            "more",
            |d| fs::write(d.join("more"), "").unwrap(),
            "more should not be there",
        ),
        (
            "target",
            |d| {
                let link = d.join("etc/symlink");
                fs::remove_file(&link).unwrap();
                symlink("elsewhere", &link).unwrap();
            },
            "etc/symlink has another",
        ),
        (
            "link",
            |d| {
                let (link, other) = (d.join("etc/link"), d.join("etc/other"));
                fs::rename(&link, other).unwrap();
                fs::write(link, "content").unwrap();
            },
            "etc/link has another",
        ),
        (
            "attribute",
            |d| {
                let path = d.join("etc/attribute");
                rustix::fs::lsetxattr(path, "user.a", b"c", rustix::fs::XattrFlags::empty())
                    .unwrap();
            },
            "extended attribute",
        ),
        (
            "directory",
            |d| {
                fs::set_permissions(d.join("etc"), fs::Permissions::from_mode(0o755)).unwrap();
            },
            "mode",
        ),
    ];
    for (what, spoil, part) in cases {
        let (f, image) = made();
        spoil(image.layers.last().unwrap());
        let problems = verify(&f).join("\n");
        assert!(problems.contains(part), "{what}: {problems:?}");
    }
}

#[test]
fn a_flipped_bit_of_a_blob_is_told_by_its_digest() {
    let (f, image) = made();
    let blob = f.root().join("images/blobs/sha256");
    let largest = fs::read_dir(&blob)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let largest = largest
        .filter(|path| !path.ends_with(&image.id[7..]) && !path.ends_with(&image.manifest[7..]))
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut data = fs::read(&largest).unwrap();
    data[20] ^= 1;
    fs::write(&largest, data).unwrap();
    let problems = verify(&f);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains(largest.file_name().unwrap().to_str().unwrap()));
}
