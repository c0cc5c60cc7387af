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

/// Capabilities of the calling thread, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// The permitted set.
    pub permitted: u64,
    /// The bounding set.
    pub bounding: u64,
    /// How many the kernel knows.
    pub count: u8,
}

/// Asks by system calls what /proc/thread-self/status and cap_last_cap say as well.
///
/// # Errors
/// EPERM where a seccomp profile takes capget away.
pub fn capabilities() -> io::Result<Capabilities> {
    /// `struct __user_cap_data_struct`, one of two.
    #[repr(C)]
    #[derive(Default, Clone, Copy)]
    struct Half {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    // _LINUX_CAPABILITY_VERSION_3, and ourselves.
    let head = [0x2008_0522_u32, 0];
    let mut halves = [Half::default(); 2];
    let data = halves.as_mut_ptr();
    // SAFETY: head and data are what version 3 takes, and live through the call.
    let rc = unsafe { libc::syscall(libc::SYS_capget, head.as_ptr(), data) };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    let [low, high] = halves;
    let (mut bounding, mut count) = (0, 0);
    while count < 64 {
        // SAFETY: this request takes a number.
        match unsafe { libc::prctl(libc::PR_CAPBSET_READ, u64::from(count)) } {
            0 => {}
            1 => bounding |= 1 << count,
            // The kernel knows no more.
            _ => break,
        }
        count += 1;
    }
    Ok(Capabilities {
        permitted: u64::from(high.permitted) << 32 | u64::from(low.permitted),
        bounding,
        count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn capabilities_are_those_of_procfs() {
        let found = capabilities().unwrap();
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let set = |name: &str| {
            let hex = status.lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(hex.unwrap().trim(), 16).unwrap()
        };
        assert_eq!(found.permitted, set("CapPrm:"));
        assert_eq!(found.bounding, set("CapBnd:"));
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(found.count, last.trim().parse::<u8>().unwrap() + 1);
    }

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
