//! Whether an image on the disk is still what its digests say.
//!
//! ```text
//!  blob    -> sha256                                     == its digest
//!  blob    -> decompress -> sha256 (diff id) -> unpack   -> a tree, beside
//!  layers/<dir>/diff                                     == that tree: names, types, modes, owners,
//!                                                        times, attributes, content, links
//! ```
//! There is no short cut: what is compared is made anew from content that was just held against its
//! digest. Costs the time and, while it runs, the space of unpacking the image once more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use sha2::{Digest, Sha256};

use crate::{
    Error, Limits, Store, import,
    pipe::{Cancel, digest_of},
    tar::show,
};

/// More sentences than this help nobody.
const PROBLEMS_MAX: usize = 20;
const CHUNK: usize = 256 << 10;

impl Store {
    /// What is wrong with an image's content on the disk, one sentence each; nothing if it is sound.
    /// `None` if there is no such image.
    ///
    /// # Errors
    /// As [`get`](Self::get); the disk fails; or `cancel` was set.
    pub fn verify(
        &self,
        name_or_id: &str,
        limits: &Limits,
        cancel: &AtomicBool,
    ) -> Result<Option<Vec<String>>, Error> {
        let cancel = Cancel::new(cancel);
        let Some(lease) = self.lease(name_or_id)? else {
            return Ok(None);
        };
        let id = lease.image().id.clone();
        let state = self.state();
        let Some(record) = state.images.get(&id) else {
            return Ok(None);
        };
        let mut problems = Vec::new();
        let mut spoilt = BTreeSet::new();
        for (digest, _) in record.manifests.iter().flat_map(|one| one.all()) {
            let path = self.layout().blob(digest);
            match digest_of_file(&path, &cancel) {
                Ok(actual) if actual == digest => {}
                Ok(actual) => {
                    spoilt.insert(digest.to_owned());
                    problems.push(format!("blob {digest} has digest {actual}"));
                }
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(error) => {
                    spoilt.insert(digest.to_owned());
                    problems.push(format!("blob {digest}: {}", error.sentence()));
                }
            }
        }
        // Layers on top of one that can't be made anew can't be either.
        if spoilt.is_empty() {
            import::again(self, &state, record, limits, &cancel, &mut |made, diff| {
                let name = diff.parent().and_then(Path::file_name).unwrap_or_default();
                let name = name.to_string_lossy();
                for problem in compare(made, diff, &cancel)? {
                    problems.push(format!("layer {name}: {problem}"));
                }
                Ok(())
            })?;
        }
        problems.truncate(PROBLEMS_MAX);
        Ok(Some(problems))
    }
}

fn digest_of_file(path: &Path, cancel: &Cancel<'_>) -> Result<String, Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        if cancel.is_set() {
            return Err(Error::Cancelled);
        }
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok(digest_of(hasher)),
            length => hasher.update(&buffer[..length]),
        }
    }
}

/// How `found` differs from `expected`.
fn compare(expected: &Path, found: &Path, cancel: &Cancel<'_>) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    // Inodes of files with several names: the same names must share them.
    let mut links = BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(path) = todo.pop() {
        if cancel.is_set() {
            return Err(Error::Cancelled);
        }
        if problems.len() >= PROBLEMS_MAX {
            break;
        }
        let (left, right) = (expected.join(&path), found.join(&path));
        let shown = || format!("/{}", show(path.as_os_str().as_bytes()));
        let meta = fs::symlink_metadata(&left).map_err(Error::io("look at", &left))?;
        let other = match fs::symlink_metadata(&right) {
            Ok(other) => other,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                problems.push(format!("{} is missing", shown()));
                continue;
            }
            Err(error) => return Err(Error::io("look at", &right)(error)),
        };
        let what = differs(&left, &meta, &right, &other).map_err(Error::io("read", &right))?;
        if let Some(what) = what {
            problems.push(format!("{} has another {what}", shown()));
            // What has changed in a directory has changed its time, too: on to that.
            if !(meta.is_dir() && other.is_dir()) {
                continue;
            }
        }
        if meta.is_dir() {
            let (names, others) = (names(&left)?, names(&right)?);
            for extra in others.difference(&names) {
                let extra = path.join(extra);
                let name = show(extra.as_os_str().as_bytes());
                problems.push(format!("/{name} should not be there"));
            }
            todo.extend(names.into_iter().map(|name| path.join(name)));
        } else if meta.nlink() > 1 && *links.entry(meta.ino()).or_insert(other.ino()) != other.ino()
        {
            problems.push(format!("{} is another file than its links", shown()));
        }
    }
    Ok(problems)
}

fn names(dir: &Path) -> Result<BTreeSet<std::ffi::OsString>, Error> {
    let entries = fs::read_dir(dir).map_err(Error::io("list", dir))?;
    entries
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<_>>()
        .map_err(Error::io("list", dir))
}

/// The first thing in which two files differ.
fn differs(
    left: &Path,
    meta: &fs::Metadata,
    right: &Path,
    other: &fs::Metadata,
) -> io::Result<Option<&'static str>> {
    const TYPE: u32 = 0o170_000;
    let time = |meta: &fs::Metadata| (meta.mtime(), meta.mtime_nsec());
    if meta.mode() & TYPE != other.mode() & TYPE {
        return Ok(Some("type"));
    }
    if meta.mode() != other.mode() {
        return Ok(Some("mode"));
    }
    if (meta.uid(), meta.gid()) != (other.uid(), other.gid()) {
        return Ok(Some("owner"));
    }
    if meta.rdev() != other.rdev() {
        return Ok(Some("device number"));
    }
    // A whiteout's time is when it was made: no layer says one.
    let whiteout = meta.mode() & TYPE == 0o020_000 && meta.rdev() == 0;
    if time(meta) != time(other) && !whiteout {
        return Ok(Some("time"));
    }
    if !meta.is_dir() && meta.nlink() != other.nlink() {
        return Ok(Some("number of links"));
    }
    if attributes(left)? != attributes(right)? {
        return Ok(Some("extended attribute"));
    }
    if meta.is_symlink() && fs::read_link(left)? != fs::read_link(right)? {
        return Ok(Some("target"));
    }
    if meta.is_file() && (meta.len() != other.len() || !same_content(left, right)?) {
        return Ok(Some("content"));
    }
    Ok(None)
}

fn same_content(left: &Path, right: &Path) -> io::Result<bool> {
    let (mut left, mut right) = (File::open(left)?, File::open(right)?);
    let (mut a, mut b) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let length = left.read(&mut a)?;
        if length == 0 {
            return Ok(true);
        }
        if right.read_exact(&mut b[..length]).is_err() || a[..length] != b[..length] {
            return Ok(false);
        }
    }
}

fn attributes(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice())?;
    let mut found = BTreeMap::new();
    for name in names[..length].split(|&byte| byte == 0) {
        if name.is_empty() {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice())?;
        value.truncate(length);
        found.insert(name.to_vec(), value);
    }
    Ok(found)
}
