//! Trials that leave nothing: threads with a mount namespace of their own, whose mounts end with
//! them, and directories that are removed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    mount::{MountPropagationFlags, mount_change},
    thread::UnshareFlags,
};

/// Runs `work` on a thread with a mount namespace of its own; nothing that it mounts is seen outside
/// or stays.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN; those of `work`.
pub(crate) fn with_mounts<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let tried = scope.spawn(|| {
            sys::thread::unshare(UnshareFlags::NEWNS)?;
            let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            mount_change("/", flags)?;
            work()
        });
        tried
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the trial panicked")))
    })
}

/// A directory that goes with this value.
#[derive(Debug)]
pub(crate) struct Place(PathBuf);

impl Place {
    /// A new directory in `parent`, for root alone.
    ///
    /// # Errors
    /// It can't be made.
    pub(crate) fn new(parent: &Path, purpose: &str) -> io::Result<Place> {
        use std::os::unix::fs::DirBuilderExt;
        let name = format!(".coffer-doctor-{purpose}-{}", std::process::id());
        let path = parent.join(name);
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        if made.is_err() && path.is_dir() {
            // Left by a doctor of the same number that was killed.
            fs::remove_dir_all(&path)?;
            fs::DirBuilder::new().mode(0o700).create(&path)?;
        } else {
            made?;
        }
        Ok(Place(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Mounts an overlay with its writable layer on the filesystem of `dir`, writes through it and looks
/// at what arrived. To be called inside [`with_mounts`].
///
/// # Errors
/// The step that failed.
pub(crate) fn overlay(dir: &Path) -> io::Result<()> {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create,
        fsconfig_set_string, fsmount, fsopen, move_mount,
    };
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(dir.join(name))?;
    }
    fs::write(dir.join("lower/below"), "below")?;
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, name) in [
        ("lowerdir", "lower"),
        ("upperdir", "upper"),
        ("workdir", "work"),
    ] {
        fsconfig_set_string(&overlay, key, dir.join(name))?;
    }
    fsconfig_create(&overlay)?;
    let mount = fsmount(
        &overlay,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    move_mount(
        &mount,
        "",
        rustix::fs::CWD,
        dir.join("merged"),
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    fs::write(dir.join("merged/above"), "above")?;
    fs::remove_file(dir.join("merged/below"))?;
    let kept = fs::read(dir.join("lower/below"))? == b"below"
        && fs::read(dir.join("upper/above"))? == b"above"
        && !dir.join("merged/below").exists();
    rustix::mount::unmount(dir.join("merged"), rustix::mount::UnmountFlags::DETACH)?;
    if kept {
        Ok(())
    } else {
        Err(io::Error::other(
            "the overlay mounts but does not keep its layers apart",
        ))
    }
}

/// A tmpfs on `dir`. To be called inside [`with_mounts`].
///
/// # Errors
/// The kernel's.
pub(crate) fn tmpfs(dir: &Path) -> io::Result<()> {
    use rustix::mount::{MountFlags, mount};
    mount(
        "tmpfs",
        dir,
        "tmpfs",
        MountFlags::empty(),
        Some(c"mode=0700"),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_in_a_trial_is_seen_there_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path(), "test").unwrap();
        let inside = with_mounts(|| {
            tmpfs(place.path())?;
            overlay(place.path())?;
            Ok(place.path().join("upper/above").exists())
        });
        assert!(inside.unwrap());
        assert!(!place.path().join("upper").exists());
        let path = place.path().to_owned();
        drop(place);
        assert!(!path.exists());
    }
}
