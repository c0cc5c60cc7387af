//! Pods and containers to be made: what the command line asks for, before it becomes a request.

use std::collections::BTreeMap;

use crate::view::{User, Volume};

/// A pod to make.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewPod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) hostname: String,
    pub(crate) log_directory: String,
    pub(crate) namespaces: Namespaces,
    pub(crate) privileged: bool,
    pub(crate) ports: Vec<Published>,
    /// `None`: the daemon's own choice.
    pub(crate) dns: Option<Dns>,
    pub(crate) sysctls: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Name of a runtime class's handler; empty: the usual one.
    pub(crate) handler: String,
}

/// Which namespaces of the host a pod and its containers are in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Namespaces {
    /// The host's network.
    pub(crate) host_network: bool,
    /// The host's ipc namespace and shared memory.
    pub(crate) host_ipc: bool,
    pub(crate) pid: Pid,
}

/// Whose processes a container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Pid {
    /// Its own.
    #[default]
    Container,
    /// Those of its pod.
    Pod,
    /// The host's.
    Host,
    /// Those of the container with this name or id, in the same pod.
    Of(String),
}

/// A port of a pod that the host publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    /// Address of the host; empty: all.
    pub(crate) ip: String,
    /// Port of the host; 0: any that is free.
    pub(crate) host: u16,
    /// Port of the pod.
    pub(crate) container: u16,
    pub(crate) protocol: Protocol,
}

/// What a port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// The word that people write.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

/// A pod's resolver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dns {
    pub(crate) servers: Vec<String>,
    pub(crate) searches: Vec<String>,
    pub(crate) options: Vec<String>,
}

/// A container to make.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewContainer {
    pub(crate) name: String,
    pub(crate) image_id: String,
    pub(crate) image: String,
    pub(crate) command: Vec<String>,
    pub(crate) args: Vec<String>,
    pub(crate) working_dir: String,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) volumes: Vec<Volume>,
    pub(crate) devices: Vec<Device>,
    pub(crate) stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) tty: bool,
    pub(crate) limits: Limits,
    pub(crate) security: Security,
    pub(crate) namespaces: Namespaces,
    /// Number of the signal that stops it; `None`: the image's.
    pub(crate) stop_signal: Option<u32>,
    pub(crate) log_path: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A device of the host in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) host_path: String,
    pub(crate) container_path: String,
    /// Some of `r`, `w` and `m`.
    pub(crate) access: String,
}

/// What a container may use; 0 and empty: without limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    /// Bytes.
    pub(crate) memory: i64,
    /// Microseconds of CPU in a period of 100 ms.
    pub(crate) cpu_quota: i64,
    /// Weight against other containers.
    pub(crate) cpu_shares: i64,
    /// `0-3,8`
    pub(crate) cpuset: String,
    /// Processes and threads.
    pub(crate) pids: i64,
    /// Whom the kernel kills first, -1000 to 1000.
    pub(crate) oom_score_adj: i64,
}

/// Who a container's processes are, and what they may do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Security {
    pub(crate) user: Option<User>,
    pub(crate) groups: Vec<i64>,
    pub(crate) privileged: bool,
    pub(crate) read_only: bool,
    pub(crate) no_new_privileges: bool,
    pub(crate) capabilities_added: Vec<String>,
    pub(crate) capabilities_dropped: Vec<String>,
    pub(crate) seccomp: Option<Profile>,
    pub(crate) apparmor: Option<Profile>,
}

/// A confinement of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Profile {
    /// The node's.
    Default,
    /// None.
    Unconfined,
    /// One that the host has, by path or name.
    Named(String),
}
