//! The pod's `/dev/shm`: one tmpfs that its containers share, as their ipc namespace is shared.
//!
//! The mount is in the pod's directory; the spec builder binds it into the containers. It holds
//! memory until it is taken down, so that is done when the pod stops.

use std::path::{Path, PathBuf};

use rustix::{
    fs::CWD,
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
        fsconfig_set_string, fsmount, fsopen, move_mount, unmount,
    },
};

use crate::{error::Error, layout::make_dir};

/// What Docker and containerd give.
const SIZE: &str = "65536k";

/// Where a pod's shared memory is mounted.
pub(crate) fn path(pod_dir: &Path) -> PathBuf {
    pod_dir.join("shm")
}

/// Mounts it. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn mount(pod_dir: &Path) -> Result<(), Error> {
    let at = path(pod_dir);
    make_dir(&at, 0o700)?;
    mount_at(&at).map_err(|e| Error::file("mount shared memory at", &at)(e.into()))
}

fn mount_at(at: &Path) -> Result<(), Errno> {
    let fs = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&fs, "source", "shm")?;
    fsconfig_set_string(&fs, "mode", "1777")?;
    fsconfig_set_string(&fs, "size", SIZE)?;
    fsconfig_create(&fs)?;
    let mount = fsmount(
        &fs,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )?;
    move_mount(&mount, "", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Takes it down and removes the directory; nothing there is success. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn unmount_at(pod_dir: &Path) -> Result<(), Error> {
    let at = path(pod_dir);
    match unmount(&at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        // EINVAL: a directory without a mount, as a crash between the two leaves it.
        Ok(()) | Err(Errno::NOENT | Errno::INVAL) => {}
        Err(e) => return Err(Error::file("unmount", &at)(e.into())),
    }
    match std::fs::remove_dir(&at) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", &at)(e)),
        _ => Ok(()),
    }
}
