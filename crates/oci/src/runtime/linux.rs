//! The Linux part of `config.json`.

use std::collections::BTreeMap;

use super::document::{document, words};
use super::{
    LinuxDevice, LinuxIdMapping, LinuxMemoryPolicy, LinuxNamespace, LinuxResources, LinuxSeccomp,
    NamespaceType,
};

document! {
    /// What is particular to Linux.
    pub struct Linux {
        custom {
            /// System call filter.
            #[serde(
                default,
                deserialize_with = "super::seccomp::unless_empty",
                skip_serializing_if = "super::document::is_default"
            )]
            pub seccomp: Option<LinuxSeccomp>,
        }
        /// User ids of the user namespace.
        pub uid_mappings: Vec<LinuxIdMapping>,
        /// Group ids of the user namespace.
        pub gid_mappings: Vec<LinuxIdMapping>,
        /// Kernel parameters of the container's namespaces.
        pub sysctl: BTreeMap<String, String>,
        /// Cgroup limits.
        pub resources: Option<LinuxResources>,
        /// Cgroup, relative to the cgroup mount; `slice:prefix:name` for systemd.
        pub cgroups_path: Option<String>,
        /// Namespaces that are the container's own; any other is the runtime's.
        pub namespaces: Vec<LinuxNamespace>,
        /// Devices to be made in the container's /dev.
        pub devices: Vec<LinuxDevice>,
        /// Network devices to be moved in (1.3), by their name on the host.
        pub net_devices: BTreeMap<String, LinuxNetDevice>,
        /// Propagation of the root mount: `private`, `slave`, `shared`, `unbindable` and their
        /// recursive forms.
        pub rootfs_propagation: Option<String>,
        /// Paths made unreadable.
        pub masked_paths: Vec<String>,
        /// Paths made read-only.
        pub readonly_paths: Vec<String>,
        /// SELinux label of mounts.
        pub mount_label: Option<String>,
        /// Cache and memory-bandwidth allocation.
        pub intel_rdt: Option<LinuxIntelRdt>,
        /// Execution domain.
        pub personality: Option<LinuxPersonality>,
        /// Offsets of the clocks of the time namespace: `monotonic`, `boottime`.
        pub time_offsets: BTreeMap<String, LinuxTimeOffset>,
        /// NUMA memory policy (1.3).
        pub memory_policy: Option<LinuxMemoryPolicy>,
    }

    /// A network device to be moved into the container.
    pub struct LinuxNetDevice {
        /// Name in the container; absent keeps the host's.
        pub name: Option<String>,
    }

    /// resctrl group of the container.
    pub struct LinuxIntelRdt {
        /// Name of the control group; absent means the container's id.
        #[serde(rename = "closID")]
        pub clos_id: Option<String>,
        /// Lines for the `schemata` file (1.3).
        pub schemata: Vec<String>,
        /// L3 cache line for the `schemata` file.
        pub l3_cache_schema: Option<String>,
        /// Memory-bandwidth line for the `schemata` file.
        pub mem_bw_schema: Option<String>,
        /// Cache monitoring (removed in 1.3).
        #[serde(rename = "enableCMT")]
        pub enable_cmt: bool,
        /// Bandwidth monitoring (removed in 1.3).
        #[serde(rename = "enableMBM")]
        pub enable_mbm: bool,
        /// A monitoring group of the container's own (1.3).
        pub enable_monitoring: bool,
    }

    /// `personality(2)`.
    pub struct LinuxPersonality {
        required {
            /// The domain.
            pub domain: LinuxPersonalityDomain,
        }
        /// Flags; the specification defines none yet.
        pub flags: Vec<String>,
    }

    /// Offset of a clock.
    pub struct LinuxTimeOffset {
        /// Seconds.
        pub secs: i64,
        /// Nanoseconds, below 10^9.
        pub nanosecs: u32,
    }
}

words! {
    /// Execution domains.
    pub enum LinuxPersonalityDomain ("personality domain") {
        /// The machine's own.
        #[default]
        Linux = "LINUX",
        /// 32-bit `uname`.
        Linux32 = "LINUX32",
    }
}

impl Linux {
    /// The entry of one kind of namespace, if the container has it of its own.
    #[must_use]
    pub fn namespace(&self, type_: NamespaceType) -> Option<&LinuxNamespace> {
        self.namespaces
            .iter()
            .find(|namespace| namespace.type_ == type_)
    }
}
