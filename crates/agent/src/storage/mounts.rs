//! Which storages there are, who uses them, and in which order they came.
//!
//! ```text
//!         hold            made               last release        unmounted
//!  (none) ----> Making ---------> Made ------------------> Ending ---------> (none)
//! ```
//! Nothing is mounted or unmounted under the lock: who wants a mount point that is being made or ended
//! waits for that one only.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::journal::Journal;
use super::make::{self, Made};
use super::{Storage, remove};
use crate::error::Error;
use crate::machine::Machine;

#[derive(Debug)]
enum State {
    Making,
    Made(Made),
    Ending,
}

#[derive(Debug)]
struct Entry {
    users: usize,
    /// It ends with the sandbox, not with its last user.
    kept: bool,
    /// Order of making.
    serial: u64,
    /// What is or will be mounted, in order.
    points: Vec<PathBuf>,
    state: State,
}

#[derive(Debug, Default)]
struct Table {
    serial: u64,
    entries: BTreeMap<PathBuf, Entry>,
}

/// The storages in use.
#[derive(Debug)]
pub(crate) struct Mounts {
    journal: Journal,
    /// Layers' mount points and upper directories: `<state>/storages.d/<serial>`.
    scratch: PathBuf,
    table: Mutex<Table>,
    changed: Condvar,
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
            scratch: state.join(remove::SCRATCH),
            table: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Makes or counts `storages`. Blocks.
    ///
    /// # Errors
    /// The first that fails; those before it are let go again.
    pub(crate) fn hold(
        self: &Arc<Self>,
        machine: &Machine,
        storages: &[Storage],
    ) -> Result<Held, Error> {
        let mut held = Held {
            mounts: Arc::clone(self),
            points: Vec::new(),
        };
        for storage in storages {
            self.hold_one(machine, storage)?;
            held.points.push(storage.mount_point.clone());
        }
        Ok(held)
    }

    fn hold_one(&self, machine: &Machine, storage: &Storage) -> Result<(), Error> {
        let point = &storage.mount_point;
        let mut table = self.lock();
        loop {
            match table.entries.get_mut(point) {
                None => break,
                Some(entry) if matches!(entry.state, State::Made(_)) => {
                    entry.users += 1;
                    entry.kept |= storage.shared;
                    return Ok(());
                }
                Some(_) => {
                    let woken = self.changed.wait(table);
                    table = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        let serial = table.serial;
        table.serial += 1;
        let scratch = self.scratch.join(serial.to_string());
        let entry = Entry {
            users: 1,
            kept: storage.shared,
            serial,
            points: make::points(storage, &scratch),
            state: State::Making,
        };
        table.entries.insert(point.clone(), entry);
        if let Err(e) = self.journal.write(points(&table.entries)) {
            self.forget(table, point);
            return Err(Error::io("note", format!("storage {}", point.display()), e));
        }
        drop(table);
        sys::failpoint!("agent.storage.mount.before");
        let made = make::make(machine, storage, &scratch);
        sys::failpoint!("agent.storage.mount.after");
        let mut table = self.lock();
        let made = match made {
            Ok(made) => made,
            Err(e) => {
                self.forget(table, point);
                return Err(e);
            }
        };
        if let Some(entry) = table.entries.get_mut(point) {
            entry.state = State::Made(made);
        }
        drop(table);
        self.changed.notify_all();
        Ok(())
    }

    /// Gives a storage that is there new options; one that is not is made, to stay until the sandbox
    /// ends. Blocks.
    pub(crate) fn update(&self, machine: &Machine, storage: Storage) -> Result<(), Error> {
        let there = self.lock().entries.contains_key(&storage.mount_point);
        if there {
            return make::again(&storage);
        }
        let storage = Storage {
            shared: true,
            ..storage
        };
        self.hold_one(machine, &storage)?;
        self.release(&[storage.mount_point]);
        Ok(())
    }

    /// Takes an entry out that came to nothing.
    fn forget(&self, mut table: MutexGuard<'_, Table>, point: &Path) {
        table.entries.remove(point);
        self.note(&table.entries);
        drop(table);
        self.changed.notify_all();
    }

    /// Whether a storage is mounted at `point` or above it.
    pub(crate) fn covers(&self, point: &Path) -> bool {
        let table = self.lock();
        let points = table.entries.values().flat_map(|entry| &entry.points);
        points.into_iter().any(|p| point.starts_with(p))
    }

    /// Lets storages go: the last user of each unmounts it, newest first. Failures are logged, and do
    /// not keep the others.
    pub(crate) fn release(&self, points: &[PathBuf]) {
        let mut table = self.lock();
        for point in points.iter().rev() {
            if let Some(entry) = table.entries.get_mut(point) {
                entry.users = entry.users.saturating_sub(1);
            }
        }
        self.end_unused(table);
    }

    /// Ends what was to stay until the sandbox ends.
    pub(crate) fn release_kept(&self) {
        let mut table = self.lock();
        for entry in table.entries.values_mut() {
            entry.kept = false;
        }
        self.end_unused(table);
    }

    fn end_unused(&self, mut table: MutexGuard<'_, Table>) {
        let mut last = Vec::new();
        for (point, entry) in &mut table.entries {
            if entry.users == 0 && !entry.kept && matches!(entry.state, State::Made(_)) {
                let State::Made(made) = std::mem::replace(&mut entry.state, State::Ending) else {
                    continue;
                };
                last.push((entry.serial, point.clone(), entry.points.clone(), made));
            }
        }
        drop(table);
        last.sort_by_key(|(serial, ..)| std::cmp::Reverse(*serial));
        for (_, point, points, made) in &last {
            end(point, points, made);
        }
        let mut table = self.lock();
        for (_, point, ..) in &last {
            table.entries.remove(point);
        }
        if !last.is_empty() {
            self.note(&table.entries);
            drop(std::fs::remove_dir(&self.scratch));
        }
        drop(table);
        self.changed.notify_all();
    }

    /// Notes what is mounted now. A failure leaves a note too many, which does no harm.
    fn note(&self, entries: &BTreeMap<PathBuf, Entry>) {
        if let Err(e) = self.journal.write(points(entries)) {
            log::warn!("cannot note which storages are mounted: {e}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unmounts one storage. Only an empty directory goes: data of a local storage stays where it is until
/// its owner removes it, and a mount point of ours is empty.
fn end(point: &Path, points: &[PathBuf], made: &Made) {
    sys::failpoint!("agent.storage.unmount.before");
    made.stop();
    for mounted in points.iter().rev() {
        match unmount(mounted, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => {
                log::warn!("cannot unmount storage {}: {e}", mounted.display());
                return;
            }
        }
    }
    sys::failpoint!("agent.storage.unmount.after");
    drop(std::fs::remove_dir(point));
    if let Some(scratch) = &made.scratch
        && let Err(e) = remove::tree(scratch)
    {
        log::warn!("cannot remove {}: {e}", scratch.display());
    }
}

/// Mount points, oldest first.
fn points(entries: &BTreeMap<PathBuf, Entry>) -> impl Iterator<Item = &Path> {
    let mut entries: Vec<_> = entries.values().collect();
    entries.sort_by_key(|entry| entry.serial);
    entries
        .into_iter()
        .flat_map(|entry| entry.points.iter().map(PathBuf::as_path))
}
