//! The RuntimeDefault seccomp profile: what a container may ask of the kernel if nothing else is
//! said.
//!
//! An allow list: calls that are not named answer EPERM, calls younger than all that are named
//! answer ENOSYS (the compiler of the profile sees to that). It admits what Docker's and
//! containerd's defaults admit, so that an image that runs there runs here:
//!
//! * calls that only a capability makes useful come with that capability;
//! * `clone` without CAP_SYS_ADMIN may not make namespaces; `clone3`, whose flags lie in memory
//!   where a filter can't look, answers ENOSYS then, and C libraries fall back to `clone`;
//! * `socket` may not be of family AF_VSOCK: it would reach the hypervisor past the network
//!   namespace;
//! * never: io_uring (its work passes the filter by), keyrings (not namespaced), userfaultfd,
//!   kexec, swap, and calls that live on for old programs only.

use std::collections::BTreeSet;

use oci::runtime::{
    LinuxSeccomp, LinuxSyscall, SeccompAction, SeccompArch, SeccompArg, SeccompOperator,
};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const AF_VSOCK: u64 = 40;
/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET.
const CLONE_NAMESPACES: u64 = 0x7e02_0000;
/// What personality(2) may be set to: Linux, Linux32, both with UNAME26, and the question.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

#[rustfmt::skip]
const FILES: &[&str] = &[
    "_llseek", "access", "cachestat", "chdir", "chmod", "chown", "chown32", "close", "close_range",
    "copy_file_range", "creat", "dup", "dup2", "dup3", "faccessat", "faccessat2", "fadvise64",
    "fadvise64_64", "fallocate", "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2",
    "fchown", "fchown32", "fchownat", "fcntl", "fcntl64", "fdatasync", "fgetxattr", "file_getattr",
    "file_setattr", "flistxattr", "flock", "fremovexattr", "fsetxattr", "fstat", "fstat64",
    "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futimesat",
    "getcwd", "getdents", "getdents64", "getxattr", "getxattrat", "inotify_add_watch",
    "inotify_init", "inotify_init1", "inotify_rm_watch", "ioctl", "lchown", "lchown32",
    "lgetxattr", "link", "linkat", "listxattr", "listxattrat", "llistxattr", "lremovexattr",
    "lseek", "lsetxattr", "lstat", "lstat64", "mkdir", "mkdirat", "mknod", "mknodat",
    "name_to_handle_at", "newfstatat", "open", "openat", "openat2", "pipe", "pipe2", "pread64",
    "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readdir",
    "readlink", "readlinkat", "readv", "removexattr", "removexattrat", "rename", "renameat",
    "renameat2", "rmdir", "sendfile", "sendfile64", "setxattr", "setxattrat", "splice", "stat",
    "stat64", "statfs", "statfs64", "statx", "symlink", "symlinkat", "sync", "sync_file_range",
    "sync_file_range2", "syncfs", "tee", "truncate", "truncate64", "umask", "unlink", "unlinkat",
    "utime", "utimensat", "utimensat_time64", "utimes", "vmsplice", "write", "writev",
];

#[rustfmt::skip]
const POLLING: &[&str] = &[
    "_newselect", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait",
    "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "io_cancel",
    "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_setup", "io_submit",
    "poll", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64", "select", "signalfd",
    "signalfd4", "timerfd_create", "timerfd_gettime", "timerfd_gettime64", "timerfd_settime",
    "timerfd_settime64",
];

#[rustfmt::skip]
const MEMORY: &[&str] = &[
    "brk", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret", "mincore",
    "mlock", "mlock2", "mlockall", "mmap", "mmap2", "mprotect", "mremap", "mseal", "msync",
    "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect",
    "remap_file_pages",
];

#[rustfmt::skip]
const PROCESSES: &[&str] = &[
    "alarm", "arch_prctl", "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork",
    "futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake",
    "get_robust_list", "get_thread_area", "getcpu", "getegid", "getegid32", "geteuid", "geteuid32",
    "getgid", "getgid32", "getgroups", "getgroups32", "getpgid", "getpgrp", "getpid", "getppid",
    "getpriority", "getrandom", "getresgid", "getresgid32", "getresuid", "getresuid32",
    "getrlimit", "getrusage", "getsid", "gettid", "getuid", "getuid32", "ioprio_get", "ioprio_set",
    "kill", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
    "lsm_get_self_attr", "lsm_list_modules", "modify_ldt", "pause", "pidfd_open",
    "pidfd_send_signal", "prctl", "prlimit64", "process_mrelease", "process_vm_readv",
    "process_vm_writev", "ptrace", "restart_syscall", "rseq", "rt_sigaction", "rt_sigpending",
    "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam",
    "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64",
    "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield",
    "seccomp", "set_robust_list", "set_thread_area", "set_tid_address", "setfsgid", "setfsgid32",
    "setfsuid", "setfsuid32", "setgid", "setgid32", "setgroups", "setgroups32", "setpgid",
    "setpriority", "setregid", "setregid32", "setresgid", "setresgid32", "setresuid",
    "setresuid32", "setreuid", "setreuid32", "setrlimit", "setsid", "setuid", "setuid32",
    "sigaction", "sigaltstack", "signal", "sigpending", "sigprocmask", "sigreturn", "sigsuspend",
    "sysinfo", "tgkill", "times", "tkill", "ugetrlimit", "uname", "vfork", "wait4", "waitid",
    "waitpid",
];

#[rustfmt::skip]
const TIME: &[&str] = &[
    "adjtimex", "clock_adjtime", "clock_adjtime64", "clock_getres", "clock_getres_time64",
    "clock_gettime", "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "getitimer",
    "gettimeofday", "nanosleep", "setitimer", "time", "timer_create", "timer_delete",
    "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64",
];

/// Sockets but for `socket` itself, and System V and POSIX message passing.
#[rustfmt::skip]
const MESSAGES: &[&str] = &[
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "ipc",
    "listen", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64",
    "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd",
    "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", "semctl", "semget", "semop",
    "semtimedop", "semtimedop_time64", "send", "sendmmsg", "sendmsg", "sendto", "setsockopt",
    "shmat", "shmctl", "shmdt", "shmget", "shutdown", "socketcall", "socketpair",
];

/// Calls that 32-bit ARM has besides.
const ARM: &[&str] = &[
    "arm_fadvise64_64",
    "arm_sync_file_range",
    "breakpoint",
    "cacheflush",
    "set_tls",
];

/// What each capability adds.
#[rustfmt::skip]
const WITH_CAPABILITY: &[(&str, &[&str])] = &[
    ("CAP_BPF", &["bpf"]),
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("CAP_PERFMON", &["perf_event_open"]),
    ("CAP_SYS_ADMIN", &[
        "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick",
        "listmount", "lookup_dcookie", "mount", "mount_setattr", "move_mount", "open_tree",
        "open_tree_attr", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname",
        "sethostname", "setns", "statmount", "syslog", "umount", "umount2", "unshare",
    ]),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    (
        "CAP_SYS_MODULE",
        &["delete_module", "finit_module", "init_module"],
    ),
    (
        "CAP_SYS_NICE",
        &[
            "get_mempolicy",
            "mbind",
            "set_mempolicy",
            "set_mempolicy_home_node",
        ],
    ),
    ("CAP_SYS_PACCT", &["acct"]),
    (
        "CAP_SYS_PTRACE",
        &["kcmp", "pidfd_getfd", "process_madvise"],
    ),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    (
        "CAP_SYS_TIME",
        &["clock_settime", "clock_settime64", "settimeofday", "stime"],
    ),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
    ("CAP_SYSLOG", &["syslog"]),
];

/// The profile for a container with these capabilities (`CAP_…`; those of its bounding set).
pub fn runtime_default(caps: &BTreeSet<String>) -> LinuxSeccomp {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for list in [FILES, POLLING, MEMORY, PROCESSES, TIME, MESSAGES] {
        names.extend(list);
    }
    for (capability, list) in WITH_CAPABILITY {
        if caps.contains(*capability) {
            names.extend(*list);
        }
    }
    if matches!(std::env::consts::ARCH, "arm" | "aarch64") {
        names.extend(ARM);
    }
    let mut syscalls = vec![LinuxSyscall {
        names: names.into_iter().map(str::to_owned).collect(),
        action: SeccompAction::Allow,
        errno_ret: None,
        args: Vec::new(),
    }];
    syscalls.push(allow_if("socket", SeccompOperator::Ne, AF_VSOCK, 0));
    for personality in PERSONALITIES {
        syscalls.push(allow_if("personality", SeccompOperator::Eq, personality, 0));
    }
    if !caps.contains("CAP_SYS_ADMIN") {
        syscalls.push(allow_if(
            "clone",
            SeccompOperator::MaskedEq,
            CLONE_NAMESPACES,
            0,
        ));
        syscalls.push(LinuxSyscall {
            names: vec!["clone3".to_owned()],
            action: SeccompAction::Errno,
            errno_ret: Some(ENOSYS),
            args: Vec::new(),
        });
    }
    LinuxSeccomp {
        default_action: SeccompAction::Errno,
        default_errno_ret: Some(EPERM),
        architectures: architectures(),
        flags: None,
        listener_path: None,
        listener_metadata: None,
        syscalls,
    }
}

/// A rule on the first argument.
fn allow_if(name: &str, op: SeccompOperator, value: u64, value_two: u64) -> LinuxSyscall {
    LinuxSyscall {
        names: vec![name.to_owned()],
        action: SeccompAction::Allow,
        errno_ret: None,
        args: vec![SeccompArg {
            index: 0,
            value,
            value_two,
            op,
        }],
    }
}

/// This machine's architecture and those whose programs it runs too.
fn architectures() -> Vec<SeccompArch> {
    match std::env::consts::ARCH {
        "x86_64" => vec![SeccompArch::X86_64, SeccompArch::X86, SeccompArch::X32],
        "aarch64" => vec![SeccompArch::Aarch64, SeccompArch::Arm],
        "riscv64" => vec![SeccompArch::Riscv64],
        // The compiler of the profile adds the native one.
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(caps: &[&str], name: &str) -> bool {
        let caps = caps.iter().map(|&c| c.to_owned()).collect();
        let profile = runtime_default(&caps);
        profile.syscalls.iter().any(|s| {
            s.action == SeccompAction::Allow
                && s.args.is_empty()
                && s.names.iter().any(|n| n == name)
        })
    }

    #[test]
    fn capabilities_bring_their_calls() {
        for (capability, name) in [
            ("CAP_SYS_ADMIN", "mount"),
            ("CAP_SYS_ADMIN", "unshare"),
            ("CAP_SYS_ADMIN", "clone3"),
            ("CAP_SYS_CHROOT", "chroot"),
            ("CAP_SYS_TIME", "clock_settime"),
            ("CAP_SYS_NICE", "mbind"),
            ("CAP_SYSLOG", "syslog"),
            ("CAP_BPF", "bpf"),
        ] {
            assert!(!allowed(&[], name), "{name} without {capability}");
            assert!(allowed(&[capability], name), "{name} with {capability}");
        }
    }

    #[test]
    fn some_calls_are_never_allowed() {
        let all: Vec<&str> = WITH_CAPABILITY.iter().map(|(c, _)| *c).collect();
        for name in [
            "io_uring_setup",
            "io_uring_enter",
            "keyctl",
            "add_key",
            "request_key",
            "userfaultfd",
            "kexec_load",
            "kexec_file_load",
            "swapon",
            "pivot_root",
            "nfsservctl",
            "uselib",
        ] {
            assert!(!allowed(&all, name), "{name}");
        }
    }

    #[test]
    fn no_call_stands_in_two_lists() {
        let mut seen = BTreeSet::new();
        for name in [FILES, POLLING, MEMORY, PROCESSES, TIME, MESSAGES]
            .into_iter()
            .flatten()
        {
            assert!(seen.insert(*name), "{name} twice");
        }
        for (_, names) in WITH_CAPABILITY {
            for name in *names {
                assert!(!seen.contains(name), "{name} needs no capability elsewhere");
            }
        }
    }

    #[test]
    fn clone_may_not_make_namespaces_without_sys_admin() {
        let profile = runtime_default(&BTreeSet::new());
        let clone = profile
            .syscalls
            .iter()
            .find(|s| s.names == ["clone"])
            .unwrap();
        let want = SeccompArg {
            index: 0,
            value: 0x7e02_0000,
            value_two: 0,
            op: SeccompOperator::MaskedEq,
        };
        assert_eq!(clone.args, [want]);
        let clone3 = profile
            .syscalls
            .iter()
            .find(|s| s.names == ["clone3"])
            .unwrap();
        assert_eq!(
            (clone3.action, clone3.errno_ret),
            (SeccompAction::Errno, Some(38))
        );
    }
}
