//! A container as a client asks for it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{ContainerSecurity, EnvVar, Id};

/// Names a container within its pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerMetadata {
    /// The container's name.
    pub name: String,
    /// How many containers of this name the pod had before.
    pub attempt: u32,
}

/// The identity of a container, by which a repeated CreateContainer is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerKey {
    /// The pod.
    pub pod: Id,
    /// The container in it.
    pub container: ContainerMetadata,
}

impl fmt::Display for ContainerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container {} in pod {}", self.container, self.pod)
    }
}

impl fmt::Display for ContainerMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (attempt {})", self.name, self.attempt)
    }
}

/// A container to create. Immutable once it is created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Identity.
    pub metadata: ContainerMetadata,
    /// The image.
    pub image: ImageSpec,
    /// Replaces the image's entrypoint; empty: not said.
    pub command: Vec<String>,
    /// Replaces the image's cmd; empty: not said.
    pub args: Vec<String>,
    /// Working directory; empty: the image's.
    pub working_dir: String,
    /// Environment on top of the image's.
    pub envs: Vec<EnvVar>,
    /// Mounts, in order.
    pub mounts: Vec<Mount>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Told back verbatim.
    pub labels: BTreeMap<String, String>,
    /// Told back verbatim.
    pub annotations: BTreeMap<String, String>,
    /// Log file below the pod's log directory; empty: none.
    pub log_path: String,
    /// Keep stdin open for a later attach.
    pub stdin: bool,
    /// Close stdin when the first attach ends.
    pub stdin_once: bool,
    /// Give it a terminal.
    pub tty: bool,
    /// Limits; `None`: none were sent.
    pub resources: Option<Resources>,
    /// Confinement.
    pub security: ContainerSecurity,
    /// Signal number to stop it with; `None`: the image's, else SIGTERM.
    pub stop_signal: Option<i32>,
}

/// An image as it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// Reference or id.
    pub image: String,
    /// Told back verbatim.
    pub annotations: BTreeMap<String, String>,
    /// What the user wrote, before a client resolved it.
    pub user_specified_image: String,
    /// RuntimeClass handler; "" is the only one.
    pub runtime_handler: String,
    /// The image as a client resolved it.
    pub image_ref: String,
}

/// A mount of something of the host, or of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where in the container.
    pub container_path: String,
    /// What of the host; empty with an image.
    pub host_path: String,
    /// The image whose content is mounted; `None`: something of the host's is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSpec>,
    /// What of the image: a directory or file of its root filesystem; empty: all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image_sub_path: String,
    /// Read-only.
    pub readonly: bool,
    /// Read-only with all submounts; comes with `readonly`.
    pub recursive_read_only: bool,
    /// Whether mounts travel between host and container.
    pub propagation: Propagation,
    /// Relabel for SELinux: means something only where SELinux is.
    pub selinux_relabel: bool,
}

/// Whether mounts travel between host and container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// Neither way.
    #[default]
    Private,
    /// From the host into the container.
    HostToContainer,
    /// Both ways; needs a privileged container.
    Bidirectional,
}

/// A device of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path in the container.
    pub container_path: String,
    /// Path on the host.
    pub host_path: String,
    /// Any of r, w, m.
    pub permissions: String,
}

/// Limits. 0 and empty mean "not said".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Length of a CPU bandwidth period, µs.
    pub cpu_period: i64,
    /// CPU time in a period, µs; -1: unlimited.
    pub cpu_quota: i64,
    /// Relative weight, 2–262144.
    pub cpu_shares: i64,
    /// Bytes.
    pub memory_limit_in_bytes: i64,
    /// Bytes of memory and swap together.
    pub memory_swap_limit_in_bytes: i64,
    /// -1000–1000.
    pub oom_score_adj: i64,
    /// CPU list, "0-2,7".
    pub cpuset_cpus: String,
    /// Memory node list.
    pub cpuset_mems: String,
    /// Limits of huge pages.
    pub hugepage_limits: Vec<HugepageLimit>,
    /// Cgroup v2 files and their values.
    pub unified: BTreeMap<String, String>,
}

/// Limit of one size of huge pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugepageLimit {
    /// "2MB", "1GB" …
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}
