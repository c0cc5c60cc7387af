//! clone3, and clone where an old seccomp profile answers clone3 with ENOSYS or EPERM.

use crate::raw::{Errno, sys};

/// CLONE_PARENT.
pub(crate) const PARENT: u64 = 0x8000;
const PIDFD: u64 = 0x1000;
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args`, second version (88 bytes).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

pub(crate) struct Spawned {
    /// 0 in the child.
    pub(crate) pid: i32,
    /// -1 in the child, or if none was asked for.
    pub(crate) pidfd: i32,
    /// The cgroup was taken.
    pub(crate) into_cgroup: bool,
}

/// Forks: the child has a copy of our memory and goes on from here.
pub(crate) fn clone(
    flags: u64,
    exit_signal: u64,
    cgroup: i32,
    want_pidfd: bool,
) -> Result<Spawned, Errno> {
    let mut pidfd = -1_i32;
    let place = &raw mut pidfd;
    let flags = if want_pidfd { flags | PIDFD } else { flags };
    let mut args = CloneArgs {
        flags,
        exit_signal,
        pidfd: if want_pidfd {
            place.expose_provenance() as u64
        } else {
            0
        },
        ..CloneArgs::default()
    };
    if let Ok(cgroup) = u64::try_from(cgroup) {
        args.flags |= INTO_CGROUP;
        args.cgroup = cgroup;
    }
    let into_cgroup = args.flags & INTO_CGROUP != 0;
    // SAFETY: no CLONE_VM and no stack: the child runs on a copy of this memory, as after fork. The
    // kernel writes the pidfd where it was told; args tells its size.
    let result = unsafe { sys!(SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match result {
        Err(libc::ENOSYS | libc::EPERM) => {}
        Err(errno) => return Err(errno),
        Ok(pid) => return Ok(spawned(pid, pidfd, into_cgroup)),
    }
    // Flags above 32 bits do not exist here; the exit signal shares the low byte.
    let flags = flags | exit_signal;
    // SAFETY: as above; the pidfd goes where parent_tid points. The argument order after the third
    // differs between machines, and all are zero.
    let pid = unsafe { sys!(SYS_clone, flags, 0_usize, place, 0_usize, 0_usize) }?;
    Ok(spawned(pid, pidfd, false))
}

fn spawned(pid: usize, pidfd: i32, into_cgroup: bool) -> Spawned {
    let pid = crate::calls::int(pid);
    // The child's copy of the place may hold the number as well; the descriptor is the parent's.
    Spawned {
        pid,
        pidfd: if pid == 0 { -1 } else { pidfd },
        into_cgroup,
    }
}
