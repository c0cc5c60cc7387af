//! System call filters.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use super::document::{document, is_default, nullable, words};

document! {
    /// A filter.
    pub struct LinuxSeccomp {
        required {
            /// What happens to calls that no rule names.
            pub default_action: SeccompAction,
        }
        /// errno of an ERRNO default action, or data of a TRACE one; absent means EPERM.
        pub default_errno_ret: Option<u32>,
        /// Architectures besides the native one.
        pub architectures: Vec<SeccompArch>,
        /// Flags of the load; none said is not the same as an empty list.
        pub flags: Option<Vec<SeccompFlag>>,
        /// Socket that gets the listener of NOTIFY actions.
        pub listener_path: Option<String>,
        /// Opaque text for the socket's reader.
        pub listener_metadata: Option<String>,
        /// The rules.
        pub syscalls: Vec<LinuxSyscall>,
    }

    /// Condition on an argument.
    pub struct SeccompArg {
        required {
            /// Which argument, 0 to 5.
            pub index: u32,
            /// How to compare.
            pub op: SeccompOperator,
        }
        always {
            /// Value to compare with; the mask for MASKED_EQ.
            pub value: u64,
        }
        /// The value for MASKED_EQ.
        pub value_two: u64,
    }
}

/// A rule: what happens to some calls if all conditions on their arguments hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "SyscallDocument", rename_all = "camelCase")]
pub struct LinuxSyscall {
    /// Names of the calls; those unknown to the kernel's headers are skipped with a warning.
    pub names: Vec<String>,
    /// What happens.
    pub action: SeccompAction,
    /// errno of ERRNO, or data of TRACE; absent means EPERM.
    #[serde(skip_serializing_if = "is_default")]
    pub errno_ret: Option<u32>,
    /// Conditions.
    #[serde(skip_serializing_if = "is_default")]
    pub args: Vec<SeccompArg>,
}

/// A rule as written: the 1.0.0-rc form has one `name`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SyscallDocument {
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    names: Vec<String>,
    action: SeccompAction,
    errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "nullable")]
    args: Vec<SeccompArg>,
}

impl From<SyscallDocument> for LinuxSyscall {
    fn from(document: SyscallDocument) -> Self {
        let mut names = document.names;
        names.extend(document.name.filter(|name| !name.is_empty()));
        Self {
            names,
            action: document.action,
            errno_ret: document.errno_ret,
            args: document.args,
        }
    }
}

/// A filter as a document has it. The specification demands a default action; one without it and without rules
/// means none, as Go writes it for a profile that is not set (`{}`, or with an empty text).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SeccompDocument {
    #[serde(default, deserialize_with = "unless_blank")]
    default_action: Option<SeccompAction>,
    default_errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "nullable")]
    architectures: Vec<SeccompArch>,
    flags: Option<Vec<SeccompFlag>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    syscalls: Vec<LinuxSyscall>,
}

fn unless_blank<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SeccompAction>, D::Error> {
    let word = Option::<Cow<'_, str>>::deserialize(deserializer)?;
    let said = word.filter(|word| !word.is_empty());
    let action = said.map(|word| word.parse().map_err(D::Error::custom));
    action.transpose()
}

pub(super) fn unless_empty<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<LinuxSeccomp>, D::Error> {
    let Some(document) = Option::<SeccompDocument>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let default_action = match document.default_action {
        Some(action) => action,
        None if document.syscalls.is_empty() => return Ok(None),
        None => return Err(D::Error::missing_field("defaultAction")),
    };
    Ok(Some(LinuxSeccomp {
        default_action,
        default_errno_ret: document.default_errno_ret,
        architectures: document.architectures,
        flags: document.flags,
        listener_path: document.listener_path,
        listener_metadata: document.listener_metadata,
        syscalls: document.syscalls,
    }))
}

impl LinuxSeccomp {
    /// Whether a rule leaves its calls to a listener.
    #[must_use]
    pub fn notifies(&self) -> bool {
        let notifies = |rule: &LinuxSyscall| rule.action == SeccompAction::Notify;
        self.syscalls.iter().any(notifies)
    }
}

words! {
    /// What happens to a call.
    pub enum SeccompAction ("seccomp action") {
        /// The thread dies.
        #[default]
        Kill = "SCMP_ACT_KILL",
        /// The thread dies.
        KillThread = "SCMP_ACT_KILL_THREAD",
        /// The process dies.
        KillProcess = "SCMP_ACT_KILL_PROCESS",
        /// SIGSYS.
        Trap = "SCMP_ACT_TRAP",
        /// The call fails with an errno.
        Errno = "SCMP_ACT_ERRNO",
        /// A tracer decides.
        Trace = "SCMP_ACT_TRACE",
        /// The call is made.
        Allow = "SCMP_ACT_ALLOW",
        /// The call is logged and made.
        Log = "SCMP_ACT_LOG",
        /// A listener decides.
        Notify = "SCMP_ACT_NOTIFY",
    }

    /// Architectures of libseccomp.
    pub enum SeccompArch ("seccomp architecture") {
        /// x86, 32 bits.
        #[default]
        X86 = "SCMP_ARCH_X86",
        /// x86, 64 bits.
        X86_64 = "SCMP_ARCH_X86_64",
        /// x86, 64 bits with 32-bit pointers.
        X32 = "SCMP_ARCH_X32",
        /// ARM, 32 bits.
        Arm = "SCMP_ARCH_ARM",
        /// ARM, 64 bits.
        Aarch64 = "SCMP_ARCH_AARCH64",
        /// MIPS.
        Mips = "SCMP_ARCH_MIPS",
        /// MIPS, 64 bits.
        Mips64 = "SCMP_ARCH_MIPS64",
        /// MIPS, 64 bits with 32-bit pointers.
        Mips64n32 = "SCMP_ARCH_MIPS64N32",
        /// MIPS, little endian.
        Mipsel = "SCMP_ARCH_MIPSEL",
        /// MIPS, 64 bits, little endian.
        Mipsel64 = "SCMP_ARCH_MIPSEL64",
        /// MIPS, 64 bits with 32-bit pointers, little endian.
        Mipsel64n32 = "SCMP_ARCH_MIPSEL64N32",
        /// PowerPC.
        Ppc = "SCMP_ARCH_PPC",
        /// PowerPC, 64 bits.
        Ppc64 = "SCMP_ARCH_PPC64",
        /// PowerPC, 64 bits, little endian.
        Ppc64le = "SCMP_ARCH_PPC64LE",
        /// S/390, 31 bits.
        S390 = "SCMP_ARCH_S390",
        /// S/390, 64 bits.
        S390x = "SCMP_ARCH_S390X",
        /// PA-RISC.
        Parisc = "SCMP_ARCH_PARISC",
        /// PA-RISC, 64 bits.
        Parisc64 = "SCMP_ARCH_PARISC64",
        /// RISC-V, 64 bits.
        Riscv64 = "SCMP_ARCH_RISCV64",
        /// LoongArch, 64 bits.
        Loongarch64 = "SCMP_ARCH_LOONGARCH64",
        /// Motorola 68000.
        M68k = "SCMP_ARCH_M68K",
        /// SuperH.
        Sh = "SCMP_ARCH_SH",
        /// SuperH, big endian.
        Sheb = "SCMP_ARCH_SHEB",
    }

    /// Flags of `seccomp(2)`.
    pub enum SeccompFlag ("seccomp flag") {
        /// All threads at once.
        #[default]
        Tsync = "SECCOMP_FILTER_FLAG_TSYNC",
        /// Log all actions but ALLOW.
        Log = "SECCOMP_FILTER_FLAG_LOG",
        /// Leave speculative store bypass as it is.
        SpecAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        /// A notified call waits killably (Linux 5.19).
        WaitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }

    /// Comparisons.
    pub enum SeccompOperator ("seccomp operator") {
        /// Not equal.
        #[default]
        Ne = "SCMP_CMP_NE",
        /// Less.
        Lt = "SCMP_CMP_LT",
        /// Less or equal.
        Le = "SCMP_CMP_LE",
        /// Equal.
        Eq = "SCMP_CMP_EQ",
        /// Greater or equal.
        Ge = "SCMP_CMP_GE",
        /// Greater.
        Gt = "SCMP_CMP_GT",
        /// Equal under a mask.
        MaskedEq = "SCMP_CMP_MASKED_EQ",
    }
}

#[cfg(test)]
mod tests {
    use crate::runtime::{Linux, SeccompAction};

    #[test]
    fn a_profile_that_says_nothing_is_none() {
        let read = |profile: &str| {
            let linux: Result<Linux, _> =
                serde_json::from_str(&format!("{{\"seccomp\": {profile}}}"));
            linux.map(|linux| linux.seccomp)
        };
        for off in [
            "null",
            "{}",
            r#"{"defaultAction": "", "architectures": ["SCMP_ARCH_X86"], "syscalls": null}"#,
        ] {
            assert_eq!(read(off).unwrap(), None, "{off}");
        }
        let on = read(r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 3, "flags": []}"#);
        let on = on.unwrap().unwrap();
        assert_eq!(on.default_action, SeccompAction::Errno);
        assert_eq!((on.default_errno_ret, on.flags), (Some(3), Some(vec![])));
        let rules = r#"{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#;
        let error = read(rules).unwrap_err().to_string();
        assert!(error.contains("missing field `defaultAction`"), "{error}");
        let error = read(r#"{"defaultAction": "x"}"#).unwrap_err().to_string();
        assert!(error.contains("seccomp action"), "{error}");
    }
}
