//! A process's standard input: a pipe's writing end, or the pty master.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Mutex, watch};

use crate::exit_record::Exit;
use crate::watch::Watched;

/// End of transmission: what a terminal's line discipline takes as the end of input.
const EOT: &[u8] = &[4];

/// The writing end of a process's stdin.
#[derive(Debug)]
pub(crate) struct Input {
    /// None once closed. Writers take turns.
    fd: Mutex<Option<AsyncFd<Watched<Arc<OwnedFd>>>>>,
    tty: bool,
    /// True once CloseStdin was called: ends a write that waits for room.
    closed: watch::Sender<bool>,
}

/// Why nothing (more) was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("stdin is closed")]
    Closed,
    #[error("the process has ended")]
    Ended,
    #[error("cannot write to stdin")]
    Io(#[from] std::io::Error),
}

impl Input {
    /// `fd` must not block.
    ///
    /// # Errors
    /// The descriptor cannot be watched.
    pub(crate) fn new(fd: Arc<OwnedFd>, tty: bool) -> std::io::Result<Self> {
        let fd = crate::watch::watch(fd, Interest::WRITABLE)?;
        Ok(Self {
            fd: Mutex::new(Some(fd)),
            tty,
            closed: watch::Sender::new(false),
        })
    }

    /// Writes all of `data`, waiting for room.
    ///
    /// # Errors
    /// Stdin was closed, by either side, or the process ended; a part may have been written.
    pub(crate) async fn write(
        &self,
        data: &[u8],
        exit: &mut watch::Receiver<Option<Exit>>,
    ) -> Result<(), Error> {
        let mut closed = self.closed.subscribe();
        let slot = self.fd.lock().await;
        let fd = slot.as_ref().ok_or(Error::Closed)?;
        let mut done = 0;
        while done < data.len() {
            tokio::select! {
                guard = fd.writable() => {
                    let mut guard = guard?;
                    match rustix::io::write(guard.get_inner(), &data[done..]) {
                        Ok(n) => done += n,
                        Err(Errno::INTR) => {}
                        Err(Errno::AGAIN) => guard.clear_ready(),
                        Err(Errno::PIPE) => return Err(Error::Closed),
                        Err(e) => return Err(Error::Io(e.into())),
                    }
                }
                _ = closed.wait_for(|c| *c) => return Err(Error::Closed),
                _ = exit.wait_for(Option::is_some) => return Err(Error::Ended),
            }
        }
        Ok(())
    }

    /// Ends the process's input: closes the pipe, or types ^D at a terminal (whose output goes on).
    /// Closing again changes nothing.
    pub(crate) async fn close(&self) {
        if self.closed.send_replace(true) {
            return;
        }
        let mut slot = self.fd.lock().await;
        if self.tty
            && let Some(fd) = slot.as_ref()
            && let Err(e) = rustix::io::write(fd.get_ref(), EOT)
        {
            log::debug!("^D for a closed stdin: {e}");
        }
        *slot = None;
    }
}
