//! Where things lie below the store's root.
//!
//! ```text
//!  <root>/images/oci-layout            this is an OCI image layout
//!                index.json            derived from the database: names -> manifests
//!                blobs/sha256/<hex>    manifests, configurations, layers as they came
//!                images.redb           the truth about names, images and layers
//!                images.redb.corrupt-<seconds>   set aside at start, never deleted by us
//!                tmp/                  blobs and documents on their way in; emptied at start
//!        layers/<12+ hex>/diff         unpacked layer, an overlayfs lower directory
//!               <12+ hex>/layer.json   which chain of layers it is
//!               .new-…  .del-…         on their way in or out; removed at start
//! ```

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

use crate::Error;

/// The fixed paths of one store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
}

impl Layout {
    pub(crate) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.images().join("blobs/sha256")
    }

    /// `digest` is `sha256:…`, checked where it came in.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.blobs().join(digest.trim_start_matches("sha256:"))
    }

    pub(crate) fn tmp(&self) -> PathBuf {
        self.images().join("tmp")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.images().join("images.redb")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.images().join("index.json")
    }

    pub(crate) fn layer(&self, dir: &str) -> PathBuf {
        self.layers().join(dir)
    }

    pub(crate) fn diff(&self, dir: &str) -> PathBuf {
        self.layer(dir).join("diff")
    }

    /// A name below `layers` that is free and that a start would remove.
    pub(crate) fn passing(&self, what: &str) -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        self.layers()
            .join(format!(".{what}-{}-{count}", std::process::id()))
    }

    /// As [`passing`](Self::passing), beside the blobs.
    pub(crate) fn passing_blob(&self) -> PathBuf {
        let name = self.passing("in");
        self.tmp().join(name.file_name().unwrap_or_default())
    }

    /// Makes the directories that are missing.
    pub(crate) fn make(&self) -> Result<(), Error> {
        for dir in [
            &self.root,
            &self.images(),
            &self.blobs(),
            &self.tmp(),
            &self.layers(),
        ] {
            directory(dir)?;
        }
        spread(&self.layers());
        let marker = self.images().join("oci-layout");
        let content = br#"{"imageLayoutVersion":"1.0.0"}"#;
        if fs::read(&marker).is_ok_and(|found| found == content) {
            return Ok(());
        }
        sys::atomic::write(&marker, content, 0o644, sys::atomic::Durability::Disk)
            .map_err(Error::io("write", marker))
    }
}

/// Makes a directory and its parents, mode 0700: images may hold set-id programs, which nobody but
/// a container may reach.
pub(crate) fn directory(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| {
            let mode = fs::metadata(path)?.permissions().mode();
            if mode & 0o077 != 0 && path.file_name().is_some_and(|name| name == "layers") {
                fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
            }
            Ok(())
        })
        .map_err(Error::io("make directory", path))
}

/// Asks ext4 to put each directory below `path` into a block group of its own choice rather than
/// beside the others. For half a minute ext4 does not reuse the inodes of what was removed and looks
/// at each of them again for every file that is made in that group: a layer unpacked where another
/// was just removed would cost several times the time. Other filesystems have no such flag, and need
/// none.
fn spread(path: &Path) {
    let Ok(dir) = fs::File::open(path) else {
        return;
    };
    if let Ok(flags) = ioctl_getflags(&dir)
        && !flags.contains(IFlags::TOPDIR)
    {
        let _ = ioctl_setflags(&dir, flags | IFlags::TOPDIR);
    }
}

/// Removes a file or a directory with all in it; nothing there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    let result = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Makes renames within a directory last.
pub(crate) fn sync_dir(path: &Path) -> Result<(), Error> {
    fs::File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::io("sync", path))
}

/// The filesystem of a directory, from before anything is written to it: the kernel tells an error of its own
/// writing to each descriptor that is older than that, and to a newer one only if nobody has heard of it yet.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: fs::File,
    path: PathBuf,
}

impl Disk {
    pub(crate) fn of(path: PathBuf) -> Result<Self, Error> {
        let dir = fs::File::open(&path).map_err(Error::io("open", &path))?;
        Ok(Self { dir, path })
    }

    /// Writes all that is on its way to it: one call for the thousands of files of a layer, where one fsync each
    /// would cost a journal commit each.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        let synced = rustix::fs::syncfs(&self.dir);
        synced.map_err(|errno| Error::io("sync", &self.path)(errno.into()))
    }
}
