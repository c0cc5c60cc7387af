//! Images: references, the content store on disk, import, unpack and lookup.
//!
//! ```text
//!  archive (tar | gz | zst)
//!      | import: spool, every blob hashed while it streams
//!      v
//!  <root>/images/tmp/…  --verify-->  choose manifest for this platform
//!      |                                   | per layer: decompress -> sha256 -> untar
//!      |                                   v
//!      |                             <root>/layers/.new-…/diff
//!      | syncfs, rename, fsync             | rename
//!      v                                   v
//!  <root>/images/blobs/sha256/…      <root>/layers/<12 hex>/diff      both durable
//!      \______________ images.redb: one transaction ______________/   now the image exists
//!                           |
//!                     index.json (derived: other tools read the layout)
//! ```
//!
//! What an archive says is hostile: sizes, names, links and digests are checked before they are
//! believed, and an import that does not finish leaves nothing behind.
//!
//! [`copy`] moves files between a container's tree and a tar stream.
//!
//! The crate is synchronous and knows neither CRI nor containers. It does not mount: a caller gets
//! the list of layer directories for overlayfs, and [`rootfs_read`] reads single files through that
//! stack without a mount.
#![forbid(unsafe_code)]

mod collect;
pub mod copy;
mod database;
mod digests;
mod direct;
mod error;
mod export;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod import;
mod index;
mod layout;
mod pipe;
mod platform;
mod recover;
mod reference;
mod rootfs;
mod source;
mod stack;
mod state;
mod store;
mod tar;
mod types;
mod unpack;
pub mod user;
mod verify;
mod zstd_frames;

pub use collect::{Lease, Pruned};
pub use error::Error;
pub use export::Content;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError, qualify};
pub use rootfs::{FileKind, Part, rootfs_kind, rootfs_part, rootfs_read};
pub use source::{Document, FetchError, FetchErrorKind, Remote, Source, Stopped};
pub use store::Store;
pub use types::{
    FsInfo, Image, ImageConfig, ImportOptions, LayerId, Limits, Progress, PullOptions,
};
