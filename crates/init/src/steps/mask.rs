//! Masked and read-only paths. A path that is not there needs no mask.
//!
//! The null device and the empty directory are detached mounts. The first use attaches the mount
//! itself; later ones copy it from where it is, because copying a detached mount needs Linux 6.15.

use crate::{
    calls::{self, CStr, EMPTY, is_dir},
    child::{Child, Fail},
    message::Act,
    path::{self, Name},
    plan::{Attr, Fd, Str},
    raw::Errno,
};

const RDONLY: u64 = 1;
const NOSUID_NODEV_NOEXEC: u64 = 2 | 4 | 8;

fn target(c: &mut Child<'_, '_>, path: Str) -> Result<Option<i32>, Fail> {
    let opened = match by_name(c, path) {
        Err(libc::ENOENT) => return Ok(None),
        Ok(fd) => Ok(fd),
        // A link, or something on the way to its directory. What is found may be the kept directory itself, or one
        // above: what is mounted there hides it.
        Err(_) => {
            c.forget_made_in();
            path::open(c.root, c.str(path), libc::O_PATH)
        }
    };
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(libc::ENOENT | libc::ENOTDIR) => Ok(None),
        Err(errno) => Err(Fail {
            errno,
            act: Act::Resolve,
        }),
    }
}

/// Most paths are in /proc, whose descriptor is kept; any other error than ENOENT: by the whole path.
fn by_name(c: &mut Child<'_, '_>, path: Str) -> Result<i32, Errno> {
    let mut name = Name::new();
    let dir = c.found_in(path, &mut name).map_err(|_| libc::EAGAIN)?;
    let found = calls::openat2(dir, name.as_c(), libc::O_PATH, 0, calls::NO_SYMLINKS);
    if dir == c.root {
        // What is mounted there may be on the way to the directory that is kept.
        c.forget_made_in();
    }
    found
}

pub(super) fn mask(c: &mut Child<'_, '_>, path: Str, null: Fd) -> Result<(), Fail> {
    c.mask_null = c.fd(null);
    let Some(to) = target(c, path)? else {
        return Ok(());
    };
    let result = cover(c, to, c.mask_null);
    c.spent(to);
    result
}

fn cover(c: &mut Child<'_, '_>, to: i32, null: i32) -> Result<(), Fail> {
    if is_dir(calls::stat(to, EMPTY).map_err(Fail::on(Act::Resolve))?.mode) {
        if c.mask_dir < 0 {
            c.mask_dir = empty_dir().map_err(Fail::on(Act::FsMount))?;
            return calls::move_mount(c.mask_dir, to).map_err(Fail::on(Act::Move));
        }
        return copy_to(c, c.mask_dir, to);
    }
    if c.mask_attached {
        return copy_to(c, null, to);
    }
    // What we call the null device must be it (CVE-2025-31133).
    let found = calls::stat(null, EMPTY).map_err(Fail::on(Act::NotNull))?;
    if found.mode & libc::S_IFMT != libc::S_IFCHR || (found.major, found.minor) != (1, 3) {
        return Err(Fail {
            errno: libc::ENODEV,
            act: Act::NotNull,
        });
    }
    calls::move_mount(null, to).map_err(Fail::on(Act::Move))?;
    c.mask_attached = true;
    Ok(())
}

fn empty_dir() -> Result<i32, Errno> {
    let options = [
        (CStr::literal(b"size\0"), CStr::literal(b"0\0")),
        (CStr::literal(b"nr_inodes\0"), CStr::literal(b"1\0")),
        (CStr::literal(b"mode\0"), CStr::literal(b"755\0")),
    ];
    super::mount::simple(
        CStr::literal(b"tmpfs\0"),
        &options,
        RDONLY | NOSUID_NODEV_NOEXEC,
    )
}

fn copy_to(c: &Child<'_, '_>, from: i32, to: i32) -> Result<(), Fail> {
    let copy = calls::open_tree(from, false).map_err(Fail::on(Act::Clone))?;
    let result = calls::move_mount(copy, to).map_err(Fail::on(Act::Move));
    c.spent(copy);
    result
}

pub(super) fn readonly(c: &mut Child<'_, '_>, path: Str) -> Result<(), Fail> {
    let Some(at) = target(c, path)? else {
        return Ok(());
    };
    let act = || {
        let copy = calls::open_tree(at, true).map_err(Fail::on(Act::Clone))?;
        let attr = Attr {
            set: RDONLY,
            ..Attr::default()
        };
        let result = calls::mount_setattr(copy, attr, true)
            .map_err(Fail::on(Act::SetAttr))
            .and_then(|()| calls::move_mount(copy, at).map_err(Fail::on(Act::Move)));
        c.spent(copy);
        result
    };
    let result = act();
    c.spent(at);
    result
}
