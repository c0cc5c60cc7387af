//! The system calls that several steps use. Strings come from the plan's arena or from buffers on
//! the stack, always with their NUL.

use crate::raw::{Errno, sys};

/// Longest path that the kernel takes, with its NUL.
pub(crate) const PATH_MAX: usize = 4096;

/// A string with its NUL. Only made by functions that have seen the NUL.
#[derive(Clone, Copy)]
pub(crate) struct CStr<'a>(&'a [u8]);

impl<'a> CStr<'a> {
    /// The string at the start of `bytes`, up to its first NUL; the empty one if there is none.
    pub(crate) fn at(bytes: &'a [u8]) -> Self {
        let end = bytes.iter().position(|&b| b == 0);
        match end.and_then(|end| bytes.get(..=end)) {
            Some(bytes) => Self(bytes),
            None => Self(b"\0"),
        }
    }

    pub(crate) const fn literal(bytes: &'static [u8]) -> CStr<'static> {
        assert!(bytes[bytes.len() - 1] == 0);
        CStr(bytes)
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        match self.0 {
            [all @ .., _] => all,
            [] => &[],
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0.len() <= 1
    }

    pub(crate) fn ptr(self) -> *const u8 {
        self.0.as_ptr()
    }
}

pub(crate) const EMPTY: CStr<'static> = CStr::literal(b"\0");
pub(crate) const DOT: CStr<'static> = CStr::literal(b".\0");
pub(crate) const SLASH: CStr<'static> = CStr::literal(b"/\0");

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the kernel returns descriptors and pids as int"
)]
pub(crate) fn int(value: usize) -> i32 {
    value as i32
}

pub(crate) fn close(fd: i32) {
    if fd >= 0 {
        // SAFETY: closing touches no memory; the descriptor is ours alone after the clone.
        let _ = unsafe { sys!(SYS_close, fd) };
    }
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

pub(crate) const IN_ROOT: u64 = 0x10;
pub(crate) const NO_XDEV: u64 = 0x01;
pub(crate) const NO_MAGICLINKS: u64 = 0x02;
pub(crate) const NO_SYMLINKS: u64 = 0x04;
/// A look-up disturbed by renames is repeated so often.
const TRIES: u32 = 128;

pub(crate) fn openat2(
    dir: i32,
    path: CStr<'_>,
    flags: i32,
    mode: u32,
    resolve: u64,
) -> Result<i32, Errno> {
    #[expect(clippy::cast_sign_loss, reason = "flags are bits")]
    let how = OpenHow {
        flags: (flags | libc::O_CLOEXEC) as u32 as u64,
        mode: mode as u64,
        resolve: resolve | NO_MAGICLINKS,
    };
    let mut result = Err(libc::EAGAIN);
    let mut tries = 0;
    while tries < TRIES {
        // SAFETY: path ends in NUL, how lives through the call and has the size given.
        result = unsafe {
            sys!(
                SYS_openat2,
                dir,
                path.ptr(),
                &raw const how,
                size_of::<OpenHow>()
            )
        };
        if result != Err(libc::EAGAIN) && result != Err(libc::EINTR) {
            break;
        }
        tries += 1;
    }
    result.map(int)
}

pub(crate) fn write(fd: i32, bytes: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads the slice only.
    let written = unsafe { sys!(SYS_write, fd, bytes.as_ptr(), bytes.len()) }?;
    // The files of procfs and cgroups take all or nothing.
    if written == bytes.len() {
        Ok(())
    } else {
        Err(libc::EIO)
    }
}

/// st_mode and st_rdev of an open file.
pub(crate) struct Stat {
    pub(crate) mode: u32,
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// The part of `struct statx` that we read, and room for the rest.
#[repr(C)]
struct Statx {
    head: [u32; 7],
    mode: u16,
    spare: u16,
    middle: [u64; 12],
    rdev_major: u32,
    rdev_minor: u32,
    tail: [u64; 15],
}

const _: () = assert!(size_of::<Statx>() == 256);
const _: () = assert!(core::mem::offset_of!(Statx, mode) == 28);
const _: () = assert!(core::mem::offset_of!(Statx, rdev_major) == 128);

/// statx without following a last link; `path` empty: the descriptor itself.
pub(crate) fn stat(dir: i32, path: CStr<'_>) -> Result<Stat, Errno> {
    statx(dir, path, libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW)
}

/// What a path leads to.
pub(crate) fn stat_followed(path: CStr<'_>) -> Result<Stat, Errno> {
    statx(libc::AT_FDCWD, path, 0)
}

fn statx(dir: i32, path: CStr<'_>, flags: i32) -> Result<Stat, Errno> {
    let mut x = Statx {
        head: [0; 7],
        mode: 0,
        spare: 0,
        middle: [0; 12],
        rdev_major: 0,
        rdev_minor: 0,
        tail: [0; 15],
    };
    // SAFETY: path ends in NUL; x is a whole statx (asserted) that lives through the call.
    unsafe {
        sys!(
            SYS_statx,
            dir,
            path.ptr(),
            flags,
            libc::STATX_TYPE | libc::STATX_MODE,
            &raw mut x
        )
    }?;
    Ok(Stat {
        mode: u32::from(x.mode),
        major: x.rdev_major,
        minor: x.rdev_minor,
    })
}

/// The magic number of the filesystem that a descriptor is of.
pub(crate) fn filesystem_type(fd: i32) -> Result<i64, Errno> {
    // struct statfs: its first word is the type.
    let mut answer = [0_i64; 15];
    // SAFETY: the kernel writes one struct statfs, of 120 bytes.
    unsafe { sys!(SYS_fstatfs, fd, answer.as_mut_ptr()) }?;
    Ok(answer.first().copied().unwrap_or(0))
}

pub(crate) fn is_dir(mode: u32) -> bool {
    mode & libc::S_IFMT == libc::S_IFDIR
}

pub(crate) fn move_mount(tree: i32, to: i32) -> Result<(), Errno> {
    const TO_EMPTY: u32 = 0x40;
    move_mount_to(tree, to, EMPTY, TO_EMPTY)
}

/// Moves a mount to a name in a directory; a link of that name is not followed.
pub(crate) fn move_mount_at(tree: i32, dir: i32, name: CStr<'_>) -> Result<(), Errno> {
    move_mount_to(tree, dir, name, 0)
}

fn move_mount_to(tree: i32, dir: i32, name: CStr<'_>, flags: u32) -> Result<(), Errno> {
    const FROM_EMPTY: u32 = 0x04;
    // SAFETY: one path is the empty literal, the other ends in NUL.
    unsafe {
        sys!(
            SYS_move_mount,
            tree,
            EMPTY.ptr(),
            dir,
            name.ptr(),
            FROM_EMPTY | flags
        )
    }?;
    Ok(())
}

/// A detached copy of the mount at `fd`, with all mounts below it if `recursive`.
pub(crate) fn open_tree(fd: i32, recursive: bool) -> Result<i32, Errno> {
    const CLONE: i32 = 1;
    const RECURSIVE: i32 = 0x8000;
    let flags =
        CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH | if recursive { RECURSIVE } else { 0 };
    // SAFETY: the path is the empty literal.
    unsafe { sys!(SYS_open_tree, fd, EMPTY.ptr(), flags) }.map(int)
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

pub(crate) fn mount_setattr(
    fd: i32,
    attr: crate::plan::Attr,
    recursive: bool,
) -> Result<(), Errno> {
    const RECURSIVE: i32 = 0x8000;
    let flags = libc::AT_EMPTY_PATH | if recursive { RECURSIVE } else { 0 };
    let a = MountAttr {
        set: attr.set,
        clear: attr.clear,
        propagation: attr.propagation,
        userns: 0,
    };
    // SAFETY: the path is the empty literal; a lives through the call and has the size given.
    unsafe {
        sys!(
            SYS_mount_setattr,
            fd,
            EMPTY.ptr(),
            flags,
            &raw const a,
            size_of::<MountAttr>()
        )
    }?;
    Ok(())
}

pub(crate) fn mount(
    source: CStr<'_>,
    target: CStr<'_>,
    fstype: CStr<'_>,
    flags: u64,
    data: CStr<'_>,
) -> Result<(), Errno> {
    let data = if data.is_empty() {
        core::ptr::null()
    } else {
        data.ptr()
    };
    // SAFETY: the strings end in NUL; data is a string or null.
    unsafe {
        sys!(
            SYS_mount,
            source.ptr(),
            target.ptr(),
            fstype.ptr(),
            flags,
            data
        )
    }?;
    Ok(())
}

pub(crate) fn fchdir(fd: i32) -> Result<(), Errno> {
    // SAFETY: touches no memory.
    unsafe { sys!(SYS_fchdir, fd) }?;
    Ok(())
}

pub(crate) fn chdir(path: CStr<'_>) -> Result<(), Errno> {
    // SAFETY: path ends in NUL.
    unsafe { sys!(SYS_chdir, path.ptr()) }?;
    Ok(())
}

pub(crate) fn prctl(option: i32, a: u64, b: u64) -> Result<usize, Errno> {
    // SAFETY: only used with options that take numbers.
    unsafe { sys!(SYS_prctl, option, a, b, 0_u64, 0_u64) }
}

pub(crate) fn dup3(from: i32, to: i32) -> Result<(), Errno> {
    if from == to {
        // SAFETY: touches no memory. dup3 refuses equal numbers; all that is wanted is no CLOEXEC.
        unsafe { sys!(SYS_fcntl, from, libc::F_SETFD, 0) }?;
    } else {
        // SAFETY: touches no memory; what `to` was is ours to replace.
        unsafe { sys!(SYS_dup3, from, to, 0) }?;
    }
    Ok(())
}

pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: ends the process; no destructor of the parent's matters here.
    let _ = unsafe { sys!(SYS_exit_group, code) };
    // A seccomp profile may refuse even that.
    crate::raw::trap()
}

/// The kernel's own sigaction: handler, flags, restorer, mask.
#[repr(C)]
struct Action([u64; 4]);

/// Sets a signal's disposition; KILL and STOP are refused, which is fine.
fn set_action(signal: i32, action: &Action) {
    // SAFETY: the action lives through the call; a handler in it is one of this file, which allocates nothing.
    let _ = unsafe {
        sys!(
            SYS_rt_sigaction,
            signal,
            &raw const *action,
            core::ptr::null::<u8>(),
            8_usize
        )
    };
}

/// Changes the signal mask.
fn change_mask(how: i32, mask: u64) {
    // SAFETY: the mask lives through the call.
    let _ = unsafe {
        sys!(
            SYS_rt_sigprocmask,
            how,
            &raw const mask,
            core::ptr::null::<u8>(),
            8_usize
        )
    };
}

/// Makes every signal's disposition the default one. The mask is not touched.
pub(crate) fn default_signals() {
    let action = Action([0; 4]);
    let mut signal = 1;
    while signal <= 64 {
        set_action(signal, &action);
        signal += 1;
    }
}

/// Lets HUP, INT, QUIT and TERM end the process, also as the first one of its pid namespace, for which the
/// kernel drops a signal that has no handler. The program has none of it: execve resets handlers.
pub(crate) fn mortal() {
    extern "C" fn end(signal: i32) {
        exit(128 + signal)
    }
    /// SA_RESTORER: x86-64 demands one. Ours is never come to, for the handler does not return.
    const RESTORER: u64 = 0x0400_0000;
    let handler = end as extern "C" fn(i32) as usize as u64;
    let action = Action([handler, RESTORER, handler, 0]);
    let mut mask = 0_u64;
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        mask |= 1 << (signal - 1);
        set_action(signal, &action);
    }
    change_mask(libc::SIG_UNBLOCK, mask);
}

pub(crate) fn empty_signal_mask() {
    change_mask(libc::SIG_SETMASK, 0);
}

/// O_PATH and the like from our own root and working directory, magic links allowed as execve does.
pub(crate) fn openat2_plain(path: CStr<'_>, flags: i32) -> Result<i32, Errno> {
    // SAFETY: the path ends in NUL.
    unsafe {
        sys!(
            SYS_openat,
            libc::AT_FDCWD,
            path.ptr(),
            flags | libc::O_CLOEXEC,
            0
        )
    }
    .map(int)
}

/// Nanoseconds of CLOCK_MONOTONIC.
pub(crate) fn monotonic() -> u64 {
    let mut time = [0_u64; 2];
    // SAFETY: struct timespec is two 64-bit numbers, written by the kernel.
    let _ = unsafe { sys!(SYS_clock_gettime, libc::CLOCK_MONOTONIC, time.as_mut_ptr()) };
    let [seconds, nanoseconds] = time;
    seconds
        .wrapping_mul(1_000_000_000)
        .wrapping_add(nanoseconds)
}
