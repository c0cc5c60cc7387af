//! Capabilities by name and number.

/// Names in the order of their numbers: `NAMES[0]` is `CAP_CHOWN`. Complete to Linux 5.9; no
/// capability came later.
pub const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The number of a capability; names are compared without regard to case.
#[must_use]
pub fn number(name: &str) -> Option<u8> {
    let at = NAMES
        .iter()
        .position(|known| known.eq_ignore_ascii_case(name))?;
    u8::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_the_kernels() {
        let table = [
            ("CAP_CHOWN", 0),
            ("cap_kill", 5),
            ("CAP_SYS_ADMIN", 21),
            ("CAP_CHECKPOINT_RESTORE", 40),
        ];
        for (name, wanted) in table {
            assert_eq!(number(name), Some(wanted), "{name}");
        }
        assert_eq!(number("KILL"), None);
    }
}
