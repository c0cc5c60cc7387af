//! One system call of a piece of work fails, or kills its process: the n-th that touches files,
//! whichever that is.
//!
//! ```text
//!  supervisor thread                          the work's thread, and those that it starts
//!   ◄──────────── listener ──────────────────  seccomp(NEW_LISTENER): calls on files are told
//!   count; is it the n-th?  ◄───── told ─────  openat(…)            (waits)
//!      no: go on            ────────────────►  is carried out
//!      yes: −errno          ────────────────►  is not carried out, and answers errno
//! ```
//! No library between the program and the kernel is spared, the database included, and nothing but the
//! work is touched. Compiled in by the feature `failpoints` only.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What is counted: calls that look at files, and those that change them or may (true).
const CALLS: [(libc::c_long, &str, bool); 47] = [
    (libc::SYS_open, "open", true),
    (libc::SYS_openat, "openat", true),
    (libc::SYS_openat2, "openat2", true),
    (libc::SYS_creat, "creat", true),
    (libc::SYS_read, "read", false),
    (libc::SYS_pread64, "pread64", false),
    (libc::SYS_write, "write", true),
    (libc::SYS_writev, "writev", true),
    (libc::SYS_pwrite64, "pwrite64", true),
    (libc::SYS_pwritev, "pwritev", true),
    (libc::SYS_copy_file_range, "copy_file_range", true),
    (libc::SYS_sendfile, "sendfile", true),
    (libc::SYS_lseek, "lseek", false),
    (libc::SYS_ftruncate, "ftruncate", true),
    (libc::SYS_fallocate, "fallocate", true),
    (libc::SYS_fsync, "fsync", true),
    (libc::SYS_fdatasync, "fdatasync", true),
    (libc::SYS_syncfs, "syncfs", true),
    (libc::SYS_sync_file_range, "sync_file_range", true),
    (libc::SYS_mkdir, "mkdir", true),
    (libc::SYS_mkdirat, "mkdirat", true),
    (libc::SYS_rmdir, "rmdir", true),
    (libc::SYS_unlink, "unlink", true),
    (libc::SYS_unlinkat, "unlinkat", true),
    (libc::SYS_rename, "rename", true),
    (libc::SYS_renameat, "renameat", true),
    (libc::SYS_renameat2, "renameat2", true),
    (libc::SYS_link, "link", true),
    (libc::SYS_linkat, "linkat", true),
    (libc::SYS_symlink, "symlink", true),
    (libc::SYS_symlinkat, "symlinkat", true),
    (libc::SYS_mknodat, "mknodat", true),
    (libc::SYS_chmod, "chmod", true),
    (libc::SYS_fchmod, "fchmod", true),
    (libc::SYS_fchmodat, "fchmodat", true),
    (libc::SYS_fchown, "fchown", true),
    (libc::SYS_fchownat, "fchownat", true),
    (libc::SYS_utimensat, "utimensat", true),
    (libc::SYS_setxattr, "setxattr", true),
    (libc::SYS_fsetxattr, "fsetxattr", true),
    (libc::SYS_stat, "stat", false),
    (libc::SYS_fstat, "fstat", false),
    (libc::SYS_newfstatat, "newfstatat", false),
    (libc::SYS_statx, "statx", false),
    (libc::SYS_getdents64, "getdents64", false),
    (libc::SYS_flock, "flock", false),
    (libc::SYS_readlinkat, "readlinkat", false),
];

/// `AUDIT_ARCH_X86_64`.
const ARCH: u32 = 0xc000_003e;
/// Offsets into `struct seccomp_data`.
const NR: u32 = 0;
const ARCH_AT: u32 = 4;

/// What was seen of a piece of work.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Calls on files.
    pub calls: u64,
    /// The one that failed, if there were so many.
    pub failed: Option<&'static str>,
}

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It fails with this error; all calls are counted.
    Fail(i32),
    /// The process is killed before it; only calls that may change something are counted.
    Kill,
}

/// Runs `work` on a thread of its own; at its `nth` call on a file, counted from 1 over all threads
/// that it starts, `act` happens. 0: nothing does.
///
/// # Errors
/// The filter cannot be installed.
///
/// # Panics
/// If `work` does.
pub fn nth<T: Send>(nth: u64, act: Act, work: impl FnOnce() -> T + Send) -> io::Result<(T, Seen)> {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let (give, get) = mpsc::channel::<OwnedFd>();
        let ended = &ended;
        let supervisor = scope.spawn(move || {
            let Ok(listener) = get.recv() else {
                return Ok(Seen::default());
            };
            supervise(&listener, nth, act, ended)
        });
        let worker = scope.spawn(move || -> io::Result<T> {
            let listener = listen()?;
            let _sent = give.send(listener);
            Ok(work())
        });
        let done = worker.join();
        ended.store(true, Ordering::Relaxed);
        let seen = supervisor.join();
        match (done, seen) {
            (Ok(done), Ok(seen)) => Ok((done?, seen?)),
            (Err(panic), _) | (_, Err(panic)) => std::panic::resume_unwind(panic),
        }
    })
}

/// Answers all calls until the work has ended.
fn supervise(listener: &OwnedFd, nth: u64, act: Act, ended: &AtomicBool) -> io::Result<Seen> {
    let mut seen = Seen::default();
    let look = Timespec {
        tv_sec: 0,
        tv_nsec: 20_000_000,
    };
    loop {
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        let ready = poll(&mut fds, Some(&look))?;
        if ready == 0 || !fds[0].revents().contains(PollFlags::IN) {
            if ended.load(Ordering::Relaxed) {
                return Ok(seen);
            }
            if ready != 0 {
                // All threads have gone, and this one will be told soon.
                thread::sleep(std::time::Duration::from_millis(1));
            }
            continue;
        }
        let Some((id, number)) = receive(listener.as_fd())? else {
            continue;
        };
        let call = CALLS.iter().find(|(call, ..)| *call == number);
        let counts = act != Act::Kill || call.is_some_and(|(.., changes)| *changes);
        seen.calls += u64::from(counts);
        let errno = match act {
            Act::Fail(errno) if seen.calls == nth => {
                seen.failed = call.map(|(_, name, _)| *name);
                Some(errno)
            }
            Act::Kill if counts && seen.calls == nth => {
                let own = rustix::process::getpid();
                rustix::process::kill_process(own, rustix::process::Signal::KILL)?;
                return Ok(seen);
            }
            _ => None,
        };
        answer(listener.as_fd(), id, errno)?;
    }
}

/// Installs the filter on this thread.
fn listen() -> io::Result<OwnedFd> {
    let statement = |code: u32, k: u32| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt: 0,
        jf: 0,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let jump = |k: u32, jt: usize, jf: usize| libc::sock_filter {
        code: u16::try_from(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K).unwrap_or(0),
        jt: u8::try_from(jt).unwrap_or(0),
        jf: u8::try_from(jf).unwrap_or(0),
        k,
    };
    let mut program = vec![
        statement(load, ARCH_AT),
        jump(ARCH, 0, CALLS.len() + 1),
        statement(load, NR),
    ];
    for (at, (call, ..)) in CALLS.iter().enumerate() {
        let call = u32::try_from(*call).map_err(io::Error::other)?;
        program.push(jump(call, CALLS.len() - at, 0));
    }
    let answer = libc::BPF_RET | libc::BPF_K;
    program.push(statement(answer, libc::SECCOMP_RET_ALLOW));
    program.push(statement(answer, libc::SECCOMP_RET_USER_NOTIF));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the call takes integers only.
    let rc = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel copies the program, which is alive through the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const filter,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next call that waits: its id and number; none where its thread has gone.
fn receive(listener: BorrowedFd<'_>) -> io::Result<Option<(u64, libc::c_long)>> {
    // SAFETY: all zeros is what the kernel wants to see in this struct of integers.
    let mut told: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request writes one such struct, alive through the call.
    let rc = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_RECV,
            &raw mut told,
        )
    };
    if rc == 0 {
        return Ok(Some((told.id, libc::c_long::from(told.data.nr))));
    }
    gone(io::Error::last_os_error()).map(|()| None)
}

/// Lets a call be carried out, or fail.
fn answer(listener: BorrowedFd<'_>, id: u64, errno: Option<i32>) -> io::Result<()> {
    let carried_out = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1);
    let mut answer = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: -errno.unwrap_or(0),
        flags: if errno.is_none() { carried_out } else { 0 },
    };
    // SAFETY: the request reads one such struct, alive through the call.
    let rc = unsafe {
        libc::ioctl(
            listener.as_raw_fd(),
            libc::SECCOMP_IOCTL_NOTIF_SEND,
            &raw mut answer,
        )
    };
    if rc == 0 {
        return Ok(());
    }
    gone(io::Error::last_os_error())
}

/// A thread that has gone needs no answer.
fn gone(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::EINTR) => Ok(()),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_call_can_fail_also_of_a_thread_that_the_work_starts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let work = || -> io::Result<()> {
            fs::create_dir(path.with_extension("dir"))?;
            let write = || fs::write(&path, b"x");
            thread::scope(|scope| scope.spawn(write).join().unwrap())?;
            fs::remove_dir(path.with_extension("dir"))
        };
        let (done, seen) = nth(0, Act::Fail(libc::EIO), work).unwrap();
        done.unwrap();
        assert_eq!((seen.calls, seen.failed), (4, None));
        for (at, call) in ["mkdir", "openat", "write", "rmdir"].iter().enumerate() {
            let _ = fs::remove_dir(path.with_extension("dir"));
            let (done, seen) = nth(at as u64 + 1, Act::Fail(libc::ENOSPC), work).unwrap();
            let error = done.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "{call}");
            assert_eq!(seen.failed, Some(*call));
        }
        // Nobody else is touched.
        fs::write(&path, b"y").unwrap();
    }
}
