//! Waiting for children by hand: look first (WNOWAIT), then reap by pidfd.
//!
//! ```text
//! SIGCHLD ─► peek_any() ─► Some(pid, Exit) ─► look the pid up ─► reap(pid)
//!                      └─► None: nothing to reap now
//! ```
//! A program that is a child subreaper gets orphans whose pids it has never seen; looking before
//! reaping lets it tell them from its own children without racing against itself.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd},
};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It called exit with this code.
    Code(i32),
    /// It died of this signal.
    Signal(i32),
}

impl Exit {
    /// The code that shells and runtimes report: the exit code, or 128 plus the signal.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// A child that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its pid in our pid namespace.
    pub pid: i32,
    /// How it ended.
    pub exit: Exit,
}

/// Looks, without reaping and without waiting, for any child that has ended.
///
/// # Errors
/// ECHILD when there is no child at all.
pub fn peek_any() -> io::Result<Option<Ended>> {
    waitid(
        libc::P_ALL,
        0,
        libc::WEXITED | libc::WNOWAIT | libc::WNOHANG | libc::__WALL,
    )
}

/// Reaps the ended child `pid` without waiting; `None` when it still lives.
///
/// # Errors
/// ECHILD when it is not our child, or was reaped already.
pub fn reap(pid: i32) -> io::Result<Option<Ended>> {
    waitid(
        libc::P_PID,
        id(pid)?,
        libc::WEXITED | libc::WNOHANG | libc::__WALL,
    )
}

/// Waits until the child behind `pidfd` has ended, and reaps it.
///
/// # Errors
/// ECHILD when it is not our child, or was reaped already.
pub fn wait(pidfd: BorrowedFd<'_>) -> io::Result<Ended> {
    by_pidfd(pidfd, 0)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
}

/// Reaps the child behind `pidfd` without waiting; `None` when it still lives.
///
/// # Errors
/// ECHILD when it is not our child, or was reaped already.
pub fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ended>> {
    by_pidfd(pidfd, libc::WNOHANG)
}

fn by_pidfd(pidfd: BorrowedFd<'_>, flags: i32) -> io::Result<Option<Ended>> {
    waitid(
        libc::P_PIDFD,
        id(pidfd.as_raw_fd())?,
        libc::WEXITED | libc::__WALL | flags,
    )
}

fn id(number: i32) -> io::Result<libc::id_t> {
    libc::id_t::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

fn waitid(kind: libc::idtype_t, id: libc::id_t, flags: i32) -> io::Result<Option<Ended>> {
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: the pointer is to a whole siginfo_t that lives through the call.
        let rc = unsafe { libc::waitid(kind, id, info.as_mut_ptr(), flags) };
        if rc != 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        }
        // SAFETY: siginfo_t is plain integers, zeroed above and filled by the kernel.
        let info = unsafe { info.assume_init() };
        // SAFETY: waitid fills the SIGCHLD part of the union, or leaves the zeroes.
        let pid = unsafe { info.si_pid() };
        if pid == 0 {
            return Ok(None);
        }
        // SAFETY: as for si_pid.
        let status = unsafe { info.si_status() };
        let exit = if info.si_code == libc::CLD_EXITED {
            Exit::Code(status)
        } else {
            Exit::Signal(status)
        };
        return Ok(Some(Ended { pid, exit }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    #[expect(
        clippy::zombie_processes,
        reason = "reaped by the functions under test"
    )]
    fn a_child_is_reaped_once() {
        let child = std::process::Command::new("/bin/sh")
            .args(["-c", "exit 7"])
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let fd = crate::pidfd::open(pid).unwrap();
        assert_eq!(
            wait(fd.as_fd()).unwrap(),
            Ended {
                pid,
                exit: Exit::Code(7)
            }
        );
        assert_eq!(reap(pid).unwrap_err().raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    #[expect(
        clippy::zombie_processes,
        reason = "reaped by the functions under test"
    )]
    fn a_signal_counts_from_128() {
        let child = std::process::Command::new("/bin/sleep")
            .arg("9")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let fd = crate::pidfd::open(pid).unwrap();
        assert_eq!(try_wait(fd.as_fd()).unwrap(), None);
        crate::pidfd::send_signal(fd.as_fd(), libc::SIGKILL).unwrap();
        assert_eq!(wait(fd.as_fd()).unwrap().exit.code(), 137);
    }
}
