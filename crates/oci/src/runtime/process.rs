//! The process of a container, and what it may do.

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::document::{document, is_default, nullable, words};
use super::{ExecCpuAffinity, LinuxIoPriority, Scheduler};

document! {
    /// A process: the `process` of `config.json`, and the whole of the file of `exec --process`.
    pub struct Process {
        always {
            /// Ids that it runs with; absent means root.
            pub user: User,
        }
        /// Whether it gets a pseudo terminal as stdio.
        pub terminal: bool,
        /// Initial size of that terminal.
        pub console_size: Option<ConsoleSize>,
        /// Program and arguments.
        pub args: Vec<String>,
        /// Environment, `NAME=value` each.
        pub env: Vec<String>,
        /// Working directory, absolute, in the container.
        pub cwd: String,
        /// Capability sets; absent leaves none.
        pub capabilities: Option<LinuxCapabilities>,
        /// Resource limits.
        pub rlimits: Vec<Rlimit>,
        /// `PR_SET_NO_NEW_PRIVS`.
        pub no_new_privileges: bool,
        /// AppArmor profile to change to at exec.
        pub apparmor_profile: Option<String>,
        /// `oom_score_adj`, -1000 to 1000; absent leaves it as inherited.
        pub oom_score_adj: Option<i32>,
        /// Scheduling policy (1.1).
        pub scheduler: Option<Scheduler>,
        /// SELinux label to change to at exec.
        pub selinux_label: Option<String>,
        /// I/O scheduling class and priority (1.1).
        pub io_priority: Option<LinuxIoPriority>,
        /// CPUs of processes entered by exec (1.2).
        #[serde(rename = "execCPUAffinity")]
        pub exec_cpu_affinity: Option<ExecCpuAffinity>,
    }

    /// Size of a terminal in characters.
    pub struct ConsoleSize {
        always {
            /// Rows.
            pub height: u32,
            /// Columns.
            pub width: u32,
        }
    }

    /// The ids of a process.
    pub struct User {
        always {
            /// User id, in the container's user namespace.
            pub uid: u32,
            /// Primary group id.
            pub gid: u32,
        }
        /// File mode creation mask; absent leaves the runtime's 0022.
        pub umask: Option<u32>,
        /// Supplementary groups.
        pub additional_gids: Vec<u32>,
        /// Name of a user; only Windows has a use for it, on Linux a document with one is refused.
        pub username: Option<String>,
    }

    /// A resource limit.
    pub struct Rlimit {
        required {
            /// Which limit, for example `RLIMIT_NOFILE`; see [`RlimitType`].
            #[serde(rename = "type")]
            pub type_: String,
            /// Hard limit; 2^64-1 is none.
            pub hard: u64,
            /// Soft limit; 2^64-1 is none.
            pub soft: u64,
        }
    }
}

/// Capability sets, each a list of names such as `CAP_KILL`.
///
/// The 1.0.0-rc form, a flat list, is read as bounding, effective and permitted; inheritable and
/// ambient stay empty (CVE-2022-29162).
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LinuxCapabilities {
    /// Limits what can ever be gained.
    #[serde(skip_serializing_if = "is_default")]
    pub bounding: Vec<String>,
    /// In force.
    #[serde(skip_serializing_if = "is_default")]
    pub effective: Vec<String>,
    /// Passed over execve together with file capabilities.
    #[serde(skip_serializing_if = "is_default")]
    pub inheritable: Vec<String>,
    /// May be made effective.
    #[serde(skip_serializing_if = "is_default")]
    pub permitted: Vec<String>,
    /// Passed over execve of programs without file capabilities.
    #[serde(skip_serializing_if = "is_default")]
    pub ambient: Vec<String>,
}

impl LinuxCapabilities {
    /// The five sets with their names, in the order of the specification.
    #[must_use]
    pub fn sets(&self) -> [(&'static str, &[String]); 5] {
        [
            ("bounding", &self.bounding),
            ("effective", &self.effective),
            ("inheritable", &self.inheritable),
            ("permitted", &self.permitted),
            ("ambient", &self.ambient),
        ]
    }
}

impl<'de> Deserialize<'de> for LinuxCapabilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Sets {
            #[serde(deserialize_with = "nullable")]
            bounding: Vec<String>,
            #[serde(deserialize_with = "nullable")]
            effective: Vec<String>,
            #[serde(deserialize_with = "nullable")]
            inheritable: Vec<String>,
            #[serde(deserialize_with = "nullable")]
            permitted: Vec<String>,
            #[serde(deserialize_with = "nullable")]
            ambient: Vec<String>,
        }

        struct Either;

        impl<'de> de::Visitor<'de> for Either {
            type Value = LinuxCapabilities;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("capability sets, or the flat list of a 1.0.0-rc document")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                let flat = Vec::<String>::deserialize(SeqAccessDeserializer::new(seq))?;
                Ok(LinuxCapabilities {
                    bounding: flat.clone(),
                    effective: flat.clone(),
                    permitted: flat,
                    ..LinuxCapabilities::default()
                })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let sets = Sets::deserialize(MapAccessDeserializer::new(map))?;
                Ok(LinuxCapabilities {
                    bounding: sets.bounding,
                    effective: sets.effective,
                    inheritable: sets.inheritable,
                    permitted: sets.permitted,
                    ambient: sets.ambient,
                })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

words! {
    /// The resource limits of Linux; [`RlimitType::number`] is the kernel's.
    pub enum RlimitType ("rlimit") {
        /// CPU time in seconds.
        #[default]
        Cpu = "RLIMIT_CPU",
        /// File size in bytes.
        Fsize = "RLIMIT_FSIZE",
        /// Data segment in bytes.
        Data = "RLIMIT_DATA",
        /// Stack in bytes.
        Stack = "RLIMIT_STACK",
        /// Core file in bytes.
        Core = "RLIMIT_CORE",
        /// Resident set in bytes; without effect since Linux 2.4.30.
        Rss = "RLIMIT_RSS",
        /// Processes of the user.
        Nproc = "RLIMIT_NPROC",
        /// File descriptors.
        Nofile = "RLIMIT_NOFILE",
        /// Locked memory in bytes.
        Memlock = "RLIMIT_MEMLOCK",
        /// Address space in bytes.
        As = "RLIMIT_AS",
        /// File locks; without effect since Linux 2.4.25.
        Locks = "RLIMIT_LOCKS",
        /// Queued signals.
        Sigpending = "RLIMIT_SIGPENDING",
        /// Bytes in POSIX message queues.
        Msgqueue = "RLIMIT_MSGQUEUE",
        /// Ceiling of the nice value, as 20 - nice.
        Nice = "RLIMIT_NICE",
        /// Ceiling of the real-time priority.
        Rtprio = "RLIMIT_RTPRIO",
        /// Real-time CPU time without a blocking call, in microseconds.
        Rttime = "RLIMIT_RTTIME",
    }
}

impl RlimitType {
    /// The number that `prlimit(2)` takes; the table of all architectures but mips and sparc.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }
}
