//! Processes by file descriptor: the number cannot be reused under our feet (Linux 5.3).

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    ptr,
};

/// Opens a pidfd of process `pid` (CLOEXEC). A zombie can be opened as well.
///
/// # Errors
/// ESRCH when there is no such process.
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_raw(pid)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))?;
    Ok(rustix::process::pidfd_open(
        pid,
        rustix::process::PidfdFlags::empty(),
    )?)
}

/// Sends any signal, real-time ones included; 0 only checks.
///
/// # Errors
/// ESRCH when the process was reaped, EPERM, EINVAL for a bad number.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info: *const libc::siginfo_t = ptr::null();
    // SAFETY: a null siginfo makes the kernel fill one as kill(2) does; no memory of ours is touched.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            info,
            0_u32,
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A duplicate of the process' descriptor `number` (CLOEXEC; Linux 5.6).
///
/// # Errors
/// EBADF when it has none of that number, EPERM without the right to trace it, ESRCH.
pub fn get_fd(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_getfd(
        pidfd,
        number,
        rustix::process::PidfdGetfdFlags::empty(),
    )?)
}

/// Whether the process still runs (a zombie does not). Never blocks.
///
/// # Errors
/// The kernel's answer to poll(2).
pub fn alive(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    loop {
        // A pending signal interrupts also a call that would not have waited.
        match poll(&mut fds, Some(&Timespec::default())) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return Ok(ready? == 0),
        }
    }
}
