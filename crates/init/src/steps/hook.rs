//! createContainer and startContainer hooks: run in the container's namespaces, with the state on
//! stdin, a clean environment and a time limit.

use crate::{
    calls::{self, CStr},
    child::{Child, Fail, close_range},
    clone,
    message::Act,
    plan::{Fd, List, NO_FD, Str},
    raw::{Errno, sys},
};

/// What runs.
pub(super) struct Hook {
    pub(super) path: Str,
    pub(super) args: List,
    pub(super) env: List,
    pub(super) dir: Str,
    pub(super) timeout_ms: u32,
    pub(super) stdin: Fd,
    /// Standard output and error.
    pub(super) output: [Fd; 2],
}

pub(super) fn run(c: &mut Child<'_, '_>, hook: &Hook) -> Result<(), Fail> {
    // It may mount what it likes.
    c.forget_made_in();
    let state = c.fd(hook.stdin);
    // Each hook reads the state from its start.
    // SAFETY: touches no memory.
    unsafe { sys!(SYS_lseek, state, 0_i64, libc::SEEK_SET) }.map_err(Fail::on(Act::Open))?;
    let spawned = clone::clone(0, libc::SIGCHLD as u64, -1, true).map_err(Fail::on(Act::Clone))?;
    if spawned.pid == 0 {
        become_hook(c, hook, state);
    }
    let result = wait(spawned.pid, spawned.pidfd, hook.timeout_ms);
    calls::close(spawned.pidfd);
    result
}

/// The exit code with which a hook's process says that execve failed; the errno comes first, as its
/// own code would not be told from it.
const EXEC_FAILED: i32 = 127;

fn become_hook(c: &Child<'_, '_>, hook: &Hook, state: i32) -> ! {
    let null = calls::openat2_plain(CStr::literal(b"/dev/null\0"), libc::O_RDWR);
    let _ = calls::dup3(state, 0);
    for (fd, number) in hook.output.into_iter().zip(1..) {
        // What a hook prints belongs to no one, unless somebody asked for it; the container's streams
        // are not its.
        let to = if fd == NO_FD { null } else { Ok(c.fd(fd)) };
        if let Ok(to) = to {
            let _ = calls::dup3(to, number);
        }
    }
    let _ = close_range(3, i32::MAX, 0);
    let dir = c.str(hook.dir);
    if !dir.is_empty() {
        let _ = calls::chdir(dir);
    }
    calls::empty_signal_mask();
    // SAFETY: the path ends in NUL; the lists are pointers to NUL-terminated strings of the plan,
    // ended by a null.
    let _ = unsafe {
        sys!(
            SYS_execve,
            c.str(hook.path).ptr(),
            c.pointers(hook.args),
            c.pointers(hook.env)
        )
    };
    calls::exit(EXEC_FAILED)
}

fn wait(pid: i32, pidfd: i32, timeout_ms: u32) -> Result<(), Fail> {
    /// `struct pollfd`.
    #[repr(C)]
    struct Poll {
        fd: i32,
        events: i16,
        answer: i16,
    }
    let mut timed_out = false;
    if timeout_ms != 0 {
        let mut poll = Poll {
            fd: pidfd,
            events: libc::POLLIN,
            answer: 0,
        };
        let mut time = [
            i64::from(timeout_ms / 1000),
            i64::from(timeout_ms % 1000) * 1_000_000,
        ];
        loop {
            // SAFETY: one pollfd and a timespec, which the kernel counts down.
            let ready = unsafe {
                sys!(
                    SYS_ppoll,
                    &raw mut poll,
                    1,
                    time.as_mut_ptr(),
                    core::ptr::null::<u8>(),
                    8_usize
                )
            };
            match ready {
                Err(libc::EINTR) => {}
                Err(errno) => {
                    return Err(Fail {
                        errno,
                        act: Act::HookStatus,
                    });
                }
                Ok(0) => {
                    timed_out = true;
                    // SAFETY: touches no memory; the pid is our own child, not reaped yet.
                    let _ = unsafe { sys!(SYS_kill, pid, libc::SIGKILL) };
                    break;
                }
                Ok(_) => break,
            }
        }
    }
    let status = reap(pid).map_err(Fail::on(Act::HookStatus))?;
    if timed_out {
        return Err(Fail {
            errno: libc::ETIMEDOUT,
            act: Act::HookTimeout,
        });
    }
    match status {
        0 => Ok(()),
        status if status == EXEC_FAILED << 8 => Err(Fail {
            errno: status,
            act: Act::HookExec,
        }),
        status => Err(Fail {
            errno: status,
            act: Act::HookStatus,
        }),
    }
}

fn reap(pid: i32) -> Result<i32, Errno> {
    let mut status = 0_i32;
    loop {
        // SAFETY: the kernel writes one int.
        let got = unsafe {
            sys!(
                SYS_wait4,
                pid,
                &raw mut status,
                libc::__WALL,
                core::ptr::null::<u8>()
            )
        };
        match got {
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => return Ok(status),
        }
    }
}
