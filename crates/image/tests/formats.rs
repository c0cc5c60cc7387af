//! Layers as GNU tar writes them, in each of its formats, become the very tree that it read.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed test is a panic"
)]

mod support;

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, chown, lchown, symlink},
    },
    path::Path,
    process::Command,
};

use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use support::{Seen, fixture, tree};
use testing::image::{Builder, Compression, pack};

/// A tree with one of everything that an image may hold.
fn specimens(root: &Path, names: bool) {
    let file = |name: &str, data: &[u8]| {
        let path = root.join(name);
        fs::write(&path, data).unwrap();
        path
    };
    fs::create_dir_all(root.join("dir/inner")).unwrap();
    fs::set_permissions(root.join("dir"), fs::Permissions::from_mode(0o1777)).unwrap();
    chown(root.join("dir/inner"), Some(1000), Some(44)).unwrap();
    file("empty", b"");
    let plain = file("dir/plain", b"some text\n");
    fs::hard_link(&plain, root.join("dir/inner/hard")).unwrap();
    symlink("../nowhere", root.join("dir/dangling")).unwrap();
    lchown(root.join("dir/dangling"), Some(7), Some(8)).unwrap();
    symlink("/absolute", root.join("absolute")).unwrap();
    let setuid = file("setuid", b"#!");
    chown(&setuid, Some(3), Some(4)).unwrap();
    fs::set_permissions(&setuid, fs::Permissions::from_mode(0o6755)).unwrap();
    file("odd-size", &vec![b'x'; 513]);
    file(
        "large",
        &(0..700_000u32)
            .flat_map(u32::to_le_bytes)
            .collect::<Vec<u8>>(),
    );
    for (name, kind, mode, dev) in [
        ("fifo", FileType::Fifo, 0o600, 0),
        (
            "null",
            FileType::CharacterDevice,
            0o666,
            rustix::fs::makedev(1, 3),
        ),
        (
            "disk",
            FileType::BlockDevice,
            0o640,
            rustix::fs::makedev(7, 300),
        ),
    ] {
        let path = root.join(name);
        rustix::fs::mknodat(CWD, &path, kind, Mode::from_raw_mode(mode), dev).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    if names {
        let deep = "deep-directory-name-of-some-length/".repeat(9);
        fs::create_dir_all(root.join(&deep)).unwrap();
        file(&format!("{deep}{}", "f".repeat(200)), b"deep");
        symlink("t/".repeat(150), root.join("long-link")).unwrap();
        fs::write(
            root.join(OsStr::from_bytes(b"new\nline \xff\xfe")),
            b"odd name",
        )
        .unwrap();
        let foreign = file("foreign-owner", b"");
        chown(foreign, Some(3_000_000), Some(4_000_000_000)).unwrap();
        sparse(
            &root.join("sparse"),
            &[(0, 5000), (100_000, 3), (3_000_000, 4096)],
            4_000_001,
        );
        let many: Vec<(u64, usize)> = (0..60).map(|at| (at * 65_536, 4096)).collect();
        sparse(&root.join("sparse-many"), &many, 60 * 65_536);
        sparse(&root.join("sparse-empty"), &[], 1_000_000);
    }
}

fn sparse(path: &Path, data: &[(u64, usize)], size: u64) {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap();
    for &(at, length) in data {
        file.write_all_at(&vec![b'd'; length], at).unwrap();
    }
    file.set_len(size).unwrap();
}

fn attributes(root: &Path) {
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).unwrap();
    };
    set(&root.join("dir"), "user.note", b"on a directory");
    set(&root.join("dir/plain"), "user.binary", b"\0\x01=\n\xff");
    // cap_net_raw=ep in the kernel's second revision.
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    set(&root.join("setuid"), "security.capability", &capability);
}

fn times(root: &Path) {
    for (name, seconds, nanos) in [
        ("empty", 1_700_000_000, 123_456_789),
        ("odd-size", -86_400, 0),
        ("dir", 1_600_000_000, 5),
    ] {
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: nanos,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(CWD, root.join(name), &times, flags).unwrap();
    }
}

#[test]
fn every_format_of_gnu_tar_is_read() {
    let dir = tempfile::tempdir().unwrap();
    for (number, (format, extra, names, xattrs, nanos)) in [
        ("gnu", &["-S"][..], true, false, false),
        ("oldgnu", &["-S"], true, false, false),
        ("posix", &["-S", "--sparse-version=0.0"], true, true, true),
        ("posix", &["-S", "--sparse-version=0.1"], true, true, true),
        ("posix", &["-S", "--sparse-version=1.0"], true, true, true),
        ("posix", &[], true, true, true),
        ("ustar", &[], false, false, false),
    ]
    .into_iter()
    .enumerate()
    {
        let what = format!("{format} {extra:?}");
        let src = dir.path().join(format!("src-{number}"));
        fs::create_dir(&src).unwrap();
        specimens(&src, names);
        if xattrs {
            attributes(&src);
        }
        times(&src);
        if format == "ustar" {
            // It has no negative numbers.
            File::open(src.join("odd-size"))
                .unwrap()
                .set_modified(std::time::UNIX_EPOCH)
                .unwrap();
        }
        let tar = dir.path().join("layer.tar");
        let out = Command::new("tar")
            .args(["--create", "--numeric-owner", "--format", format])
            .args(extra)
            .args(if xattrs {
                &["--xattrs", "--xattrs-include=*"][..]
            } else {
                &[]
            })
            .arg("--file")
            .arg(&tar)
            .arg("--directory")
            .arg(&src)
            .arg(".")
            .output()
            .unwrap();
        assert!(out.status.success(), "{what}: {out:?}");

        let f = fixture();
        let compression = Compression::ALL[number % 3];
        let builder = Builder::new("a/b:1")
            .layer_tar(fs::read(&tar).unwrap())
            .compression(compression);
        let image = f.import(&pack(&builder.oci_files().unwrap()));
        let image = image
            .unwrap_or_else(|e| panic!("{what}: {}", e.sentence()))
            .remove(0);
        let (mut got, mut want) = (tree(&image.layers[0]), tree(&src));
        for tree in [&mut got, &mut want] {
            tree.values_mut().for_each(|seen| round(seen, nanos));
        }
        for (name, seen) in &want {
            assert_eq!(
                got.get(name).map(brief),
                Some(brief(seen)),
                "{what}: {name:?}"
            );
            assert!(
                got[name].content == seen.content,
                "{what}: content of {name:?}"
            );
        }
        assert_eq!(got.len(), want.len(), "{what}");
        if extra.contains(&"-S") {
            let blocks = fs::metadata(image.layers[0].join("sparse"))
                .unwrap()
                .blocks();
            assert!(
                blocks * 512 < 100_000,
                "{what}: the holes are written: {blocks} blocks"
            );
        }
        fs::remove_dir_all(&src).unwrap();
    }
}

fn round(seen: &mut Seen, nanos: bool) {
    if !nanos {
        seen.mtime.1 = 0;
    }
}

/// All but the content, which would fill the screen.
fn brief(seen: &Seen) -> Seen {
    Seen {
        content: vec![],
        ..seen.clone()
    }
}

#[test]
fn a_file_over_8_gib_needs_no_8_gib() {
    let dir = tempfile::tempdir().unwrap();
    sparse(&dir.path().join("huge"), &[(9 << 30, 5)], 10 << 30);
    for format in ["gnu", "posix"] {
        let out = Command::new("tar")
            .args(["--create", "-S", "--format", format, "--directory"])
            .arg(dir.path())
            .arg("huge")
            .output()
            .unwrap();
        let f = fixture();
        let builder = Builder::new("a/b:1").layer_tar(out.stdout);
        let image = f
            .import(&pack(&builder.oci_files().unwrap()))
            .unwrap()
            .remove(0);
        let meta = fs::metadata(image.layers[0].join("huge")).unwrap();
        assert_eq!(meta.len(), 10 << 30, "{format}");
        assert!(meta.blocks() < 100, "{format}");
    }
}
