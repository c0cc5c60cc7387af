//! Cgroups, namespaces, and the words with the parent that they need.

use crate::{
    calls::{self, IN_ROOT, NO_XDEV},
    child::{Child, Fail},
    message::{Act, Kind},
    plan::{Fd, Str, Sync},
    raw::sys,
};

pub(super) fn join_cgroup(c: &Child<'_, '_>, fd: Fd, unless: bool) -> Result<(), Fail> {
    let fd = c.fd(fd);
    let joined = if unless && c.into_cgroup {
        Ok(())
    } else {
        calls::write(fd, b"0")
    };
    c.spent(fd);
    Ok(joined?)
}

pub(super) fn setns(c: &Child<'_, '_>, fd: Fd, flags: u32) -> Result<(), Fail> {
    // Where others are, as little as possible of the host's is taken along.
    c.close_spent();
    // SAFETY: touches no memory.
    unsafe { sys!(SYS_setns, c.fd(fd), flags) }?;
    Ok(())
}

pub(super) fn unshare(flags: u32) -> Result<(), Fail> {
    // SAFETY: touches no memory; this process has one thread.
    unsafe { sys!(SYS_unshare, flags) }?;
    Ok(())
}

pub(super) fn time_offsets(c: &Child<'_, '_>, proc: Fd, text: Str) -> Result<(), Fail> {
    const NAME: calls::CStr<'static> = calls::CStr::literal(b"self/timens_offsets\0");
    let fd = calls::openat2(c.fd(proc), NAME, libc::O_WRONLY, 0, IN_ROOT | NO_XDEV)
        .map_err(Fail::on(Act::Open))?;
    let result = calls::write(fd, c.str(text).bytes()).map_err(Fail::on(Act::Write));
    calls::close(fd);
    result
}

pub(super) fn fork(c: &mut Child<'_, '_>, flags: u64, cgroup: Fd) -> Result<(), Fail> {
    // With CLONE_PARENT the kernel wants exit_signal 0 (else EINVAL) and takes that of this process.
    let spawned = crate::clone::clone(flags | crate::clone::PARENT, 0, c.fd(cgroup), false)?;
    if spawned.pid != 0 {
        #[expect(clippy::cast_sign_loss, reason = "a pid is positive")]
        c.tell(Kind::Forked, spawned.pid as u32, Act::Itself);
        calls::exit(0);
    }
    c.into_cgroup = spawned.into_cgroup;
    // The parent has no pidfd of ours yet: until its word comes we must not end.
    c.wait_for_parent()
}

pub(super) fn sync(c: &mut Child<'_, '_>, what: Sync) -> Result<(), Fail> {
    // A hook of the host's may mount in here.
    c.forget_made_in();
    c.tell(Kind::Sync, what as u32, Act::Itself);
    c.wait_for_parent()
}

pub(super) fn loopback() -> Result<(), Fail> {
    /// `struct ifreq` with its flags.
    #[repr(C)]
    struct IfReq {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    // SAFETY: touches no memory.
    let socket = calls::int(unsafe {
        sys!(
            SYS_socket,
            libc::AF_INET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
            0
        )
    }?);
    let request = IfReq {
        name: *b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        // IFF_UP; the kernel keeps IFF_LOOPBACK and adds IFF_RUNNING.
        flags: 1,
        rest: [0; 22],
    };
    // SAFETY: the request is as long as struct ifreq (40 bytes) and lives through the call.
    let result = unsafe { sys!(SYS_ioctl, socket, libc::SIOCSIFFLAGS, &raw const request) };
    calls::close(socket);
    result?;
    Ok(())
}

pub(super) fn hostname(c: &Child<'_, '_>, name: Str) -> Result<(), Fail> {
    let name = c.str(name).bytes();
    // SAFETY: the kernel reads the slice only.
    unsafe { sys!(SYS_sethostname, name.as_ptr(), name.len()) }?;
    Ok(())
}

pub(super) fn domainname(c: &Child<'_, '_>, name: Str) -> Result<(), Fail> {
    let name = c.str(name).bytes();
    // SAFETY: the kernel reads the slice only.
    unsafe { sys!(SYS_setdomainname, name.as_ptr(), name.len()) }?;
    Ok(())
}
