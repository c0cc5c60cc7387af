//! Output that a client reads call by call (ReadStdout, ReadStderr): the pipe itself is the bounded
//! buffer, so a client that does not read holds the process and nothing else.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Mutex, watch};

use crate::exit_record::Exit;
use crate::watch::Watched;

/// Largest answer of one read, bytes, whatever the client asks for: well below the frame limit.
const MAX: usize = 1024 * 1024;

/// The reading end of a process's stdout or stderr.
#[derive(Debug)]
pub(crate) struct Output {
    /// None once the end was seen. Readers take turns.
    fd: Mutex<Option<AsyncFd<Watched<Arc<OwnedFd>>>>>,
}

impl Output {
    /// `fd` must not block.
    ///
    /// # Errors
    /// The descriptor cannot be watched.
    pub(crate) fn new(fd: Arc<OwnedFd>) -> std::io::Result<Self> {
        Ok(Self {
            fd: Mutex::new(Some(crate::watch::watch(fd, Interest::READABLE)?)),
        })
    }

    /// Waits for data and returns at most `len` bytes of it (0: as much as fits); empty means the end.
    ///
    /// Once the process has ended and the pipe is empty that is the end, although a background child
    /// may still hold the pipe. Safe to cancel: nothing is read before it is returned.
    pub(crate) async fn read(
        &self,
        len: usize,
        exit: &mut watch::Receiver<Option<Exit>>,
    ) -> std::io::Result<Vec<u8>> {
        let len = if len == 0 { 64 * 1024 } else { len.min(MAX) };
        let mut slot = self.fd.lock().await;
        loop {
            let Some(fd) = slot.as_ref() else {
                return Ok(Vec::new());
            };
            let exited = tokio::select! {
                biased;
                guard = fd.readable() => {
                    let mut guard = guard?;
                    match now(&guard.get_inner().0, len) {
                        Err(Errno::AGAIN) => guard.clear_ready(),
                        Ok(data) if !data.is_empty() => return Ok(data),
                        // EIO: the last slave of the pty was closed.
                        Ok(_) | Err(Errno::IO) => *slot = None,
                        Err(e) => return Err(e.into()),
                    }
                    continue;
                }
                // An error means that the process was forgotten, which is an end too.
                exit = exit.wait_for(Option::is_some) => exit.map(drop),
            };
            drop(exited);
            return match now(&fd.get_ref().0, len) {
                Ok(data) => Ok(data),
                Err(Errno::AGAIN | Errno::IO) => Ok(Vec::new()),
                Err(e) => Err(e.into()),
            };
        }
    }
}

/// One read; what it doesn't use of the buffer is given back.
fn now(fd: &OwnedFd, len: usize) -> Result<Vec<u8>, Errno> {
    let have = usize::try_from(rustix::io::ioctl_fionread(fd.as_fd()).unwrap_or(0)).unwrap_or(len);
    let mut data = vec![0; len.min(have.max(1))];
    loop {
        match rustix::io::read(fd, &mut data[..]) {
            Err(Errno::INTR) => {}
            Ok(n) => {
                data.truncate(n);
                return Ok(data);
            }
            Err(e) => return Err(e),
        }
    }
}
