//! Orphans: processes whose parents ended become children of the agent (a child subreaper), and someone
//! has to take their exit statuses.
//!
//! ```text
//!   process of a client  --its pidfd-->  supervise: records, then reaps
//!   child of the core    (hook, helper)  the core reaps it itself
//!   anything else        --SIGCHLD---->  sweep: reaped here
//! ```
//! While the core works ([`Busy`]) an unknown child may be its own, so the sweep waits. It also stops at
//! an ended process that is known: its supervisor is about to reap it and wakes the sweep again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What the sweep must leave alone.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    known: Mutex<BTreeSet<i32>>,
    busy: AtomicUsize,
    again: Notify,
}

/// The core is at work: children that nobody knows may be its own.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Reaper>);

impl Busy {
    /// A process of a client: its supervisor will reap it.
    pub(crate) fn adopt(&self, pid: i32) {
        self.0.known().insert(pid);
    }

    /// It was reaped.
    pub(crate) fn forget(&self, pid: i32) {
        self.0.forget(pid);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.busy.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.again.notify_one();
        }
    }
}

impl Reaper {
    /// To be held around every call of the core that may start a process.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(self))
    }

    /// The process was reaped.
    pub(crate) fn forget(&self, pid: i32) {
        self.known().remove(&pid);
        self.again.notify_one();
    }

    /// Reaps orphans for ever.
    ///
    /// # Errors
    /// SIGCHLD cannot be watched.
    pub(crate) async fn run(self: Arc<Self>) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut child = signal(SignalKind::child())?;
        loop {
            tokio::select! {
                _ = child.recv() => {}
                () = self.again.notified() => {}
            }
            if let Err(e) = self.sweep() {
                log::error!("reaping orphans: {e}");
            }
        }
    }

    fn sweep(&self) -> std::io::Result<()> {
        while self.busy.load(Ordering::Acquire) == 0 {
            let ended = match sys::wait::peek_any() {
                Err(e) if e.raw_os_error() == Some(libc::ECHILD) => return Ok(()),
                other => other?,
            };
            let Some(sys::wait::Ended { pid, .. }) = ended else {
                return Ok(());
            };
            if self.known().contains(&pid) {
                return Ok(());
            }
            sys::wait::reap(pid)?;
            log::debug!("reaped orphan {pid}");
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
