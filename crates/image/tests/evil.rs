//! Hostile archives: each is refused with a sentence that says why, nothing of it is left in the
//! store, and nothing outside the store was touched.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{fs, path::PathBuf};

use image::{Error, Limits};
use serde_json::json;
use support::{Fixture, fixture};
use tar::EntryType;
use testing::{
    image::{Builder, Compression, File, digest, pack},
    layer::{Entry, Layer, header, pax_record},
};

fn entry(name: &str, kind: EntryType) -> Entry<'_> {
    Entry::new(name, kind)
}

/// A header whose fields `edit` spoils, with a right checksum and no data.
fn spoiled(name: &str, edit: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = header(&Entry::new(name, EntryType::Regular));
    header.set_size(0);
    edit(&mut header);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn pax(name: &str, records: &[(&str, &[u8])]) -> Layer {
    Layer::new().entry(&Entry {
        pax: records,
        ..Entry::new(name, EntryType::Regular)
    })
}

/// Refused, with `part` in the error, and not a byte is left.
fn refused(f: &Fixture, what: &str, archive: &[u8], part: &str) {
    let before = f.footprint();
    let error = match f.import(archive) {
        Ok(images) => panic!("{what}: taken as {images:?}"),
        Err(error) => error,
    };
    assert!(
        error.sentence().contains(part),
        "{what}: {}",
        error.sentence()
    );
    assert!(error.is_invalid_input(), "{what}: {error:?}");
    assert_eq!(f.footprint(), before, "{what}");
}

#[test]
fn evil_layers_leave_nothing() {
    let f = fixture();
    let long = "x/".repeat(2500);
    let name = "n".repeat(256);
    let deep = |depth: usize| "d/".repeat(depth);
    let huge = vec![b'v'; 70_000];
    let giant = pax_record("comment", &vec![b'c'; 2 << 20]);
    let mut giant_header = header(&entry("pax", EntryType::XHeader));
    giant_header.set_size(1 << 40);
    giant_header.set_cksum();
    let cases: Vec<(&str, Layer, &str)> = vec![
        (
            "dot-dot",
            Layer::new().file("../../escape", 0o644, b"x"),
            "'..'",
        ),
        (
            "dot-dot inside",
            Layer::new().file("a/../../escape", 0o644, b"x"),
            "'..'",
        ),
        (
            "link to outside",
            Layer::new().hardlink("x", "/etc/passwd"),
            "no file of this layer",
        ),
        (
            "link dot-dot",
            Layer::new().hardlink("x", "../../../etc/passwd"),
            "'..'",
        ),
        (
            "link to the root",
            Layer::new().hardlink("x", "/"),
            "no file of this layer",
        ),
        (
            "link through a link",
            Layer::new().symlink("s", "/etc").hardlink("x", "s/passwd"),
            "no file of this layer",
        ),
        (
            "link to a directory",
            Layer::new().dir("d", 0o755).hardlink("x", "d"),
            "no file of this layer",
        ),
        (
            "link to a whiteout",
            Layer::new().whiteout("d").hardlink("x", "d"),
            "no file of this layer",
        ),
        (
            "root as a file",
            Layer::new().file(".", 0o644, b"x"),
            "must be a directory",
        ),
        (
            "root as a link",
            Layer::new().symlink("./", "/etc"),
            "must be a directory",
        ),
        (
            "file below a file",
            Layer::new().file("f", 0o644, b"").file("f/x", 0o644, b""),
            "no directory",
        ),
        (
            "link loop",
            Layer::new().symlink("l", "l").file("l/x", 0o644, b""),
            "too many symbolic links",
        ),
        (
            "whiteout of ..",
            Layer::new().file("a/.wh...", 0o644, b""),
            "whiteout of no name",
        ),
        (
            "whiteout of .",
            Layer::new().file(".wh..", 0o644, b""),
            "whiteout of no name",
        ),
        (
            "whiteout of nothing",
            Layer::new().file(".wh.", 0o644, b""),
            "whiteout of no name",
        ),
        (
            "a whiteout as a device",
            Layer::new().entry(&entry("x", EntryType::Char)),
            "mark of a removed file",
        ),
        (
            "opaque by attribute",
            pax("x", &[("SCHILY.xattr.trusted.overlay.opaque", b"y")]),
            "trusted",
        ),
        (
            "redirect",
            pax("x", &[("SCHILY.xattr.trusted.overlay.redirect", b"/etc")]),
            "trusted",
        ),
        (
            "opaque, user form",
            pax("x", &[("SCHILY.xattr.user.overlay.opaque", b"y")]),
            "overlayfs",
        ),
        (
            "an attribute too large",
            pax("x", &[("SCHILY.xattr.user.big", &huge)]),
            "larger than",
        ),
        (
            "an attribute of none",
            pax("x", &[("SCHILY.xattr.evil", b"1")]),
            "namespace is not known",
        ),
        (
            "path too long",
            pax("x", &[("path", long.as_bytes())]),
            "more than 4096",
        ),
        (
            "name too long",
            Layer::new().file(&name, 0o644, b""),
            "more than 255 bytes",
        ),
        (
            "too deep",
            pax("x", &[("path", format!("{}x", deep(600)).as_bytes())]),
            "nested deeper",
        ),
        (
            "too deep by links",
            Layer::new()
                .file(&format!("{}x", deep(400)), 0o644, b"")
                .symlink("s", deep(399).trim_end_matches('/'))
                .file(&format!("s/{}x", deep(400)), 0o644, b""),
            "nested deeper",
        ),
        ("NUL in a path", pax("x", &[("path", b"a\0b")]), "NUL"),
        (
            "NUL in a link",
            Layer::new().entry(&Entry {
                pax: &[("linkpath", b"a\0b")],
                ..entry("x", EntryType::Symlink)
            }),
            "NUL",
        ),
        (
            "empty link",
            Layer::new().symlink("x", ""),
            "target is empty",
        ),
        (
            "giant PAX",
            Layer::new().raw(giant_header.as_bytes()).raw(&giant),
            "more than 1048576",
        ),
        (
            "PAX without an entry",
            {
                let mut header = header(&entry("pax", EntryType::XHeader));
                header.set_size(6);
                header.set_cksum();
                Layer::new()
                    .raw(header.as_bytes())
                    .raw(&[pax_record("a", b"b"), vec![0; 506]].concat()[..512])
            },
            "ends in the middle",
        ),
        (
            "negative size",
            Layer::new().raw(&spoiled("x", |h| {
                h.as_old_mut().size = [0xff; 12];
            })),
            "size is no valid number",
        ),
        (
            "size 2^63",
            Layer::new().raw(&spoiled("x", |h| {
                h.as_old_mut().size = [0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0];
            })),
            "size is no valid number",
        ),
        (
            "size over all limits",
            Layer::new().raw(&spoiled("x", |h| h.set_size(1 << 50))),
            "more than",
        ),
        (
            "size 2^63 by PAX",
            pax("x", &[("size", b"9223372036854775808")]),
            "size is no valid number",
        ),
        (
            "owner over 32 bits",
            pax("x", &[("uid", b"4294967296")]),
            "uid is no valid number",
        ),
        (
            "wrong checksum",
            Layer::new().raw(&{
                let mut bytes = spoiled("x", |_| ());
                bytes[0] = b'y';
                bytes
            }),
            "wrong checksum",
        ),
        (
            "unknown type",
            Layer::new().entry(&entry("x", EntryType::new(b'Q'))),
            "type 'Q'",
        ),
        (
            "sparse bomb",
            pax(
                "x",
                &[
                    ("GNU.sparse.map", b"0,0"),
                    ("GNU.sparse.size", b"9000000000000000000"),
                ],
            ),
            "more than",
        ),
        (
            "sparse overlap",
            pax(
                "x",
                &[
                    ("GNU.sparse.map", b"0,10,5,10"),
                    ("GNU.sparse.size", b"100"),
                ],
            ),
            "contradicts",
        ),
        (
            "sparse past the end",
            pax(
                "x",
                &[
                    ("GNU.sparse.map", b"18446744073709551615,2"),
                    ("GNU.sparse.size", b"100"),
                ],
            ),
            "contradicts",
        ),
        (
            "sparse map without end",
            pax(
                "x",
                &[
                    ("GNU.sparse.major", b"1"),
                    ("GNU.sparse.minor", b"0"),
                    ("GNU.sparse.realsize", b"100"),
                ],
            ),
            "sparse map",
        ),
        ("rubbish", Layer::new().raw(&[0x41; 2000]), "checksum"),
    ];
    let outside = f.dir.path().join("escape");
    for (what, layer, part) in &cases {
        for compression in Compression::ALL {
            // A good layer goes first: it must go again, too.
            let archive = Builder::new("a/b:1")
                .compression(compression)
                .layer(Layer::new().file("good", 0o644, b"good"))
                .layer(layer.clone());
            refused(&f, what, &pack(&archive.oci_files().unwrap()), part);
        }
        refused(
            &f,
            what,
            &pack(
                &Builder::new("a/b:1")
                    .layer(layer.clone())
                    .docker_files()
                    .unwrap(),
            ),
            part,
        );
    }
    assert!(!outside.exists());
    assert_eq!(f.store.list().unwrap(), []);
}

#[test]
fn what_looks_evil_and_is_not_stays_inside() {
    let f = fixture();
    let outside = f.dir.path().join("outside");
    fs::write(&outside, "untouched").unwrap();
    let target = outside.to_str().unwrap();
    let layer = Layer::new()
        .file("/absolute", 0o644, b"in the root")
        .symlink("out", target)
        .symlink("etc", "/../../../../real")
        .file("etc/file", 0o644, b"in real")
        .file("out", 0o644, b"replaces the link")
        .symlink("final", target)
        .entry(&Entry {
            mode: 0o6755,
            pax: &[
                ("SCHILY.xattr.security.selinux", b"label"),
                ("SCHILY.xattr.user.ok", b"1"),
            ],
            ..entry("setuid", EntryType::Regular)
        })
        .file(".wh..wh.plnk", 0o644, b"");
    let archive = pack(&Builder::new("a/b:1").layer(layer).oci_files().unwrap());
    let image = f.import(&archive).unwrap().remove(0);
    let tree = support::tree(&image.layers[0]);
    let names: Vec<&str> = tree.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "",
            "absolute",
            "etc",
            "final",
            "out",
            "real",
            "real/file",
            "setuid"
        ]
    );
    assert_eq!(tree["out"].content, b"replaces the link");
    assert_eq!(tree["setuid"].mode & 0o7777, 0o6755);
    assert_eq!(
        tree["setuid"].xattrs.keys().collect::<Vec<_>>(),
        ["user.ok"]
    );
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
    let layers: Vec<PathBuf> = image.layers;
    assert_eq!(image::rootfs_read(&layers, "final", 100).unwrap(), None);
}

#[test]
fn bombs_are_cut_off() {
    let f = fixture();
    let before = f.footprint();
    let limits = Limits {
        layer_bytes: 64 << 20,
        ratio_free_bytes: 4 << 20,
        ratio: 50,
        layer_entries: 1000,
        ..Limits::default()
    };
    let zeros = vec![0; 80 << 20];
    let files = |count: usize| {
        (0..count).fold(Layer::new(), |layer, n| {
            layer.file(&format!("f{n}"), 0o644, b"")
        })
    };
    for (what, layer, part) in [
        ("size", Layer::new().file("zeros", 0o644, &zeros), "bytes"),
        (
            "ratio",
            Layer::new().file("zeros", 0o644, &zeros[..32 << 20]),
            "times its size",
        ),
        ("entries", files(1001), "more than 1000 entries"),
    ] {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let builder = Builder::new("a/b:1")
                .compression(compression)
                .layer(layer.clone());
            let archive = pack(&builder.oci_files().unwrap());
            let error = f.import_limited(&archive, limits).unwrap_err();
            assert!(
                error.sentence().contains(part),
                "{what}: {}",
                error.sentence()
            );
            assert!(error.is_invalid_input());
            assert_eq!(f.footprint(), before, "{what}");
        }
    }
    f.import_limited(
        &pack(
            &Builder::new("a/b:1")
                .layer(files(1000))
                .oci_files()
                .unwrap(),
        ),
        limits,
    )
    .unwrap();
}

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
