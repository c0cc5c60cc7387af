//! Signals as something to poll: all are blocked and read from a descriptor, so that no handler
//! ever runs and none is lost between a look and a wait.

use std::{
    io,
    mem::{self, MaybeUninit},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

/// A descriptor that is readable while a signal is pending.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks every signal that can be blocked, in this thread and in those that it will start, and
    /// opens a descriptor for them (CLOEXEC, non-blocking).
    ///
    /// What the process executes later inherits the mask unless it is emptied before.
    ///
    /// # Errors
    /// The kernel's: EMFILE, ENOMEM …
    pub fn block_all() -> io::Result<Self> {
        let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: the pointer is to a whole sigset_t.
        unsafe { libc::sigfillset(set.as_mut_ptr()) };
        // SAFETY: zeroed and filled above; a sigset_t is plain integers.
        let set = unsafe { set.assume_init() };
        // SAFETY: both pointers are valid or null; the old mask is not asked for.
        let rc =
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, ptr::null_mut()) };
        if rc != 0 {
            return Err(io::Error::from_raw_os_error(rc));
        }
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set is valid; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor; nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next pending signal's number, `None` when there is none.
    ///
    /// # Errors
    /// The kernel's answer to read(2).
    pub fn read(&self) -> io::Result<Option<i32>> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = mem::size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is `size` bytes that we own.
        let n = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if n < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            };
        }
        // SAFETY: zeroed above and filled by the kernel, which writes whole records only.
        let info = unsafe { info.assume_init() };
        Ok(i32::try_from(info.ssi_signo).ok())
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::SignalFd;

    #[test]
    fn a_blocked_signal_is_read() {
        // On a thread of its own: the mask stays changed, and a signal to the thread stays with it.
        std::thread::spawn(|| {
            let signals = SignalFd::block_all().unwrap();
            assert_eq!(signals.read().unwrap(), None);
            // SAFETY: raise takes an integer; the signal is blocked in this thread.
            unsafe { libc::raise(libc::SIGUSR1) };
            assert_eq!(signals.read().unwrap(), Some(libc::SIGUSR1));
            assert_eq!(signals.read().unwrap(), None);
        })
        .join()
        .unwrap();
    }
}
