//! Images out of the store: tags, archives that read back, and what must stay meanwhile.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{fs, sync::atomic::AtomicBool};

use image::Error;
use support::fixture;
use testing::{
    image::{Builder, layout, pack},
    layer::Layer,
};

fn two() -> Vec<u8> {
    let base = || Layer::new().dir("etc", 0o755).file("etc/a", 0o644, b"a");
    let one = Builder::new("a/one:1").layer(base()).build().unwrap();
    let two = Builder::new("a/two:1")
        .layer(base())
        .layer(Layer::new().file("b", 0o600, b"b"))
        .build()
        .unwrap();
    pack(&layout(&[one, two]).unwrap())
}

#[test]
fn an_archive_reads_back_and_gives_the_same_bytes_again() {
    let first = fixture();
    first.import(&two()).unwrap();
    let names = ["a/one:1".to_owned(), "a/two:1".to_owned()];
    let cancel = AtomicBool::new(false);
    let mut archive = Vec::new();
    assert_eq!(
        first.store.export(&names, &mut archive, &cancel).unwrap(),
        None
    );

    let second = fixture();
    second.import(&archive).unwrap();
    let bare = |f: &support::Fixture| {
        let mut images = f.store.list().unwrap();
        for image in &mut images {
            image.layers.clear();
        }
        images
    };
    assert_eq!(bare(&first), bare(&second));
    let mut again = Vec::new();
    second.store.export(&names, &mut again, &cancel).unwrap();
    assert!(archive == again, "the same images give the same bytes");
}

#[test]
fn what_is_missing_is_named_before_a_byte_is_written() {
    let f = fixture();
    f.import(&two()).unwrap();
    let names = ["a/one:1".to_owned(), "a/none:1".to_owned()];
    let mut out = Vec::new();
    let cancel = AtomicBool::new(false);
    let missing = f.store.export(&names, &mut out, &cancel).unwrap();
    assert_eq!((missing.as_deref(), out.len()), (Some("a/none:1"), 0));
}

#[test]
fn a_blob_that_has_decayed_is_not_passed_on() {
    let f = fixture();
    let image = f.import(&two()).unwrap().remove(0);
    let path = f
        .store
        .with_content(&image.id, |content| content.blobs[2].2.clone())
        .unwrap()
        .unwrap();
    let mut data = fs::read(&path).unwrap();
    data[20] ^= 1;
    fs::write(&path, data).unwrap();
    let names = [image.repo_tags[0].clone()];
    let cancel = AtomicBool::new(false);
    let error = f
        .store
        .export(&names, &mut Vec::new(), &cancel)
        .unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
}

#[test]
fn a_tag_is_one_more_name_and_moves() {
    let f = fixture();
    f.import(&two()).unwrap();
    let name = "b/other:2".parse().unwrap();
    assert!(f.store.tag("a/one:1", &name).unwrap());
    assert!(!f.store.tag("a/none:1", &name).unwrap());
    let one = f.store.get("b/other:2").unwrap().unwrap();
    assert_eq!(one.repo_tags, ["docker.io/a/one:1", "docker.io/b/other:2"]);
    assert!(f.store.tag("a/two:1", &name).unwrap());
    let two = f.store.get("a/two:1").unwrap().unwrap();
    assert_eq!(f.store.get("b/other:2").unwrap().unwrap().id, two.id);
    let one = f.store.get(&one.id).unwrap().unwrap();
    assert_eq!(one.repo_tags, ["docker.io/a/one:1"]);
    let wrong = format!("b/other@{}", two.manifest).parse().unwrap();
    assert!(f.store.tag("a/one:1", &wrong).is_err());
}
