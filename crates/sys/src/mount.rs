//! Mounts by descriptor: what rustix has not.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};

/// `struct mount_attr` of mount_setattr(2), Linux 5.12.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct MountAttr {
    /// MOUNT_ATTR_* to set.
    pub set: u64,
    /// MOUNT_ATTR_* to clear.
    pub clear: u64,
    /// MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE, or 0.
    pub propagation: u64,
    userns: u64,
}

const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;
const AT_RECURSIVE: i32 = 0x8000;

impl MountAttr {
    /// Sets and clears attributes, changes propagation.
    #[must_use]
    pub const fn new(set: u64, clear: u64, propagation: u64) -> Self {
        Self {
            set,
            clear,
            propagation,
            userns: 0,
        }
    }
}

/// Changes the mount behind `fd`, with those below it if `recursive`.
///
/// # Errors
/// The kernel's: EINVAL, EPERM for locked attributes …
pub fn set_attr(fd: BorrowedFd<'_>, attr: MountAttr, recursive: bool) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a literal; attr lives through the call and has the size given.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Shifts the ids of a detached mount by the maps of a user namespace.
///
/// # Errors
/// EINVAL where the filesystem can't be mapped, or is attached already; EPERM.
pub fn map_ids(fd: BorrowedFd<'_>, userns: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let mut attr = MountAttr::new(MOUNT_ATTR_IDMAP, 0, 0);
    attr.userns = u64::try_from(userns.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
    set_attr(fd, attr, recursive)
}

/// A detached copy of the mount at `path` from that directory or file on, with the mounts below it if
/// `recursive`.
///
/// # Errors
/// ENOENT, EPERM …
pub fn detached_copy(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    detached_copy_at(rustix::fs::CWD, path, recursive)
}

/// As [`detached_copy`], of a path that begins in a directory.
///
/// # Errors
/// As [`detached_copy`].
pub fn detached_copy_at(dir: impl AsFd, path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(dir, path, flags)?)
}

/// As [`detached_copy`], of a link itself if the path ends with one.
///
/// # Errors
/// As [`detached_copy`].
pub fn detached_copy_of_itself(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty())?;
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(fd, c"", flags)?)
}

/// A new tmpfs whose root has these permissions, detached.
///
/// # Errors
/// EPERM, ENOMEM …
pub fn detached_tmpfs(mode: &CStr) -> io::Result<OwnedFd> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"mode", mode)?;
    fsconfig_create(context.as_fd())?;
    let attributes = MountAttrFlags::empty();
    Ok(fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

/// As [`detached_copy`], of what is open already.
///
/// # Errors
/// As [`detached_copy`].
pub fn detached_copy_of(fd: impl AsFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(fd, c"", flags)?)
}
