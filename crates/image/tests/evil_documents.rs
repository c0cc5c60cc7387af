//! Hostile archives: documents that lie, archives that end early, sources that fail.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use image::Error;
use serde_json::json;
use support::{fixture, refused, spoiled};
use testing::{
    image::{Builder, Compression, File, digest, pack},
    layer::Layer,
};

fn good() -> Vec<File> {
    let layer = Layer::new().file("f", 0o644, &vec![b'x'; 10_000]);
    Builder::new("a/b:1")
        .compression(Compression::None)
        .layer(layer)
        .oci_files()
        .unwrap()
}

/// The good archive with one document changed and all digests that lead to it made right again.
fn with_manifest(edit: impl FnOnce(&mut serde_json::Value)) -> Vec<File> {
    let mut files = good();
    let is = |data: &[u8], key: &str| {
        serde_json::from_slice::<serde_json::Value>(data).is_ok_and(|v| v.get(key).is_some())
    };
    let at = files
        .iter()
        .position(|(n, d)| n.starts_with("blobs") && is(d, "layers"))
        .unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&files[at].1).unwrap();
    edit(&mut manifest);
    let data = serde_json::to_vec(&manifest).unwrap();
    let index = files
        .iter()
        .position(|(name, _)| name == "index.json")
        .unwrap();
    let mut document: serde_json::Value = serde_json::from_slice(&files[index].1).unwrap();
    document["manifests"][0]["digest"] = json!(digest(&data));
    document["manifests"][0]["size"] = json!(data.len());
    files[index].1 = serde_json::to_vec(&document).unwrap();
    files[at] = (format!("blobs/{}", digest(&data).replace(':', "/")), data);
    files
}

#[test]
fn lying_documents_are_refused() {
    let f = fixture();
    let without = |part: &str| {
        let files: Vec<File> = good()
            .into_iter()
            .filter(|(name, _)| !name.contains(part))
            .collect();
        files
    };
    let replaced = |name: &str, data: &[u8]| {
        let mut files = good();
        for file in files.iter_mut().filter(|file| file.0 == name) {
            file.1 = data.to_vec();
        }
        files
    };
    let layer_digest = |files: &[File]| {
        files
            .iter()
            .find(|(_, d)| d.len() > 10_000)
            .unwrap()
            .0
            .clone()
    };
    let flipped = {
        let mut files = good();
        let name = layer_digest(&files);
        files.iter_mut().find(|file| file.0 == name).unwrap().1[600] ^= 1;
        files
    };
    let zeros = format!("sha256:{}", "0".repeat(64));
    let cases: Vec<(&str, Vec<File>, &str)> = vec![
        ("no index", without("index.json"), "neither index.json"),
        ("a blob that is not what it says", flipped, "has digest"),
        (
            "a missing layer",
            {
                let name = layer_digest(&good());
                good().into_iter().filter(|(n, _)| *n != name).collect()
            },
            "is not in the archive",
        ),
        (
            "empty index",
            replaced("index.json", b"{\"schemaVersion\":2,\"manifests\":[]}"),
            "no image",
        ),
        ("no JSON", replaced("index.json", b"<html>"), "index.json"),
        (
            "a layout of the future",
            replaced("oci-layout", b"{\"imageLayoutVersion\":\"9\"}"),
            "\"9\"",
        ),
        (
            "a wrong size",
            with_manifest(|m| m["layers"][0]["size"] = json!(5)),
            "descriptor says 5",
        ),
        (
            "a digest of no kind",
            with_manifest(|m| m["layers"][0]["digest"] = json!("md5:1")),
            "no sha256",
        ),
        (
            "a digest with a path",
            with_manifest(|m| {
                m["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd");
            }),
            "no sha256",
        ),
        (
            "a wrong config",
            with_manifest(|m| m["config"]["digest"] = json!(zeros)),
            "is not in the archive",
        ),
        (
            "more layers than diff_ids",
            with_manifest(|m| {
                let layer = m["layers"][0].clone();
                m["layers"] = json!([layer.clone(), layer]);
            }),
            "lists 1 layers",
        ),
        (
            "an artifact",
            with_manifest(|m| {
                m["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
            }),
            "no container image",
        ),
        (
            "a huge index",
            replaced("index.json", &vec![b' '; 5 << 20]),
            "more than 4194304",
        ),
    ];
    for (what, files, part) in cases {
        refused(&f, what, &pack(&files), part);
    }
    refused(
        &f,
        "wrong diff_id",
        &pack(&{
            let mut files = Builder::new("a/b:1")
                .layer(Layer::new().file("a", 0o644, b"1"))
                .docker_files()
                .unwrap();
            files[0].1 = Layer::new().file("a", 0o644, b"2").finish();
            files
        }),
        "unpacked, has digest",
    );
    refused(
        &f,
        "a path in a docker manifest",
        &pack(&[(
            "manifest.json".into(),
            br#"[{"Config":"../../etc/passwd","RepoTags":["a/b:1"],"Layers":[]}]"#.to_vec(),
        )]),
        "is missing",
    );
    for (what, bytes, part) in [
        ("nothing", &b""[..], "empty"),
        ("text", &[b't'; 3000], "checksum"),
        (
            "no gzip",
            &[0x1f, 0x8b, 0, 0, 0, 0, 0, 0, 0, 0],
            "read the image archive",
        ),
    ] {
        let before = f.footprint();
        let error = f.import(bytes).unwrap_err();
        assert!(
            error.sentence().contains(part),
            "{what}: {}",
            error.sentence()
        );
        assert_eq!(f.footprint(), before);
    }
}

#[test]
fn a_truncated_archive_leaves_nothing_wherever_it_ends() {
    let f = fixture();
    let before = f.footprint();
    let archive = pack(
        &Builder::new("a/b:1")
            .layer(Layer::new().file("f", 0o644, &vec![b'x'; 3000]))
            .layer(Layer::new().file("g", 0o644, b"g"))
            .oci_files()
            .unwrap(),
    );
    // Everything but the end marker is needed.
    for end in (0..archive.len() - 1024).step_by(97) {
        assert!(f.import(&archive[..end]).is_err(), "cut at {end}");
        assert_eq!(f.footprint(), before, "cut at {end}");
    }
    let packed = Compression::Gzip.compress(&archive).unwrap();
    for end in (0..packed.len() - 100).step_by(97) {
        assert!(f.import(&packed[..end]).is_err(), "packed, cut at {end}");
        assert_eq!(f.footprint(), before, "packed, cut at {end}");
    }
    assert!(
        f.import(&archive[..archive.len() - 1024]).is_ok(),
        "without end marker"
    );
}

#[test]
fn a_source_that_fails_is_an_error_with_its_cause() {
    struct Broken(usize);
    impl std::io::Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::Error::other("the client went away"));
            }
            self.0 -= 1;
            let start = spoiled("blobs/x", |h| h.set_size(1 << 20));
            let length = start.len().min(buffer.len());
            buffer[..length].copy_from_slice(&start[..length]);
            Ok(length)
        }
    }
    let f = fixture();
    let before = f.footprint();
    let cancel = std::sync::atomic::AtomicBool::new(false);
    let error = f
        .store
        .import(&mut Broken(3), &Default::default(), &|_| (), &cancel)
        .unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error:?}");
    assert!(error.sentence().contains("the client went away"));
    assert_eq!(f.footprint(), before);
}

/// S15: what an image says of itself is shown, and commands nothing.
#[test]
fn labels_and_annotations_of_an_image_command_nothing() {
    let pinned = "io.coffer.pinned";
    let builder = Builder::new("a/b:1")
        .annotation(pinned, "true")
        .annotation("io.cri-containerd.pinned", "pinned")
        .label(pinned, "true")
        .label("io.coffer.created-by", "coffer run")
        .layer(Layer::new().file("f", 0o644, b"f"));
    let f = fixture();
    let image = f
        .import(&pack(&builder.oci_files().unwrap()))
        .unwrap()
        .remove(0);
    assert!(!image.pinned);
    assert_eq!(image.config.labels[pinned], "true");
    let root = f.root();
    let support::Fixture { store, dir } = f;
    drop(store);
    // Also where the database is made again from the layout.
    std::fs::remove_file(root.join("images/images.redb")).unwrap();
    let store = image::Store::open(&root).unwrap();
    assert!(!store.get("a/b:1").unwrap().unwrap().pinned);
    drop(dir);
}

/// S21: each limit of documents stands where it is configured, and nothing is left.
#[test]
fn limits_of_documents_stand_where_they_are_configured() {
    let large = "x".repeat(20_000);
    let builder = Builder::new("a/b:1")
        .label("large", &large)
        .annotation("large", &large)
        .layer(Layer::new().file("f", 0o644, b"f"));
    let archive = pack(&builder.oci_files().unwrap());
    let f = fixture();
    let before = f.footprint();
    let default = image::Limits::default();
    assert_eq!(
        (default.manifest_bytes, default.config_bytes),
        (4 << 20, 8 << 20)
    );
    let cases = [
        (
            "the index",
            image::Limits {
                manifest_bytes: 10_000,
                ..default
            },
            "index.json",
        ),
        (
            "the configuration",
            image::Limits {
                config_bytes: 10_000,
                ..default
            },
            "configuration",
        ),
        (
            "the archive",
            image::Limits {
                archive_bytes: 10_000,
                ..default
            },
            "10000 bytes",
        ),
        (
            "files",
            image::Limits {
                archive_entries: 2,
                ..default
            },
            "more than 2 files",
        ),
    ];
    for (what, limits, part) in cases {
        let error = f.import_limited(&archive, limits).unwrap_err();
        assert!(matches!(error, Error::Limit(_)), "{what}: {error:?}");
        assert!(
            error.sentence().contains(part),
            "{what}: {}",
            error.sentence()
        );
        assert_eq!(f.footprint(), before, "{what}");
    }
    f.import(&archive).unwrap();
}
