//! A layer's tar, unpacked straight into an overlay layer directory.
//!
//! ```text
//!  tar entry            in the layer directory
//!  etc/passwd           etc/passwd
//!  etc/.wh.shadow       etc/shadow, a character device 0:0       (overlayfs: removed)
//!  srv/.wh..wh..opq     srv with trusted.overlay.opaque=y        (overlayfs: starts empty)
//!  a/b without a/       a as the layers below have it, else 0755 root, mtime 0
//!  .wh.x with no x      nothing: see [`whiteouts`]
//! ```
//! The archive is hostile. Every name is resolved from the layer's root, one component at a time, by
//! descriptor; links are followed within the root only ([`dirs`]); `..` is refused. The directory is
//! ours alone (the store is mode 0700), so what was checked stays so.
//!
//! The result is what unpacking all layers in turn onto one tree and looking at the difference would
//! give, with two decisions of our own: an extended attribute that overlayfs itself would obey is
//! refused, and `security.*` other than `security.capability` is left out, because labels and
//! signatures of the machine that built the image mean nothing here.

mod dirs;
mod place;
mod usage;
mod whiteouts;
pub(crate) mod xattr;

use std::{io, io::BufRead, path::Path};

use rustix::io::Errno;

use crate::{
    Limits,
    pipe::Stop,
    stack::Stack,
    tar::{self, Entry, Kind, show},
};

use dirs::Tree;

pub(crate) use dirs::root_as_below;
pub(crate) use usage::Usage;

const WHITEOUT: &[u8] = b".wh.";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Tar(#[from] tar::Error),
    #[error("entry {entry:?}: {problem}")]
    Entry { entry: String, problem: String },
    #[error("{0}")]
    Limit(String),
    #[error("cancelled")]
    Cancelled,
    #[error("{act} {entry:?}")]
    Io {
        act: &'static str,
        entry: String,
        source: io::Error,
    },
    #[error("decompress the layer")]
    Decompress(#[source] io::Error),
    #[error("the layers below cannot be read")]
    Lower(#[source] io::Error),
}

impl Error {
    fn io(act: &'static str, entry: &[u8]) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Io {
            act,
            entry: show(entry),
            source: errno.into(),
        }
    }

    /// The archive's fault, not this machine's.
    pub(crate) fn is_invalid_input(&self) -> bool {
        match self {
            Self::Tar(tar::Error::Read(error)) | Self::Decompress(error) => {
                matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                )
            }
            Self::Tar(_) | Self::Entry { .. } | Self::Limit(_) => true,
            Self::Cancelled | Self::Io { .. } | Self::Lower(_) => false,
        }
    }

    /// Sorts out what comes through the reader: limits and cancellation travel as I/O errors.
    pub(crate) fn sorted(self) -> Self {
        match self {
            Self::Tar(tar::Error::Read(error)) => match Stop::of(&error) {
                Some(Stop::Cancelled) => Self::Cancelled,
                Some(Stop::Limit(text)) => Self::Limit(text.clone()),
                None => Self::Decompress(error),
            },
            other => other,
        }
    }
}

/// Where the layers below come from: asked once, when an entry first needs them, so that layers
/// which name all their directories unpack in parallel.
pub(crate) type Lower<'a> = &'a mut dyn FnMut() -> Result<Stack, Error>;

/// A layer whose tar was read to its end.
pub(crate) struct Unpacked<R> {
    /// The source again.
    pub(crate) src: R,
    /// What the layer takes, where it could be counted.
    pub(crate) usage: Option<Usage>,
    /// The tar does not describe the root directory, as most that a builder makes: it is to be made [`root_as_below`].
    /// Whoever waited for the layers below to do so would wait with every layer but the first.
    pub(crate) root_is_below: bool,
}

/// Unpacks the tar in `src` into the empty directory `diff`. `whole` is called when it is read to its end: what is left
/// to do then may have to wait for the layers below.
pub(crate) fn unpack<R: BufRead>(
    src: R,
    diff: &Path,
    lower: Lower<'_>,
    limits: &Limits,
    whole: &dyn Fn(),
) -> Result<Unpacked<R>, Error> {
    let mut reader = tar::Reader::new(src, limits.header_bytes);
    let mut tree = Tree::open(diff, lower)?;
    let mut entries = 0;
    while let Some(entry) = reader.next()? {
        entries += 1;
        if entries > limits.layer_entries {
            return Err(Error::Limit(format!(
                "it has more than {} entries",
                limits.layer_entries
            )));
        }
        apply(&mut tree, &mut reader, &entry, limits)?;
    }
    let src = reader.drain()?;
    whole();
    let (usage, root_is_below) = tree.finish()?;
    Ok(Unpacked {
        src,
        usage,
        root_is_below,
    })
}

fn apply<R: BufRead>(
    tree: &mut Tree<'_>,
    reader: &mut tar::Reader<R>,
    entry: &Entry,
    limits: &Limits,
) -> Result<(), Error> {
    let path = clean(&entry.path, entry, limits)?;
    if entry.size > limits.layer_bytes {
        let problem = format!("its size is more than {} bytes", limits.layer_bytes);
        return Err(bad(entry, problem));
    }
    let Some((base, parent)) = path.split_last() else {
        return if entry.kind == Kind::Directory {
            place::root(tree, entry)
        } else {
            Err(bad(entry, "the root of the image must be a directory"))
        };
    };
    if base.starts_with(WHITEOUT) {
        return whiteout(tree, entry, parent, base);
    }
    let parent = tree.parent(parent)?;
    match entry.kind {
        Kind::Directory => place::directory(tree, &parent, base, entry),
        Kind::File => place::file(tree, &parent, base, entry, reader),
        Kind::HardLink => {
            let target = clean(&entry.link, entry, limits)?;
            place::hard_link(tree, &parent, base, entry, &target)
        }
        Kind::Symlink => place::symlink(tree, &parent, base, entry),
        Kind::Char | Kind::Block | Kind::Fifo => place::node(tree, &parent, base, entry),
    }
}

fn whiteout(
    tree: &mut Tree<'_>,
    entry: &Entry,
    parent: &[&[u8]],
    base: &[u8],
) -> Result<(), Error> {
    if base == WHITEOUT_OPAQUE {
        if parent.is_empty() {
            tree.hide_all_lower();
            return Ok(());
        }
        let parent = tree.parent(parent)?;
        tree.hid();
        return place::opaque(&parent);
    }
    if base.starts_with(WHITEOUT_META) {
        // AUFS's own bookkeeping (.wh..wh.plnk, .wh..wh.aufs).
        return Ok(());
    }
    let hidden = &base[WHITEOUT.len()..];
    if hidden.is_empty() || hidden == b"." || hidden == b".." {
        return Err(bad(entry, "it is a whiteout of no name"));
    }
    let parent = tree.parent(parent)?;
    tree.hid();
    place::whiteout(&parent, hidden)?;
    tree.removed(&parent, hidden)
}

fn bad(entry: &Entry, problem: impl Into<String>) -> Error {
    Error::Entry {
        entry: show(&entry.path),
        problem: problem.into(),
    }
}

/// The components of a path from the archive; a leading `/` means the image's root.
fn clean<'a>(path: &'a [u8], entry: &Entry, limits: &Limits) -> Result<Vec<&'a [u8]>, Error> {
    if path.len() > limits.path_bytes {
        let problem = format!(
            "its path has {} bytes, more than {}",
            path.len(),
            limits.path_bytes
        );
        return Err(bad(entry, problem));
    }
    if path.contains(&0) {
        return Err(bad(entry, "its path holds a NUL byte"));
    }
    let mut parts = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(bad(entry, "its path holds '..'")),
            // NAME_MAX: no filesystem here takes more.
            part if part.len() > 255 => {
                return Err(bad(entry, "a name in its path has more than 255 bytes"));
            }
            part => parts.push(part),
        }
    }
    Ok(parts)
}
