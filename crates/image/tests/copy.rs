//! Copies out of a tree and into one that its owner has prepared against them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure fails the test"
)]

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use image::copy::{Copied, CopyInto, Error, copy_in, copy_out};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

fn out(root: &Path, path: &str, follow: bool) -> Result<Vec<u8>, Error> {
    let root = sys::in_root::dir(root).unwrap();
    let mut tar = Vec::new();
    copy_out(root.as_fd(), Path::new(path), follow, &mut tar).map(|()| tar)
}

fn into(root: &Path, path: &str, tar: &[u8]) -> Result<Copied, Error> {
    let root = sys::in_root::dir(root).unwrap();
    copy_in(root.as_fd(), Path::new(path), tar, CopyInto::default())
}

/// Path, kind and size of each entry, sorted.
fn entries(tar: &[u8]) -> Vec<(String, tar::EntryType, u64)> {
    let mut archive = tar::Archive::new(tar);
    let mut all: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let path = entry.path_bytes().into_owned();
            (
                String::from_utf8(path).unwrap(),
                entry.header().entry_type(),
                entry.size(),
            )
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// An archive of hand-made entries: type, path, link target, content.
fn archive(entries: &[(tar::EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, path, link, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        // The setters refuse hostile names.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_mode(0o640);
        header.set_uid(1234);
        header.set_gid(4321);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

use tar::EntryType::{Directory, Fifo, Link, Regular, Symlink};

#[test]
fn a_tree_goes_out_and_in_again_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let (from, to) = (temp.path().join("from"), temp.path().join("to"));
    let deep = "d".repeat(60);
    let dir = from.join("srv/data").join(&deep).join(&deep);
    fs::create_dir_all(&dir).unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(dir.join("file"), b"content").unwrap();
    fs::write(from.join("srv/data/empty"), b"").unwrap();
    let script = from.join("srv/data/script");
    fs::write(&script, b"#!/bin/sh\n").unwrap();
    std::os::unix::fs::chown(&script, Some(1000), Some(u32::MAX - 2)).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o4755)).unwrap();
    symlink("/etc/passwd", from.join("srv/data/link")).unwrap();
    let (char, fifo) = (FileType::CharacterDevice, FileType::Fifo);
    let mode = Mode::from_raw_mode(0o600);
    mknodat(CWD, from.join("srv/data/null"), char, mode, makedev(1, 3)).unwrap();
    mknodat(CWD, from.join("srv/data/pipe"), fifo, mode, 0).unwrap();
    drop(std::os::unix::net::UnixListener::bind(from.join("srv/data/socket")).unwrap());
    let old = UNIX_EPOCH + Duration::from_secs(1_000_000);
    File::open(&dir).unwrap().set_modified(old).unwrap();

    let tar = out(&from, "/srv/data", false).unwrap();
    let names: Vec<_> = entries(&tar).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(
        names,
        [
            "data/".to_owned(),
            format!("data/{deep}/"),
            format!("data/{deep}/{deep}/"),
            format!("data/{deep}/{deep}/file"),
            "data/empty".to_owned(),
            "data/link".to_owned(),
            "data/null".to_owned(),
            "data/pipe".to_owned(),
            "data/script".to_owned(),
        ],
        "all but the socket, below its own name"
    );
    let copied = into(&to, "/", &tar).unwrap();
    assert_eq!((copied.entries, copied.bytes), (9, 17));
    let new = to.join("data").join(&deep).join(&deep);
    assert_eq!(fs::read(new.join("file")).unwrap(), b"content");
    assert_eq!(fs::metadata(&new).unwrap().modified().unwrap(), old);
    let meta = fs::metadata(to.join("data/script")).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o7777),
        (1000, u32::MAX - 2, 0o4755)
    );
    assert_eq!(
        fs::read_link(to.join("data/link")).unwrap(),
        Path::new("/etc/passwd")
    );
    let null = fs::symlink_metadata(to.join("data/null")).unwrap();
    assert!(null.file_type().is_char_device() && null.rdev() == makedev(1, 3));
    assert!(
        fs::symlink_metadata(to.join("data/pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
}

#[test]
fn the_paths_of_a_request_stay_in_the_tree() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(temp.path().join("secret"), b"outside").unwrap();
    fs::write(root.join("etc/passwd"), b"inside").unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("../../../etc", root.join("up")).unwrap();
    symlink("../secret", root.join("away")).unwrap();
    symlink("/proc/self/root/etc", root.join("magic")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    for path in [
        "/etc/passwd",
        "/etc/../../../etc/passwd",
        "/up/passwd",
        "/absolute",
    ] {
        let tar = out(&root, path, true).unwrap();
        let text = String::from_utf8_lossy(&tar);
        assert!(
            text.contains("inside") && !text.contains("outside"),
            "{path}"
        );
    }
    // Not followed, a link is itself.
    let [(name, kind, _)] = &entries(&out(&root, "/absolute", false).unwrap())[..] else {
        panic!("one entry");
    };
    assert_eq!((name.as_str(), *kind), ("absolute", Symlink));
    for path in ["/away", "/none", "/etc/passwd/x", "/magic"] {
        let error = out(&root, path, true).unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{path}: {error:?}");
    }
    let error = out(&root, "/loop", true).unwrap_err();
    assert!(matches!(error, Error::Io { act: "open", .. }), "{error:?}");
    for path in ["etc", "", "/a\0b"] {
        let error = out(&root, path, true).unwrap_err();
        assert!(error.is_callers_fault(), "{path:?}: {error:?}");
        let error = into(&root, path, &archive(&[])).unwrap_err();
        assert!(error.is_callers_fault(), "{path:?}: {error:?}");
    }
}

#[test]
fn an_archive_never_leaves_the_tree() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("root");
    fs::create_dir_all(root.join("base")).unwrap();
    fs::create_dir(temp.path().join("outside")).unwrap();
    symlink(temp.path().join("outside"), root.join("base/leak")).unwrap();
    symlink("../../outside", root.join("base/up")).unwrap();
    for name in ["../x", "a/../../x", "/../x", "base/../../x"] {
        let error = into(&root, "/base", &archive(&[(Regular, name, "", b"x")])).unwrap_err();
        assert!(matches!(error, Error::Entry { .. }), "{name}: {error:?}");
    }
    // Links lead to where a process in the tree would come: nowhere, so directories are made there
    // or the entry fails; nothing appears outside.
    for name in ["leak/x", "up/x"] {
        let _ = into(&root, "/base", &archive(&[(Regular, name, "", b"x")]));
    }
    // A link of the archive itself.
    let hostile = archive(&[
        (Symlink, "esc", "../../outside", b""),
        (Regular, "esc/x", "", b"x"),
    ]);
    let _ = into(&root, "/base", &hostile);
    let hostile = archive(&[(Link, "hard", "../../outside/none", b"")]);
    assert!(
        into(&root, "/base", &hostile)
            .unwrap_err()
            .is_callers_fault()
    );
    let left = fs::read_dir(temp.path().join("outside")).unwrap().count();
    assert_eq!(left, 0, "something was written outside");
}

#[test]
fn files_are_replaced_and_directories_are_not() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    fs::create_dir_all(root.join("base/dir")).unwrap();
    fs::create_dir(root.join("real")).unwrap();
    fs::write(root.join("base/dir/kept"), b"kept").unwrap();
    fs::write(root.join("base/old"), b"old").unwrap();
    fs::write(root.join("target"), b"target").unwrap();
    symlink("/target", root.join("base/link")).unwrap();
    symlink("/real", root.join("base/linked")).unwrap();
    let tar = archive(&[
        (Regular, "./old", "", b"new"),
        (Regular, "link", "", b"file"),
        (Directory, "dir/", "", b""),
        (Regular, "made/for/it", "", b"deep"),
        (Link, "hard", "old", b""),
        (Directory, "linked", "", b""),
        (Regular, "linked/in", "", b"through"),
        (Fifo, "fifo", "", b""),
    ]);
    into(root, "/base", &tar).unwrap();
    assert_eq!(fs::read(root.join("base/old")).unwrap(), b"new");
    // The link was replaced, not what it led to.
    assert_eq!(fs::read(root.join("target")).unwrap(), b"target");
    assert_eq!(fs::read(root.join("base/link")).unwrap(), b"file");
    assert_eq!(fs::read(root.join("base/dir/kept")).unwrap(), b"kept");
    assert_eq!(fs::read(root.join("base/made/for/it")).unwrap(), b"deep");
    assert_eq!(fs::read(root.join("real/in")).unwrap(), b"through");
    let old = fs::metadata(root.join("base/old")).unwrap();
    assert_eq!(
        old.ino(),
        fs::metadata(root.join("base/hard")).unwrap().ino()
    );
    assert_eq!(
        (old.uid(), old.gid(), old.mode() & 0o7777, old.mtime()),
        (1234, 4321, 0o640, 1_000_000_000)
    );
    let dir = fs::metadata(root.join("base/dir")).unwrap();
    assert_eq!((dir.mode() & 0o7777, dir.mtime()), (0o640, 1_000_000_000));

    for (tar, what) in [
        (archive(&[(Regular, "dir", "", b"x")]), "dir"),
        (archive(&[(Directory, "old", "", b"")]), "old"),
    ] {
        let error = into(root, "/base", &tar).unwrap_err();
        assert!(error.is_callers_fault(), "{what}: {error:?}");
        assert!(error.to_string().contains(what), "{error}");
    }
    let error = into(root, "/target", &archive(&[])).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    let error = into(
        root,
        "/",
        b"this is no archive, but it is longer than nothing",
    )
    .unwrap_err();
    assert!(matches!(error, Error::Archive { .. }), "{error:?}");
}

#[test]
fn without_owners_everything_is_roots() {
    let temp = tempfile::tempdir().unwrap();
    let root = sys::in_root::dir(temp.path()).unwrap();
    let tar = archive(&[(Regular, "file", "", b"x"), (Directory, "dir", "", b"")]);
    let how = CopyInto { no_owner: true };
    copy_in(root.as_fd(), Path::new("/"), tar.as_slice(), how).unwrap();
    for name in ["file", "dir"] {
        let meta = fs::metadata(temp.path().join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (0, 0), "{name}");
    }
}

#[test]
fn files_without_a_size_are_read_and_a_deep_tree_has_an_end() {
    let tar = out(Path::new("/"), "/proc/version", false).unwrap();
    let [(name, kind, size)] = &entries(&tar)[..] else {
        panic!("one entry")
    };
    assert_eq!((name.as_str(), *kind), ("version", Regular));
    assert!(*size > 10 && String::from_utf8_lossy(&tar).contains("Linux version"));

    let temp = tempfile::tempdir().unwrap();
    let mut dir = sys::in_root::dir(temp.path()).unwrap();
    for _ in 0..600 {
        rustix::fs::mkdirat(&dir, "d", Mode::from_raw_mode(0o755)).unwrap();
        dir = sys::in_root::open(&dir, Path::new("d"), rustix::fs::OFlags::PATH).unwrap();
    }
    let error = out(temp.path(), "/d", false).unwrap_err();
    assert!(
        matches!(&error, Error::Io { path, .. } if path.as_bytes().starts_with(b"d/d")),
        "{error:?}"
    );
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    fs::write(temp.path().join(name), b"").unwrap();
    let tar = out(temp.path(), "/.", false);
    assert!(tar.is_err(), "the deep tree is still in it");
}
