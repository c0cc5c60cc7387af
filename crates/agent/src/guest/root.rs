//! Leaves the kernel's first root, into which an initramfs is unpacked: pivot_root(2), with which a container
//! gets its own root, does not work there.
//!
//! ```text
//!  rootfs /  ──files──►  tmpfs at /.root ──MS_MOVE──► /  ──chroot──► as if it had always been there
//! ```
//! Files are taken away from the old root as they are copied: its memory is the machine's.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, unmount};

use super::Error;

const NEW: &str = "/.root";

/// Moves to a tmpfs, if this is the first root; a disk's root stays.
///
/// # Errors
/// Out of memory, mostly.
pub(super) fn leave_first() -> Result<(), Error> {
    if !is_first()? {
        return Ok(());
    }
    let failed = |act| Error::io(act, NEW);
    fs::create_dir_all(NEW).map_err(failed("make"))?;
    mount(
        "tmpfs",
        NEW,
        "tmpfs",
        MountFlags::empty(),
        Some(c"mode=0755"),
    )
    .map_err(|e| failed("mount a tmpfs at")(e.into()))?;
    let own = fs::metadata("/proc/self/exe")
        .ok()
        .map(|m| (m.dev(), m.ino()));
    unmount("/proc", UnmountFlags::DETACH).map_err(|e| Error::io("unmount", "/proc")(e.into()))?;
    for entry in fs::read_dir("/").map_err(Error::io("list", "/"))? {
        let path = entry.map_err(Error::io("list", "/"))?.path();
        if path == Path::new(NEW) {
            continue;
        }
        let to = Path::new(NEW).join(path.strip_prefix("/").unwrap_or(&path));
        take(&path, &to, own).map_err(Error::io("copy", path.display().to_string()))?;
    }
    std::env::set_current_dir(NEW).map_err(failed("change to"))?;
    mount_move(".", "/").map_err(|e| failed("move to / what is mounted at")(e.into()))?;
    rustix::process::chroot(".").map_err(|e| failed("make the root of")(e.into()))?;
    std::env::set_current_dir("/").map_err(Error::io("change to", "/"))
}

/// Whether `/` is the kernel's first root. /proc stays mounted if so, for a moment.
fn is_first() -> Result<bool, Error> {
    let failed = || Error::io("mount", "/proc");
    fs::create_dir_all("/proc").map_err(failed())?;
    mount("proc", "/proc", "proc", MountFlags::empty(), None).map_err(|e| failed()(e.into()))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo");
    let mounts = mounts.map_err(Error::io("read", "/proc/self/mountinfo"))?;
    let first = root_type(&mounts) == Some("rootfs");
    if !first {
        unmount("/proc", UnmountFlags::DETACH)
            .map_err(|e| Error::io("unmount", "/proc")(e.into()))?;
    }
    Ok(first)
}

/// The type of what is mounted at `/`; the last line of several.
fn root_type(mountinfo: &str) -> Option<&str> {
    let at_root = |line: &&str| line.split(' ').nth(4) == Some("/");
    let line = mountinfo.lines().rfind(at_root)?;
    line.split_once(" - ")?.1.split(' ').next()
}

/// Moves one file or tree. The running program is left out: it is in memory already, and nothing needs
/// its name.
fn take(from: &Path, to: &Path, own: Option<(u64, u64)>) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    let kind = meta.file_type();
    if own == Some((meta.dev(), meta.ino())) {
        return Ok(());
    }
    if kind.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            take(&from.join(&name), &to.join(&name), own)?;
        }
    } else if kind.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    } else if kind.is_file() {
        fs::copy(from, to)?;
        fs::remove_file(from)?;
    } else if kind.is_char_device() {
        let mode = Mode::from_raw_mode(meta.mode() & 0o7777);
        mknodat(CWD, to, FileType::CharacterDevice, mode, meta.rdev())?;
    } else {
        return Err(io::ErrorKind::Unsupported.into());
    }
    std::os::unix::fs::lchown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_root_is_told_from_others() {
        let first =
            "1 1 0:2 / / rw shared:1 - rootfs none rw\n13 1 0:12 / /proc rw - proc proc rw\n";
        assert_eq!(root_type(first), Some("rootfs"));
        let disk = format!("{first}20 1 254:0 / / rw - ext4 /dev/vda rw\n");
        assert_eq!(root_type(&disk), Some("ext4"));
    }

    #[test]
    fn trees_are_moved_with_modes_and_links_but_not_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/f"), "text").unwrap();
        fs::set_permissions(from.join("a/b/f"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::set_permissions(from.join("a"), fs::Permissions::from_mode(0o1777)).unwrap();
        symlink("nowhere", from.join("l")).unwrap();
        fs::write(from.join("init"), "program").unwrap();
        let own = fs::metadata(from.join("init")).unwrap();
        take(&from, &to, Some((own.dev(), own.ino()))).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b/f")).unwrap(), "text");
        let mode = |name: &str| fs::metadata(to.join(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("a/b/f"), mode("a")), (0o4750, 0o1777));
        assert_eq!(fs::read_link(to.join("l")).unwrap(), Path::new("nowhere"));
        assert!(!to.join("init").exists() && from.join("init").exists());
        assert!(!from.join("a/b/f").exists());
    }
}
