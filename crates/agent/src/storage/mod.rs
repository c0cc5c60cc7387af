//! Storages: mounts and directories that a request declares and the spec then refers to by path.
//! They are counted by mount point: a second user of the same one mounts nothing, the last one
//! unmounts. What was mounted first is unmounted last.

mod journal;
mod options;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::mount::{UnmountFlags, mount, mount_change, unmount};

use crate::error::Error;
use journal::Journal;
pub(crate) use journal::clean;
use options::Options;

/// Drivers that work here, as GetGuestDetails lists them.
pub(crate) const DRIVERS: &[&str] = &["bind", "ephemeral", "local", "overlayfs"];

/// A declared storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) driver: Driver,
    pub(crate) source: String,
    pub(crate) fstype: String,
    pub(crate) options: Vec<String>,
    pub(crate) mount_point: PathBuf,
}

/// Who makes a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// A path of this machine, mounted again.
    Bind,
    /// A tmpfs (or hugetlbfs) of its own.
    Ephemeral,
    /// A plain directory: nothing is mounted.
    Local,
    Overlay,
}

#[derive(Debug)]
struct Entry {
    users: usize,
    mounted: bool,
    /// Order of making.
    serial: u64,
}

/// The storages in use.
#[derive(Debug)]
pub(crate) struct Mounts {
    journal: Journal,
    entries: Mutex<(u64, BTreeMap<PathBuf, Entry>)>,
}

/// Storages held for a container in the making: let go when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    mounts: Arc<Mounts>,
    points: Vec<PathBuf>,
}

impl Held {
    /// The container is made and lets go of them itself, with [`Mounts::release`].
    pub(crate) fn keep(mut self) -> Vec<PathBuf> {
        std::mem::take(&mut self.points)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.mounts.release(&self.points);
    }
}

impl Mounts {
    /// None yet; what is mounted is noted in the directory `state`.
    pub(crate) fn new(state: &Path) -> Self {
        Self {
            journal: Journal::new(state),
            entries: Mutex::default(),
        }
    }

    /// Makes or counts `storages`. Blocks.
    ///
    /// # Errors
    /// The first that fails; those before it are let go again.
    pub(crate) fn hold(self: &Arc<Self>, storages: &[Storage]) -> Result<Held, Error> {
        let mut held = Held {
            mounts: Arc::clone(self),
            points: Vec::new(),
        };
        for storage in storages {
            self.hold_one(storage)?;
            held.points.push(storage.mount_point.clone());
        }
        Ok(held)
    }

    fn hold_one(&self, storage: &Storage) -> Result<(), Error> {
        // Held over the mount: two users of one mount point must not both make it.
        let mut entries = self.lock();
        if let Some(entry) = entries.1.get_mut(&storage.mount_point) {
            entry.users += 1;
            return Ok(());
        }
        let point = storage.mount_point.as_path();
        let noted = self.journal.write(mounted(&entries.1).chain([point]));
        noted.map_err(|e| Error::io("note", format!("storage {}", point.display()), e))?;
        sys::failpoint!("agent.storage.mount.before");
        let made = make(storage);
        sys::failpoint!("agent.storage.mount.after");
        if made.is_err() {
            self.note(&entries.1);
        }
        let mounted = made?;
        let serial = entries.0;
        entries.0 += 1;
        entries.1.insert(
            storage.mount_point.clone(),
            Entry {
                users: 1,
                mounted,
                serial,
            },
        );
        Ok(())
    }

    /// Lets storages go: the last user of each unmounts it, newest first. Failures are logged, and do
    /// not keep the others.
    pub(crate) fn release(&self, points: &[PathBuf]) {
        let mut entries = self.lock();
        let mut last = Vec::new();
        for point in points.iter().rev() {
            let Some(entry) = entries.1.get_mut(point) else {
                continue;
            };
            entry.users -= 1;
            if entry.users == 0
                && let Some(entry) = entries.1.remove(point)
            {
                last.push((entry, point));
            }
        }
        last.sort_by_key(|(entry, _)| std::cmp::Reverse(entry.serial));
        for (entry, point) in last {
            if entry.mounted
                && let Err(e) = unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            {
                log::warn!("cannot unmount storage {}: {e}", point.display());
                continue;
            }
            // Only an empty directory goes: data of a local storage stays where it is until its
            // owner removes it, and a mount point of ours is empty.
            drop(std::fs::remove_dir(point));
        }
        self.note(&entries.1);
    }

    /// Notes what is mounted now. A failure leaves a note too many, which does no harm.
    fn note(&self, entries: &BTreeMap<PathBuf, Entry>) {
        if let Err(e) = self.journal.write(mounted(entries)) {
            log::warn!("cannot note which storages are mounted: {e}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<PathBuf, Entry>)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Mount points, oldest first.
fn mounted(entries: &BTreeMap<PathBuf, Entry>) -> impl Iterator<Item = &Path> {
    let mut mounted: Vec<_> = entries.iter().filter(|(_, entry)| entry.mounted).collect();
    mounted.sort_by_key(|(_, entry)| entry.serial);
    mounted.into_iter().map(|(point, _)| point.as_path())
}

/// Makes one storage; true if something was mounted.
fn make(storage: &Storage) -> Result<bool, Error> {
    let point = &storage.mount_point;
    let options = Options::parse(&storage.options)?;
    let failed = |act, e: std::io::Error| Error::io(act, format!("storage {}", point.display()), e);
    mount_point(storage).map_err(|e| failed("make the mount point of", e))?;
    if storage.driver == Driver::Local {
        options.directory(point).map_err(|e| failed("set up", e))?;
        return Ok(false);
    }
    let fstype = match storage.driver {
        Driver::Ephemeral if storage.fstype.is_empty() => "tmpfs",
        Driver::Overlay => "overlay",
        _ => &storage.fstype,
    };
    let flags = match storage.driver {
        Driver::Bind => options.flags | rustix::mount::MountFlags::BIND,
        _ => options.flags,
    };
    let data = std::ffi::CString::new(options.data.join(",")).map_err(|_| {
        Error::invalid(format!("storage {}", point.display()), "a NUL in an option")
    })?;
    mount(
        storage.source.as_str(),
        point,
        fstype,
        flags,
        Some(data.as_c_str()),
    )
    .map_err(|e| failed("mount", e.into()))?;
    let rest = || {
        if storage.driver == Driver::Bind && options.needs_remount() {
            use rustix::mount::{MountFlags, mount_remount};
            mount_remount(point, MountFlags::BIND | options.flags, "")?;
        }
        if let Some(propagation) = options.propagation {
            mount_change(point, propagation)?;
        }
        options.directory(point)
    };
    rest().map_err(|e| {
        // The mount is ours and half done.
        let _ = unmount(point, UnmountFlags::DETACH);
        failed("set up", e)
    })?;
    Ok(true)
}

/// A directory, or an empty file to bind a file onto.
fn mount_point(storage: &Storage) -> std::io::Result<()> {
    let point: &Path = &storage.mount_point;
    let file = storage.driver == Driver::Bind && !std::fs::metadata(&storage.source)?.is_dir();
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
