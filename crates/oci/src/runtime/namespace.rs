//! Namespaces and id mappings.

use super::document::{document, words};

document! {
    /// A namespace that the container has of its own or joins.
    pub struct LinuxNamespace {
        required {
            /// Which kind.
            #[serde(rename = "type")]
            pub type_: NamespaceType,
        }
        /// File of the namespace to join; absent or empty means a new one.
        pub path: Option<String>,
    }

    /// One extent of an id mapping.
    pub struct LinuxIdMapping {
        always {
            /// First id in the container.
            #[serde(rename = "containerID")]
            pub container_id: u32,
            /// First id on the host.
            #[serde(rename = "hostID")]
            pub host_id: u32,
            /// How many ids.
            pub size: u32,
        }
    }
}

impl LinuxNamespace {
    /// The path to join, or `None` for a new namespace; an empty path (1.0.0-rc) is none.
    #[must_use]
    pub fn join_path(&self) -> Option<&str> {
        self.path.as_deref().filter(|path| !path.is_empty())
    }
}

words! {
    /// Kinds of namespaces.
    pub enum NamespaceType ("namespace type") {
        /// Process ids.
        #[default]
        Pid = "pid",
        /// Network devices, addresses, ports …
        Network = "network",
        /// Mounts.
        Mount = "mount",
        /// System V IPC and POSIX message queues.
        Ipc = "ipc",
        /// Host and domain name.
        Uts = "uts",
        /// User and group ids, capabilities.
        User = "user",
        /// Cgroup root.
        Cgroup = "cgroup",
        /// Boot and monotonic clocks (Linux 5.6).
        Time = "time",
    }
}

impl NamespaceType {
    /// Name of its file under `/proc/<pid>/ns`.
    #[must_use]
    pub const fn proc_name(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::Network => "net",
            Self::Mount => "mnt",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Time => "time",
        }
    }
}
