//! What a privileged process sets on another, what a namespace file is, and descriptors in numbers.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
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

/// Closes descriptors, those with numbers that follow each other by one call.
pub fn close_all(fds: Vec<OwnedFd>) {
    let mut numbers: Vec<RawFd> = fds.into_iter().map(IntoRawFd::into_raw_fd).collect();
    numbers.sort_unstable();
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        if let [first, .., last] = *run {
            // SAFETY: takes numbers. All between these two were owned, and nobody else has them.
            let rc = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
            if rc == 0 {
                continue;
            }
        }
        for &fd in run {
            // SAFETY: it was owned, nobody else has it, and it is not closed yet.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }
}

/// Capabilities of the calling thread, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Those that a program of ours can get: permitted, and in the bounding set.
    pub to_give: u64,
    /// How many the kernel knows.
    pub count: u8,
}

/// Asks by few system calls what /proc/thread-self/status and cap_last_cap say as well: of the bounding set only what
/// is not known. An execve gives what is inheritable or in the bounding set (capabilities(7)), so what is permitted
/// and not inheritable was in it, and this process has taken none away from itself.
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
    let both = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let permitted = both(high.permitted, low.permitted);
    let unsure = permitted & both(high.inheritable, low.inheritable);
    // SAFETY: this request takes a number.
    let bounding = |cap: u8| unsafe { libc::prctl(libc::PR_CAPBSET_READ, u64::from(cap)) };
    let dropped = (0..64).filter(|cap| unsure & 1 << cap != 0 && bounding(*cap) != 1);
    let dropped = dropped.fold(0, |all, cap| all | 1 << cap);
    // CAP_CHECKPOINT_RESTORE (Linux 5.9) is the last one that there is today.
    let mut count = 41;
    while count > 0 && bounding(count - 1) < 0 {
        count -= 1;
    }
    while count < 64 && bounding(count) >= 0 {
        count += 1;
    }
    Ok(Capabilities {
        to_give: permitted & !dropped,
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
        assert_eq!(found.to_give, set("CapPrm:") & set("CapBnd:"));
        let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
        assert_eq!(found.count, last.trim().parse::<u8>().unwrap() + 1);
    }

    #[test]
    fn all_are_closed_and_no_other() {
        let files: Vec<_> = (0..9)
            .map(|_| std::fs::File::open("/dev/null").unwrap())
            .collect();
        let (mut close, mut keep) = (Vec::new(), Vec::new());
        for (at, file) in files.into_iter().enumerate() {
            let to = if at == 2 || at == 6 {
                &mut keep
            } else {
                &mut close
            };
            to.push(OwnedFd::from(file));
        }
        // Each the end of a pipe whose other end tells.
        let (read, write) = rustix::pipe::pipe().unwrap();
        close.push(write);
        close.reverse();
        close_all(close);
        assert_eq!(rustix::io::read(&read, &mut [0; 1]).unwrap(), 0);
        assert!(keep.iter().all(|fd| rustix::fs::fstat(fd).is_ok()));
        close_all(Vec::new());
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
