//! Storages: mounts and directories that a request declares and the spec then refers to by path.
//!
//! ```text
//!  Storage --make--> mounted at its mount point, group set --hold/release--> counted by mount point
//! ```
//! They are counted by mount point: a second user of the same one mounts nothing, the last one
//! unmounts. What was mounted first is unmounted last. A mount that hangs holds up those who want the
//! same mount point, and nobody else.

mod erofs;
mod fs_group;
mod hugepages;
mod journal;
mod make;
mod mounts;
mod options;
mod remove;
mod watchable;
mod watched;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::device::pci;
pub(crate) use fs_group::{FsGroup, Policy};
pub(crate) use journal::clean;
pub(crate) use mounts::Mounts;

/// Drivers that work here, as GetGuestDetails lists them.
pub(crate) const DRIVERS: &[&str] = &[
    "9p",
    "bind",
    "blk",
    "ephemeral",
    "erofs.multi-layer",
    "local",
    "mmioblk",
    "nvdimm",
    "overlayfs",
    "scsi",
    "virtio-fs",
    "watchable-bind",
];

/// A declared storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) driver: Driver,
    pub(crate) source: String,
    pub(crate) fstype: String,
    pub(crate) options: Vec<String>,
    pub(crate) mount_point: PathBuf,
    /// Directories to be made before, as a layer's file may lack them.
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) fs_group: Option<FsGroup>,
    /// It stays until the sandbox ends, whoever lets it go.
    pub(crate) shared: bool,
}

/// Who makes a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Driver {
    /// A path of this machine, mounted again.
    Bind,
    /// A tmpfs or hugetlbfs of its own.
    Ephemeral,
    /// A plain directory: nothing is mounted.
    Local,
    /// Layers that the options name.
    Overlay,
    /// A filesystem on a disk.
    Disk(Disk),
    /// A directory of the micro-VM's host: the source is its tag.
    VirtioFs,
    NineP,
    /// A copy that follows its source, so that those who watch it hear of changes.
    Watchable,
    /// Image layers, each an EROFS on a disk, one above the other: top first.
    Erofs {
        layers: Vec<Disk>,
    },
    /// A mount that is attached nowhere yet.
    Tree(Tree),
}

/// A detached mount.
#[derive(Debug, Clone)]
pub(crate) struct Tree(pub(crate) Arc<OwnedFd>);

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tree {}

/// Which disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Disk {
    Pci(pci::Path),
    Node(PathBuf),
    Scsi(String),
}
