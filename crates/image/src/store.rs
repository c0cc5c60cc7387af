//! The store.

use std::{io::Read, path::Path, sync::atomic::AtomicBool};

use crate::{Error, FsInfo, Image, ImportOptions, LayerId, Progress};

/// The images and layers below one root directory.
#[derive(Debug)]
pub struct Store {}

fn not_yet<T>() -> Result<T, Error> {
    Err(Error::Invalid("the store is not written yet".into()))
}

impl Store {
    /// Opens (and makes) the store below `root` and removes what a crash left half made.
    ///
    /// # Errors
    /// The directory cannot be made or read, or another process has the store open.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let _ = root;
        not_yet()
    }

    /// What [`open`](Self::open) found damaged and set aside, one sentence each.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &[]
    }

    /// Imports the images of an archive: OCI archive, docker archive, or a tar of an OCI layout;
    /// plain, gzip or zstd.
    ///
    /// # Errors
    /// See [`Error`]; nothing is left behind.
    pub fn import(
        &self,
        src: &mut dyn Read,
        opts: &ImportOptions,
        progress: &(dyn Fn(Progress) + Sync),
        cancel: &AtomicBool,
    ) -> Result<Vec<Image>, Error> {
        let _ = (src, opts, progress, cancel);
        not_yet()
    }

    /// Finds an image by name, name with digest, id, or unique id prefix.
    ///
    /// # Errors
    /// The text is no reference, or a prefix fits several images.
    pub fn get(&self, name_or_id: &str) -> Result<Option<Image>, Error> {
        let _ = name_or_id;
        not_yet()
    }

    /// All images, sorted by id.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn list(&self) -> Result<Vec<Image>, Error> {
        not_yet()
    }

    /// Removes an image (by id: with all its names; by name: only that name while others are left).
    /// `Ok(false)` if there is none. Layers that `in_use` names stay until [`gc`](Self::gc).
    ///
    /// # Errors
    /// As [`get`](Self::get), or the database or disk fails.
    pub fn remove(
        &self,
        name_or_id: &str,
        in_use: &dyn Fn(&LayerId) -> bool,
    ) -> Result<bool, Error> {
        let _ = (name_or_id, in_use);
        not_yet()
    }

    /// Removes layers and blobs that no image and no container needs; returns the bytes freed.
    ///
    /// # Errors
    /// The database or disk fails.
    pub fn gc(&self, in_use: &dyn Fn(&LayerId) -> bool) -> Result<u64, Error> {
        let _ = in_use;
        not_yet()
    }

    /// What the store costs on disk.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn fs_info(&self) -> Result<FsInfo, Error> {
        not_yet()
    }

    /// Pins an image against garbage collection, or unpins it; `Ok(false)` if there is none.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn pin(&self, name_or_id: &str, pinned: bool) -> Result<bool, Error> {
        let _ = (name_or_id, pinned);
        not_yet()
    }
}
