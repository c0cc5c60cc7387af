//! `tmpcopyup`: what lay at the mount point is copied into the new filesystem, by descriptor, before
//! anybody sees it. Modes, owners, times of modification and links stay.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, chownat, fchmod,
        futimens, mkdirat, mknodat, openat, readlinkat, statat, symlinkat,
    },
    io::Errno,
};

/// Nested deeper than any real tree; a limit for our stack.
const MAX_DEPTH: u32 = 200;

/// Copies the content of directory `from` into directory `to`.
pub(super) fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    // The descriptor of a mount is O_PATH.
    let to = openat(
        to,
        c".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    copy_dir(from, to.as_fd(), 0)
}

fn copy_dir(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: u32) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other("directories are nested over 200 deep"));
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        copy_entry(from, to, name, &stat, depth)?;
    }
    Ok(())
}

fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &std::ffi::CStr,
    stat: &Stat,
    depth: u32,
) -> io::Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    let open = |at: BorrowedFd<'_>, flags: OFlags| -> Result<OwnedFd, Errno> {
        openat(
            at,
            name,
            flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o600),
        )
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    match kind {
        FileType::Symlink => {
            let target = readlinkat(from, name, Vec::new())?;
            symlinkat(target.as_c_str(), to, name)?;
        }
        FileType::Directory => mkdirat(to, name, Mode::from_raw_mode(0o700))?,
        FileType::RegularFile => {
            let mut source = std::fs::File::from(open(from, OFlags::RDONLY)?);
            let target = open(to, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
            io::copy(&mut source, &mut std::fs::File::from(target))?;
        }
        _ => mknodat(to, name, kind, Mode::from_raw_mode(0o600), stat.st_rdev)?,
    }
    let owner = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(
        to,
        name,
        Some(owner.0),
        Some(owner.1),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    match kind {
        FileType::Directory => {
            let source = open(from, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let target = open(to, OFlags::RDONLY | OFlags::DIRECTORY)?;
            copy_dir(source.as_fd(), target.as_fd(), depth + 1)?;
            finish(&target, mode, stat)
        }
        FileType::RegularFile => finish(&open(to, OFlags::RDONLY)?, mode, stat),
        _ => Ok(()),
    }
}

/// Mode after the owner, which clears set-id bits; times last.
fn finish(file: &OwnedFd, mode: Mode, stat: &Stat) -> io::Result<()> {
    fchmod(file, mode)?;
    let nanoseconds = |n: u64| i64::try_from(n).unwrap_or(0);
    let times = Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: stat.st_atime,
            tv_nsec: nanoseconds(stat.st_atime_nsec),
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: nanoseconds(stat.st_mtime_nsec),
        },
    };
    futimens(file, &times)?;
    Ok(())
}
