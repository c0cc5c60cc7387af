//! The disk begins while files are still made.
//!
//! All that is imported is synced at its end, by one syncfs; small files wait in the page cache until then, and
//! while the kernel writes them nobody has anything to do: a sixth of a pull on two cores. So most of them are
//! written once before, when the processors are still busy. Once only: while a directory's block is on its
//! way to the disk nothing can be made in it. (An order to write each file when it is made costs more than it
//! saves: the kernel allocates and the disk is called for each alone.)

use std::sync::{
    Condvar, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::store::lock;

/// Packed bytes below which the last sync alone is as fast.
const LEAST: u64 = 32 << 20;

/// Tells when it is time.
#[derive(Debug)]
pub(super) struct Early {
    /// Packed bytes until then.
    left: AtomicU64,
    now: Mutex<Now>,
    bell: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Now {
    /// So many are at work.
    Before(usize),
    Due,
    /// All have gone before it was time.
    Over,
}

impl Early {
    /// For layers of `total` packed bytes and so many `workers`; `None` where it is not worth it.
    pub(super) fn new(total: u64, workers: usize) -> Option<Self> {
        (total >= LEAST).then(|| Self {
            left: AtomicU64::new(total / 4 * 3),
            now: Mutex::new(Now::Before(workers)),
            bell: Condvar::new(),
        })
    }

    /// So many more bytes are unpacked.
    pub(super) fn more(&self, bytes: u64) {
        let less = |left: u64| Some(left.saturating_sub(bytes));
        let left = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        // Once: by whom it reaches 0.
        if left.is_ok_and(|left| left > 0 && left <= bytes) {
            *lock(&self.now) = Now::Due;
            self.bell.notify_all();
        }
    }

    /// Waits until it is time; `false`: it never was.
    pub(super) fn is_due(&self) -> bool {
        let now = lock(&self.now);
        let now = self
            .bell
            .wait_while(now, |now| matches!(now, Now::Before(_)));
        *now.unwrap_or_else(PoisonError::into_inner) == Now::Due
    }

    /// One of the workers, until it is dropped.
    pub(super) fn worker(&self) -> Worker<'_> {
        Worker(self)
    }
}

/// See [`Early::worker`].
pub(super) struct Worker<'a>(&'a Early);

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        let mut now = lock(&self.0.now);
        *now = match *now {
            Now::Before(0 | 1) => Now::Over,
            Now::Before(workers) => Now::Before(workers - 1),
            other => other,
        };
        self.0.bell.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_at_three_quarters_and_little_is_not_worth_it() {
        assert!(Early::new(LEAST - 1, 2).is_none());
        let early = Early::new(LEAST, 2).unwrap();
        let worker = early.worker();
        early.more(LEAST / 4 * 3 - 1);
        assert_eq!(*lock(&early.now), Now::Before(2));
        early.more(1);
        assert!(early.is_due());
        early.more(LEAST);
        drop(worker);
        assert!(early.is_due());
    }

    #[test]
    fn who_waits_is_let_go_when_all_have_failed() {
        let early = Early::new(LEAST, 2).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| early.is_due());
            drop(early.worker());
            early.more(LEAST / 2);
            drop(early.worker());
            assert!(!waits.join().unwrap());
        });
    }
}
