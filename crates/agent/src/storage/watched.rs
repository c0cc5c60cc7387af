//! A small tree and its copy: what is there, and what has to be done to the copy.
//!
//! New directories and files come first, links then, and what is gone goes last: volumes whose content
//! is switched by one link (as the kubelet's are) are switched by one rename in the copy too.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Prefix of names that are about to get their own.
const NEW: &str = ".coffer-new-";

/// How much may be in a tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) entries: usize,
    pub(super) bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Directory,
    File {
        size: u64,
        inode: u64,
        modified: Option<SystemTime>,
    },
    Link(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
}

/// What is in a tree, by path relative to its root. Sockets, fifos and devices are not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree(BTreeMap<PathBuf, Item>);

impl Tree {
    /// Reads the tree at `root`; None if it is over the limits.
    pub(super) fn scan(root: &Path, limits: Limits) -> io::Result<Option<Self>> {
        let (mut tree, mut bytes) = (Self::default(), 0);
        let mut todo = vec![PathBuf::new()];
        while let Some(dir) = todo.pop() {
            for entry in std::fs::read_dir(root.join(&dir))? {
                let entry = entry?;
                let path = dir.join(entry.file_name());
                let Some(item) = item(&root.join(&path))? else {
                    continue;
                };
                match item.kind {
                    Kind::Directory => todo.push(path.clone()),
                    Kind::File { size, .. } => bytes += size,
                    Kind::Link(_) => {}
                }
                tree.0.insert(path, item);
                if tree.0.len() > limits.entries || bytes > limits.bytes {
                    return Ok(None);
                }
            }
        }
        Ok(Some(tree))
    }

    /// All directories, the root too.
    pub(super) fn directories(&self) -> impl Iterator<Item = &Path> {
        let dirs = self
            .0
            .iter()
            .filter(|(_, item)| item.kind == Kind::Directory);
        [Path::new("")]
            .into_iter()
            .chain(dirs.map(|(path, _)| path.as_path()))
    }

    /// Makes the copy at `to`, which is as `before`, as this tree at `from` is.
    pub(super) fn copy(&self, before: &Self, from: &Path, to: &Path) -> io::Result<()> {
        let changed = |link: bool| {
            self.0.iter().filter(move |(path, item)| {
                matches!(item.kind, Kind::Link(_)) == link && before.0.get(*path) != Some(*item)
            })
        };
        for (path, item) in changed(false).chain(changed(true)) {
            let old = before.0.get(path);
            if old
                .is_some_and(|old| (old.kind == Kind::Directory) != (item.kind == Kind::Directory))
            {
                remove(&to.join(path))?;
            }
            place(item, &from.join(path), &to.join(path))?;
        }
        let gone = before.0.keys().rev();
        let gone = gone.filter(|path| !self.0.contains_key(*path) && !self.went_with(path));
        gone.into_iter().try_for_each(|path| remove(&to.join(path)))
    }

    /// Whether a directory above `path` is something else now: with it went what was in it, and a link
    /// in its place would lead elsewhere.
    fn went_with(&self, path: &Path) -> bool {
        let above = path.ancestors().skip(1).filter_map(|dir| self.0.get(dir));
        above.into_iter().any(|item| item.kind != Kind::Directory)
    }
}

/// None: it is gone, or of a kind that is not copied.
fn item(path: &Path) -> io::Result<Option<Item>> {
    let meta = match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let kind = match meta.file_type() {
        t if t.is_dir() => Kind::Directory,
        t if t.is_symlink() => Kind::Link(std::fs::read_link(path)?),
        t if t.is_file() => Kind::File {
            size: meta.len(),
            inode: meta.ino(),
            modified: meta.modified().ok(),
        },
        _ => return Ok(None),
    };
    Ok(Some(Item {
        kind,
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
    }))
}

fn place(item: &Item, from: &Path, to: &Path) -> io::Result<()> {
    let (uid, gid) = (Some(item.owner.0), Some(item.owner.1));
    let name = to.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut new = std::ffi::OsString::from(NEW);
    new.push(name);
    let new = to.with_file_name(new);
    match &item.kind {
        Kind::Directory => {
            match std::fs::create_dir(to) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            lchown(to, uid, gid)?;
            return std::fs::set_permissions(to, std::fs::Permissions::from_mode(item.mode));
        }
        Kind::File { .. } => {
            drop(std::fs::remove_file(&new));
            let mut source = std::fs::File::open(from)?;
            let mut copy = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&new)?;
            io::copy(&mut source, &mut copy)?;
            fchown(&copy, uid, gid)?;
            copy.set_permissions(std::fs::Permissions::from_mode(item.mode))?;
        }
        Kind::Link(target) => {
            drop(std::fs::remove_file(&new));
            symlink(target, &new)?;
            lchown(&new, uid, gid)?;
        }
    }
    std::fs::rename(new, to)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LIMITS: Limits = Limits {
        entries: 16,
        bytes: 1 << 20,
    };

    #[test]
    fn a_copy_follows_a_volume_that_is_switched_by_a_link() {
        let temp = tempfile::tempdir().unwrap();
        let (from, to) = (temp.path().join("from"), temp.path().join("to"));
        fs::create_dir_all(from.join("..v1")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("..v1/key"), "one").unwrap();
        symlink("..v1", from.join("..data")).unwrap();
        symlink("..data/key", from.join("key")).unwrap();
        let first = Tree::scan(&from, LIMITS).unwrap().unwrap();
        first.copy(&Tree::default(), &from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("key")).unwrap(), "one");
        fs::create_dir(from.join("..v2")).unwrap();
        fs::write(from.join("..v2/key"), "two").unwrap();
        symlink("..v2", from.join("..tmp")).unwrap();
        fs::rename(from.join("..tmp"), from.join("..data")).unwrap();
        fs::remove_dir_all(from.join("..v1")).unwrap();
        let second = Tree::scan(&from, LIMITS).unwrap().unwrap();
        second.copy(&first, &from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("key")).unwrap(), "two");
        assert!(!to.join("..v1").exists());
        // The copy is what the source is, and nothing else.
        let names = |tree: Tree| tree.0.into_keys().collect::<Vec<_>>();
        let copied = Tree::scan(&to, LIMITS).unwrap().unwrap();
        assert_eq!(names(copied), names(second.clone()));
        // A directory in place of a file, and back.
        fs::remove_file(from.join("key")).unwrap();
        fs::create_dir(from.join("key")).unwrap();
        fs::write(from.join("key/f"), "x").unwrap();
        let third = Tree::scan(&from, LIMITS).unwrap().unwrap();
        third.copy(&second, &from, &to).unwrap();
        assert!(to.join("key/f").exists());
        fs::remove_dir_all(from.join("key")).unwrap();
        symlink("..data/key", from.join("key")).unwrap();
        let fourth = Tree::scan(&from, LIMITS).unwrap().unwrap();
        fourth.copy(&third, &from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("key")).unwrap(), "two");
        // A link in the place of a directory does not lead to what it points at.
        let outside = temp.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("f"), "kept").unwrap();
        fs::remove_file(from.join("key")).unwrap();
        fs::create_dir(from.join("key")).unwrap();
        fs::write(from.join("key/f"), "x").unwrap();
        let fifth = Tree::scan(&from, LIMITS).unwrap().unwrap();
        fifth.copy(&fourth, &from, &to).unwrap();
        fs::remove_dir_all(from.join("key")).unwrap();
        symlink(&outside, from.join("key")).unwrap();
        let sixth = Tree::scan(&from, LIMITS).unwrap().unwrap();
        sixth.copy(&fifth, &from, &to).unwrap();
        assert!(outside.join("f").exists());
    }

    #[test]
    fn a_large_tree_is_not_copied() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("f"), [0; 100]).unwrap();
        let scan = |entries, bytes| Tree::scan(temp.path(), Limits { entries, bytes }).unwrap();
        assert!(scan(1, 100).is_some());
        assert!(scan(1, 99).is_none() && scan(0, 100).is_none());
    }
}
