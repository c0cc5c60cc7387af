//! What pods and containers are doing, and why not.
//!
//! ```text
//! operations ──► Journal   what runs now, its step, since when, the next try     in memory
//!                  └─────► failures.json   the last failure of each act           in the state directory
//! Journal, records ──► describe ──► Explanation        a daemon that serves
//! failures.json, records, /proc ──► describe ──► Explanation   offline.rs: no daemon
//! ```
//! A failed RunPodSandbox leaves no pod behind; its failure stays, so that it can be explained.

mod describe;
mod failures;
mod find;
mod journal;
pub mod offline;

pub(crate) use describe::{AgentSeen, Around, container, creating, pod, same_pod, starting};
pub(crate) use failures::Failure;
pub(crate) use find::{Fit, Word};
pub(crate) use journal::{Doing, Journal, Running};

/// Starts a pod.
pub(crate) const START: &str = "RunPodSandbox";
/// Creates a container.
pub(crate) const CREATE: &str = "CreateContainer";

/// What a pod or a container is doing. Times are nanoseconds since the epoch; 0: not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// "pod" or "container".
    pub kind: &'static str,
    /// Its id; empty for a pod whose start failed.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its pod's namespace.
    pub namespace: String,
    /// Where it is in its life: "Ready", "Starting: making its network namespace".
    pub stage: String,
    /// Since when.
    pub since_ns: i64,
    /// What it waits on; empty: nothing.
    pub waiting_on: String,
    /// The last failure of an operation on it, with its causes; empty: none.
    pub last_error: String,
    /// When that was.
    pub last_error_at_ns: i64,
    /// Who tries again and when; empty: nobody has to.
    pub next_try: String,
    /// The pod's containers.
    pub containers: Vec<Explanation>,
}
