//! Layer directories seen as the one tree that overlayfs would show, without a mount.
//!
//! ```text
//!  layer 2 (top)   etc/        etc/passwd             bin: char 0:0 (whiteout)
//!  layer 1         etc/ opaque etc/group
//!  layer 0         etc/        etc/shadow             bin/  bin/sh
//!  --------------------------------------------------------------------------
//!  seen            etc/        passwd, group                no bin
//! ```
//! A directory's content comes from the topmost layers that have it as a directory, down to the
//! first that is opaque. The walk goes one name at a time from each layer's root, each name opened
//! in-root and without links (`openat2`), and follows symbolic links itself within the merged root:
//! no link leads out, whatever the image holds.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, readlinkat},
    io::Errno,
};

/// The kernel's own bound on links in one walk.
const LINKS_MAX: usize = 40;
pub(crate) const OPAQUE: &str = "trusted.overlay.opaque";

/// Layer directories, topmost first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stack(pub(crate) Vec<PathBuf>);

/// What a path is in the merged tree.
#[derive(Debug)]
pub(crate) enum Node {
    Directory {
        /// Layers that contribute, topmost first.
        layers: Vec<usize>,
        /// O_PATH descriptor and status of the topmost: its attributes are the directory's.
        top: (OwnedFd, Stat),
    },
    Symlink(Vec<u8>),
    File {
        /// O_PATH descriptor.
        fd: OwnedFd,
        stat: Stat,
    },
    /// A device, fifo or socket.
    Special,
}

impl Stack {
    /// Looks `path` up without following links: every component before the last must be a
    /// directory of that name (paths that [`walk`](Self::walk) or an unpack resolved already).
    pub(crate) fn lookup(&self, path: &[u8]) -> Result<Option<Node>, Errno> {
        let mut layers: Vec<usize> = (0..self.0.len()).collect();
        let mut node = self.node(&layers, b"")?;
        let mut done = Vec::new();
        for name in path.split(|&b| b == b'/').filter(|name| !name.is_empty()) {
            match node {
                Some(Node::Directory { layers: next, .. }) => layers = next,
                _ => return Ok(None),
            }
            if !done.is_empty() {
                done.push(b'/');
            }
            done.extend_from_slice(name);
            node = self.node(&layers, &done)?;
        }
        Ok(node)
    }

    /// Resolves `path` as a process whose root this is would, the last component's link included.
    pub(crate) fn walk(&self, path: &[u8]) -> Result<Option<Node>, Errno> {
        Ok(self.resolve(path)?.map(|(node, _)| node))
    }

    /// The same, and the path without links that it came to.
    pub(crate) fn resolve(&self, path: &[u8]) -> Result<Option<(Node, Vec<u8>)>, Errno> {
        let mut todo: VecDeque<Vec<u8>> = components(path);
        let (mut done, mut links) = (Vec::<Vec<u8>>::new(), 0);
        let mut node = self.lookup(b"")?;
        while let Some(name) = todo.pop_front() {
            let Some(Node::Directory { layers, .. }) = &node else {
                return if node.is_none() {
                    Ok(None)
                } else {
                    Err(Errno::NOTDIR)
                };
            };
            if name == b".." {
                done.pop();
                node = self.lookup(&done.join(&b'/'))?;
                continue;
            }
            done.push(name);
            let next = self.node(layers, &done.join(&b'/'))?;
            if let Some(Node::Symlink(target)) = next {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP);
                }
                done.pop();
                if target.starts_with(b"/") {
                    done.clear();
                }
                for part in components(&target).into_iter().rev() {
                    todo.push_front(part);
                }
                node = self.lookup(&done.join(&b'/'))?;
            } else {
                node = next;
            }
        }
        Ok(node.map(|node| (node, done.join(&b'/'))))
    }

    /// Names in the merged root directory, whiteouts left out.
    pub(crate) fn root_names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let mut names = Vec::new();
        for layer in &self.0 {
            for entry in rustix::fs::Dir::read_from(&self.root(layer)?)? {
                let name = entry?.file_name().to_bytes().to_vec();
                if name != b"." && name != b".." {
                    names.push(name);
                }
            }
        }
        names.sort();
        names.dedup();
        names.retain(|name| matches!(self.lookup(name), Ok(Some(_))));
        Ok(names)
    }

    /// `path` in those of `layers` that show it; links are not followed.
    pub(crate) fn node(&self, layers: &[usize], path: &[u8]) -> Result<Option<Node>, Errno> {
        let mut merged: Option<(Vec<usize>, (OwnedFd, Stat))> = None;
        for &layer in layers {
            let Some(fd) = self.open(layer, path)? else {
                continue;
            };
            let stat = fstat(&fd)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind != FileType::Directory {
                if merged.is_some() || is_whiteout(&stat) {
                    break;
                }
                return Ok(Some(match kind {
                    FileType::Symlink => {
                        Node::Symlink(readlinkat(&fd, c"", Vec::new())?.into_bytes())
                    }
                    FileType::RegularFile => Node::File { fd, stat },
                    _ => Node::Special,
                }));
            }
            // Overlayfs merges root directories always.
            let opaque = !path.is_empty() && is_opaque(&fd);
            match &mut merged {
                Some((layers, _)) => layers.push(layer),
                None => merged = Some((vec![layer], (fd, stat))),
            }
            if opaque {
                break;
            }
        }
        Ok(merged.map(|(layers, top)| Node::Directory { layers, top }))
    }

    fn root(&self, layer: &PathBuf) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        openat(CWD, layer, flags, Mode::empty())
    }

    fn open(&self, layer: usize, path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
        let root = self.root(&self.0[layer])?;
        if path.is_empty() {
            return Ok(Some(root));
        }
        match open_beneath(&root, path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(None),
            // A link on the way: another layer's directory has this name, here it is hidden.
            Err(Errno::LOOP) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Opens `path` below `root`; any symbolic link on the way is ELOOP. EAGAIN (a rename somewhere) is
/// retried within a bound.
pub(crate) fn open_beneath(root: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let path = OsStr::from_bytes(path);
    for _ in 0..128 {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// Overlayfs's mark of a removed name: a character device 0:0.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// The path by which calls that want one reach an O_PATH descriptor's file.
pub(crate) fn fd_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn is_opaque(fd: &OwnedFd) -> bool {
    let mut value = [0; 4];
    matches!(rustix::fs::getxattr(fd_path(fd), OPAQUE, &mut value), Ok(1) if value[0] == b'y')
}

/// The names of a path; empty ones and `.` say nothing.
pub(crate) fn components(path: &[u8]) -> VecDeque<Vec<u8>> {
    let parts = path
        .split(|&b| b == b'/')
        .filter(|part| !part.is_empty() && *part != b".");
    parts.map(<[u8]>::to_vec).collect()
}
