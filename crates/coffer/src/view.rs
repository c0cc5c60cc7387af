//! Pods, containers and images as the command line sees them. The JSON that `-o json` prints is
//! these structs: a field may be added, none is renamed or dropped.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::human;

/// Marks what `coffer run` made.
pub(crate) const LABEL_CREATED_BY: &str = "io.coffer.created-by";
/// Annotation of a pod: the directory of its logs, made by us and ours to remove.
pub(crate) const ANNOTATION_LOGS: &str = "io.coffer.log-directory";

/// Annotation of a pod: its published ports as people write them, `0.0.0.0:8080->80/tcp, …`.
pub(crate) const ANNOTATION_PORTS: &str = "io.coffer.ports";

/// Nanoseconds since the epoch; RFC 3339 or null in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Time(pub(crate) i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        human::rfc3339(self.0).serialize(serializer)
    }
}

/// A pod.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Pod {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) attempt: u32,
    pub(crate) state: PodState,
    pub(crate) created_at: Time,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Pod {
    /// Whether `coffer run` made it, so that it goes with its last container.
    pub(crate) fn is_ours(&self) -> bool {
        self.labels.contains_key(LABEL_CREATED_BY)
    }
}

/// What a pod or a container is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) stage: String,
    pub(crate) since: Time,
    pub(crate) waiting_on: String,
    pub(crate) last_error: String,
    pub(crate) last_error_at: Time,
    pub(crate) next_try: String,
    pub(crate) containers: Vec<Explanation>,
}

impl From<cri::Explanation> for Explanation {
    fn from(told: cri::Explanation) -> Explanation {
        Explanation {
            kind: told.kind.to_owned(),
            id: told.id,
            name: told.name,
            namespace: told.namespace,
            stage: told.stage,
            since: Time(told.since_ns),
            waiting_on: told.waiting_on,
            last_error: told.last_error,
            last_error_at: Time(told.last_error_at_ns),
            next_try: told.next_try,
            containers: told.containers.into_iter().map(Explanation::from).collect(),
        }
    }
}

/// Whether a pod can hold running containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PodState {
    Ready,
    NotReady,
}

/// A container as lists show it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) attempt: u32,
    pub(crate) pod_id: String,
    pub(crate) pod_name: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) state: State,
    pub(crate) created_at: Time,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Created,
    Running,
    Exited,
    Unknown,
}

impl State {
    /// The word that tables show.
    pub(crate) fn word(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Running => "running",
            State::Exited => "exited",
            State::Unknown => "unknown",
        }
    }
}

/// A container with all that the daemon says about it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Status {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) attempt: u32,
    pub(crate) state: State,
    /// Process id on the host of the container's first process, while it lives and the daemon tells.
    pub(crate) pid: Option<i64>,
    pub(crate) created_at: Time,
    pub(crate) started_at: Time,
    pub(crate) finished_at: Time,
    pub(crate) exit_code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) log_path: String,
    pub(crate) mounts: Vec<Volume>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// What the daemon adds of its own accord (verbose), parsed where it is JSON.
    pub(crate) info: BTreeMap<String, serde_json::Value>,
}

/// A pod with all that the daemon says about it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PodStatus {
    #[serde(flatten)]
    pub(crate) pod: Pod,
    pub(crate) ip: String,
    pub(crate) additional_ips: Vec<String>,
    /// "pod" or "host".
    pub(crate) network: String,
    /// "pod" or "host".
    pub(crate) ipc: String,
    /// "container", "pod" or "host".
    pub(crate) pid: String,
    pub(crate) info: BTreeMap<String, serde_json::Value>,
}

impl PodStatus {
    /// All addresses.
    pub(crate) fn ips(&self) -> Vec<String> {
        let first = Some(&self.ip).filter(|ip| !ip.is_empty());
        first
            .into_iter()
            .chain(&self.additional_ips)
            .cloned()
            .collect()
    }
}

/// An image.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) names: Vec<String>,
    pub(crate) digests: Vec<String>,
    pub(crate) size: u64,
    pub(crate) user: String,
    pub(crate) pinned: bool,
}

/// An image with all that the daemon says about it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ImageStatus {
    #[serde(flatten)]
    pub(crate) image: Image,
    pub(crate) info: BTreeMap<String, serde_json::Value>,
}

/// What a container uses.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Stats {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) pod_name: String,
    /// CPU time since the start, ns.
    pub(crate) cpu_ns: u64,
    /// When `cpu_ns` was read, ns since the epoch.
    pub(crate) read_at_ns: i64,
    /// Share of one CPU between two readings, percent.
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) memory_working_set: u64,
    pub(crate) memory_usage: u64,
    pub(crate) memory_rss: u64,
    pub(crate) disk: u64,
}

/// The daemon's names and versions.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Version {
    pub(crate) client_version: &'static str,
    pub(crate) runtime_name: String,
    pub(crate) runtime_version: String,
    pub(crate) runtime_api_version: String,
}

/// Whether the daemon can do a part of its work.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Condition {
    pub(crate) name: String,
    pub(crate) status: bool,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// The daemon and its node.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Info {
    pub(crate) version: Version,
    pub(crate) socket: String,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) pods: usize,
    pub(crate) pods_ready: usize,
    pub(crate) containers: usize,
    pub(crate) containers_running: usize,
    pub(crate) images: usize,
    pub(crate) info: BTreeMap<String, serde_json::Value>,
}

/// A change of state.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    pub(crate) time: Time,
    /// `pod`, `container` or `image`.
    pub(crate) kind: String,
    pub(crate) action: String,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) pod_id: String,
    pub(crate) pod_name: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// Who runs in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum User {
    /// By number, with a group by number if one was given.
    Ids { uid: i64, gid: Option<i64> },
    /// By a name of the image's own passwd.
    Name(String),
}

/// A directory or file of the host in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Volume {
    pub(crate) host_path: String,
    pub(crate) container_path: String,
    pub(crate) read_only: bool,
    pub(crate) propagation: Propagation,
}

/// Whether later mounts cross between host and container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Propagation {
    Private,
    HostToContainer,
    Bidirectional,
}

/// What a command in a container left behind.
#[derive(Debug, Clone)]
pub(crate) struct ExecResult {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) exit_code: i32,
}
