//! A program's file behind a read-only mount of its own.
//!
//! Who runs a program holds its file open for writing-to-be: `/proc/<pid>/exe` is a way to it, and a
//! root user in a container who reaches that way can replace the host's program (CVE-2019-5736).
//! Executed through a detached read-only mount the file can't be opened for writing by that way,
//! whatever its permissions. The descriptor is closed as soon as the program runs: who holds it could
//! make the mount writable again.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::CWD,
    mount::{OpenTreeFlags, open_tree},
};

/// Opens a program's file for execution through [`exec_path`]. Symbolic links are followed.
///
/// # Errors
/// NotFound; EPERM without CAP_SYS_ADMIN in the mount namespace's owner; EINVAL for a file on a mount
/// that another mount namespace owns.
pub fn open_read_only(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags)?;
    make_read_only(tree.as_fd())?;
    Ok(tree)
}

/// The path by which execve(2) reaches the file of a descriptor, in this process or a child of it
/// that has the same descriptor. Close-on-exec is no obstacle.
pub fn exec_path(program: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", program.as_raw_fd()))
}

/// `struct mount_attr` of `linux/mount.h`.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

fn make_read_only(tree: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let attr = MountAttr {
        attr_set: MOUNT_ATTR_RDONLY,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a NUL-terminated literal, `attr` outlives the call and its size is told;
    // the kernel only reads both (mount_setattr, since 5.12).
    let rc = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, process::Command};

    use super::*;

    #[test]
    fn the_program_runs_and_its_file_cannot_be_opened_for_writing() {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("true");
        fs::copy("/bin/true", &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o777)).unwrap();
        let program = open_read_only(&copy).unwrap();
        let path = exec_path(&program);
        let error = fs::OpenOptions::new().write(true).open(&path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        assert!(Command::new(&path).status().unwrap().success());
        // The file itself is as it was.
        fs::OpenOptions::new().write(true).open(&copy).unwrap();
    }

    #[test]
    fn a_missing_program_is_not_found() {
        let error = open_read_only(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
