//! Features of the kernel, tried: what a version number does not tell, because a configuration, a
//! container around us or a seccomp profile may have taken it away.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    thread,
};

/// Loads a filter that allows everything into a thread made for it, with a listener for its
/// notifications (Linux 5.0). The thread ends, and the filter with it.
///
/// # Errors
/// The kernel's: EINVAL without seccomp filters or notifications, EPERM, EBUSY under another
/// listener.
pub fn seccomp_listener() -> io::Result<()> {
    let tried = thread::spawn(|| listen().map(drop)).join();
    tried.unwrap_or_else(|_| Err(io::Error::other("the thread of the trial panicked")))
}

fn listen() -> io::Result<OwnedFd> {
    const ALLOW: libc::sock_filter = libc::sock_filter {
        code: 0x06, // BPF_RET | BPF_K
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let mut filter = [ALLOW];
    let program = libc::sock_fprog {
        len: 1,
        filter: filter.as_mut_ptr(),
    };
    rustix::thread::set_no_new_privs(true)?;
    // SAFETY: the program and its one instruction live through the call, which copies them.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    own(rc)
}

/// Asks seccomp(2) for a filter with these SECCOMP_FILTER_FLAG_* bits, but gives it none: a kernel that
/// knows them misses the filter, any other refuses the bits. Nothing is loaded either way.
///
/// # Errors
/// EINVAL for a bit that the kernel does not know; ENOSYS, EPERM where a filter hides the call.
pub fn seccomp_flags(flags: u32) -> io::Result<()> {
    // This one is taken only beside a listener.
    const WAIT_KILLABLE_RECV: u32 = 1 << 5;
    const NEW_LISTENER: u32 = 1 << 3;
    let listener = if flags & WAIT_KILLABLE_RECV == 0 {
        0
    } else {
        NEW_LISTENER
    };
    // SAFETY: a null pointer in place of the program, which the kernel answers with EFAULT.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags | listener,
            std::ptr::null::<libc::sock_fprog>(),
        )
    };
    match io::Error::last_os_error() {
        error if rc < 0 && error.raw_os_error() == Some(libc::EFAULT) => Ok(()),
        error => Err(error),
    }
}

/// Asks clone3(2) for a child in a cgroup that does not exist: a kernel that can do it (Linux 5.7)
/// refuses the cgroup's descriptor, any other the request. No child is made either way.
///
/// # Errors
/// ENOSYS where a filter hides clone3, EINVAL or E2BIG on an old kernel, EPERM.
pub fn clone_into_cgroup() -> io::Result<()> {
    /// `struct clone_args` with the `cgroup` of Linux 5.7.
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs {
        flags: u64,
        others: [u64; 9],
        cgroup: u64,
    }
    const CLONE_INTO_CGROUP: u64 = 1 << 33;
    let args = CloneArgs {
        flags: CLONE_INTO_CGROUP,
        // No process ever has this descriptor.
        cgroup: 0x7fff_ffff,
        ..CloneArgs::default()
    };
    // SAFETY: the arguments live through the call. The descriptor is never open, so that the kernel
    // answers before it makes a child.
    let rc = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match io::Error::last_os_error() {
        error if rc < 0 && error.raw_os_error() == Some(libc::EBADF) => Ok(()),
        error => Err(error),
    }
}

/// Makes a virtual machine behind an open `/dev/kvm` and gives it back at once. Answers the version
/// of the interface, which is 12.
///
/// # Errors
/// The kernel's: ENOTTY when it is another device, ENODEV or EBUSY without virtualisation.
pub fn kvm_create_vm(kvm: &File) -> io::Result<i32> {
    const KVM_GET_API_VERSION: libc::Ioctl = 0xae00;
    const KVM_CREATE_VM: libc::Ioctl = 0xae01;
    // SAFETY: this request takes no argument.
    let version = unsafe { libc::ioctl(kvm.as_raw_fd(), KVM_GET_API_VERSION, 0) };
    if version < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: this request takes the machine's type, 0 for the usual one, by value.
    let vm = unsafe { libc::ioctl(kvm.as_raw_fd(), KVM_CREATE_VM, 0) };
    own(vm.into()).map(|_| version)
}

/// Whether somebody keeps the clock right (NTP, PTP, the hypervisor): the kernel's own word.
///
/// # Errors
/// The kernel's answer to adjtimex(2).
pub fn clock_is_synchronised() -> io::Result<bool> {
    // SAFETY: all zeroes is a value of this structure of integers; modes 0 changes nothing.
    let mut clock: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the structure lives through the call.
    let state = unsafe { libc::adjtimex(&raw mut clock) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(clock.status & libc::STA_UNSYNC == 0)
}

fn own(fd: i64) -> io::Result<OwnedFd> {
    match i32::try_from(fd) {
        // SAFETY: a new descriptor that nobody else knows.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_of_the_trial_alone_is_filtered() {
        seccomp_listener().unwrap();
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("NoNewPrivs:\t0"), "{status}");
    }

    #[test]
    fn known_flags_are_told_from_others_and_nothing_is_loaded() {
        for known in [0, 1, 2, 4, 32] {
            seccomp_flags(known).unwrap();
        }
        let error = seccomp_flags(1 << 30).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(status.contains("Seccomp_filters:\t0"), "{status}");
    }

    #[test]
    fn no_child_is_made() {
        clone_into_cgroup().unwrap();
        let me = std::process::id();
        let children = format!("/proc/{me}/task/{me}/children");
        assert_eq!(std::fs::read_to_string(children).unwrap(), "");
    }

    #[test]
    fn another_device_is_no_kvm() {
        let null = File::open("/dev/null").unwrap();
        assert_eq!(
            kvm_create_vm(&null).unwrap_err().raw_os_error(),
            Some(libc::ENOTTY)
        );
    }

    #[test]
    fn the_clock_has_a_state() {
        clock_is_synchronised().unwrap();
    }
}
