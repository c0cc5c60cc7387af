//! A pseudo terminal of the container's own devpts.
//!
//! ```text
//!  /dev/ptmx ─open─► master ─TIOCGPTPEER─► slave ─► 0, 1, 2, controlling terminal, /dev/console
//!                      └──SCM_RIGHTS──► parent
//! ```
//! Nothing of it is opened by a path that the container could have prepared, but ptmx itself, and
//! that is checked for what it is (CVE-2025-52565).

use crate::{
    calls::{self, CStr, EMPTY, dup3},
    child::{Child, Fail},
    message::{Act, Kind},
    path,
    raw::sys,
};

const PTMX_MAJOR_MINOR: (u32, u32) = (5, 2);
const TIOCSPTLCK: u64 = 0x4004_5431;
const TIOCGPTPEER: u64 = 0x5441;
const TIOCSWINSZ: u64 = 0x5414;
const TIOCSCTTY: u64 = 0x540e;

pub(super) fn open(
    c: &mut Child<'_, '_>,
    rows: u16,
    columns: u16,
    console: bool,
    uid: u32,
) -> Result<(), Fail> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK;
    let master = path::open(c.root, CStr::literal(b"/dev/ptmx\0"), flags)
        .map_err(Fail::on(Act::OpenPtmx))?;
    let result = with_master(c, master, rows, columns, console, uid);
    calls::close(master);
    result
}

fn with_master(
    c: &mut Child<'_, '_>,
    master: i32,
    rows: u16,
    columns: u16,
    console: bool,
    uid: u32,
) -> Result<(), Fail> {
    let found = calls::stat(master, EMPTY).map_err(Fail::on(Act::OpenPtmx))?;
    if found.mode & libc::S_IFMT != libc::S_IFCHR || (found.major, found.minor) != PTMX_MAJOR_MINOR
    {
        return Err(Fail {
            errno: libc::ENODEV,
            act: Act::OpenPtmx,
        });
    }
    // NONBLOCK was for a fifo in its place.
    // SAFETY: touches no memory.
    unsafe { sys!(SYS_fcntl, master, libc::F_SETFL, libc::O_RDWR) }
        .map_err(Fail::on(Act::OpenPtmx))?;
    let unlock = 0_i32;
    // SAFETY: the kernel reads one int.
    unsafe { sys!(SYS_ioctl, master, TIOCSPTLCK, &raw const unlock) }
        .map_err(Fail::on(Act::Unlock))?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes flags, no pointer.
    let slave = calls::int(
        unsafe { sys!(SYS_ioctl, master, TIOCGPTPEER, flags) }.map_err(Fail::on(Act::OpenPeer))?,
    );
    if rows != 0 || columns != 0 {
        let size = [rows, columns, 0, 0];
        // SAFETY: struct winsize is four u16.
        unsafe { sys!(SYS_ioctl, slave, TIOCSWINSZ, size.as_ptr()) }
            .map_err(Fail::on(Act::WindowSize))?;
    }
    super::process::give_terminal(slave, uid).map_err(Fail::on(Act::Chown))?;
    if console {
        bind_console(c, slave)?;
    }
    c.send_fds(Kind::Console, &[master])
        .map_err(Fail::on(Act::Send))?;
    // SAFETY: takes a number, no pointer.
    unsafe { sys!(SYS_ioctl, slave, TIOCSCTTY, 0) }.map_err(Fail::on(Act::ControllingTty))?;
    for number in 0..3 {
        dup3(slave, number).map_err(Fail::on(Act::Dup))?;
    }
    // A slave below 3 has become stdio itself.
    if slave > 2 {
        calls::close(slave);
    }
    Ok(())
}

fn bind_console(c: &mut Child<'_, '_>, slave: i32) -> Result<(), Fail> {
    let at = super::node::file(c, CStr::literal(b"/dev/console\0"))?;
    let copy = calls::open_tree(slave, false).map_err(Fail::on(Act::BindConsole));
    let result = copy.and_then(|copy| {
        let moved = calls::move_mount(copy, at).map_err(Fail::on(Act::BindConsole));
        calls::close(copy);
        moved
    });
    calls::close(at);
    c.forget_made_in();
    result
}
