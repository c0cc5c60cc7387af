//! Where a container is in its life.
//!
//! ```text
//! Creating{layers → agent} ─► Created ─► Running ─► Exited ─► Removing ─► (gone)
//!        │                       └──────────────────▲  ▲          ▲
//!        └────────────────────────────────────────────────────────┘  undone
//! ```
//! An exit, once recorded, never changes.

use serde::{Deserialize, Serialize};

use crate::domain::ContainerPhase;

/// State of a container, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub(crate) enum ContainerState {
    /// Being made: `step` is about to happen, or has happened in part. Undone by recovery.
    Creating {
        /// The intent.
        step: CreateStep,
    },
    /// Waiting for its start.
    Created {
        /// Its first process.
        pid: i32,
    },
    /// Started.
    Running {
        /// Its first process.
        pid: i32,
        /// When, nanoseconds since the epoch.
        started_at_ns: i64,
    },
    /// Ended.
    Exited(Exit),
    /// Being removed: finished by recovery.
    Removing {
        /// How it had ended, if it had been created at all.
        exit: Option<Exit>,
    },
}

/// An outside effect of a container's creation, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CreateStep {
    /// The writable layer and the log's directory.
    Layers,
    /// The container itself.
    Agent,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// When it was started, nanoseconds since the epoch; 0: never.
    pub started_at_ns: i64,
    /// When it ended, nanoseconds since the epoch.
    pub finished_at_ns: i64,
    /// Exit code; 128+n for signal n.
    pub code: i32,
    /// Why.
    pub reason: ExitReason,
    /// More, for people; may be empty.
    pub message: String,
}

/// Why a container ended: the `reason` of CRI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ExitReason {
    /// Code 0.
    Completed,
    /// Another code, or a signal.
    Error,
    /// The kernel killed it for want of memory.
    OOMKilled,
    /// Its agent died, and what ran was killed.
    AgentLost,
    /// It could not be started.
    StartError,
}

impl ExitReason {
    /// CRI's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            ExitReason::Completed => "Completed",
            ExitReason::Error => "Error",
            ExitReason::OOMKilled => "OOMKilled",
            ExitReason::AgentLost => "AgentLost",
            ExitReason::StartError => "StartError",
        }
    }
}

impl ContainerState {
    /// The state's name, for errors and the verbose status.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            ContainerState::Creating { .. } => "creating",
            ContainerState::Created { .. } => "created",
            ContainerState::Running { .. } => "running",
            ContainerState::Exited(_) => "exited",
            ContainerState::Removing { .. } => "removing",
        }
    }

    /// The state as CRI tells it.
    pub(crate) fn phase(&self) -> ContainerPhase {
        match self {
            ContainerState::Created { .. } => ContainerPhase::Created,
            ContainerState::Running { .. } => ContainerPhase::Running,
            ContainerState::Exited(_) | ContainerState::Removing { exit: Some(_) } => {
                ContainerPhase::Exited
            }
            ContainerState::Creating { .. } | ContainerState::Removing { exit: None } => {
                ContainerPhase::Unknown
            }
        }
    }

    /// How it ended, if it did.
    pub(crate) fn exit(&self) -> Option<&Exit> {
        match self {
            ContainerState::Exited(exit) => Some(exit),
            ContainerState::Removing { exit } => exit.as_ref(),
            _ => None,
        }
    }

    /// When it was started, nanoseconds since the epoch; 0: not yet.
    pub(crate) fn started_at_ns(&self) -> i64 {
        match self {
            ContainerState::Running { started_at_ns, .. } => *started_at_ns,
            other => other.exit().map_or(0, |exit| exit.started_at_ns),
        }
    }

    /// Whether it may have processes.
    pub(crate) fn is_live(&self) -> bool {
        matches!(
            self,
            ContainerState::Created { .. } | ContainerState::Running { .. }
        )
    }

    /// Whether `to` may follow.
    pub(crate) fn may_become(&self, to: &ContainerState) -> bool {
        use ContainerState::{Created, Creating, Exited, Removing, Running};
        match (self, to) {
            (Creating { step: from }, Creating { step: to }) => from < to,
            (Exited(exit) | Removing { exit: Some(exit) }, Removing { exit: to }) => {
                Some(exit) == to.as_ref()
            }
            (Creating { .. }, Created { .. } | Removing { exit: None })
            | (Created { .. }, Running { .. } | Exited(_))
            | (Running { .. }, Exited(_))
            | (Removing { exit: None }, Removing { exit: None }) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> Exit {
        Exit {
            started_at_ns: 1,
            finished_at_ns: 2,
            code,
            reason: ExitReason::Error,
            message: String::new(),
        }
    }

    #[test]
    fn only_the_drawn_steps_are_legal() {
        use ContainerState as S;
        let creating = |step| S::Creating { step };
        let running = S::Running {
            pid: 1,
            started_at_ns: 1,
        };
        let legal = [
            (creating(CreateStep::Layers), creating(CreateStep::Agent)),
            (creating(CreateStep::Agent), S::Created { pid: 1 }),
            (creating(CreateStep::Layers), S::Removing { exit: None }),
            (S::Created { pid: 1 }, running.clone()),
            (S::Created { pid: 1 }, S::Exited(exit(137))),
            (running.clone(), S::Exited(exit(0))),
            (
                S::Exited(exit(3)),
                S::Removing {
                    exit: Some(exit(3)),
                },
            ),
        ];
        let illegal = [
            (creating(CreateStep::Agent), creating(CreateStep::Layers)),
            (S::Exited(exit(3)), S::Exited(exit(4))),
            (S::Exited(exit(3)), running.clone()),
            (
                S::Exited(exit(3)),
                S::Removing {
                    exit: Some(exit(4)),
                },
            ),
            (S::Exited(exit(3)), S::Removing { exit: None }),
            (running, S::Removing { exit: None }),
            (S::Removing { exit: None }, S::Created { pid: 1 }),
        ];
        for (from, to) in legal {
            assert!(from.may_become(&to), "{from:?} -> {to:?}");
        }
        for (from, to) in illegal {
            assert!(!from.may_become(&to), "{from:?} -> {to:?}");
        }
    }
}
