//! What several pulls want at the same time is brought once: one of them works, the others wait.
//!
//! ```text
//!  nobody's ── claim ──► coming ── done ──► here, as long as somebody holds it ──► nobody's
//!                          │ dropped: failed, cancelled
//!                          └ let go: the work itself has to wait ──► nobody's: who waits claims it
//! ```
//! Layers are known by their chain, blobs by their digest. Nobody waits in a circle: a layer's work
//! waits for layers below it only, and who fetches a blob and then waits for those lets the blob go
//! first.

use std::{
    collections::HashMap,
    fs::File,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{Error, layout, pipe::Cancel, state::LayerRecord, store::lock};

/// How often a wait looks whether its work is cancelled: that rings no bell.
const LOOK: Duration = Duration::from_millis(50);

/// A file or directory on its way into the store; it goes with this value, unless it was renamed.
#[derive(Debug)]
pub(crate) struct Passing(PathBuf);

impl Passing {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Err(error) = layout::remove(&self.0) {
            tracing::warn!(error = error.sentence(), "a pull left files behind");
        }
    }
}

/// A layer in its passing directory, complete.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) place: Passing,
    pub(super) record: LayerRecord,
    /// Its tree, whoever gives the directory its name meanwhile.
    tree: OwnedFd,
}

impl Made {
    pub(super) fn new(place: Passing, record: LayerRecord) -> Result<Self, Error> {
        let diff = place.path().join("diff");
        let tree = File::open(&diff).map_err(Error::io("open", &diff))?.into();
        Ok(Self {
            place,
            record,
            tree,
        })
    }

    /// A path of its tree that holds while this value does, also when the directory is renamed.
    pub(super) fn tree(&self) -> PathBuf {
        // With the dot it is no link to whoever opens it.
        format!("/proc/self/fd/{}/.", self.tree.as_raw_fd()).into()
    }
}

/// A blob in its passing file, whole and checked.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) place: Passing,
    file: File,
}

impl Blob {
    pub(super) fn new(place: Passing) -> Result<Self, Error> {
        let file = File::open(place.path()).map_err(Error::io("open", place.path()))?;
        Ok(Self { place, file })
    }

    /// A path by which it can be opened while this value is held, also when the file is renamed.
    pub(super) fn content(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

/// What pulls are bringing now.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    pub(super) layers: Table<Made>,
    pub(super) blobs: Table<Blob>,
}

#[derive(Debug)]
pub(super) struct Table<T> {
    slots: Mutex<HashMap<String, Slot<T>>>,
    bell: Condvar,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            slots: Mutex::default(),
            bell: Condvar::new(),
        }
    }
}

#[derive(Debug)]
enum Slot<T> {
    /// With the bytes that have come.
    Coming(Arc<AtomicU64>),
    Here(Weak<T>),
}

/// What a claim leads to.
#[derive(Debug)]
pub(super) enum Claimed<'a, T> {
    /// It has to be brought by who claims.
    Ours(Claim<'a, T>),
    /// Somebody has brought it.
    Here(Arc<T>),
    /// It is in the store, there.
    Stored(PathBuf),
}

impl<T> Table<T> {
    /// Waits while somebody else brings `key`, telling `tick` the bytes that come to them. `bytes`:
    /// where this caller will count its own. `stored`: whether the store has it by now.
    pub(super) fn claim(
        &self,
        key: &str,
        bytes: &Arc<AtomicU64>,
        cancel: &Cancel<'_>,
        tick: &dyn Fn(u64),
        stored: &dyn Fn() -> Option<PathBuf>,
    ) -> Result<Claimed<'_, T>, Error> {
        let mut slots = lock(&self.slots);
        loop {
            let coming = match slots.get(key) {
                Some(Slot::Coming(theirs)) => Arc::clone(theirs),
                Some(Slot::Here(thing)) => match thing.upgrade() {
                    Some(thing) => return Ok(Claimed::Here(thing)),
                    None => break,
                },
                None => break,
            };
            if cancel.is_set() {
                return Err(Error::Cancelled);
            }
            tick(coming.load(Ordering::Relaxed));
            let wait = self.bell.wait_timeout(slots, LOOK);
            slots = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        slots.retain(|_, slot| !matches!(slot, Slot::Here(thing) if thing.strong_count() == 0));
        slots.insert(key.to_owned(), Slot::Coming(Arc::clone(bytes)));
        drop(slots);
        let claim = Claim {
            table: self,
            key: key.to_owned(),
            holds: AtomicBool::new(true),
        };
        // Who published it has let it go after that only: what is not here yet is nowhere.
        Ok(match stored() {
            Some(path) => Claimed::Stored(path),
            None => Claimed::Ours(claim),
        })
    }
}

/// The duty to bring something, until this is dropped.
#[derive(Debug)]
pub(super) struct Claim<'a, T> {
    table: &'a Table<T>,
    key: String,
    holds: AtomicBool,
}

impl<T> Claim<'_, T> {
    /// It is there, for all who wait and for who comes while somebody holds it.
    pub(super) fn done(self, thing: &Arc<T>) {
        if self.holds.swap(false, Ordering::Relaxed) {
            let slot = Slot::Here(Arc::downgrade(thing));
            lock(&self.table.slots).insert(self.key.clone(), slot);
            self.table.bell.notify_all();
        }
    }

    /// Others need not wait for this one any more.
    pub(super) fn let_go(&self) {
        if self.holds.swap(false, Ordering::Relaxed) {
            lock(&self.table.slots).remove(&self.key);
            self.table.bell.notify_all();
        }
    }
}

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, thread};

    use super::*;

    #[test]
    fn one_of_many_brings_it_and_the_next_takes_over_from_one_that_fails() {
        let table = Table::<u32>::default();
        let (stop, brought, failed) = (
            AtomicBool::new(false),
            AtomicUsize::new(0),
            AtomicBool::new(false),
        );
        let all = std::sync::Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let (cancel, bytes) = (Cancel::new(&stop), Arc::default());
                    let thing = loop {
                        match table
                            .claim("x", &bytes, &cancel, &|_| (), &|| None)
                            .unwrap()
                        {
                            Claimed::Stored(path) => panic!("{path:?}"),
                            Claimed::Here(thing) => break thing,
                            Claimed::Ours(claim) => {
                                thread::sleep(Duration::from_millis(5));
                                if failed.swap(true, Ordering::Relaxed) {
                                    brought.fetch_add(1, Ordering::Relaxed);
                                    let thing = Arc::new(7);
                                    claim.done(&thing);
                                    break thing;
                                }
                            }
                        }
                    };
                    assert_eq!(*thing, 7);
                    all.wait();
                });
            }
        });
        assert_eq!(brought.load(Ordering::Relaxed), 1);
        // Nobody holds it any more: it has to be brought again.
        let (cancel, bytes) = (Cancel::new(&stop), Arc::default());
        let again = table
            .claim("x", &bytes, &cancel, &|_| (), &|| None)
            .unwrap();
        assert!(matches!(again, Claimed::Ours(_)));
    }

    #[test]
    fn who_waits_sees_the_bytes_can_be_cancelled_and_does_not_wait_for_what_was_let_go() {
        let table = Table::<u32>::default();
        let (stop, bytes) = (AtomicBool::new(false), Arc::new(AtomicU64::new(9)));
        let cancel = Cancel::new(&stop);
        let first = table
            .claim("x", &bytes, &cancel, &|_| (), &|| None)
            .unwrap();
        let seen = AtomicU64::new(0);
        let tick = |bytes| {
            seen.store(bytes, Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
        };
        let ended = table.claim("x", &Arc::default(), &cancel, &tick, &|| None);
        assert!(matches!(ended, Err(Error::Cancelled)));
        assert_eq!(seen.load(Ordering::Relaxed), 9);
        let Claimed::Ours(first) = first else {
            panic!("nobody else has claimed it")
        };
        first.let_go();
        let second = table
            .claim("x", &bytes, &cancel, &|_| (), &|| None)
            .unwrap();
        // The first one's work is of no use to others any more.
        first.done(&Arc::new(1));
        assert!(matches!(second, Claimed::Ours(_)));
        assert!(matches!(
            table.slots.lock().unwrap().get("x"),
            Some(Slot::Coming(_))
        ));
    }
}
