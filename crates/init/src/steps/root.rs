//! The root: attached over `/`, filled by descriptor, pivoted into.
//!
//! ```text
//!   before     /  (host's, copied)          the detached root is moved over it:
//!   attach     / ◄─ root                    path "/" still means the lower one, our descriptor
//!              the upper: mounts go below the descriptor, nothing on the host is touched. With
//!              createContainer hooks it is attached over its own directory, where they find it
//!   pivot      fchdir(root); pivot_root(".", "."): the old root lies on top of the new; fchdir(old)
//!              umount2(".", DETACH): it is gone
//! ```

use crate::{
    calls::{self, CStr, DOT, EMPTY, SLASH},
    child::{Child, Fail},
    message::Act,
    path::{self, Make},
    plan::{Attr, Fd, List, Str},
    raw::sys,
};

const MOUNT_ATTR_RDONLY: u64 = 1;

pub(super) fn propagation(c: &mut Child<'_, '_>, flags: u64) -> Result<(), Fail> {
    calls::mount(EMPTY, SLASH, EMPTY, flags, EMPTY)?;
    let apart = libc::MS_SLAVE | libc::MS_PRIVATE;
    c.host_apart = flags & libc::MS_REC != 0 && flags & apart != 0;
    Ok(())
}

pub(super) fn attach(c: &mut Child<'_, '_>, tree: Fd, at: Str) -> Result<(), Fail> {
    let over = |path| calls::openat2_plain(path, libc::O_PATH);
    let at = c.str(at);
    let to = match at.is_empty() {
        true => over(SLASH)?,
        // In a user namespace the way there may be closed to us.
        false => over(at).or_else(|_| over(SLASH))?,
    };
    let root = c.fd(tree);
    let result = calls::move_mount(root, to);
    calls::close(to);
    result?;
    c.root = root;
    Ok(())
}

pub(super) fn attach_aside(c: &Child<'_, '_>, tree: Fd) -> Result<(), Fail> {
    let slash = calls::openat2_plain(SLASH, libc::O_PATH)?;
    let result = calls::move_mount(c.fd(tree), slash);
    calls::close(slash);
    Ok(result?)
}

pub(super) fn open(c: &mut Child<'_, '_>) -> Result<(), Fail> {
    c.root = calls::openat2_plain(SLASH, libc::O_PATH)?;
    Ok(())
}

pub(super) fn pivot(c: &Child<'_, '_>) -> Result<(), Fail> {
    let old = calls::openat2_plain(SLASH, libc::O_PATH | libc::O_DIRECTORY)?;
    let result = pivot_from(c, old);
    calls::close(old);
    result
}

fn pivot_from(c: &Child<'_, '_>, old: i32) -> Result<(), Fail> {
    calls::fchdir(c.root)?;
    // SAFETY: both paths are literals.
    unsafe { sys!(SYS_pivot_root, DOT.ptr(), DOT.ptr()) }?;
    // "." is the new root still; the old one lies on top of it.
    calls::fchdir(old)?;
    // Nothing that happens to the old mounts now may reach the host.
    if !c.host_apart {
        calls::mount(EMPTY, DOT, EMPTY, libc::MS_SLAVE | libc::MS_REC, EMPTY)
            .map_err(Fail::on(Act::Unmount))?;
    }
    // SAFETY: the path is a literal.
    unsafe { sys!(SYS_umount2, DOT.ptr(), libc::MNT_DETACH) }.map_err(Fail::on(Act::Unmount))?;
    Ok(calls::chdir(SLASH)?)
}

pub(super) fn chroot(c: &mut Child<'_, '_>, without: List) -> Result<(), Fail> {
    // The host's lie below the new root as long as the namespace lives. With a whole procfs among them the
    // kernel lets a user namespace in the container mount one without any masked path.
    for &path in c.words(without) {
        detach(c.str(path))?;
    }
    calls::fchdir(c.root)?;
    // SAFETY: the path is a literal.
    unsafe { sys!(SYS_chroot, DOT.ptr()) }?;
    Ok(calls::chdir(SLASH)?)
}

/// Takes a mount of the host's away, for this namespace. What is none, or is locked in a user namespace
/// (its owner sees it anyway), stays.
fn detach(path: CStr<'_>) -> Result<(), Fail> {
    // Nothing of it may reach the host.
    match calls::mount(EMPTY, path, EMPTY, libc::MS_SLAVE | libc::MS_REC, EMPTY) {
        Err(libc::EINVAL | libc::ENOENT) => return Ok(()),
        other => other.map_err(Fail::on(Act::Unmount))?,
    }
    // SAFETY: the path ends in NUL.
    match unsafe { sys!(SYS_umount2, path.ptr(), libc::MNT_DETACH) } {
        Err(errno) if errno != libc::EINVAL && errno != libc::EPERM => {
            Err(Fail::on(Act::Unmount)(errno))
        }
        _ => Ok(()),
    }
}

pub(super) fn readonly(c: &Child<'_, '_>) -> Result<(), Fail> {
    let attr = Attr {
        set: MOUNT_ATTR_RDONLY,
        ..Attr::default()
    };
    Ok(calls::mount_setattr(c.root, attr, false)?)
}

pub(super) fn make_dir(c: &Child<'_, '_>, path: Str) -> Result<(), Fail> {
    calls::close(path::ensure(c.root, c.str(path), Make::Dir)?);
    Ok(())
}
