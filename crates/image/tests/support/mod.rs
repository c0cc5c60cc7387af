//! What the tests of the store share.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "test code: each binary uses a part, and a failure is a panic"
)]

pub(crate) mod memory;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use image::{Error, Image, ImportOptions, Limits, Store};
use tar::EntryType;
use tempfile::TempDir;
use testing::layer::{Entry, header};

/// A store in a directory of its own.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) dir: TempDir,
}

pub(crate) fn fixture() -> Fixture {
    let dir = tempfile::Builder::new()
        .prefix("coffer-image-")
        .tempdir()
        .unwrap();
    let store = Store::open(&dir.path().join("root")).unwrap();
    Fixture { store, dir }
}

impl Fixture {
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn import(&self, archive: &[u8]) -> Result<Vec<Image>, Error> {
        self.import_with(archive, &ImportOptions::default())
    }

    pub(crate) fn import_as(&self, archive: &[u8], name: &str) -> Result<Vec<Image>, Error> {
        let name = Some(name.to_owned());
        self.import_with(
            archive,
            &ImportOptions {
                name,
                ..ImportOptions::default()
            },
        )
    }

    pub(crate) fn import_limited(
        &self,
        archive: &[u8],
        limits: Limits,
    ) -> Result<Vec<Image>, Error> {
        self.import_with(
            archive,
            &ImportOptions {
                limits,
                ..ImportOptions::default()
            },
        )
    }

    pub(crate) fn import_with(
        &self,
        mut archive: &[u8],
        opts: &ImportOptions,
    ) -> Result<Vec<Image>, Error> {
        self.store
            .import(&mut archive, opts, &|_| (), &AtomicBool::new(false))
    }

    /// Every path of the store with size and kind: two equal answers mean that nothing was left.
    pub(crate) fn footprint(&self) -> BTreeMap<String, (u64, u32)> {
        let mut found = BTreeMap::new();
        let mut todo = vec![self.root()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let entry = entry.unwrap();
                let meta = entry.metadata().unwrap();
                let path = entry.path();
                if meta.is_dir() {
                    todo.push(path.clone());
                }
                // The database grows and shrinks by pages; its content is checked by reopening.
                let size = if meta.is_dir() || path.extension().is_some_and(|e| e == "redb") {
                    0
                } else {
                    meta.len()
                };
                found.insert(path.display().to_string(), (size, meta.mode()));
            }
        }
        found
    }

    /// Closes and opens again.
    pub(crate) fn reopen(self) -> Self {
        let root = self.root();
        let Self { store, dir } = self;
        drop(store);
        Self {
            store: Store::open(&root).unwrap(),
            dir,
        }
    }
}

/// One file as a comparison sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u64,
    /// Not of directories whose content was changed by hand.
    pub(crate) mtime: (i64, i64),
    pub(crate) content: Vec<u8>,
    pub(crate) nlink: u64,
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
}

/// A whole tree, paths relative to its root.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, Seen> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        let name = dir
            .strip_prefix(root)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        found.insert(name, seen(&dir));
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                todo.push(path);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.insert(name, seen(&path));
            }
        }
    }
    found
}

fn seen(path: &Path) -> Seen {
    let meta = fs::symlink_metadata(path).unwrap();
    let content = if meta.is_file() {
        fs::read(path).unwrap()
    } else if meta.is_symlink() {
        fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec()
    } else {
        Vec::new()
    };
    let xattrs = xattrs(path);
    Seen {
        mode: meta.mode(),
        uid: meta.uid(),
        gid: meta.gid(),
        rdev: meta.rdev(),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        content,
        nlink: if meta.is_dir() { 0 } else { meta.nlink() },
        xattrs,
    }
}

/// The extended attributes of a file, links not followed.
pub(crate) fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0u8; 4096];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap();
    let mut xattrs = BTreeMap::new();
    for name in names[..length]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0u8; 4096];
        let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).unwrap();
        value.truncate(length);
        xattrs.insert(String::from_utf8_lossy(name).into_owned(), value);
    }
    xattrs
}

/// A header whose fields `edit` spoils, with a right checksum and no data.
pub(crate) fn spoiled(name: &str, edit: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = header(&Entry::new(name, EntryType::Regular));
    header.set_size(0);
    edit(&mut header);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// Refused, with `part` in the error, and not a byte is left.
pub(crate) fn refused(f: &Fixture, what: &str, archive: &[u8], part: &str) {
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
