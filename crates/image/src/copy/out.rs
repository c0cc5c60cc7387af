//! From a tree to a tar stream.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    CWD, Dir, FileType, Mode, OFlags, Stat, fgetxattr, fstat, fstatfs, major, minor, openat,
    readlinkat,
};
use rustix::io::Errno;

use super::writer::{self, Head};
use super::{DEPTH_MAX, Error, checked};
use crate::tar::{Kind, show};

/// Content is read in pieces of this size.
const PIECE: usize = 64 * 1024;
/// A file that says it is empty may still have content (proc, sysfs); so much of it is taken.
const UNSIZED_MAX: u64 = 4 << 20;
/// Filesystems whose files are the kernel's own state: not descended into.
const KERNEL: [u64; 10] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0x7363_6673, // securityfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0xcafe_4a11, // bpf
];

/// Sends what `path` leads to below `root` as a tar; a directory with all that is in it, and with its
/// own name as the first part of each entry's ("." for the root itself). A symbolic link at the path's
/// end is sent itself, unless `follow`.
///
/// # Errors
/// [`Error::Path`], [`Error::Missing`]; what cannot be read; [`Error::Gone`] when the sink fails.
pub fn copy_out(
    root: BorrowedFd<'_>,
    path: &Path,
    follow: bool,
    sink: &mut dyn Write,
) -> Result<(), Error> {
    let text = checked(path)?;
    let mut flags = OFlags::PATH;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    let fd = sys::in_root::open(root, path, flags).map_err(|source| {
        let path = show(text);
        match source.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR) => Error::Missing { path },
            _ => Error::Io {
                act: "open",
                path,
                source,
            },
        }
    })?;
    // "/", "/a/..": there is no name of its own.
    let name = path.file_name().map_or(b".".to_vec(), |name| {
        use std::os::unix::ffi::OsStrExt as _;
        name.as_bytes().to_vec()
    });
    let mut out = Out {
        sink,
        buffer: Vec::new(),
    };
    let mut levels = Vec::from_iter(out.entry(&fd, &name, None)?);
    while let Some(level) = levels.last_mut() {
        let Some((child, path)) = level.next()? else {
            levels.pop();
            continue;
        };
        let device = level.device;
        if let Some(next) = out.entry(&child, &path, Some(device))? {
            if levels.len() >= DEPTH_MAX {
                return Err(Error::Io {
                    act: "go deeper into",
                    path: show(&path),
                    source: Errno::NAMETOOLONG.into(),
                });
            }
            levels.push(next);
        }
    }
    writer::end(out.sink).map_err(Error::Gone)
}

/// A directory that is being sent.
struct Level {
    dir: Dir,
    path: Vec<u8>,
    device: u64,
}

impl Level {
    /// The next thing in it; what vanished meanwhile is passed over.
    fn next(&mut self) -> Result<Option<(OwnedFd, Vec<u8>)>, Error> {
        while let Some(entry) = self.dir.read() {
            let entry = entry.map_err(Error::io("read directory", &self.path))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = [self.path.as_slice(), b"/", name.to_bytes()].concat();
            let dir = self.dir.fd().map_err(Error::io("read directory", &path))?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(dir, name, flags, Mode::empty()) {
                Err(Errno::NOENT) => {}
                Err(e) => return Err(Error::io("open", &path)(e)),
                Ok(fd) => return Ok(Some((fd, path))),
            }
        }
        Ok(None)
    }
}

struct Out<'a> {
    sink: &'a mut dyn Write,
    buffer: Vec<u8>,
}

impl Out<'_> {
    /// Sends one entry; a directory that is to be descended into is returned.
    fn entry(
        &mut self,
        fd: &OwnedFd,
        path: &[u8],
        parent: Option<u64>,
    ) -> Result<Option<Level>, Error> {
        let stat = fstat(fd).map_err(Error::io("look at", path))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => return self.file(fd, path, &stat).map(|()| None),
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::Char,
            FileType::BlockDevice => Kind::Block,
            FileType::Fifo => Kind::Fifo,
            _ => {
                tracing::info!(path = show(path), "a socket is not copied");
                return Ok(None);
            }
        };
        let mut named = path.to_vec();
        let mut link = Vec::new();
        match kind {
            Kind::Directory => named.push(b'/'),
            Kind::Symlink => {
                let target = readlinkat(fd, c"", Vec::new());
                link = target.map_err(Error::io("read link", path))?.into_bytes();
            }
            _ => {}
        }
        let device = match kind {
            Kind::Char | Kind::Block => (major(stat.st_rdev), minor(stat.st_rdev)),
            _ => (0, 0),
        };
        let head = Head {
            kind,
            link: &link,
            dev: device,
            ..plain(&named, &stat)
        };
        writer::head(self.sink, &head).map_err(Error::Gone)?;
        if kind != Kind::Directory || (parent.is_some_and(|d| d != stat.st_dev) && kernel(fd)) {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(fd, c".", flags, Mode::empty()).and_then(Dir::new);
        Ok(Some(Level {
            dir: opened.map_err(Error::io("open directory", path))?,
            path: path.to_vec(),
            device: stat.st_dev,
        }))
    }

    fn file(&mut self, fd: &OwnedFd, path: &[u8], stat: &Stat) -> Result<(), Error> {
        // Through its descriptor: what was looked at is what is opened.
        let again = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(CWD, again, flags, Mode::empty()).map_err(Error::io("open", path))?;
        let mut file = File::from(file);
        let reading = |source: io::Error| Error::Io {
            act: "read",
            path: show(path),
            source,
        };
        let mut capability = [0u8; 64];
        let length = fgetxattr(&file, c"security.capability", &mut capability[..]).unwrap_or(0);
        let mut head = Head {
            capability: &capability[..length],
            ..plain(path, stat)
        };
        head.size = u64::try_from(stat.st_size).unwrap_or(0);
        if head.size == 0 {
            let mut content = Vec::new();
            let taken = (&file).take(UNSIZED_MAX).read_to_end(&mut content);
            taken.map_err(reading)?;
            head.size = content.len() as u64;
            writer::head(self.sink, &head).map_err(Error::Gone)?;
            self.sink.write_all(&content).map_err(Error::Gone)?;
            return writer::pad(self.sink, head.size).map_err(Error::Gone);
        }
        writer::head(self.sink, &head).map_err(Error::Gone)?;
        self.buffer.resize(PIECE, 0);
        let mut left = head.size;
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let got = match file.read(&mut self.buffer[..want]) {
                // It became shorter: the header has promised more.
                Ok(0) => {
                    self.buffer[..want].fill(0);
                    want
                }
                Ok(got) => got,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(reading(e)),
            };
            self.sink
                .write_all(&self.buffer[..got])
                .map_err(Error::Gone)?;
            left -= got as u64;
        }
        writer::pad(self.sink, head.size).map_err(Error::Gone)
    }
}

fn plain<'a>(path: &'a [u8], stat: &Stat) -> Head<'a> {
    Head {
        kind: Kind::File,
        path,
        link: b"",
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: 0,
        mtime: stat.st_mtime,
        dev: (0, 0),
        capability: b"",
    }
}

/// Whether a directory is on one of the kernel's own filesystems.
fn kernel(fd: impl AsFd) -> bool {
    let kind = fstatfs(fd).map(|fs| u64::try_from(fs.f_type).unwrap_or(0));
    kind.is_ok_and(|kind| KERNEL.contains(&kind))
}
