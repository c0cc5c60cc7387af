//! Entries of a hostile tar stream, put below one directory of ours.
//!
//! ```text
//! name ─► plain parts only ─► parent opened by openat2 BENEATH|NO_SYMLINKS from the root ─► made there
//! ```
//! No link that came along is ever followed, so nothing lands outside. Set-id bits go, and so do
//! owners, unless `keep_owner` asks for both. Devices, and names that are none, are skipped and told.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, chownat,
    fchmod, fchown, mkdirat, openat, openat2, statat, symlinkat, unlinkat, utimensat,
};
use tar::{Archive, Entry, EntryType};

/// Where and how.
#[derive(Debug)]
pub(crate) struct Target {
    /// A directory that exists.
    pub(crate) directory: PathBuf,
    /// What the first part of each name becomes; `None`: it is left away.
    pub(crate) first: Option<String>,
    /// Owners and set-id bits as the stream has them.
    pub(crate) keep_owner: bool,
}

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// What was left out, each with the reason.
    pub(crate) skipped: Vec<String>,
}

/// Puts all entries of `stream` where they belong. Blocks.
///
/// # Errors
/// With the path that could not be made.
pub(crate) fn place(stream: impl Read, target: &Target) -> Result<Placed, (PathBuf, io::Error)> {
    let at_root = |error: io::Error| (target.directory.clone(), error);
    let root = openat(
        CWD,
        &target.directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| at_root(errno.into()))?;
    let mut placed = Placed::default();
    // Directories get mode and time last: what is made in them changes the time, and a mode may forbid
    // making it.
    let mut directories = Vec::new();
    let mut archive = Archive::new(stream);
    for entry in archive.entries().map_err(at_root)? {
        let mut entry = entry.map_err(at_root)?;
        let said = entry.path().map_err(at_root)?.into_owned();
        let Some(name) = renamed(&said, target.first.as_deref()) else {
            placed
                .skipped
                .push(format!("{}: a name that leads elsewhere", said.display()));
            continue;
        };
        if name.as_os_str().is_empty() {
            // The directory itself, which is there.
            continue;
        }
        let full = target.directory.join(&name);
        let failed = |error: io::Error| (full.clone(), error);
        match one(root.as_fd(), &name, &mut entry, target, &mut directories).map_err(failed)? {
            Made::Bytes(bytes) => {
                placed.entries += 1;
                placed.bytes += bytes;
            }
            Made::Not(why) => placed.skipped.push(format!("{}: {why}", said.display())),
        }
    }
    for (name, attributes) in directories.into_iter().rev() {
        let full = target.directory.join(&name);
        attributes
            .of_directory(root.as_fd(), &name, target.keep_owner)
            .map_err(|error| (full, error))?;
    }
    Ok(placed)
}

/// The name below the target; `None` if it is not made of plain parts.
fn renamed(said: &Path, first: Option<&str>) -> Option<PathBuf> {
    let mut parts = Vec::new();
    for part in said.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    let rest: PathBuf = parts.iter().skip(1).collect();
    match (parts.is_empty(), first) {
        (true, _) => Some(PathBuf::new()),
        (false, None) => Some(rest),
        (false, Some(first)) => Some(Path::new(first).join(rest)),
    }
}

enum Made {
    Bytes(u64),
    Not(&'static str),
}

fn one(
    root: rustix::fd::BorrowedFd<'_>,
    name: &Path,
    entry: &mut Entry<'_, impl Read>,
    target: &Target,
    directories: &mut Vec<(PathBuf, Attributes)>,
) -> io::Result<Made> {
    let attributes = Attributes::of(entry)?;
    let kind = entry.header().entry_type();
    let parent = beneath(root, name.parent().unwrap_or(Path::new("")))?;
    let Some(last) = name.file_name() else {
        return Ok(Made::Not("a name that leads elsewhere"));
    };
    match kind {
        EntryType::Directory => {
            if !is_directory(&parent, Path::new(last))? {
                mkdirat(&parent, last, Mode::from_raw_mode(0o700))?;
            }
            directories.push((name.to_owned(), attributes));
            Ok(Made::Bytes(0))
        }
        EntryType::Symlink => {
            let Some(to) = entry.link_name()? else {
                return Ok(Made::Not("a link to nowhere"));
            };
            clear(&parent, Path::new(last))?;
            symlinkat(to.as_ref(), &parent, last)?;
            if target.keep_owner {
                let (uid, gid) = attributes.owner();
                chownat(&parent, last, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Ok(Made::Bytes(0))
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            clear(&parent, Path::new(last))?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            let file = openat(
                &parent,
                last,
                flags | OFlags::CLOEXEC,
                Mode::from_raw_mode(0o600),
            )?;
            let mut file = File::from(file);
            let bytes = io::copy(entry, &mut file)?;
            if target.keep_owner {
                let (uid, gid) = attributes.owner();
                fchown(&file, uid, gid)?;
            }
            fchmod(&file, attributes.mode(target.keep_owner))?;
            attributes.times(&parent, Path::new(last))?;
            Ok(Made::Bytes(bytes))
        }
        EntryType::Link => Ok(Made::Not("a hard link")),
        EntryType::Block | EntryType::Char => Ok(Made::Not("a device")),
        EntryType::Fifo => Ok(Made::Not("a pipe")),
        _ => Ok(Made::Not("nothing that a file can be")),
    }
}

/// The directory `name` below `root`, whose every part is a directory and no link.
fn beneath(root: rustix::fd::BorrowedFd<'_>, name: &Path) -> io::Result<OwnedFd> {
    let name = if name.as_os_str().is_empty() {
        Path::new(".")
    } else {
        name
    };
    Ok(openat2(
        root,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )?)
}

fn is_directory(parent: &OwnedFd, name: &Path) -> io::Result<bool> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(true),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "it is there and is no directory",
        )),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Makes room: a file or link of that name goes, a directory stays and is an error.
fn clear(parent: &OwnedFd, name: &Path) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Mode, owner and time of an entry.
#[derive(Debug, Clone, Copy)]
struct Attributes {
    mode: u32,
    uid: u64,
    gid: u64,
    time: u64,
}

impl Attributes {
    fn of(entry: &Entry<'_, impl Read>) -> io::Result<Attributes> {
        let header = entry.header();
        Ok(Attributes {
            mode: header.mode()?,
            uid: header.uid()?,
            gid: header.gid()?,
            time: header.mtime()?,
        })
    }

    fn owner(self) -> (Option<Uid>, Option<Gid>) {
        let known = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
        (
            known(self.uid).map(Uid::from_raw),
            known(self.gid).map(Gid::from_raw),
        )
    }

    fn mode(self, keep: bool) -> Mode {
        Mode::from_raw_mode(self.mode & if keep { 0o7777 } else { 0o1777 })
    }

    fn times(self, parent: impl AsFd, name: &Path) -> io::Result<()> {
        let time = Timespec {
            tv_sec: i64::try_from(self.time).unwrap_or_default(),
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        Ok(utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn of_directory(
        self,
        root: rustix::fd::BorrowedFd<'_>,
        name: &Path,
        keep: bool,
    ) -> io::Result<()> {
        let directory = openat2(
            root,
            name,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        )?;
        if keep {
            let (uid, gid) = self.owner();
            fchown(&directory, uid, gid)?;
        }
        fchmod(&directory, self.mode(keep))?;
        self.times(&directory, Path::new("."))
    }
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
