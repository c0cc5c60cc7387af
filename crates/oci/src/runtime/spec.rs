//! The top of `config.json`.

use std::collections::BTreeMap;

use super::document::document;
use super::{Hooks, Linux, Mount, Process};

document! {
    /// A container as `config.json` describes it.
    pub struct Spec {
        always {
            /// Version of the specification that the document follows, for example `1.0.2`.
            pub oci_version: String,
        }
        /// The 1.0.0-rc form's demand on the machine; checked and taken away when a document is
        /// parsed, never printed by us.
        pub platform: Option<Platform>,
        /// The process to run; without it a container can be created, not started.
        pub process: Option<Process>,
        /// The root filesystem.
        pub root: Option<Root>,
        /// Host name in the container's uts namespace.
        pub hostname: Option<String>,
        /// NIS domain name in the container's uts namespace (1.0.3).
        pub domainname: Option<String>,
        /// Mounts, in the order in which they are made.
        pub mounts: Vec<Mount>,
        /// Programs run around the container's life.
        pub hooks: Option<Hooks>,
        /// Free-form metadata.
        pub annotations: BTreeMap<String, String>,
        /// All that is particular to Linux.
        pub linux: Option<Linux>,
    }

    /// What machine a 1.0.0-rc document was written for.
    pub struct Platform {
        /// Operating system in Go's words: `linux`.
        pub os: String,
        /// Architecture in Go's words: `amd64`, `arm64` …
        pub arch: String,
    }

    /// The root filesystem.
    pub struct Root {
        /// Directory; a relative path starts at the bundle.
        pub path: String,
        /// Whether the process sees it read-only.
        pub readonly: bool,
    }
}
