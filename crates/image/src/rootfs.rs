//! Single files and parts of an image's root filesystem, found without mounting it.

use std::{ffi::OsStr, fs::File, io::Read, os::unix::ffi::OsStrExt, path::PathBuf};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

use crate::{
    Error,
    stack::{Node, Stack, fd_path},
};

/// What a path of a root filesystem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A device, fifo or socket.
    Special,
}

/// Reads a file from a stack of layer directories (topmost first): whiteouts hide, opaque
/// directories cut, symbolic links are followed within the root. `None` if there is none.
///
/// # Errors
/// The path is no regular file, is longer than `limit` bytes, or cannot be read.
pub fn rootfs_read(layers: &[PathBuf], path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    let fail = |problem: String| Error::Rootfs {
        path: path.to_owned(),
        problem,
    };
    let io = |errno: Errno| fail(std::io::Error::from(errno).to_string());
    let fd = match Stack(layers.to_vec()).walk(path.as_bytes()).map_err(io)? {
        None => return Ok(None),
        Some(Node::File { stat, .. }) if u64::try_from(stat.st_size).unwrap_or(0) > limit => {
            return Err(fail(format!(
                "it has {} bytes, more than {limit}",
                stat.st_size
            )));
        }
        Some(Node::File { fd, .. }) => fd,
        Some(Node::Directory { .. }) => return Err(fail("it is a directory".into())),
        Some(_) => return Err(fail("it is no regular file".into())),
    };
    // Reopens the very inode that was checked, so nothing can come between.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = File::from(openat(CWD, fd_path(&fd), flags, Mode::empty()).map_err(io)?);
    let mut data = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut data);
    read.map_err(|error| fail(error.to_string()))?;
    if data.len() as u64 > limit {
        return Err(fail(format!("it has more than {limit} bytes")));
    }
    Ok(Some(data))
}

/// What `path` is in a stack of layer directories, links followed within the root; `None` if there
/// is none.
///
/// # Errors
/// The path cannot be walked: too many links, or a file where a directory must be.
pub fn rootfs_kind(layers: &[PathBuf], path: &str) -> Result<Option<FileKind>, Error> {
    let node = Stack(layers.to_vec())
        .walk(path.as_bytes())
        .map_err(|errno| Error::Rootfs {
            path: path.to_owned(),
            problem: std::io::Error::from(errno).to_string(),
        })?;
    Ok(node.map(|node| match node {
        Node::Directory { .. } => FileKind::Directory,
        Node::File { .. } => FileKind::File,
        Node::Symlink(_) | Node::Special => FileKind::Special,
    }))
}

/// A part of a root filesystem, as it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The layers' directories that overlayfs merges into the part, topmost first.
    Directory(Vec<PathBuf>),
    /// A regular file.
    File(PathBuf),
}

/// Where the directory or file `path` of a stack of layer directories lies; links are followed within
/// the root. `None` if there is none. An empty path is the root.
///
/// # Errors
/// The path cannot be walked, or is neither a directory nor a regular file.
pub fn rootfs_part(layers: &[PathBuf], path: &str) -> Result<Option<Part>, Error> {
    let fail = |problem: String| Error::Rootfs {
        path: path.to_owned(),
        problem,
    };
    let resolved = Stack(layers.to_vec()).resolve(path.as_bytes());
    let resolved = resolved.map_err(|errno| fail(std::io::Error::from(errno).to_string()))?;
    Ok(Some(match resolved {
        None => return Ok(None),
        Some((Node::Directory { layers: from, .. }, path)) => {
            let below = |at: usize| layers[at].join(OsStr::from_bytes(&path));
            Part::Directory(from.into_iter().map(below).collect())
        }
        Some((Node::File { fd, .. }, _)) => {
            let path = std::fs::read_link(fd_path(&fd));
            Part::File(path.map_err(|error| fail(error.to_string()))?)
        }
        Some(_) => return Err(fail("it is neither a directory nor a regular file".into())),
    }))
}
