//! Mounts of a container.

use super::LinuxIdMapping;
use super::document::document;

document! {
    /// One mount.
    pub struct Mount {
        required {
            /// Where it goes, in the container; a relative path starts at its root.
            pub destination: String,
        }
        /// Filesystem type; `bind` or absent for bind mounts.
        #[serde(rename = "type")]
        pub type_: Option<String>,
        /// Device, directory or file; a relative path starts at the bundle.
        pub source: Option<String>,
        /// fstab-like words: flags, propagation, id-map words, and data for the filesystem.
        pub options: Vec<String>,
        /// User ids of an id-mapped mount.
        pub uid_mappings: Vec<LinuxIdMapping>,
        /// Group ids of an id-mapped mount.
        pub gid_mappings: Vec<LinuxIdMapping>,
    }
}
