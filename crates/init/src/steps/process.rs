//! What a process inherits and keeps: limits, keyring, session, stdio, scheduling, filters.

use crate::{
    calls::{self, CStr, EMPTY, IN_ROOT, NO_XDEV, dup3, prctl},
    child::{Child, Fail},
    message::{Act, Kind},
    plan::{Fd, NO_FD, Str},
    raw::{Errno, sys},
};

pub(super) fn open_proc(c: &mut Child<'_, '_>, host: Fd, to: Fd) -> Result<(), Fail> {
    const NOSUID_NODEV_NOEXEC: u64 = 2 | 4 | 8;
    match super::mount::simple(CStr::literal(b"proc\0"), &[], NOSUID_NODEV_NOEXEC) {
        Ok(fd) => c.set_fd(to, fd),
        // In a user namespace a fresh procfs is refused where ours is partly covered
        // (mount_too_revealing): then the host's, opened and checked by the parent.
        Err(libc::EPERM) => c.set_fd(to, c.fd(host)),
        Err(errno) => return Err(errno.into()),
    }
    Ok(())
}

pub(super) fn write_proc(c: &Child<'_, '_>, proc: Fd, path: Str, value: Str) -> Result<(), Fail> {
    let resolve = IN_ROOT | NO_XDEV;
    let fd = calls::openat2(c.fd(proc), c.str(path), libc::O_WRONLY, 0, resolve)
        .map_err(Fail::on(Act::Open))?;
    let result = calls::write(fd, c.str(value).bytes()).map_err(Fail::on(Act::Write));
    calls::close(fd);
    result
}

pub(super) fn rlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Fail> {
    let limit = [soft, hard];
    // SAFETY: struct rlimit64 is two u64, which live through the call.
    unsafe {
        sys!(
            SYS_prlimit64,
            0,
            resource,
            limit.as_ptr(),
            core::ptr::null::<u8>()
        )
    }?;
    Ok(())
}

pub(super) fn keyring(c: &Child<'_, '_>, name: Str) -> Result<(), Fail> {
    // SAFETY: the name ends in NUL.
    match unsafe {
        sys!(
            SYS_keyctl,
            libc::KEYCTL_JOIN_SESSION_KEYRING,
            c.str(name).ptr()
        )
    } {
        // A kernel without keys has none to inherit either.
        Ok(_) | Err(libc::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

pub(super) fn setsid() -> Result<(), Fail> {
    // SAFETY: touches no memory.
    unsafe { sys!(SYS_setsid) }?;
    Ok(())
}

pub(super) fn stdio(c: &Child<'_, '_>, fds: [Fd; 3]) -> Result<(), Fail> {
    for (fd, number) in fds.into_iter().zip(0..) {
        if fd != NO_FD {
            dup3(c.fd(fd), number).map_err(Fail::on(Act::Dup))?;
        }
    }
    Ok(())
}

pub(super) fn personality(value: u64) -> Result<(), Fail> {
    // SAFETY: touches no memory.
    unsafe { sys!(SYS_personality, value) }?;
    Ok(())
}

pub(super) fn scheduler(
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    times: [u64; 3],
) -> Result<(), Fail> {
    /// `struct sched_attr`, first version (48 bytes).
    #[repr(C)]
    struct Attr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        times: [u64; 3],
    }
    let attr = Attr {
        size: 48,
        policy,
        flags,
        nice,
        priority,
        times,
    };
    // SAFETY: the attribute tells its size and lives through the call.
    unsafe { sys!(SYS_sched_setattr, 0, &raw const attr, 0) }?;
    Ok(())
}

pub(super) fn io_priority(value: u32) -> Result<(), Fail> {
    const WHO_PROCESS: i32 = 1;
    // SAFETY: touches no memory.
    unsafe { sys!(SYS_ioprio_set, WHO_PROCESS, 0, value) }?;
    Ok(())
}

pub(super) fn affinity(c: &Child<'_, '_>, first: u32, count: u32) -> Result<(), Fail> {
    let mask = c.numbers(first, count);
    // SAFETY: the kernel reads as many bytes as the slice has.
    unsafe { sys!(SYS_sched_setaffinity, 0, mask.len() * 4, mask.as_ptr()) }?;
    Ok(())
}

pub(super) fn memory_policy(
    c: &Child<'_, '_>,
    mode: u32,
    first: u32,
    count: u32,
) -> Result<(), Fail> {
    let mask = c.numbers(first, count);
    let nodes = if mask.is_empty() {
        core::ptr::null()
    } else {
        mask.as_ptr()
    };
    // The kernel takes one off maxnode.
    let bits = if mask.is_empty() {
        0
    } else {
        mask.len() * 32 + 1
    };
    // SAFETY: the kernel reads as many bits as the slice has, in whole words of 64 (the planner
    // pads to pairs).
    unsafe { sys!(SYS_set_mempolicy, mode, nodes, bits) }?;
    Ok(())
}

pub(super) fn no_new_privs() -> Result<(), Fail> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)?;
    Ok(())
}

pub(super) fn seccomp(c: &Child<'_, '_>, flags: u32) -> Result<(), Fail> {
    /// `struct sock_fprog`.
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const u8,
    }
    const SET_MODE_FILTER: u32 = 1;
    const NEW_LISTENER: u32 = 8;
    let filter = c.plan.filter;
    let length = u16::try_from(filter.len() / 8).map_err(|_| Fail::from(libc::E2BIG))?;
    let program = Program {
        length,
        filter: filter.as_ptr(),
    };
    // SAFETY: the program names as many 8-byte instructions as the slice holds.
    let answer = unsafe { sys!(SYS_seccomp, SET_MODE_FILTER, flags, &raw const program) }?;
    if flags & NEW_LISTENER == 0 {
        return Ok(());
    }
    let listener = calls::int(answer);
    // The parent takes it by number (pidfd_getfd): sendmsg may be a call that is notified.
    #[expect(clippy::cast_sign_loss, reason = "a descriptor is not negative")]
    c.tell(Kind::Listener, listener as u32, Act::Itself);
    c.wait_for_parent()?;
    // Ours would keep calls waiting for a listener that has died.
    calls::close(listener);
    Ok(())
}

pub(super) fn umask(mask: u32) -> Result<(), Fail> {
    // SAFETY: touches no memory.
    unsafe { sys!(SYS_umask, mask) }?;
    Ok(())
}

/// Makes stdio's owner the user, so that it may open /dev/stdout again (as `docker run -u` expects).
pub(super) fn give_terminal(fd: i32, uid: u32) -> Result<(), Errno> {
    // SAFETY: the path is the empty literal. Group -1 (all ones) stays.
    unsafe {
        sys!(
            SYS_fchownat,
            fd,
            EMPTY.ptr(),
            uid,
            u32::MAX,
            libc::AT_EMPTY_PATH
        )
    }?;
    Ok(())
}
