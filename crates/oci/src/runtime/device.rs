//! Devices, and rules of the device cgroup.

use serde::{Deserialize, Deserializer};

use super::document::{document, words};

document! {
    /// A device node to be made in the container.
    pub struct LinuxDevice {
        required {
            /// Path in the container.
            pub path: String,
            /// Kind of node.
            #[serde(rename = "type")]
            pub type_: LinuxDeviceType,
        }
        always {
            /// Major number; unused for a fifo.
            pub major: i64,
            /// Minor number; unused for a fifo.
            pub minor: i64,
        }
        /// Permissions; absent means 0666.
        pub file_mode: Option<FileMode>,
        /// Owner; absent means root.
        pub uid: Option<u32>,
        /// Group; absent means root.
        pub gid: Option<u32>,
    }

    /// A rule of the device cgroup.
    pub struct LinuxDeviceCgroup {
        always {
            /// Allow or deny.
            pub allow: bool,
        }
        /// Kind of device: `a` (all, also when absent), `b` or `c`.
        #[serde(rename = "type")]
        pub type_: Option<LinuxDeviceType>,
        /// Major number; absent or -1 means any.
        pub major: Option<i64>,
        /// Minor number; absent or -1 means any.
        pub minor: Option<i64>,
        /// Letters of `r`, `w` and `m`; absent means all.
        pub access: Option<String>,
    }
}

/// Permission bits of a device: of the number in the document the low 12 bits count, since Go
/// keeps the file's kind and its own marks above them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct FileMode(u32);

impl FileMode {
    /// Keeps the low 12 bits.
    #[must_use]
    pub const fn new(bits: u32) -> Self {
        Self(bits & 0o7777)
    }

    /// The permission bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(Self::new)
    }
}

words! {
    /// Kinds of devices.
    pub enum LinuxDeviceType ("device type") {
        /// All kinds; only in rules.
        #[default]
        A = "a",
        /// Block device.
        B = "b",
        /// Character device.
        C = "c",
        /// Unbuffered character device, the same as `c`.
        U = "u",
        /// Fifo; only as a node.
        P = "p",
    }
}
