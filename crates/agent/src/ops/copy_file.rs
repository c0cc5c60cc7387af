//! CopyFile: puts a file, directory or link below the directory that is for such, and nowhere else.
//!
//! ```text
//!  chunk at offset -> <dir>/.coffer-copy-<name> -> (all bytes there) mode, owner -> renamed to <name>
//! ```
//! Every step of the path is a descriptor (`openat2`, no links, no way up), so that nobody who writes
//! there at the same time can lead it out.

use std::ffi::OsString;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, fchmod, fchown, mkdirat,
    openat2, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::agent::Agent;
use crate::error::Error;

/// What a micro-VM's host may write to.
const GUEST: &[&str] = &["/run/kata-containers/shared/containers", "/run/coffer"];
/// The same on a node, below the agent's state directory.
pub(crate) const HOST: &str = "files";
/// Prefix of a file whose bytes are not all there.
const PART: &str = ".coffer-copy-";

/// What is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// The data is where it points.
    Link,
}

/// A file, or a part of one.
#[derive(Debug)]
pub(crate) struct CopyFile {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    /// Permissions; those of directories that are made on the way.
    pub(crate) mode: u32,
    pub(crate) dir_mode: u32,
    pub(crate) owner: (u32, u32),
    /// Length of the whole.
    pub(crate) size: u64,
    pub(crate) offset: u64,
    pub(crate) data: Vec<u8>,
}

/// Puts it. Blocks.
///
/// # Errors
/// INVALID_ARGUMENT for a path that is not below the directory for it; FAILED_PRECONDITION for a part
/// that leaves a gap.
pub(crate) fn run(agent: &Agent, copy: &CopyFile) -> Result<(), Error> {
    let bases = match agent.machine.own {
        true => GUEST.iter().map(PathBuf::from).collect(),
        false => vec![agent.state.dir.join(HOST)],
    };
    put(&bases, copy)
}

fn put(bases: &[PathBuf], copy: &CopyFile) -> Result<(), Error> {
    let what = || format!("file {}", copy.path.display());
    let outside = || {
        let places: Vec<_> = bases.iter().map(|b| b.display().to_string()).collect();
        let why = format!("it must be a canonical path below {}", places.join(" or "));
        Error::invalid(what(), why)
    };
    let base = bases.iter().find_map(|base| {
        let below = copy.path.strip_prefix(base).ok()?;
        Some((base, below))
    });
    let (base, below) = base.ok_or_else(outside)?;
    let steps: Vec<_> = below.components().collect();
    let plain = steps.iter().all(|s| matches!(s, Component::Normal(_)));
    let again = base.join(steps.iter().collect::<PathBuf>());
    let canonical = again.as_os_str() == copy.path.as_os_str();
    let (Some(Component::Normal(name)), true, true) = (steps.last(), plain, canonical) else {
        return Err(outside());
    };
    if copy.kind == Kind::File {
        let end = u64::try_from(copy.data.len()).ok();
        let end = end.and_then(|len| copy.offset.checked_add(len));
        if end.is_none_or(|end| end > copy.size) {
            return Err(Error::invalid(what(), "offset and data are over file_size"));
        }
    }
    let failed = |act, e: io::Error| Error::io(act, what(), e);
    let made = std::fs::create_dir_all(base).and_then(|()| sys::in_root::dir(base));
    let mut dir = made.map_err(|e| failed("make the directory of", e))?;
    for step in &steps[..steps.len() - 1] {
        let next = enter(&dir, Path::new(step), copy);
        dir = next.map_err(|e| failed("make the directory of", e.into()))?;
    }
    let name = Path::new(name);
    match copy.kind {
        Kind::Directory => directory(&dir, name, copy).map_err(|e| failed("make", e.into())),
        Kind::Link => link(&dir, name, copy).map_err(|e| failed("make", e)),
        Kind::File => file(&dir, name, copy),
    }
}

fn enter(dir: &OwnedFd, name: &Path, copy: &CopyFile) -> Result<OwnedFd, Errno> {
    match mkdirat(dir, name, Mode::from_raw_mode(copy.dir_mode & 0o7777)) {
        // The parents that are made here belong to who owns the file.
        Ok(()) => owned(dir, name, copy)?,
        Err(Errno::EXIST) => {}
        Err(e) => return Err(e),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(dir, name, flags, Mode::empty(), resolve)
}

fn owned(dir: &OwnedFd, name: &Path, copy: &CopyFile) -> Result<(), Errno> {
    let (uid, gid) = ids(copy);
    chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

fn ids(copy: &CopyFile) -> (Uid, Gid) {
    (Uid::from_raw(copy.owner.0), Gid::from_raw(copy.owner.1))
}

fn directory(dir: &OwnedFd, name: &Path, copy: &CopyFile) -> Result<(), Errno> {
    match mkdirat(dir, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat2(dir, name, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
    let (uid, gid) = ids(copy);
    fchown(&fd, Some(uid), Some(gid))?;
    fchmod(&fd, Mode::from_raw_mode(copy.mode))
}

fn link(dir: &OwnedFd, name: &Path, copy: &CopyFile) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let target = Path::new(std::ffi::OsStr::from_bytes(&copy.data));
    let part = part_of(name);
    let _ = unlinkat(dir, &part, AtFlags::empty());
    symlinkat(target, dir, &part)?;
    owned(dir, &part, copy)?;
    Ok(renameat(dir, &part, dir, name)?)
}

fn part_of(name: &Path) -> PathBuf {
    let mut part = OsString::from(PART);
    part.push(name.as_os_str());
    part.into()
}

fn file(dir: &OwnedFd, name: &Path, copy: &CopyFile) -> Result<(), Error> {
    let what = || format!("file {}", copy.path.display());
    let failed = |act, e: io::Error| Error::io(act, what(), e);
    let part = part_of(name);
    let mut flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if copy.offset == 0 {
        // What an earlier copy left half done is not this one's.
        let _ = unlinkat(dir, &part, AtFlags::empty());
        flags |= OFlags::EXCL;
    }
    let opened = openat2(
        dir,
        &part,
        flags,
        Mode::RUSR | Mode::WUSR,
        ResolveFlags::NO_SYMLINKS,
    );
    let file = opened.map_err(|e| failed("write", e.into()))?;
    let mut file = std::fs::File::from(file);
    let has = file
        .seek(SeekFrom::End(0))
        .map_err(|e| failed("write", e))?;
    if copy.offset > has {
        let why = format!("the bytes from {has} to {} have not come yet", copy.offset);
        return Err(Error::Precondition(format!("{}: {why}", what())));
    }
    let written = file.write_all_at(&copy.data, copy.offset);
    written
        .and_then(|()| file.flush())
        .map_err(|e| failed("write", e))?;
    let has = file.metadata().map_err(|e| failed("write", e))?.len();
    if has != copy.size {
        return Ok(());
    }
    sys::failpoint!("agent.copy.whole");
    let (uid, gid) = ids(copy);
    fchown(file.as_fd(), Some(uid), Some(gid)).map_err(|e| failed("own", e.into()))?;
    fchmod(file.as_fd(), Mode::from_raw_mode(copy.mode))
        .map_err(|e| failed("set the mode of", e.into()))?;
    // A file does not take a directory's place: what is in it is not the caller's to remove.
    let now = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    if now.is_ok_and(|s| FileType::from_raw_mode(s.st_mode).is_dir()) {
        let _ = unlinkat(dir, &part, AtFlags::empty());
        return Err(failed("replace", Errno::ISDIR.into()));
    }
    renameat(dir, &part, dir, name).map_err(|e| failed("put in its place", e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    fn copy(path: PathBuf, size: u64, offset: u64, data: &[u8]) -> CopyFile {
        CopyFile {
            path,
            kind: Kind::File,
            mode: 0o640,
            dir_mode: 0o750,
            owner: (0, 0),
            size,
            offset,
            data: data.to_vec(),
        }
    }

    #[test]
    fn a_file_comes_in_parts_and_appears_whole() {
        let temp = tempfile::tempdir().unwrap();
        let bases = [temp.path().join("base")];
        let path = bases[0].join("a/b/f.x");
        put(&bases, &copy(path.clone(), 6, 0, b"abc")).unwrap();
        assert!(!path.exists());
        put(&bases, &copy(bases[0].join("a/b/f.y"), 1, 0, b"y")).unwrap();
        let gap = put(&bases, &copy(path.clone(), 6, 4, b"ef")).unwrap_err();
        assert!(matches!(gap, Error::Precondition(_)), "{gap}");
        let last = CopyFile {
            owner: (12, 34),
            ..copy(path.clone(), 6, 3, b"def")
        };
        put(&bases, &last).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abcdef");
        let meta = fs::metadata(&path).unwrap();
        assert_eq!(
            (meta.mode() & 0o7777, meta.uid(), meta.gid()),
            (0o640, 12, 34)
        );
        assert_eq!(
            fs::metadata(bases[0].join("a")).unwrap().mode() & 0o777,
            0o750
        );
        assert_eq!(fs::read_dir(bases[0].join("a/b")).unwrap().count(), 2);
        put(&bases, &copy(path.clone(), 0, 0, b"")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }

    #[test]
    fn nothing_leads_out() {
        let temp = tempfile::tempdir().unwrap();
        let (base, out) = (temp.path().join("base"), temp.path().join("out"));
        fs::create_dir_all(&base).unwrap();
        fs::create_dir(&out).unwrap();
        symlink(&out, base.join("link")).unwrap();
        symlink(out.join("victim"), base.join("leaf")).unwrap();
        symlink(out.join("victim"), base.join(".coffer-copy-part")).unwrap();
        let bases = [base.clone()];
        for path in [
            base.join("../out/f"),
            base.join("a/../../out/f"),
            base.join("./f"),
            base.join("a//f"),
            base.join("link/f"),
            base.clone(),
            temp.path().join("based/f"),
            PathBuf::from("relative/f"),
            PathBuf::from(format!("{}/f/", base.display())),
        ] {
            let refused = put(&bases, &copy(path.clone(), 1, 0, b"x"));
            assert!(refused.is_err(), "{}", path.display());
        }
        // A link at the end is replaced, not followed; so is one in the place of the part.
        for name in ["leaf", "part"] {
            put(&bases, &copy(base.join(name), 1, 0, b"x")).unwrap();
            assert!(base.join(name).is_file());
        }
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
        let over = put(&bases, &copy(base.join("g"), 1, 1, b"x")).unwrap_err();
        assert!(over.to_string().contains("file_size"), "{over}");
    }

    #[test]
    fn directories_and_links_are_put_too() {
        let temp = tempfile::tempdir().unwrap();
        let bases = [temp.path().to_owned()];
        let dir = CopyFile {
            kind: Kind::Directory,
            mode: 0o1777,
            ..copy(temp.path().join("d"), 0, 0, b"")
        };
        put(&bases, &dir).unwrap();
        put(&bases, &dir).unwrap();
        assert_eq!(
            fs::metadata(temp.path().join("d")).unwrap().mode() & 0o7777,
            0o1777
        );
        let link = CopyFile {
            kind: Kind::Link,
            ..copy(temp.path().join("d/l"), 0, 0, b"../target")
        };
        put(&bases, &link).unwrap();
        put(&bases, &link).unwrap();
        let target = fs::read_link(temp.path().join("d/l")).unwrap();
        assert_eq!(target, Path::new("../target"));
        let on_directory = put(&bases, &copy(temp.path().join("d"), 1, 0, b"x"));
        assert!(on_directory.is_err());
    }
}
