//! Where a pod is in its life.
//!
//! ```text
//! Starting{files → netns → agent} ─► Ready ─► Stopping ─► Stopped ─► Removing ─► (gone)
//!        │                             └───────────────────▲  agent lost   ▲
//!        └─────────────────────────────────────────────────────────────────┘  undone
//! ```

use serde::{Deserialize, Serialize};

/// State of a pod, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub(crate) enum PodState {
    /// Being made: `step` is about to happen, or has happened in part. Undone by recovery.
    Starting {
        /// The intent.
        step: StartStep,
    },
    /// Whole.
    Ready,
    /// Being stopped: finished by recovery.
    Stopping {
        /// Why.
        reason: StopReason,
    },
    /// Nothing of it runs; its network is given back unless `reason` is `AgentLost` or
    /// `StartFailed`.
    Stopped {
        /// Why.
        reason: StopReason,
        /// When, nanoseconds since the epoch.
        at_ns: i64,
    },
    /// Being removed: finished by recovery.
    Removing,
}

/// An outside effect of a pod's start, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StartStep {
    /// hostname, hosts, resolv.conf.
    Files,
    /// The network namespace and its pin.
    Netns,
    /// Cgroups, agent process, namespaces.
    Agent,
}

/// Why a pod does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StopReason {
    /// A client asked.
    Requested,
    /// Its agent died.
    AgentLost,
    /// It could not be started, and not be undone whole either.
    StartFailed,
}

impl StopReason {
    /// For the verbose status.
    pub(crate) fn word(self) -> &'static str {
        match self {
            StopReason::Requested => "Requested",
            StopReason::AgentLost => "AgentLost",
            StopReason::StartFailed => "StartFailed",
        }
    }
}

impl PodState {
    /// The state's name, for errors and the verbose status.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            PodState::Starting { .. } => "starting",
            PodState::Ready => "ready",
            PodState::Stopping { .. } => "stopping",
            PodState::Stopped { .. } => "stopped",
            PodState::Removing => "removing",
        }
    }

    /// Whether `to` may follow.
    pub(crate) fn may_become(&self, to: &PodState) -> bool {
        use PodState::{Ready, Removing, Starting, Stopped, Stopping};
        match (self, to) {
            (Starting { step: from }, Starting { step: to }) => from < to,
            (Starting { .. }, Ready | Stopping { .. } | Stopped { .. } | Removing)
            | (Ready, Stopping { .. } | Stopped { .. })
            // A stop that failed half-way is begun again.
            | (Stopping { .. }, Stopping { .. } | Stopped { .. })
            // A lost pod is stopped by request too: its network is given back then.
            | (Stopped { .. }, Stopping { .. } | Removing)
            | (Removing, Removing) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drawn_steps_are_legal() {
        let starting = |step| PodState::Starting { step };
        let stopped = PodState::Stopped {
            reason: StopReason::Requested,
            at_ns: 1,
        };
        let stopping = PodState::Stopping {
            reason: StopReason::Requested,
        };
        let legal = [
            (starting(StartStep::Files), starting(StartStep::Agent)),
            (starting(StartStep::Agent), PodState::Ready),
            (PodState::Ready, stopping.clone()),
            (PodState::Ready, stopped.clone()),
            (stopping.clone(), stopped.clone()),
            (stopped.clone(), PodState::Removing),
        ];
        let illegal = [
            (starting(StartStep::Agent), starting(StartStep::Netns)),
            (PodState::Ready, PodState::Removing),
            (PodState::Ready, starting(StartStep::Files)),
            (stopped.clone(), PodState::Ready),
            (PodState::Removing, PodState::Ready),
            (PodState::Removing, stopped),
        ];
        for (from, to) in legal {
            assert!(from.may_become(&to), "{from:?} -> {to:?}");
        }
        for (from, to) in illegal {
            assert!(!from.may_become(&to), "{from:?} -> {to:?}");
        }
    }
}
