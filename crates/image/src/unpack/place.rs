//! Puts one entry into its directory.
//!
//! The common case costs the fewest calls: a file is made with O_EXCL, and only an EEXIST leads to
//! the question what is there. Order matters: owner before mode (chown clears set-id bits), both
//! before capabilities (chown and write clear those), times last.

use std::{fs::File, io, io::BufRead, os::unix::fs::FileExt, rc::Rc};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, fchmod,
        fchown, fstat, ftruncate, futimens, linkat, lsetxattr, makedev, mkdirat, mknodat, openat,
        statat, symlinkat, unlinkat,
    },
    io::Errno,
};

use super::{
    Error, bad,
    dirs::{Dir, Tree, set_times},
    xattr,
};
use crate::{
    direct,
    stack::{OPAQUE, is_whiteout},
    tar::{self, Entry, Kind, show},
};

/// The image's root directory itself.
pub(super) fn root(tree: &mut Tree<'_>, entry: &Entry) -> Result<(), Error> {
    let root = tree.root();
    tree.root_is_explicit();
    tree.described(entry);
    attributes(&root, b".", entry, false)?;
    tree.set_time(Vec::new(), time(entry))
}

pub(super) fn directory(
    tree: &mut Tree<'_>,
    dir: &Rc<Dir>,
    name: &[u8],
    entry: &Entry,
) -> Result<(), Error> {
    let path = dir.join(name);
    let made = made_with(entry, 0o700);
    let new = match mkdirat(&dir.fd, name, made) {
        Ok(()) => {
            tree.made();
            true
        }
        Err(Errno::EXIST) if is_directory(dir, name) => false,
        Err(Errno::EXIST) => {
            // It replaces a file or a whiteout, which hid the lower layers' directory: so does it.
            remove(tree, dir, name)?;
            mkdirat(&dir.fd, name, made).map_err(Error::io("make", &path))?;
            set_opaque(dir, name).map_err(Error::io("make opaque", &path))?;
            true
        }
        Err(error) => return Err(Error::io("make", &path)(error)),
    };
    owner(dir, name, entry, new && !tree.gives_groups())?;
    if !new || !tree.keeps_mode(dir, name, entry.mode) {
        dir.set_mode(name, &entry.path, entry.mode)?;
    }
    xattr::set(entry, || dir.proc_path(name))?;
    tree.described(entry);
    tree.set_time(path, time(entry))
}

pub(super) fn file<R: BufRead>(
    tree: &mut Tree<'_>,
    dir: &Rc<Dir>,
    name: &[u8],
    entry: &Entry,
    reader: &mut tar::Reader<R>,
) -> Result<(), Error> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = made_with(entry, 0o600);
    let fd = retried(tree, dir, name, |dir| openat(&dir.fd, name, flags, made))?;
    let mut file = File::from(fd);
    if entry.extents.is_none() && reader.left() >= direct::WORTH {
        file = large(tree, file, entry, reader)?;
    } else {
        content(&file, entry, reader)?;
    }
    let io = |act| Error::io(act, &entry.path);
    // In a set-group-id directory a new file has the directory's group.
    if (entry.uid, entry.gid) != (0, 0) || tree.gives_groups() {
        fchown(
            &file,
            Some(Uid::from_raw(entry.uid)),
            Some(Gid::from_raw(entry.gid)),
        )
        .map_err(io("set the owner of"))?;
    }
    let mode = Mode::from_raw_mode(entry.mode);
    let set_mode = || fchmod(&file, mode).map_err(io("set the mode of"));
    // An access ACL has a mask, which is part of the mode: before it.
    let before = made != mode || !entry.xattrs.is_empty();
    if before {
        set_mode()?;
    }
    xattr::set(entry, || dir.proc_path(name))?;
    let time = time(entry);
    futimens(
        &file,
        &Timestamps {
            last_access: time,
            last_modification: time,
        },
    )
    .map_err(io("set the times of"))?;
    let stat = fstat(&file).map_err(io("look at"))?;
    // The umask, or a default ACL, has taken bits away.
    if !before && stat.st_mode & 0o7777 != entry.mode {
        set_mode()?;
    }
    tree.count(&stat);
    Ok(())
}

/// The mode to make the entry with: its own, where nothing takes from it again as writing and giving away do; a
/// call less for each. What the umask took is seen later.
fn made_with(entry: &Entry, otherwise: u32) -> Mode {
    let plain = entry.mode <= 0o777;
    Mode::from_raw_mode(if plain { entry.mode } else { otherwise })
}

fn content<R: BufRead>(
    file: &File,
    entry: &Entry,
    reader: &mut tar::Reader<R>,
) -> Result<(), Error> {
    let io = |source: io::Error| Error::Io {
        act: "write",
        entry: show(&entry.path),
        source,
    };
    let whole = [(0, reader.left())];
    let extents = entry.extents.as_deref().unwrap_or(&whole);
    for &(start, length) in extents {
        let (mut at, end) = (start, start + length);
        while at < end {
            let data = reader.data()?;
            if data.is_empty() {
                return Err(tar::Error::Truncated.into());
            }
            let take = data
                .len()
                .min(usize::try_from(end - at).unwrap_or(usize::MAX));
            file.write_all_at(&data[..take], at).map_err(io)?;
            reader.consume(take);
            at += take as u64;
        }
    }
    if entry.extents.is_some() {
        ftruncate(file, entry.size).map_err(|errno| io(errno.into()))?;
    }
    Ok(())
}

/// As [`content`], past the page cache.
fn large<R: BufRead>(
    tree: &mut Tree<'_>,
    file: File,
    entry: &Entry,
    reader: &mut tar::Reader<R>,
) -> Result<File, Error> {
    let io = |source: io::Error| Error::Io {
        act: "write",
        entry: show(&entry.path),
        source,
    };
    let buffer = std::mem::take(&mut tree.buffer);
    let mut writer = direct::Writer::new(file, buffer, reader.left());
    while reader.left() > 0 {
        let data = reader.data()?;
        let length = data.len();
        writer.write(data).map_err(io)?;
        reader.consume(length);
    }
    let (file, buffer) = writer.finish().map_err(io)?;
    tree.buffer = buffer;
    Ok(file)
}

/// The target must be a file of this very layer, as overlayfs needs it to be.
pub(super) fn hard_link(
    tree: &mut Tree<'_>,
    dir: &Rc<Dir>,
    name: &[u8],
    entry: &Entry,
    target: &[&[u8]],
) -> Result<(), Error> {
    let missing = || {
        bad(
            entry,
            format!(
                "its hard link target {:?} is no file of this layer",
                show(&entry.link)
            ),
        )
    };
    let Some((target_name, target_parent)) = target.split_last() else {
        return Err(missing());
    };
    let target_dir = match tree.existing(target_parent) {
        Ok(dir) => dir,
        Err(Error::Entry { .. }) => return Err(missing()),
        Err(error) => return Err(error),
    };
    let stat = status(&target_dir, target_name)?.ok_or_else(missing)?;
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if directory || is_whiteout(&stat) {
        return Err(missing());
    }
    if status(dir, name)?.is_some_and(|old| old.st_ino == stat.st_ino) {
        return Ok(());
    }
    retried(tree, dir, name, |dir| {
        linkat(
            &target_dir.fd,
            *target_name,
            &dir.fd,
            name,
            AtFlags::empty(),
        )
    })
}

pub(super) fn symlink(
    tree: &mut Tree<'_>,
    dir: &Rc<Dir>,
    name: &[u8],
    entry: &Entry,
) -> Result<(), Error> {
    if entry.link.is_empty() || entry.link.len() > 4095 || entry.link.contains(&0) {
        return Err(bad(
            entry,
            "its link target is empty, too long or holds a NUL byte",
        ));
    }
    retried(tree, dir, name, |dir| {
        symlinkat(entry.link.as_slice(), &dir.fd, name)
    })?;
    owner(dir, name, entry, !tree.gives_groups())?;
    xattr::set(entry, || dir.proc_path(name))?;
    set_times(&dir.fd, name, time(entry)).map_err(Error::io("set the times of", &entry.path))?;
    count(tree, dir, name, entry)
}

/// A device or fifo.
pub(super) fn node(
    tree: &mut Tree<'_>,
    dir: &Rc<Dir>,
    name: &[u8],
    entry: &Entry,
) -> Result<(), Error> {
    let (kind, device) = match entry.kind {
        Kind::Char => (FileType::CharacterDevice, makedev(entry.dev.0, entry.dev.1)),
        Kind::Block => (FileType::BlockDevice, makedev(entry.dev.0, entry.dev.1)),
        _ => (FileType::Fifo, 0),
    };
    if kind == FileType::CharacterDevice && device == 0 {
        return Err(bad(
            entry,
            "a character device 0:0 would be overlayfs's mark of a removed file",
        ));
    }
    retried(tree, dir, name, |dir| {
        mknodat(&dir.fd, name, kind, Mode::from_raw_mode(0o600), device)
    })?;
    attributes(dir, name, entry, !tree.gives_groups())?;
    set_times(&dir.fd, name, time(entry)).map_err(Error::io("set the times of", &entry.path))?;
    count(tree, dir, name, entry)
}

fn count(tree: &mut Tree<'_>, dir: &Dir, name: &[u8], entry: &Entry) -> Result<(), Error> {
    let stat = statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW);
    tree.count(&stat.map_err(Error::io("look at", &entry.path))?);
    Ok(())
}

/// Hides `name` of the layers below. What this layer itself has of that name stays (the image
/// specification: a whiteout concerns lower layers only).
pub(super) fn whiteout(dir: &Dir, name: &[u8]) -> Result<(), Error> {
    let path = dir.join(name);
    if name.len() > 255 {
        return Ok(());
    }
    match mknodat(&dir.fd, name, FileType::CharacterDevice, Mode::empty(), 0) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) if is_directory(dir, name) => {
            set_opaque(dir, name).map_err(Error::io("make opaque", &path))
        }
        Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(Error::io("make the whiteout of", &path)(error)),
    }
}

/// Hides all that the layers below have in `dir`.
pub(super) fn opaque(dir: &Dir) -> Result<(), Error> {
    set_opaque(dir, b".").map_err(Error::io("make opaque", &dir.path))
}

fn set_opaque(dir: &Dir, name: &[u8]) -> Result<(), Errno> {
    lsetxattr(dir.proc_path(name), OPAQUE, b"y", XattrFlags::empty())
}

/// `roots`: it was just made and belongs to root, as most that images hold: a call less for each.
fn owner(dir: &Dir, name: &[u8], entry: &Entry, roots: bool) -> Result<(), Error> {
    if roots && (entry.uid, entry.gid) == (0, 0) {
        return Ok(());
    }
    dir.own(name, &entry.path, (entry.uid, entry.gid))
}

fn attributes(dir: &Dir, name: &[u8], entry: &Entry, roots: bool) -> Result<(), Error> {
    owner(dir, name, entry, roots)?;
    dir.set_mode(name, &entry.path, entry.mode)?;
    xattr::set(entry, || dir.proc_path(name))
}

/// Makes something; when the name is taken, removes what is there and tries once more.
fn retried<T>(
    tree: &mut Tree<'_>,
    dir: &Rc<Dir>,
    name: &[u8],
    make: impl Fn(&Dir) -> Result<T, Errno>,
) -> Result<T, Error> {
    match make(dir) {
        Err(Errno::EXIST) => {
            remove(tree, dir, name)?;
            make(dir).map_err(Error::io("make", &dir.join(name)))
        }
        Ok(made) => {
            tree.made();
            Ok(made)
        }
        Err(error) => Err(Error::io("make", &dir.join(name))(error)),
    }
}

fn remove(tree: &mut Tree<'_>, dir: &Dir, name: &[u8]) -> Result<(), Error> {
    let path = dir.join(name);
    tree.forget(&path);
    if is_directory(dir, name) {
        use std::os::unix::ffi::OsStrExt;
        let all = dir.proc_path(name);
        return std::fs::remove_dir_all(std::ffi::OsStr::from_bytes(&all)).map_err(|source| {
            Error::Io {
                act: "replace",
                entry: show(&path),
                source,
            }
        });
    }
    unlinkat(&dir.fd, name, AtFlags::empty()).map_err(Error::io("replace", &path))
}

fn status(dir: &Dir, name: &[u8]) -> Result<Option<Stat>, Error> {
    match statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(Error::io("look at", &dir.join(name))(error)),
    }
}

fn is_directory(dir: &Dir, name: &[u8]) -> bool {
    let stat = statat(&dir.fd, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn time(entry: &Entry) -> Timespec {
    Timespec {
        tv_sec: entry.mtime.0,
        tv_nsec: i64::from(entry.mtime.1),
    }
}
