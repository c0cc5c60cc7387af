//! Hostile layers: each is refused with a sentence that says why, nothing of it is left in the
//! store, and nothing outside the store was touched.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{fs, path::PathBuf};

use image::Limits;
use support::{fixture, refused, spoiled};
use tar::EntryType;
use testing::{
    image::{Builder, Compression, pack},
    layer::{Entry, Layer, header, pax_record},
};

fn entry(name: &str, kind: EntryType) -> Entry<'_> {
    Entry::new(name, kind)
}

fn pax(name: &str, records: &[(&str, &[u8])]) -> Layer {
    Layer::new().entry(&Entry {
        pax: records,
        ..Entry::new(name, EntryType::Regular)
    })
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

/// A sparse file of 100 GB costs neither the disk nor time; a limit refuses it before it is made.
#[test]
fn a_sparse_file_of_100_gb_is_a_hole_or_refused() {
    let size: u64 = 100 << 30;
    let records: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"0"),
        ("GNU.sparse.minor", b"1"),
        ("GNU.sparse.map", b"53687091200,4,107374182400,0"),
        ("GNU.sparse.size", b"107374182400"),
    ];
    let layer = Layer::new().entry(&Entry {
        pax: &records,
        data: b"here",
        ..entry("hole", EntryType::Regular)
    });
    let archive = pack(&Builder::new("a/b:1").layer(layer).oci_files().unwrap());
    let f = fixture();
    let before = f.footprint();
    let error = f.import(&archive).unwrap_err();
    assert!(
        error.sentence().contains("more than"),
        "{}",
        error.sentence()
    );
    assert_eq!(f.footprint(), before);
    let limits = Limits {
        layer_bytes: size,
        ..Limits::default()
    };
    let image = f.import_limited(&archive, limits).unwrap().remove(0);
    let hole = image.layers[0].join("hole");
    let meta = fs::metadata(&hole).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::size(&meta), size);
    assert!(std::os::unix::fs::MetadataExt::blocks(&meta) < 1000);
    let mut middle = [0; 4];
    let file = fs::File::open(&hole).unwrap();
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut middle, 50 << 30).unwrap();
    assert_eq!(&middle, b"here");
    assert!(
        f.store.fs_info().unwrap().used_bytes < 1 << 20,
        "what it costs, not what it says"
    );
}

/// A million entries are read one after another, and nothing of them is kept.
#[test]
fn a_million_entries_are_taken() {
    // Bookkeeping of another filesystem: what is tried is the reader, not this one.
    let one = Layer::new().file(".wh..wh.aufs", 0o644, b"").unfinished();
    let mut tar = one.repeat(1_000_000);
    tar.resize(tar.len() + 1024, 0);
    let builder = Builder::new("a/b:1")
        .compression(Compression::Zstd)
        .layer_tar(tar);
    let archive = pack(&builder.oci_files().unwrap());
    let f = fixture();
    let limits = Limits {
        layer_entries: 1_000_000,
        ratio: u64::MAX,
        ..Limits::default()
    };
    let image = f.import_limited(&archive, limits).unwrap().remove(0);
    assert_eq!(support::tree(&image.layers[0]).len(), 1);
}

/// Names are bytes: line breaks, control characters, no UTF-8; errors show them escaped.
#[test]
fn odd_names_are_kept_and_shown_escaped() {
    use std::os::unix::ffi::OsStrExt;
    let names: [&[u8]; 5] = [
        b"new\nline",
        b"\xff\xfe",
        b"tab\there",
        b"esc\x1b[31m",
        b" ",
    ];
    let layer = names.iter().fold(Layer::new(), |layer, name| {
        layer.entry(&Entry {
            name,
            data: name,
            ..entry("", EntryType::Regular)
        })
    });
    let f = fixture();
    let archive = pack(&Builder::new("a/b:1").layer(layer).oci_files().unwrap());
    let image = f.import(&archive).unwrap().remove(0);
    for name in names {
        let path = image.layers[0].join(std::ffi::OsStr::from_bytes(name));
        assert_eq!(fs::read(path).unwrap(), name);
    }
    let bad = Layer::new().entry(&Entry {
        name: b"../\n\x1b[31m\xff",
        ..entry("", EntryType::Regular)
    });
    let archive = pack(&Builder::new("a/b:2").layer(bad).oci_files().unwrap());
    let text = f.import(&archive).unwrap_err().sentence();
    assert!(
        text.contains("\\n") && !text.chars().any(char::is_control),
        "{text:?}"
    );
}
