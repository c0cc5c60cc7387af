//! The last steps: where it runs, what runs, when, and the jump.

use crate::{
    calls::{self, CStr},
    child::{Child, Fail, close_range},
    message::{Act, Kind},
    plan::{Fd, List, NO_FD, Str},
    raw::{Errno, sys},
};

pub(super) fn chdir(c: &mut Child<'_, '_>, path: Str, again: bool) -> Result<(), Fail> {
    if again && !c.chdir_again {
        return Ok(());
    }
    match calls::chdir(c.str(path)) {
        Ok(()) => {}
        // Root may be nobody on a network filesystem where the user is somebody.
        Err(libc::EACCES) if !again => {
            c.chdir_again = true;
            return Ok(());
        }
        Err(errno) => return Err(errno.into()),
    }
    inside_root()
}

/// CVE-2024-21626: a path may lead to a directory outside, by a leaked descriptor in /proc/self/fd.
#[inline(never)]
fn inside_root() -> Result<(), Fail> {
    let mut buffer = [0_u8; calls::PATH_MAX];
    // SAFETY: the kernel writes at most as many bytes as the buffer has.
    let got = unsafe { sys!(SYS_getcwd, buffer.as_mut_ptr(), calls::PATH_MAX) };
    match got {
        // Outside of the root it says "(unreachable)/…".
        Ok(_) if buffer.first() == Some(&b'/') => Ok(()),
        Ok(_) => Err(Fail {
            errno: libc::EACCES,
            act: Act::OutsideRoot,
        }),
        Err(errno) => Err(Fail {
            errno,
            act: Act::OutsideRoot,
        }),
    }
}

pub(super) fn find(c: &mut Child<'_, '_>, name: Str, path: Str) -> Result<(), Fail> {
    let (name, path) = (c.str(name), c.str(path));
    let found = &mut c.program;
    found.clear();
    if name.bytes().contains(&b'/') {
        found.push(name.bytes())?;
        return runnable(found.as_c());
    }
    if name.is_empty() {
        return Err(Fail {
            errno: libc::ENOENT,
            act: Act::NotInPath,
        });
    }
    let mut denied = false;
    let mut path = path.bytes();
    loop {
        let end = path.iter().position(|&b| b == b':');
        let dir = path.get(..end.unwrap_or(path.len())).unwrap_or_default();
        found.clear();
        let made = (if dir.is_empty() {
            Ok(())
        } else {
            found.push(dir)
        })
        .and_then(|()| {
            if dir.is_empty() {
                Ok(())
            } else {
                found.push(b"/")
            }
        })
        .and_then(|()| found.push(name.bytes()));
        if made.is_ok() {
            match runnable(found.as_c()) {
                Ok(()) => return Ok(()),
                Err(fail) => denied |= fail.errno == libc::EACCES,
            }
        }
        match end.and_then(|end| path.get(end + 1..)) {
            Some(rest) => path = rest,
            None => break,
        }
    }
    let errno = if denied { libc::EACCES } else { libc::ENOENT };
    Err(Fail {
        errno,
        act: Act::NotInPath,
    })
}

/// Whether it can be executed. What a filter older than these calls refuses, execve will tell.
fn runnable(path: CStr<'_>) -> Result<(), Fail> {
    // SAFETY: the path ends in NUL.
    let access = unsafe {
        sys!(
            SYS_faccessat2,
            libc::AT_FDCWD,
            path.ptr(),
            libc::X_OK,
            libc::AT_EACCESS
        )
    };
    match access {
        Ok(_) | Err(libc::EPERM | libc::ENOSYS) => {}
        Err(errno) => return Err(errno.into()),
    }
    if calls::stat_followed(path).is_ok_and(|stat| calls::is_dir(stat.mode)) {
        return Err(Fail {
            errno: libc::EACCES,
            act: Act::IsDirectory,
        });
    }
    Ok(())
}

pub(super) fn close_on_exec(first: u32) -> Result<(), Fail> {
    const CLOEXEC: u32 = 4;
    let first = i32::try_from(first).unwrap_or(i32::MAX);
    let _ = close_range(first, i32::MAX, CLOEXEC);
    Ok(())
}

/// Gives back what the parent, and our steps so far, once needed of the stack: a container may wait for
/// hours. Pages below the stack pointer hold nothing; what lies below the stack itself is passed over.
fn drop_stack() {
    const PAGE: usize = 4096;
    const LENGTH: usize = 64 * PAGE;
    let page = crate::raw::stack_pointer() & !(PAGE - 1);
    // A page between, for what the compiler keeps below the pointer.
    let start = page.wrapping_sub(PAGE).wrapping_sub(LENGTH);
    // SAFETY: everything below the stack pointer is dead, however frames are laid out (the address of a
    // variable would not tell: a frame of several pages may hold others below it). The one
    // handler that may run there exits, on whatever pages it finds, and calls to come find fresh ones of zeros.
    let _ = unsafe { sys!(SYS_madvise, start, LENGTH, libc::MADV_DONTNEED) };
}

pub(super) fn await_start(c: &mut Child<'_, '_>, fifo: Fd, status: Fd) -> Result<(), Fail> {
    // Before Ready: who sees a created container sees a process that no longer holds what it was made of.
    c.forget_made_in();
    for fd in [c.mask_dir, c.mask_null] {
        if fd >= 0 {
            c.spent(fd);
        }
    }
    c.close_spent();
    c.tell(Kind::Ready, 0, Act::Itself);
    if fifo == NO_FD {
        return c.wait_for_parent();
    }
    // A parent that dies before it has written down that we are here must not leave us behind.
    c.wait_for_parent()?;
    let (fifo, status) = (c.fd(fifo), c.fd(status));
    // Who made us may be gone from here on; who starts us reads the status.
    calls::close(c.plan.channel);
    c.report = status;
    drop_stack();
    let mut byte = [0_u8; 1];
    loop {
        // SAFETY: one byte of room.
        match unsafe { sys!(SYS_read, fifo, byte.as_mut_ptr(), 1_usize) } {
            Ok(1) => break,
            Err(libc::EINTR) => {}
            Ok(_) => {
                return Err(Fail {
                    errno: libc::EPIPE,
                    act: Act::ParentGone,
                });
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    // They do not know the steps before: the next is number 0.
    c.at = u32::MAX;
    Ok(())
}

pub(super) fn exec(c: &Child<'_, '_>, args: List, env: List) -> Result<(), Fail> {
    let program = if c.program.is_empty() {
        calls::EMPTY
    } else {
        c.program.as_c()
    };
    calls::empty_signal_mask();
    // SAFETY: the program ends in NUL; the lists are pointers to NUL-terminated strings of the plan,
    // ended by a null (made in `launch`).
    let result: Result<usize, Errno> =
        unsafe { sys!(SYS_execve, program.ptr(), c.pointers(args), c.pointers(env)) };
    result?;
    Ok(())
}
