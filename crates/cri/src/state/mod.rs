//! What the daemon knows of its pods and containers: objects in memory, one record on disk for each.
//!
//! ```text
//! <state>/pods/<pod>/pod.json                          PodRecord
//! <state>/pods/<pod>/containers/<id>/container.json    ContainerRecord
//! ```
//! A transition is written to disk first and then shown in memory, by [`Pod::advance`] and
//! [`Container::advance`] alone. Each object has two locks: the gate, which puts the operations on
//! it in a row and is held while they run, and the state, which is held for a look only. Whoever
//! only reads never meets the gate.

mod container;
mod container_state;
mod pod;
mod pod_state;
mod rate;
pub(crate) mod record;

pub(crate) use container::{Container, ContainerFacts, ImageFacts, UserFacts};
pub(crate) use container_state::{ContainerState, CreateStep, Exit, ExitReason};
pub(crate) use pod::{Agent, Pod, PodFacts, PodTurn};
pub(crate) use pod_state::{PodState, StartStep, StopReason};
pub(crate) use rate::CpuRate;

/// Nanoseconds since the epoch.
pub(crate) fn now_ns() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_nanos()).ok())
        .unwrap_or(0)
}
