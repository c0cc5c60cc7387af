//! What a privileged process sets on another, and what a namespace file is.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

/// Sets resource limit `resource` (the kernel's number) of process `pid`.
///
/// # Errors
/// EPERM over the hard limit without CAP_SYS_RESOURCE, ESRCH, EINVAL.
pub fn set_rlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    let old: *mut libc::rlimit64 = ptr::null_mut();
    // SAFETY: the limit lives through the call; the old one is not asked for.
    let rc = unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const limit, old) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The CLONE_NEW* flag of the namespace behind a descriptor of /proc/…/ns/… (Linux 4.11).
///
/// # Errors
/// ENOTTY when it is no namespace.
pub fn namespace_type(fd: BorrowedFd<'_>) -> io::Result<u32> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: this request takes no argument.
    let answer = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    u32::try_from(answer).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn namespaces_know_their_type() {
        let file = std::fs::File::open("/proc/self/ns/uts").unwrap();
        assert_eq!(namespace_type(file.as_fd()).unwrap(), 0x0400_0000);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(
            namespace_type(file.as_fd()).unwrap_err().raw_os_error(),
            Some(libc::ENOTTY)
        );
    }
}
