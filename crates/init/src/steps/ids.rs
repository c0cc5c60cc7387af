//! Users, groups and capabilities.

use crate::{
    calls::prctl,
    child::Fail,
    message::Act,
    raw::{Errno, sys},
};

/// Capabilities that a kernel may know (CAP_LAST_CAP is 40 on Linux 6.x); beyond it the kernel says
/// EINVAL, which ends the search.
const MAX_CAP: u64 = 63;

pub(super) fn become_root(groups: bool) -> Result<(), Fail> {
    if groups {
        set_groups(&[]).map_err(Fail::on(Act::Groups))?;
    }
    set_gid(0).map_err(Fail::on(Act::Gid))?;
    set_uid(0).map_err(Fail::on(Act::Uid))?;
    // Who is not root stayed dumpable until now, for the id maps.
    prctl(libc::PR_SET_DUMPABLE, 0, 0)?;
    Ok(())
}

fn set_groups(list: &[u32]) -> Result<(), Errno> {
    // SAFETY: the kernel reads as many ids as the slice has.
    unsafe { sys!(SYS_setgroups, list.len(), list.as_ptr()) }?;
    Ok(())
}

fn set_gid(gid: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory. The raw call changes this task, the only one.
    unsafe { sys!(SYS_setresgid, gid, gid, gid) }?;
    Ok(())
}

fn set_uid(uid: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory. The raw call changes this task, the only one.
    unsafe { sys!(SYS_setresuid, uid, uid, uid) }?;
    Ok(())
}

pub(super) fn bounding(keep: u64) -> Result<(), Fail> {
    let mut cap = 0;
    while cap <= MAX_CAP {
        if keep & (1 << cap) == 0 {
            match prctl(libc::PR_CAPBSET_DROP, cap, 0) {
                Ok(_) => {}
                // Past the last capability of this kernel.
                Err(libc::EINVAL) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        cap += 1;
    }
    Ok(())
}

pub(super) fn change(uid: u32, gid: u32, groups: Option<&[u32]>) -> Result<(), Fail> {
    if let Some(list) = groups {
        set_groups(list).map_err(Fail::on(Act::Groups))?;
    }
    set_gid(gid).map_err(Fail::on(Act::Gid))?;
    // Else the change from 0 clears what Capabilities is about to set. The execve takes the flag away.
    if uid != 0 {
        prctl(libc::PR_SET_KEEPCAPS, 1, 0).map_err(Fail::on(Act::KeepCaps))?;
    }
    set_uid(uid).map_err(Fail::on(Act::Uid))?;
    Ok(())
}

pub(super) fn capabilities(
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
) -> Result<(), Fail> {
    /// _LINUX_CAPABILITY_VERSION_3, pid 0.
    #[repr(C)]
    struct Header(u32, i32);
    #[repr(C)]
    struct Half {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    #[expect(clippy::cast_possible_truncation, reason = "the halves of 64 bits")]
    let half = |shift: u32| Half {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let header = Header(0x2008_0522, 0);
    let data = [half(0), half(32)];
    // SAFETY: version 3 reads a header and two halves, which live through the call.
    unsafe { sys!(SYS_capset, &raw const header, data.as_ptr()) }.map_err(Fail::on(Act::Capset))?;
    // What is not both is not ambient any more.
    if permitted & inheritable != 0 {
        prctl(libc::PR_CAP_AMBIENT, 4 /* CLEAR_ALL */, 0).map_err(Fail::on(Act::Ambient))?;
    }
    let mut cap = 0;
    while cap <= MAX_CAP {
        if ambient & (1 << cap) != 0 {
            prctl(libc::PR_CAP_AMBIENT, 2 /* RAISE */, cap).map_err(Fail::on(Act::Ambient))?;
        }
        cap += 1;
    }
    Ok(())
}
