//! Makes one storage, by its driver.

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, fstat};
use rustix::mount::{
    MountFlags, MoveMountFlags, UnmountFlags, mount, mount_change, mount_remount, move_mount,
    unmount,
};

use super::options::Options;
use super::{Disk, Driver, Storage, erofs, fs_group, hugepages, remove, watchable};
use crate::device::find;
use crate::error::Error;
use crate::machine::Machine;

/// A storage that was made.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// A directory of the agent's own that goes with it.
    pub(super) scratch: Option<PathBuf>,
    watch: Option<watchable::Follower>,
}

impl Made {
    /// Nothing follows any source any more.
    pub(super) fn stop(&self) {
        if let Some(watch) = &self.watch {
            watch.stop();
        }
    }
}

/// What will be mounted, in order.
pub(super) fn points(storage: &Storage, scratch: &Path) -> Vec<PathBuf> {
    let point = storage.mount_point.clone();
    match &storage.driver {
        Driver::Local => Vec::new(),
        Driver::Erofs { layers } => erofs::points(scratch, layers.len(), point),
        _ => vec![point],
    }
}

/// Makes it; what fails leaves nothing mounted.
pub(super) fn make(machine: &Machine, storage: &Storage, scratch: &Path) -> Result<Made, Error> {
    let mut options = Options::parse(&storage.options)?;
    let failed = |act, e: io::Error| failure(storage, act, e);
    for dir in &storage.directories {
        std::fs::create_dir_all(dir).map_err(|e| failed("make a directory for", e))?;
    }
    let bind = storage.driver == Driver::Bind
        || storage.fstype == "bind"
        || options.flags.contains(MountFlags::BIND);
    mount_point(storage, bind).map_err(|e| failed("make the mount point of", e))?;
    let mut made = Made::default();
    let mounted = match &storage.driver {
        Driver::Local => {
            options
                .directory(&storage.mount_point)
                .map_err(|e| failed("set up", e))?;
            false
        }
        _ if bind && storage.driver != Driver::Watchable => {
            self::bind(storage, &options)?;
            true
        }
        Driver::Watchable => {
            made.watch = Some(watchable::start(storage, &options)?);
            true
        }
        Driver::Tree(tree) => {
            made.scratch = storage.mount_point.parent().map(Path::to_owned);
            move_mount(
                &*tree.0,
                "",
                CWD,
                &storage.mount_point,
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
            )
            .map_err(|e| failed("attach", e.into()))?;
            true
        }
        Driver::Erofs { layers } => {
            made.scratch = Some(scratch.to_owned());
            erofs::mount(machine, storage, layers, &options, scratch)
                .inspect_err(|_| drop(remove::tree(scratch)))?;
            true
        }
        driver => {
            if options.overlay_writable && *driver == Driver::Overlay {
                made.scratch = Some(scratch.to_owned());
                upper(scratch, &mut options).map_err(|e| failed("make an upper layer for", e))?;
            }
            let mounted = filesystem(machine, storage, &options);
            if mounted.is_err() && made.scratch.is_some() {
                drop(remove::tree(scratch));
            }
            mounted?;
            true
        }
    };
    let grouped = storage.fs_group.as_ref().map_or(Ok(()), |group| {
        fs_group::apply(&storage.mount_point, group, options.is_read_only())
    });
    if let Err(e) = grouped {
        made.stop();
        for point in points(storage, scratch).iter().rev().filter(|_| mounted) {
            let _ = unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
        if let Some(scratch) = &made.scratch {
            drop(remove::tree(scratch));
        }
        return Err(failed("give its group to", e));
    }
    Ok(made)
}

/// A failure that names the storage.
pub(super) fn failure(storage: &Storage, act: &'static str, e: impl Into<io::Error>) -> Error {
    Error::io(act, format!("storage {}", storage.mount_point.display()), e)
}

/// The node of a disk, once it can be used.
pub(super) fn disk(machine: &Machine, disk: &Disk) -> Result<PathBuf, Error> {
    let node = match disk {
        Disk::Pci(path) => find::pci_disk(machine, path)?,
        Disk::Node(path) => find::block_by_path(machine, path)?,
        Disk::Scsi(address) => find::scsi_disk(machine, address)?,
    };
    find::answering(machine, node)
}

/// Mounts a filesystem of its own.
fn filesystem(machine: &Machine, storage: &Storage, options: &Options) -> Result<(), Error> {
    let default = match &storage.driver {
        Driver::Ephemeral => "tmpfs",
        Driver::Overlay => "overlay",
        Driver::VirtioFs => "virtiofs",
        Driver::NineP => "9p",
        _ => "",
    };
    let fstype = match storage.fstype.as_str() {
        "" | "overlayfs" => default,
        fstype => fstype,
    };
    let what = || format!("storage {}", storage.mount_point.display());
    if fstype.is_empty() {
        return Err(Error::invalid(what(), "fstype is missing"));
    }
    let source = match &storage.driver {
        Driver::Disk(which) => disk(machine, which)?,
        _ => PathBuf::from(&storage.source),
    };
    if fstype == "hugetlbfs" {
        hugepages::reserve(machine, &options.data)?;
    }
    attach(storage, &source, fstype, options)
}

/// Mounts what is there again, with other options.
pub(super) fn again(storage: &Storage) -> Result<(), Error> {
    let mut options = Options::parse(&storage.options)?;
    options.remount = true;
    attach(storage, Path::new(""), "", &options)
}

/// mount(2), and what it does not do at once.
pub(super) fn attach(
    storage: &Storage,
    source: &Path,
    fstype: &str,
    options: &Options,
) -> Result<(), Error> {
    let point = &storage.mount_point;
    let data = data(storage, options)?;
    if options.remount {
        let done = mount_remount(point, options.flags, data.as_c_str());
        return done.map_err(|e| failure(storage, "mount again", e));
    }
    mount(source, point, fstype, options.flags, Some(data.as_c_str()))
        .map_err(|e| failure(storage, "mount", e))?;
    finish(storage, options)
}

fn bind(storage: &Storage, options: &Options) -> Result<(), Error> {
    let point = &storage.mount_point;
    let flags = options.flags | MountFlags::BIND;
    mount(storage.source.as_str(), point, "", flags, None)
        .map_err(|e| failure(storage, "mount", e))?;
    if options.needs_remount() {
        // Flags of a bind mount are set only when it is mounted again.
        mount_remount(point, MountFlags::BIND | options.flags, "").map_err(|e| {
            let _ = unmount(point, UnmountFlags::DETACH);
            failure(storage, "set the flags of", e)
        })?;
    }
    finish(storage, options)
}

/// Propagation and ownership of what is mounted.
pub(super) fn finish(storage: &Storage, options: &Options) -> Result<(), Error> {
    let point = &storage.mount_point;
    let rest = || {
        if let Some(propagation) = options.propagation {
            mount_change(point, propagation)?;
        }
        options.directory(point)
    };
    rest().map_err(|e| {
        // The mount is ours and half done.
        let _ = unmount(point, UnmountFlags::DETACH);
        failure(storage, "set up", e)
    })
}

pub(super) fn data(storage: &Storage, options: &Options) -> Result<CString, Error> {
    CString::new(options.data.join(",")).map_err(|_| {
        let what = format!("storage {}", storage.mount_point.display());
        Error::invalid(what, "a NUL in an option")
    })
}

/// An upper layer of the agent's own.
fn upper(scratch: &Path, options: &mut Options) -> io::Result<()> {
    for (name, word) in [("upper", "upperdir"), ("work", "workdir")] {
        let dir = scratch.join(name);
        std::fs::create_dir_all(&dir)?;
        options.data.push(format!("{word}={}", dir.display()));
    }
    Ok(())
}

/// A directory, or an empty file to bind a file onto.
fn mount_point(storage: &Storage, bind: bool) -> io::Result<()> {
    let point: &Path = &storage.mount_point;
    let file = match &storage.driver {
        Driver::Tree(tree) => !FileType::from_raw_mode(fstat(&*tree.0)?.st_mode).is_dir(),
        _ => bind && !std::fs::metadata(&storage.source)?.is_dir(),
    };
    if !file {
        return std::fs::create_dir_all(point);
    }
    if let Some(parent) = point.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(point)
        .map(drop)
}
