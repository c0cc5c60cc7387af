//! A pod as a client asks for it.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{PodSecurity, Resources};

/// Names a pod. All four together are its identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodMetadata {
    /// The pod's name.
    pub name: String,
    /// The pod's uid in the cluster.
    pub uid: String,
    /// The pod's namespace in the cluster.
    pub namespace: String,
    /// How many sandboxes this pod had before.
    pub attempt: u32,
}

/// The identity of a pod, by which a repeated RunPodSandbox is known.
pub type PodKey = PodMetadata;

impl fmt::Display for PodMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pod {}/{} (uid {}, attempt {})",
            self.namespace, self.name, self.uid, self.attempt
        )
    }
}

/// A pod to run. Immutable once it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodConfig {
    /// Identity.
    pub metadata: PodMetadata,
    /// Hostname; empty: the daemon picks one.
    pub hostname: String,
    /// Directory of the containers' log files; empty: none are written.
    pub log_directory: PathBuf,
    /// Contents of resolv.conf; `None`: the host's.
    pub dns: Option<DnsConfig>,
    /// Ports that the pod's containers listen on.
    pub port_mappings: Vec<PortMapping>,
    /// Told back verbatim.
    pub labels: BTreeMap<String, String>,
    /// Told back verbatim.
    pub annotations: BTreeMap<String, String>,
    /// RuntimeClass handler; "" is the only one.
    pub runtime_handler: String,
    /// Cgroup below which the containers are; empty: one of our own.
    pub cgroup_parent: String,
    /// Namespaces and privileges.
    pub security: PodSecurity,
    /// Sysctls of the pod's own namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// What the pod costs beside its containers: the client's cgroup holds it, told back only.
    pub overhead: Option<Resources>,
    /// The sum of the containers' resources: the client's cgroup holds it, told back only.
    pub resources: Option<Resources>,
}

/// Contents of resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsConfig {
    /// Name servers, in order.
    pub servers: Vec<String>,
    /// Search domains, in order.
    pub searches: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

/// A port that a container listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// Protocol.
    pub protocol: Protocol,
    /// Port in the pod, 1–65535.
    pub container_port: u16,
    /// Port on the host; 0: not published.
    pub host_port: u16,
    /// Address on the host; empty: all.
    pub host_ip: String,
}

/// Transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}
