//! Which pods and containers a list is about. All fields of a filter must hold.

use std::collections::BTreeMap;

/// Whether a pod can hold running containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodPhase {
    /// Its sandbox is whole.
    Ready,
    /// It was stopped, or has failed.
    NotReady,
}

/// Where a container is in its life, as CRI tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ContainerPhase {
    Created,
    Running,
    Exited,
    Unknown,
}

/// Selects pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFilter {
    /// Id or unique prefix; empty: any.
    pub id: String,
    /// Phase.
    pub phase: Option<PodPhase>,
    /// Labels that must be there with these values.
    pub labels: BTreeMap<String, String>,
}

/// Selects containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerFilter {
    /// Id or unique prefix; empty: any.
    pub id: String,
    /// The pod's id or unique prefix; empty: any.
    pub pod: String,
    /// Phase.
    pub phase: Option<ContainerPhase>,
    /// Labels that must be there with these values.
    pub labels: BTreeMap<String, String>,
}

/// Whether `labels` has all of `wanted`.
pub fn labels_match(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted
        .iter()
        .all(|(key, value)| labels.get(key) == Some(value))
}
