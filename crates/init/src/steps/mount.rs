//! Mounts: always a detached mount first, then moved to a destination that was resolved below the
//! root. No path of the container is ever followed by mount(2) itself.

use crate::{
    calls::{self, CStr, DOT, EMPTY, is_dir},
    child::{Child, Fail},
    message::{Act, Kind},
    path::{self, Make},
    plan::{Attr, Fd, List, Str, Target},
    raw::{Errno, sys},
};

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;

pub(super) struct NewFs {
    pub(super) fstype: Str,
    pub(super) source: Str,
    pub(super) options: List,
    pub(super) attr: Attr,
    pub(super) dest: Str,
    pub(super) target: Target,
    pub(super) copy_up: bool,
}

pub(super) fn fs(c: &mut Child<'_, '_>, new: &NewFs) -> Result<(), Fail> {
    let mount = create(c, new)?;
    let result = place(c, mount, new);
    c.spent(mount);
    result
}

fn create(c: &Child<'_, '_>, new: &NewFs) -> Result<i32, Fail> {
    let context = fsopen(c.str(new.fstype)).map_err(Fail::on(Act::FsOpen))?;
    let result = configure(c, context, new);
    c.spent(context);
    result
}

fn configure(c: &Child<'_, '_>, context: i32, new: &NewFs) -> Result<i32, Fail> {
    let source = c.str(new.source);
    if !source.is_empty() {
        let key = CStr::literal(b"source\0");
        fsconfig(context, FSCONFIG_SET_STRING, key, source).map_err(Fail::on(Act::FsConfig))?;
    }
    take_options(c, context, new.options)?;
    if let Some(mode) = mode_of_covered(c, new) {
        let key = CStr::literal(b"mode\0");
        fsconfig(context, FSCONFIG_SET_STRING, key, CStr::at(&mode))
            .map_err(Fail::on(Act::FsConfig))?;
    }
    command(context, FSCONFIG_CMD_CREATE).map_err(Fail::on(Act::FsCreate))?;
    fsmount(context, new.attr.set).map_err(Fail::on(Act::FsMount))
}

/// A tmpfs that says no mode has that of the directory which it covers, in octal; the kernel's default
/// where there is none.
fn mode_of_covered(c: &Child<'_, '_>, new: &NewFs) -> Option<[u8; 5]> {
    if c.str(new.fstype).bytes() != b"tmpfs" {
        return None;
    }
    let mut keys = c.words(new.options).iter().step_by(2);
    if keys.any(|&key| c.str(key).bytes() == b"mode") {
        return None;
    }
    let dir = path::open(c.root, c.str(new.dest), libc::O_PATH).ok()?;
    let stat = calls::stat(dir, EMPTY);
    calls::close(dir);
    let mode = stat
        .ok()
        .map(|stat| stat.mode)
        .filter(|&mode| is_dir(mode))?;
    let mut text = [0; 5];
    for (digit, shift) in text.iter_mut().zip([9, 6, 3, 0]) {
        *digit = b'0' | u8::try_from(mode >> shift & 7).unwrap_or(0);
    }
    Some(text)
}

fn take_options(c: &Child<'_, '_>, context: i32, options: List) -> Result<(), Fail> {
    let mut options = c.words(options).iter();
    while let (Some(&key), Some(&value)) = (options.next(), options.next()) {
        let command = if value.0 == 0 {
            FSCONFIG_SET_FLAG
        } else {
            FSCONFIG_SET_STRING
        };
        fsconfig(context, command, c.str(key), c.str(value)).map_err(Fail::on(Act::FsConfig))?;
    }
    Ok(())
}

/// A command that takes neither key nor value.
fn command(context: i32, command: u32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { sys!(SYS_fsconfig, context, command, 0_usize, 0_usize, 0) }?;
    Ok(())
}

fn fsopen(fstype: CStr<'_>) -> Result<i32, Errno> {
    // SAFETY: the name ends in NUL.
    unsafe { sys!(SYS_fsopen, fstype.ptr(), FSOPEN_CLOEXEC) }.map(calls::int)
}

fn fsconfig(context: i32, command: u32, key: CStr<'_>, value: CStr<'_>) -> Result<(), Errno> {
    let value = if command == FSCONFIG_SET_FLAG {
        core::ptr::null()
    } else {
        value.ptr()
    };
    // SAFETY: both strings end in NUL; a flag has no value.
    unsafe { sys!(SYS_fsconfig, context, command, key.ptr(), value, 0) }?;
    Ok(())
}

fn fsmount(context: i32, attributes: u64) -> Result<i32, Errno> {
    // SAFETY: touches no memory.
    unsafe { sys!(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes) }.map(calls::int)
}

/// A new filesystem without source, detached.
pub(super) fn simple(
    fstype: CStr<'_>,
    options: &[(CStr<'_>, CStr<'_>)],
    attributes: u64,
) -> Result<i32, Errno> {
    let context = fsopen(fstype)?;
    let make = || {
        for (key, value) in options {
            fsconfig(context, FSCONFIG_SET_STRING, *key, *value)?;
        }
        command(context, FSCONFIG_CMD_CREATE)?;
        fsmount(context, attributes)
    };
    let result = make();
    calls::close(context);
    result
}

fn place(c: &mut Child<'_, '_>, mount: i32, new: &NewFs) -> Result<(), Fail> {
    if new.copy_up {
        copy_up(c, mount, new.dest)?;
    }
    attach(c, mount, new.dest, new.target)?;
    if new.attr.propagation != 0 {
        let attr = Attr {
            propagation: new.attr.propagation,
            ..Attr::default()
        };
        calls::mount_setattr(mount, attr, false).map_err(Fail::on(Act::SetAttr))?;
    }
    Ok(())
}

/// Moves a detached mount to `dest`.
fn attach(c: &mut Child<'_, '_>, mount: i32, at: Str, target: Target) -> Result<(), Fail> {
    let dest = c.str(at);
    let make = match target {
        Target::Dir | Target::PlainDir => Make::Dir,
        Target::File => Make::File,
        Target::LikeSource | Target::Itself => {
            let stat = calls::stat(mount, EMPTY).map_err(Fail::on(Act::Resolve))?;
            if is_dir(stat.mode) {
                Make::Dir
            } else {
                Make::File
            }
        }
    };
    if make == Make::Dir && target != Target::Itself && attach_by_name(c, mount, at, target) {
        return Ok(());
    }
    let mut to = match target {
        Target::Itself => path::ensure_itself(c.root, dest, make)?,
        _ => path::ensure(c.root, dest, make)?,
    };
    if target == Target::PlainDir {
        // It exists now; is it reached without links?
        c.spent(to);
        to = path::open_plain(c.root, dest).map_err(Fail::on(Act::Resolve))?;
    }
    let result = calls::move_mount(mount, to).map_err(Fail::on(Act::Move));
    c.spent(to);
    c.forget_made_in();
    result
}

/// The common case of a directory: its last name is one, or is missing, and several mounts follow in the same
/// directory above, which is looked up once. The kernel mounts a directory on nothing else, so a link of that name
/// (which is not followed) fails as the rest does: by `false`, and the long way tells what is the matter.
fn attach_by_name(c: &mut Child<'_, '_>, mount: i32, dest: Str, target: Target) -> bool {
    let mut name = path::Name::new();
    let Ok(dir) = c.made_in(dest, &mut name) else {
        return false;
    };
    // A link may lie on the way to any other directory.
    if target == Target::PlainDir && dir != c.root {
        return false;
    }
    let attach = || calls::move_mount_at(mount, dir, name.as_c());
    let create = || path::create(dir, name.as_c(), Make::Dir).is_ok();
    let mut made = c.made_in_is_new && dir != c.root && create();
    let mut attached = attach();
    if attached == Err(libc::ENOENT) && !made {
        made = create();
        attached = if made { attach() } else { attached };
    }
    c.made_in_is_new = made;
    // Below the root anything may be another directory now.
    if dir == c.root {
        c.forget_made_in();
    }
    attached.is_ok()
}

pub(super) fn tree(c: &mut Child<'_, '_>, tree: Fd, dest: Str, target: Target) -> Result<(), Fail> {
    let mount = c.fd(tree);
    attach(c, mount, dest, target)?;
    c.spent(mount);
    c.set_fd(tree, -1);
    Ok(())
}

pub(super) fn unmount(c: &mut Child<'_, '_>, dest: Str) -> Result<(), Fail> {
    const UMOUNT_NOFOLLOW: i32 = 8;
    let mut name = path::Name::new();
    let dir = path::existing_parent(c.root, c.str(dest), &mut name)?;
    // umount2(2) knows no descriptors, but a name starts where we are.
    let act = || {
        calls::fchdir(dir)?;
        let flags = libc::MNT_DETACH | UMOUNT_NOFOLLOW;
        // SAFETY: the name ends in NUL.
        unsafe { sys!(SYS_umount2, name.as_c().ptr(), flags) }
    };
    let result = act().map_err(Fail::on(Act::Itself));
    calls::close(dir);
    c.forget_made_in();
    result.map(drop)
}

/// A copy of what is at a path of ours, or of the container's, before the pivot.
pub(super) fn clone_tree(
    c: &mut Child<'_, '_>,
    path: Str,
    to: Fd,
    recursive: bool,
    itself: bool,
    inside: bool,
) -> Result<(), Fail> {
    let flags = libc::O_PATH | if itself { libc::O_NOFOLLOW } else { 0 };
    let at = if inside {
        path::open(c.root, c.str(path), flags)
    } else {
        calls::openat2_plain(c.str(path), flags)
    };
    let at = at.map_err(Fail::on(Act::Open))?;
    clone_to(c, at, to, recursive)
}

/// Has the parent, which is privileged outside, map the ids of a tree and set its attributes.
pub(super) fn map_ids(c: &Child<'_, '_>, tree: Fd) -> Result<(), Fail> {
    c.send_fds(Kind::MapIds, &[c.fd(tree)])
        .map_err(Fail::on(Act::Send))?;
    c.wait_for_parent()
}

/// A copy of one file of a tree.
pub(super) fn clone_file(c: &mut Child<'_, '_>, tree: Fd, name: Str, to: Fd) -> Result<(), Fail> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    let at = calls::openat2(c.fd(tree), c.str(name), flags, 0, 0).map_err(Fail::on(Act::Open))?;
    clone_to(c, at, to, false)
}

fn clone_to(c: &mut Child<'_, '_>, at: i32, to: Fd, recursive: bool) -> Result<(), Fail> {
    let tree = calls::open_tree(at, recursive).map_err(Fail::on(Act::Clone));
    c.spent(at);
    c.set_fd(to, tree?);
    Ok(())
}

pub(super) fn old(
    c: &mut Child<'_, '_>,
    fstype: Str,
    source: Str,
    flags: u64,
    data: Str,
    dest: Str,
) -> Result<(), Fail> {
    let to = path::ensure(c.root, c.str(dest), Make::Dir)?;
    // mount(2) knows no descriptors, but "." is one.
    let act = || {
        calls::fchdir(to)?;
        calls::mount(c.str(source), DOT, c.str(fstype), flags, c.str(data))?;
        calls::chdir(calls::SLASH)
    };
    let result = act();
    calls::close(to);
    c.forget_made_in();
    Ok(result?)
}

pub(super) fn set_attr(
    c: &Child<'_, '_>,
    dest: Str,
    attr: Attr,
    recursive: bool,
) -> Result<(), Fail> {
    let at = path::open(c.root, c.str(dest), libc::O_PATH).map_err(Fail::on(Act::Resolve))?;
    let result = calls::mount_setattr(at, attr, recursive).map_err(Fail::on(Act::SetAttr));
    c.spent(at);
    result
}

/// Changes the filesystem that is mounted at `dest`.
pub(super) fn reconfigure(c: &Child<'_, '_>, dest: Str, options: List) -> Result<(), Fail> {
    const FSPICK_CLOEXEC_EMPTY_PATH: u32 = 1 | 8;
    let at = path::open(c.root, c.str(dest), libc::O_PATH).map_err(Fail::on(Act::Resolve))?;
    // SAFETY: the path is the empty literal.
    let context = unsafe { sys!(SYS_fspick, at, EMPTY.ptr(), FSPICK_CLOEXEC_EMPTY_PATH) };
    calls::close(at);
    let context = context.map(calls::int).map_err(Fail::on(Act::FsOpen))?;
    let result = take_options(c, context, options)
        .and_then(|()| command(context, FSCONFIG_CMD_RECONFIGURE).map_err(Fail::on(Act::FsCreate)));
    calls::close(context);
    result
}

/// Has the parent, which has a heap, copy what `dest` holds into the new filesystem.
fn copy_up(c: &Child<'_, '_>, mount: i32, dest: Str) -> Result<(), Fail> {
    let from = match path::open(c.root, c.str(dest), libc::O_RDONLY | libc::O_DIRECTORY) {
        Ok(from) => from,
        // Nothing there, nothing to copy.
        Err(libc::ENOENT) => return Ok(()),
        Err(errno) => {
            return Err(Fail {
                errno,
                act: Act::Resolve,
            });
        }
    };
    let sent = c
        .send_fds(Kind::CopyUp, &[from, mount])
        .map_err(Fail::on(Act::Send));
    calls::close(from);
    sent?;
    c.wait_for_parent()
}
