//! A streaming tar reader for hostile input: ustar, GNU and PAX, sparse files included.
//!
//! ```text
//!  [x PAX header, data]* [L/K GNU name, data]* [header 512][data, padded to 512]   … [zeros 1024]
//!  \__________________________ one entry _________________________________________/
//! ```
//! Nothing is buffered but the extended headers, and those within a limit. Content is lent out as
//! slices of the source's own buffer, so a file is copied once, into the kernel.
//!
//! Global PAX headers (`g`, what `git archive` writes) are passed over as Go's reader does, which
//! wrote most images there are. The data of links, directories and devices counts as none, again
//! as there.

mod header;
mod pax;
mod reader;
mod sparse;

pub(crate) use reader::Reader;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
}

/// One entry's metadata. Paths are as the archive says them: nothing is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    /// Low 12 bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since the epoch.
    pub(crate) mtime: (i64, u32),
    pub(crate) dev: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Logical size of a file: what `stat` says after unpacking.
    pub(crate) size: u64,
    /// Where a sparse file's data lie: offset and length, ascending. `None`: all of it in one.
    pub(crate) extents: Option<Vec<(u64, u64)>>,
}

/// Why a tar cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the tar ends in the middle of an entry")]
    Truncated,
    #[error("the tar header at byte {0} has a wrong checksum")]
    Checksum(u64),
    #[error("tar entry {entry:?}: {field} is no valid number")]
    Number { entry: String, field: &'static str },
    #[error("tar entry {entry:?}: {problem}")]
    Entry { entry: String, problem: String },
    #[error("tar entry {entry:?}: its extended header has {bytes} bytes, more than {limit}")]
    HeaderSize {
        entry: String,
        bytes: u64,
        limit: u64,
    },
    #[error("read the tar")]
    Read(#[source] std::io::Error),
}

/// A name for an error text: escaped, not longer than a line.
pub(crate) fn show(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(&name[..name.len().min(160)]).into_owned();
    if name.len() > 160 { text + "…" } else { text }
}
