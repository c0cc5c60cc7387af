//! Gives a volume to a group, as a pod's `fsGroup` asks: everything in it belongs to the group, which
//! may read it, and write it unless it is read-only; what is made later inherits the group.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, chownat, fstat, openat};
use rustix::io::Errno;

/// When a volume is gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Always,
    /// Only if its root does not have the group and the rights yet.
    OnRootMismatch,
}

/// The group and when it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FsGroup {
    pub(crate) id: u32,
    pub(crate) policy: Policy,
}

/// Bits that a directory has beside.
const DIRECTORY: u32 = 0o2010;
/// Deepest directory that is gone into: deeper than any path that a program can name.
const DEPTH: usize = 2048;

/// Goes through the volume at `root`. Links are left alone, other mounts below it too.
pub(super) fn apply(root: &Path, group: &FsGroup, read_only: bool) -> io::Result<()> {
    let bits = if read_only { 0o440 } else { 0o660 };
    let root = openat(CWD, root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let stat = fstat(&root)?;
    let wanted = bits | if is_directory(&stat) { DIRECTORY } else { 0 };
    if group.policy == Policy::OnRootMismatch
        && stat.st_gid == group.id
        && stat.st_mode & wanted == wanted
    {
        return Ok(());
    }
    match one(root.as_fd(), &stat, group.id, bits) {
        // A volume that cannot be written keeps its owners, as elsewhere in this field.
        Err(e) if read_only && e.raw_os_error() == Some(libc::EROFS) => {
            log::info!("a read-only volume keeps its groups");
            Ok(())
        }
        Err(e) => Err(e),
        Ok(()) if is_directory(&stat) => below(&root, stat.st_dev, group.id, bits, 0),
        Ok(()) => Ok(()),
    }
}

fn below(dir: &OwnedFd, device: u64, gid: u32, bits: u32, depth: usize) -> io::Result<()> {
    if depth > DEPTH {
        return Err(Errno::LOOP.into());
    }
    let readable = openat(
        dir,
        c".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    for entry in Dir::new(readable)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match openat(dir, name, flags, Mode::empty()) {
            // Removed in between: it is not in the volume any more.
            Err(Errno::NOENT) => continue,
            other => other?,
        };
        let stat = fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode).is_symlink() || stat.st_dev != device {
            continue;
        }
        one(fd.as_fd(), &stat, gid, bits)?;
        if is_directory(&stat) {
            below(&fd, device, gid, bits, depth + 1)?;
        }
    }
    Ok(())
}

/// One file or directory, by a descriptor that names it and opens nothing.
fn one(fd: BorrowedFd<'_>, stat: &Stat, gid: u32, bits: u32) -> io::Result<()> {
    let beside = if is_directory(stat) { DIRECTORY } else { 0 };
    let mode = (stat.st_mode & 0o7777) | bits | beside;
    if stat.st_gid == gid && stat.st_mode & 0o7777 == mode {
        return Ok(());
    }
    chownat(fd, c"", None, Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(rustix::fs::chmod(path, Mode::from_raw_mode(mode))?)
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    fn state(path: &Path) -> (u32, u32) {
        let meta = fs::symlink_metadata(path).unwrap();
        (meta.gid(), meta.mode() & 0o7777)
    }

    #[test]
    fn both_policies_do_what_they_say() {
        let temp = tempfile::tempdir().unwrap();
        let (root, outside) = (temp.path().join("volume"), temp.path().join("outside"));
        fs::create_dir_all(root.join("sub")).unwrap();
        for (file, mode) in [(root.join("sub/f"), 0o600), (outside.clone(), 0o600)] {
            fs::write(&file, "x").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(&outside, root.join("link")).unwrap();
        let group = |policy| FsGroup { id: 4321, policy };
        apply(&root, &group(Policy::OnRootMismatch), false).unwrap();
        assert_eq!(state(&root), (4321, 0o2775));
        assert_eq!(state(&root.join("sub")).0, 4321);
        assert_eq!(state(&root.join("sub/f")), (4321, 0o660));
        assert_eq!(state(&outside), (0, 0o600), "links are not followed");
        assert_ne!(state(&root.join("link")).0, 4321);
        // The root fits: nothing below it is looked at, unless always.
        let odd = root.join("sub/odd");
        fs::write(&odd, "x").unwrap();
        fs::set_permissions(&odd, fs::Permissions::from_mode(0o600)).unwrap();
        apply(&root, &group(Policy::OnRootMismatch), false).unwrap();
        assert_eq!(state(&odd).1, 0o600);
        apply(&root, &group(Policy::Always), false).unwrap();
        assert_eq!(state(&odd), (4321, 0o660));
        let other = FsGroup {
            id: 77,
            policy: Policy::Always,
        };
        apply(&outside, &other, true).unwrap();
        assert_eq!(state(&outside), (77, 0o640));
    }
}
