//! From a tar stream into a tree.

use std::ffi::OsStr;
use std::fs::File;
use std::io::BufRead;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chmodat, chownat,
    fchmod, fchown, fstat, ftruncate, futimens, linkat, makedev, mkdirat, mknodat, openat, statat,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::{DEPTH_MAX, Error, checked};
use crate::Limits;
use crate::tar::{Entry, Kind, Reader, show};
use crate::unpack::xattr;

/// How an archive is unpacked.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopyInto {
    /// Give everything the ids 0:0 instead of those in the archive.
    pub no_owner: bool,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Entries of the archive.
    pub entries: u64,
    /// Bytes of file content.
    pub bytes: u64,
}

/// Unpacks the tar in `src` below the directory that `path` leads to below `root`.
///
/// Links in the tree are followed as a process in it would follow them, so nothing is ever written
/// outside of `root`. Names with `..` are refused.
///
/// # Errors
/// [`Error::Path`], [`Error::Missing`] (or no directory); what is wrong with the archive; what cannot
/// be made. What was unpacked before stays.
pub fn copy_in(
    root: BorrowedFd<'_>,
    path: &Path,
    src: impl BufRead,
    how: CopyInto,
) -> Result<Copied, Error> {
    let text = checked(path)?;
    let mut into = Target {
        root,
        base: text.to_vec(),
        parent: None,
        times: Vec::new(),
        times_bytes: 0,
    };
    into.open(b"").map_err(|e| match e {
        Errno::NOENT | Errno::NOTDIR => Error::Missing {
            path: show(text) + "/",
        },
        e => Error::io("open directory", text)(e),
    })?;
    let mut reader = Reader::new(src, Limits::default().header_bytes);
    let mut copied = Copied::default();
    while let Some(mut entry) = reader.next()? {
        copied.entries += 1;
        if how.no_owner {
            (entry.uid, entry.gid) = (0, 0);
        }
        into.entry(&entry, &mut reader, &mut copied.bytes)?;
    }
    into.finish()?;
    // To its end, so that the sender is not cut off in the padding.
    reader.drain()?;
    Ok(copied)
}

struct Target<'a> {
    root: BorrowedFd<'a>,
    base: Vec<u8>,
    /// The directory of the last entry: archives come in directory order.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Times of directories, to be set when nothing more is put in.
    times: Vec<(Vec<u8>, Timespec)>,
    times_bytes: usize,
}

impl Target<'_> {
    /// Opens a directory below the base.
    fn open(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let whole = [self.base.as_slice(), b"/", path].concat();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let fd = sys::in_root::open(self.root, Path::new(OsStr::from_bytes(&whole)), flags);
        fd.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
    }

    /// The directory at `parts`, made where it is missing, as a process with umask 022 would.
    fn directory(&self, parts: &[&[u8]]) -> Result<OwnedFd, Error> {
        let path = parts.join(&b'/');
        match self.open(&path) {
            Err(Errno::NOENT) => {}
            other => return other.map_err(Error::io("open directory", &path)),
        }
        let Some((name, above)) = parts.split_last() else {
            return Err(Error::io("open directory", &path)(Errno::NOENT));
        };
        let parent = self.directory(above)?;
        match mkdirat(&parent, *name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(Error::io("make directory", &path)(e)),
        }
        self.open(&path).map_err(Error::io("open directory", &path))
    }

    fn entry<R: BufRead>(
        &mut self,
        entry: &Entry,
        reader: &mut Reader<R>,
        bytes: &mut u64,
    ) -> Result<(), Error> {
        let parts = parts(&entry.path, entry)?;
        // The base itself is there, and stays as it is.
        let Some((name, above)) = parts.split_last() else {
            return Ok(());
        };
        let key = above.join(&b'/');
        let dir = match self.parent.take() {
            Some((known, dir)) if known == key => dir,
            _ => self.directory(above)?,
        };
        let place = Place { dir: &dir, name };
        match entry.kind {
            Kind::Directory => {
                if self.make_directory(&place, entry)? {
                    self.remember(parts.join(&b'/'), entry)?;
                }
            }
            Kind::File => *bytes += place.file(entry, reader)?,
            Kind::HardLink => self.hard_link(&place, entry)?,
            Kind::Symlink => {
                let link = entry.link.as_slice();
                place.replacing(entry, || symlinkat(link, &dir, *name))?;
                place.owner(entry)?;
                place.times(entry)?;
            }
            Kind::Char | Kind::Block | Kind::Fifo => {
                let kind = match entry.kind {
                    Kind::Char => FileType::CharacterDevice,
                    Kind::Block => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                let device = makedev(entry.dev.0, entry.dev.1);
                let mode = Mode::from_raw_mode(0o600);
                place.replacing(entry, || mknodat(&dir, *name, kind, mode, device))?;
                place.attributes(entry)?;
                place.times(entry)?;
            }
        }
        self.parent = Some((key, dir));
        Ok(())
    }

    /// Makes a directory or takes the one that is there; false where a link leads to one, which stays
    /// as it is.
    fn make_directory(&self, place: &Place<'_>, entry: &Entry) -> Result<bool, Error> {
        match mkdirat(place.dir, place.name, Mode::from_raw_mode(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => match place.kind() {
                Some(FileType::Directory) => {}
                Some(FileType::Symlink) if self.open(&entry.path).is_ok() => return Ok(false),
                _ => return Err(bad(entry, "a directory cannot replace what is there")),
            },
            Err(e) => return Err(Error::io("make directory", &entry.path)(e)),
        }
        place.attributes(entry)?;
        Ok(true)
    }

    /// The target is a name in the archive, so below the base.
    fn hard_link(&self, place: &Place<'_>, entry: &Entry) -> Result<(), Error> {
        let target = parts(&entry.link, entry)?;
        let missing = || {
            bad(
                entry,
                format!("there is no {:?} to link to", show(&entry.link)),
            )
        };
        let (name, above) = target.split_last().ok_or_else(missing)?;
        let dir = self.open(&above.join(&b'/')).map_err(|_| missing())?;
        let from = Place { dir: &dir, name };
        let stat = from.stat().ok_or_else(missing)?;
        let there = place.stat();
        if there.is_some_and(|there| (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
        let link = || linkat(&dir, *name, place.dir, place.name, AtFlags::empty());
        place.replacing(entry, link)
    }

    fn remember(&mut self, path: Vec<u8>, entry: &Entry) -> Result<(), Error> {
        /// Half a million directories of a usual length take less.
        const MAX: usize = 64 << 20;
        self.times_bytes += path.len() + 64;
        if self.times_bytes > MAX {
            return Err(bad(entry, "the archive's directories take too much memory"));
        }
        self.times.push((path, time(entry)));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        // Deepest first: setting one's time must not touch another's.
        for (path, time) in std::mem::take(&mut self.times).into_iter().rev() {
            let times = Timestamps {
                last_access: time,
                last_modification: time,
            };
            // Someone may have removed it meanwhile.
            if let Ok(dir) = self.open(&path) {
                let itself = format!("/proc/self/fd/{}", dir.as_raw_fd());
                utimensat(&dir, itself, &times, AtFlags::empty())
                    .map_err(Error::io("set the times of", &path))?;
            }
        }
        Ok(())
    }
}

/// A name in an open directory.
struct Place<'a> {
    dir: &'a OwnedFd,
    name: &'a [u8],
}

impl Place<'_> {
    fn stat(&self) -> Option<Stat> {
        statat(self.dir, self.name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    fn kind(&self) -> Option<FileType> {
        self.stat().map(|s| FileType::from_raw_mode(s.st_mode))
    }

    /// Makes something; what is there is removed, unless it is a directory.
    fn replacing<T>(&self, entry: &Entry, make: impl Fn() -> Result<T, Errno>) -> Result<T, Error> {
        match make() {
            Err(Errno::EXIST) => {}
            other => return other.map_err(Error::io("make", &entry.path)),
        }
        if self.kind() == Some(FileType::Directory) {
            return Err(bad(entry, "it cannot replace the directory that is there"));
        }
        match unlinkat(self.dir, self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(Error::io("replace", &entry.path)(e)),
        }
        make().map_err(Error::io("make", &entry.path))
    }

    /// Writes a file; returns its size.
    fn file<R: BufRead>(&self, entry: &Entry, reader: &mut Reader<R>) -> Result<u64, Error> {
        let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o600);
        let made = self.replacing(entry, || {
            openat(self.dir, self.name, new | OFlags::CLOEXEC, mode)
        });
        let file = File::from(match made {
            Err(Error::Io { source, .. }) if is_busy(&source) => self.mounted(entry)?,
            made => made?,
        });
        content(&file, entry, reader)?;
        let io = |act| Error::io(act, &entry.path);
        // The owner first: a change of it clears the set-id bits, and capabilities.
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        fchown(&file, Some(uid), Some(gid)).map_err(io("set the owner of"))?;
        fchmod(&file, Mode::from_raw_mode(entry.mode)).map_err(io("set the mode of"))?;
        self.xattrs(entry)?;
        let time = time(entry);
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        futimens(&file, &times).map_err(io("set the times of"))?;
        Ok(entry.size)
    }

    /// A file that something is mounted on (the container's /etc/hosts) can't be replaced: its content
    /// is.
    fn mounted(&self, entry: &Entry) -> Result<OwnedFd, Error> {
        if self.kind() != Some(FileType::RegularFile) {
            return Err(bad(entry, "a mount is there, and not of a file"));
        }
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
        openat(self.dir, self.name, flags, Mode::empty()).map_err(Error::io("open", &entry.path))
    }

    fn owner(&self, entry: &Entry) -> Result<(), Error> {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        chownat(self.dir, self.name, Some(uid), Some(gid), flags)
            .map_err(Error::io("set the owner of", &entry.path))
    }

    /// Owner, mode and extended attributes of what is no link.
    fn attributes(&self, entry: &Entry) -> Result<(), Error> {
        self.owner(entry)?;
        // By descriptor: fchmodat follows links, and the tree's owner may have put one there by now.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let io = |act| Error::io(act, &entry.path);
        let fd = openat(self.dir, self.name, flags, Mode::empty()).map_err(io("open"))?;
        let stat = fstat(&fd).map_err(io("look at"))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return Err(bad(entry, "it was replaced by a link while it was made"));
        }
        let itself = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let mode = Mode::from_raw_mode(entry.mode);
        chmodat(self.dir, itself, mode, AtFlags::empty()).map_err(io("set the mode of"))?;
        self.xattrs(entry)
    }

    fn xattrs(&self, entry: &Entry) -> Result<(), Error> {
        let dir = format!("/proc/self/fd/{}/", self.dir.as_raw_fd());
        let path = [dir.as_bytes(), self.name].concat();
        xattr::set(entry, || path).map_err(|e| match e {
            crate::unpack::Error::Io { act, source, .. } => Error::Io {
                act,
                path: show(&entry.path),
                source,
            },
            other => bad(entry, other.to_string()),
        })
    }

    fn times(&self, entry: &Entry) -> Result<(), Error> {
        let time = time(entry);
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        utimensat(self.dir, self.name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Error::io("set the times of", &entry.path))
    }
}

fn content<R: BufRead>(file: &File, entry: &Entry, reader: &mut Reader<R>) -> Result<(), Error> {
    let io = |source| Error::Io {
        act: "write",
        path: show(&entry.path),
        source,
    };
    let whole = [(0, reader.left())];
    for &(start, length) in entry.extents.as_deref().unwrap_or(&whole) {
        let (mut at, end) = (start, start + length);
        while at < end {
            let data = reader.data()?;
            if data.is_empty() {
                return Err(crate::tar::Error::Truncated.into());
            }
            let room = usize::try_from(end - at).unwrap_or(usize::MAX);
            let take = data.len().min(room);
            file.write_all_at(&data[..take], at).map_err(io)?;
            reader.consume(take);
            at += take as u64;
        }
    }
    if entry.extents.is_some() {
        ftruncate(file, entry.size).map_err(|e| io(e.into()))?;
    }
    Ok(())
}

fn is_busy(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::BUSY.raw_os_error())
}

fn time(entry: &Entry) -> Timespec {
    Timespec {
        tv_sec: entry.mtime.0,
        tv_nsec: entry.mtime.1.into(),
    }
}

fn bad(entry: &Entry, problem: impl std::convert::Into<String>) -> Error {
    Error::Entry {
        entry: show(&entry.path),
        problem: problem.into(),
    }
}

/// The components of a name in the archive.
fn parts<'a>(path: &'a [u8], entry: &Entry) -> Result<Vec<&'a [u8]>, Error> {
    if path.len() >= 4096 || path.contains(&0) {
        return Err(bad(entry, "a name is longer than any path, or holds a NUL"));
    }
    let mut parts = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(bad(entry, "a name holds '..'")),
            part if part.len() > 255 => {
                return Err(bad(entry, "a part of a name has more than 255 bytes"));
            }
            part => parts.push(part),
        }
    }
    if parts.len() > DEPTH_MAX {
        return Err(bad(entry, "it is in more directories than any tree needs"));
    }
    Ok(parts)
}
