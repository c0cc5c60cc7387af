//! Cgroup limits.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::LinuxDeviceCgroup;
use super::document::{document, is_default, nullable};

document! {
    /// Limits of the container's cgroup.
    pub struct LinuxResources {
        /// Device rules, in order; a later rule wins.
        pub devices: Vec<LinuxDeviceCgroup>,
        /// Memory.
        pub memory: Option<LinuxMemory>,
        /// CPU.
        pub cpu: Option<LinuxCpu>,
        /// Number of processes.
        pub pids: Option<LinuxPids>,
        /// Block devices.
        #[serde(rename = "blockIO")]
        pub block_io: Option<LinuxBlockIo>,
        /// Huge pages.
        pub hugepage_limits: Vec<LinuxHugepageLimit>,
        /// Network classes and priorities (cgroup v1 only).
        pub network: Option<LinuxNetwork>,
        /// RDMA, by device name.
        pub rdma: BTreeMap<String, LinuxRdma>,
        /// Files of cgroup v2, by name.
        pub unified: BTreeMap<String, String>,
        /// 1.0.0-rc: moves to `memory.disableOOMKiller` when parsed.
        #[serde(rename = "disableOOMKiller")]
        pub disable_oom_killer: Option<bool>,
        /// 1.0.0-rc: moves to `process.oomScoreAdj` when parsed.
        #[serde(rename = "oomScoreAdj")]
        pub oom_score_adj: Option<i32>,
    }

    /// Number of processes and threads.
    pub struct LinuxPids {
        /// Greatest number; -1 means no limit.
        pub limit: Option<i64>,
    }

    /// Block device limits. The aliases are the keys of the 1.0.0-rc form.
    pub struct LinuxBlockIo {
        /// Weight, 10 to 1000.
        #[serde(alias = "blkioWeight")]
        pub weight: Option<u16>,
        /// Weight against child cgroups, 10 to 1000 (cgroup v1 with CFQ only).
        #[serde(alias = "blkioLeafWeight")]
        pub leaf_weight: Option<u16>,
        /// Weights for single devices.
        #[serde(alias = "blkioWeightDevice")]
        pub weight_device: Vec<LinuxWeightDevice>,
        /// Bytes read per second.
        #[serde(alias = "blkioThrottleReadBpsDevice")]
        pub throttle_read_bps_device: Vec<LinuxThrottleDevice>,
        /// Bytes written per second.
        #[serde(alias = "blkioThrottleWriteBpsDevice")]
        pub throttle_write_bps_device: Vec<LinuxThrottleDevice>,
        /// Reads per second.
        #[serde(rename = "throttleReadIOPSDevice", alias = "blkioThrottleReadIOPSDevice")]
        pub throttle_read_iops_device: Vec<LinuxThrottleDevice>,
        /// Writes per second.
        #[serde(rename = "throttleWriteIOPSDevice", alias = "blkioThrottleWriteIOPSDevice")]
        pub throttle_write_iops_device: Vec<LinuxThrottleDevice>,
    }

    /// Weight of one device.
    pub struct LinuxWeightDevice {
        always {
            /// Major number.
            pub major: i64,
            /// Minor number.
            pub minor: i64,
        }
        /// Weight, 10 to 1000.
        pub weight: Option<u16>,
        /// Weight against child cgroups, 10 to 1000.
        pub leaf_weight: Option<u16>,
    }

    /// Rate of one device.
    pub struct LinuxThrottleDevice {
        always {
            /// Major number.
            pub major: i64,
            /// Minor number.
            pub minor: i64,
            /// Bytes or operations per second; 0 means no limit.
            pub rate: u64,
        }
    }

    /// Limit of one size of huge pages.
    pub struct LinuxHugepageLimit {
        always {
            /// Page size as the kernel's file names have it: `2MB`, `1GB`.
            pub page_size: String,
            /// Bytes.
            pub limit: u64,
        }
    }

    /// Network classes and priorities (cgroup v1 net_cls and net_prio).
    pub struct LinuxNetwork {
        /// Class id of packets.
        #[serde(rename = "classID")]
        pub class_id: Option<u32>,
        /// Priorities by interface.
        pub priorities: Vec<LinuxInterfacePriority>,
    }

    /// Priority on one interface.
    pub struct LinuxInterfacePriority {
        always {
            /// Interface.
            pub name: String,
            /// Priority.
            pub priority: u32,
        }
    }

    /// RDMA limits of one device.
    pub struct LinuxRdma {
        /// Handles.
        pub hca_handles: Option<u32>,
        /// Objects.
        pub hca_objects: Option<u32>,
    }
}

/// Memory limits in bytes; -1 means no limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LinuxMemory {
    /// Hard limit.
    #[serde(deserialize_with = "signed", skip_serializing_if = "is_default")]
    pub limit: Option<i64>,
    /// Soft limit.
    #[serde(deserialize_with = "signed", skip_serializing_if = "is_default")]
    pub reservation: Option<i64>,
    /// Memory and swap together.
    #[serde(deserialize_with = "signed", skip_serializing_if = "is_default")]
    pub swap: Option<i64>,
    /// Kernel memory; gone from the kernel since 5.16.
    #[serde(deserialize_with = "signed", skip_serializing_if = "is_default")]
    pub kernel: Option<i64>,
    /// Kernel memory for TCP buffers (cgroup v1 only).
    #[serde(
        rename = "kernelTCP",
        deserialize_with = "signed",
        skip_serializing_if = "is_default"
    )]
    pub kernel_tcp: Option<i64>,
    /// Inclination to swap, 0 to 100.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub swappiness: Option<u64>,
    /// Whether a process that needs memory waits rather than dies (cgroup v1 only).
    #[serde(
        rename = "disableOOMKiller",
        deserialize_with = "nullable",
        skip_serializing_if = "is_default"
    )]
    pub disable_oom_killer: Option<bool>,
    /// Account children to parents (cgroup v1 only; always so since Linux 5.11).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub use_hierarchy: Option<bool>,
    /// Refuse an update below the present usage (1.0.3).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub check_before_update: Option<bool>,
}

/// CPU limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LinuxCpu {
    /// Relative weight, 2 to 262144.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub shares: Option<u64>,
    /// Microseconds per period; 0 or less means no limit.
    #[serde(deserialize_with = "signed", skip_serializing_if = "is_default")]
    pub quota: Option<i64>,
    /// Microseconds that may be saved up for a burst (1.1).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub burst: Option<u64>,
    /// Microseconds of a period.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub period: Option<u64>,
    /// Microseconds of real-time work per real-time period (cgroup v1 only).
    #[serde(deserialize_with = "signed", skip_serializing_if = "is_default")]
    pub realtime_runtime: Option<i64>,
    /// Microseconds of a real-time period (cgroup v1 only).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub realtime_period: Option<u64>,
    /// CPUs as a list such as `0-3,7`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub cpus: Option<String>,
    /// Memory nodes as a list such as `0-3,7`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub mems: Option<String>,
    /// SCHED_IDLE for the whole cgroup: 0 or 1 (1.1).
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub idle: Option<i64>,
}

/// Reads a signed number; an unsigned one of 2^63 or more, which older writers meant as
/// "unlimited", is -1.
fn signed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    struct Signed;

    impl serde::de::Visitor<'_> for Signed {
        type Value = i64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_i64<E>(self, value: i64) -> Result<i64, E> {
            Ok(value)
        }

        fn visit_u64<E>(self, value: u64) -> Result<i64, E> {
            Ok(i64::try_from(value).unwrap_or(-1))
        }
    }

    struct Number(i64);

    impl<'de> Deserialize<'de> for Number {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_i64(Signed).map(Number)
        }
    }

    Ok(Option::<Number>::deserialize(deserializer)?.map(|number| number.0))
}
