//! ImageFsInfo: what images and writable layers cost on disk.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::Service;
use crate::{error::Error, state::now_ns, task::blocking};

/// Use of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FsUsage {
    /// When, nanoseconds since the epoch.
    pub at_ns: i64,
    /// A directory on it.
    pub mountpoint: PathBuf,
    /// Bytes.
    pub used_bytes: u64,
    /// Inodes.
    pub inodes_used: u64,
}

impl Service {
    /// Use by images, and use by writable layers.
    ///
    /// # Errors
    /// The image store's.
    pub(crate) async fn image_fs_info(&self) -> Result<(FsUsage, FsUsage), Error> {
        let images = Arc::clone(&self.images);
        let (root, layers) = (self.layout.root.clone(), self.layout.layers());
        let (info, shared) = blocking(move || {
            let info = images.fs_info()?;
            let shared = same_filesystem(&info.mountpoint, &layers);
            Ok::<_, Error>((info, shared))
        })
        .await?;
        // A kubelet takes two names for two filesystems, and does not evict for one of them alone
        // unless it is told to (its gate KubeletSeparateDiskGC).
        let named = |own: PathBuf| if shared { root.clone() } else { own };
        let images = FsUsage {
            at_ns: now_ns(),
            mountpoint: named(info.mountpoint),
            used_bytes: info.used_bytes,
            inodes_used: info.inodes_used,
        };
        let (mut used_bytes, mut inodes_used) = (0, 0);
        for container in self.containers.all() {
            let size = self.layer_size(container.id()).await?;
            used_bytes += size.bytes;
            inodes_used += size.inodes;
        }
        let containers = FsUsage {
            at_ns: now_ns(),
            mountpoint: named(self.layout.layers()),
            used_bytes,
            inodes_used,
        };
        Ok((images, containers))
    }
}

fn same_filesystem(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev());
    matches!((device(one), device(other)), (Ok(one), Ok(other)) if one == other)
}
