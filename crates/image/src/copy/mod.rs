//! Files out of a tree and into one, as a tar stream: what `docker cp` does.
//!
//! ```text
//!  copy_out(root, "/srv/data")  ->  data/  data/a  data/sub/  data/sub/b       (its own name first)
//!  copy_in(root, "/srv", tar)   ->  /srv/data/…
//! ```
//! The tree is a container's: hostile, and changed by others while it is looked at. Paths of a request
//! are resolved below the root's descriptor as the container would resolve them, never through
//! `/proc`'s magic links; below what was resolved, one name at a time is opened and no link followed.
//! Only regular files are ever opened for their content: a fifo or a device cannot hold the copy up.
//!
//! Going out, sockets are left out, as a tar has no word for them; extended attributes are, but for
//! `security.capability`. A directory that is the mount point of a kernel filesystem (proc, sysfs,
//! cgroup …) is sent empty, unless the path leads into it. A file that changes while it is read has
//! the size that it had when it was opened.
//!
//! Going in, an existing file is replaced; a directory is never replaced by something else, nor the
//! other way round. A failure leaves what was copied before it.

mod into;
mod out;
pub(crate) mod writer;

pub use into::{Copied, CopyInto, copy_in};
pub use out::copy_out;

use std::io;

use rustix::io::Errno;

use crate::tar::{self, show};

/// Directories in directories: a descriptor is held for each.
const DEPTH_MAX: usize = 512;

/// Why a copy failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request's path makes no sense.
    #[error("path {path:?} {problem}")]
    Path {
        /// The path.
        path: String,
        /// "is not absolute" …
        problem: &'static str,
    },
    /// The request's path leads nowhere.
    #[error("there is no {path:?} in it")]
    Missing {
        /// The path.
        path: String,
    },
    /// The archive can't be taken.
    #[error("entry {entry:?}: {problem}")]
    Entry {
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// What was sent is no tar.
    #[error("the archive cannot be read: {what}")]
    Archive {
        /// What is wrong with it.
        what: String,
    },
    /// The kernel refused.
    #[error("cannot {act} {path:?}")]
    Io {
        /// "open", "make" …
        act: &'static str,
        /// The path in the tree.
        path: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The receiver or the sender of the stream is gone.
    #[error("the other side of the copy is gone")]
    Gone(#[source] io::Error),
}

impl Error {
    /// The request or its archive is wrong, not this machine.
    pub fn is_callers_fault(&self) -> bool {
        matches!(
            self,
            Error::Path { .. } | Error::Entry { .. } | Error::Archive { .. }
        )
    }

    fn io(act: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Error {
        let path = show(path);
        move |errno| Error::Io {
            act,
            path,
            source: errno.into(),
        }
    }
}

impl From<tar::Error> for Error {
    fn from(error: tar::Error) -> Error {
        match error {
            tar::Error::Read(source) => Error::Gone(source),
            other => Error::Archive {
                what: other.to_string(),
            },
        }
    }
}

/// The path of a request: absolute, and nothing that the kernel could not take.
fn checked(path: &std::path::Path) -> Result<&[u8], Error> {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = path.as_os_str().as_bytes();
    let problem = match bytes {
        bytes if !bytes.starts_with(b"/") => "is not absolute",
        bytes if bytes.contains(&0) => "holds a NUL byte",
        bytes if bytes.len() >= 4096 => "is longer than any path may be",
        bytes => return Ok(bytes),
    };
    Err(Error::Path {
        path: show(bytes),
        problem,
    })
}
