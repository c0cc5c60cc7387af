//! One process that a client started: its pidfd, its streams, and how it ended.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch as channel;

use crate::exit_record::Exit;
use crate::stdio::Streams;
use crate::watch::{self, Watched};

/// A started process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) pidfd: Arc<OwnedFd>,
    pub(crate) streams: Streams,
    /// Set once, when everything is recorded.
    exit: channel::Sender<Option<Exit>>,
}

impl Process {
    pub(crate) fn new(pid: i32, pidfd: Arc<OwnedFd>, streams: Streams) -> Self {
        Self {
            pid,
            pidfd,
            streams,
            exit: channel::Sender::new(None),
        }
    }

    /// Changes from None to how the process ended.
    pub(crate) fn exit(&self) -> channel::Receiver<Option<Exit>> {
        self.exit.subscribe()
    }

    /// How the process ended, if it has.
    pub(crate) fn exited(&self) -> Option<Exit> {
        self.exit.borrow().clone()
    }

    /// Waits for the end. Safe to cancel, and to call any number of times.
    pub(crate) async fn wait(&self) -> Exit {
        let mut exit = self.exit();
        loop {
            if let Some(exit) = exit.borrow_and_update().clone() {
                return exit;
            }
            if exit.changed().await.is_err() {
                // The sender lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Tells everyone how the process ended.
    pub(crate) fn publish(&self, exit: Exit) {
        self.exit.send_replace(Some(exit));
    }

    /// Kills the process and what shares its process group, if it has not ended.
    pub(crate) fn kill_group(&self) {
        // Not reaped before this is set, and this is one thread: the pid is still the process's.
        if self.exited().is_some() {
            return;
        }
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        drop(self.signal(libc::SIGKILL));
    }

    /// Sends a signal through the pidfd, so that a reused pid is never hit; false if the process is
    /// gone.
    ///
    /// # Errors
    /// EINVAL for a number that is no signal.
    pub(crate) fn signal(&self, signal: i32) -> std::io::Result<bool> {
        match sys::pidfd::send_signal(self.pidfd.as_fd(), signal) {
            Ok(()) => Ok(true),
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// Waits until the process behind `pidfd` has ended; leaves it to be reaped.
pub(crate) async fn ended(pidfd: &AsyncFd<Watched<Arc<OwnedFd>>>) -> std::io::Result<()> {
    pidfd.readable().await.map(drop)
}

/// Watches a pidfd, which turns readable at the process's end.
pub(crate) fn watch(pidfd: &Arc<OwnedFd>) -> std::io::Result<AsyncFd<Watched<Arc<OwnedFd>>>> {
    watch::watch(Arc::clone(pidfd), Interest::READABLE)
}

/// Reaps the ended process behind `pidfd`: its exit status, or 128 + n for death by signal n.
pub(crate) fn reap(pidfd: &OwnedFd) -> std::io::Result<i32> {
    let ended = sys::wait::try_wait(pidfd.as_fd())?;
    ended
        .map(|e| e.exit.code())
        .ok_or_else(|| std::io::ErrorKind::WouldBlock.into())
}
