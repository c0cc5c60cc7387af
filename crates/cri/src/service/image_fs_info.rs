//! ImageFsInfo: what images and writable layers cost on disk.

use std::{path::PathBuf, sync::Arc};

use super::{Service, filesystem::mountpoint};
use crate::{error::Error, state::now_ns, task::blocking};

/// Use of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FsUsage {
    /// When, nanoseconds since the epoch.
    pub at_ns: i64,
    /// Where it begins.
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
        let layers = self.layout.layers();
        let (info, of_images, of_layers) = blocking(move || {
            let info = images.fs_info()?;
            let of_images = mountpoint(&info.mountpoint);
            Ok::<_, Error>((info, of_images, mountpoint(&layers)))
        })
        .await?;
        let images = FsUsage {
            at_ns: now_ns(),
            mountpoint: of_images,
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
            mountpoint: of_layers,
            used_bytes,
            inodes_used,
        };
        Ok((images, containers))
    }
}
