//! A pod in memory.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use sandbox::Sandbox;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as Gate, MutexGuard, watch};

use super::{
    CpuRate, PodState,
    record::{self, POD, PodRecord, VERSION},
};
use crate::{
    domain::{Id, NamespaceMode, PodConfig, PodKey, PodPhase},
    error::Error,
    events::Bus,
    index::Object,
    task::blocking,
};

/// What never changes about a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodFacts {
    /// Its id.
    pub id: Id,
    /// What was asked for.
    pub config: PodConfig,
    /// When, nanoseconds since the epoch.
    pub created_at_ns: i64,
    /// Its hostname; empty with the host's network.
    pub hostname: String,
    /// Cgroup below which its containers are.
    pub cgroup_parent: String,
}

impl PodFacts {
    /// Whether the pod uses the host's network.
    pub(crate) fn host_network(&self) -> bool {
        self.config.security.namespaces.network == NamespaceMode::Node
    }

    /// Whether the pod has an ipc namespace, and so shared memory, of its own.
    pub(crate) fn own_ipc(&self) -> bool {
        self.config.security.namespaces.ipc != NamespaceMode::Node
    }
}

/// Whether the pod's agent can be spoken to.
#[derive(Debug, Clone)]
pub(crate) enum Agent {
    /// The daemon has just started and has not reached it yet.
    Unknown,
    /// It answers.
    Here(Sandbox),
    /// It has ended, or was never there.
    Gone,
}

/// A pod.
#[derive(Debug)]
pub(crate) struct Pod {
    facts: PodFacts,
    dir: PathBuf,
    state: Mutex<PodState>,
    agent: watch::Sender<Agent>,
    lease: Mutex<Option<network::Lease>>,
    gate: Gate<()>,
    cpu: CpuRate,
    /// Where its changes are told, once it can be seen.
    bus: OnceLock<Bus>,
}

/// The right to change a pod: whoever holds it is the only one.
#[derive(Debug)]
pub(crate) struct PodTurn<'a> {
    pod: &'a Pod,
    _turn: MutexGuard<'a, ()>,
}

impl Object for Pod {
    type Key = PodKey;
    const KIND: &'static str = "pod sandbox";

    fn id(&self) -> &Id {
        &self.facts.id
    }

    fn key(&self) -> PodKey {
        self.facts.config.metadata.clone()
    }

    fn appear(self: &Arc<Self>, bus: &Bus, news: bool) {
        bus.pod_appeared(self, news);
        let _ = self.bus.set(bus.clone());
    }

    fn vanish(&self, bus: &Bus) {
        bus.pod_vanished(&self.facts.id);
    }
}

impl Pod {
    /// A pod that is about to be made, or was read from its record. Nothing is written.
    pub(crate) fn new(facts: PodFacts, dir: PathBuf, state: PodState) -> Pod {
        Pod {
            facts,
            dir,
            state: Mutex::new(state),
            agent: watch::Sender::new(Agent::Unknown),
            lease: Mutex::new(None),
            gate: Gate::new(()),
            cpu: CpuRate::default(),
            bus: OnceLock::new(),
        }
    }

    /// What never changes.
    pub(crate) fn facts(&self) -> &PodFacts {
        &self.facts
    }

    /// The pod's id.
    pub(crate) fn id(&self) -> &Id {
        &self.facts.id
    }

    /// The pod's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file that pins its network namespace.
    pub(crate) fn netns_path(&self) -> PathBuf {
        self.dir.join("ns").join("net")
    }

    /// Where it is.
    pub(crate) fn state(&self) -> PodState {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Where it is, as CRI tells it.
    pub(crate) fn phase(&self) -> PodPhase {
        if self.state() == PodState::Ready {
            PodPhase::Ready
        } else {
            PodPhase::NotReady
        }
    }

    /// Notes a sample of processor time: see [`CpuRate::since`].
    pub(crate) fn cpu_rate(&self, at_ns: i64, used_ns: u64) -> Option<u64> {
        self.cpu.since(at_ns, used_ns)
    }

    /// Its agent, as far as known now.
    pub(crate) fn agent(&self) -> Agent {
        self.agent.borrow().clone()
    }

    /// Says what is known of the agent now.
    pub(crate) fn set_agent(&self, agent: Agent) {
        self.agent.send_replace(agent);
    }

    /// What the built-in network has given to it.
    pub(crate) fn lease(&self) -> Option<network::Lease> {
        self.lease
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Says what the built-in network has given to it.
    pub(crate) fn set_lease(&self, lease: Option<network::Lease>) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = lease;
    }

    /// Its addresses, IPv4 first; none on the host's network or with loopback alone.
    pub(crate) fn addresses(&self) -> Vec<std::net::IpAddr> {
        let lease = self.lease();
        lease.map_or_else(Vec::new, |lease| lease.addresses().collect())
    }

    /// The agent, waited for while recovery is still reaching for it.
    ///
    /// # Errors
    /// [`Error::State`] when it is gone.
    pub(crate) async fn sandbox(&self) -> Result<Sandbox, Error> {
        let mut seen = self.agent.subscribe();
        let agent = seen
            .wait_for(|agent| !matches!(agent, Agent::Unknown))
            .await;
        match agent.as_deref() {
            Ok(Agent::Here(sandbox)) => Ok(sandbox.clone()),
            _ => Err(self.not("has no agent any more")),
        }
    }

    /// As [`Pod::sandbox`], within `limit`.
    ///
    /// # Errors
    /// As [`Pod::sandbox`]; [`Error::Deadline`].
    pub(crate) async fn sandbox_within(&self, limit: Duration) -> Result<Sandbox, Error> {
        match tokio::time::timeout(limit, self.sandbox()).await {
            Ok(sandbox) => sandbox,
            Err(_) => {
                let what = format!("reaching the agent of pod sandbox {}", self.facts.id);
                Err(Error::Deadline { what, limit })
            }
        }
    }

    /// [`Error::State`] about this pod.
    pub(crate) fn not(&self, state: impl Into<String>) -> Error {
        Error::State {
            kind: Self::KIND,
            id: self.facts.id.clone(),
            state: state.into(),
        }
    }

    /// Waits for the right to change this pod.
    pub(crate) async fn turn(&self) -> PodTurn<'_> {
        PodTurn {
            pod: self,
            _turn: self.gate.lock().await,
        }
    }

    fn record(&self, state: PodState) -> PodRecord {
        PodRecord {
            version: VERSION,
            facts: self.facts.clone(),
            state,
        }
    }
}

impl PodTurn<'_> {
    /// Moves the pod to `to`: on disk, then in memory.
    ///
    /// # Errors
    /// [`Error::Transition`]; [`Error::File`] when it can't be written, and then nothing has
    /// changed.
    pub(crate) async fn advance(&self, to: PodState) -> Result<(), Error> {
        self.check(&to)?;
        self.write(to.clone()).await?;
        self.show(to);
        Ok(())
    }

    /// As [`PodTurn::advance`] for what has happened whether or not it can be written.
    ///
    /// # Errors
    /// [`Error::Transition`].
    pub(crate) async fn advance_anyway(&self, to: PodState) -> Result<(), Error> {
        self.check(&to)?;
        if let Err(error) = self.write(to.clone()).await {
            tracing::error!(pod = %self.pod.id(), error = error.chain(),
                "the pod's state is known but could not be recorded");
        }
        self.show(to);
        Ok(())
    }

    fn check(&self, to: &PodState) -> Result<(), Error> {
        let from = self.pod.state();
        if from.may_become(to) {
            return Ok(());
        }
        Err(Error::Transition {
            kind: Pod::KIND,
            id: self.pod.facts.id.clone(),
            from: from.name(),
            to: to.name(),
        })
    }

    fn show(&self, to: PodState) {
        *self
            .pod
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = to.clone();
        if let Some(bus) = self.pod.bus.get() {
            bus.pod_moved(&self.pod.facts.id, &to);
        }
    }

    /// Writes the first record.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) async fn write_first(&self) -> Result<(), Error> {
        self.write(self.pod.state()).await
    }

    async fn write(&self, state: PodState) -> Result<(), Error> {
        let record = self.pod.record(state);
        let path = self.pod.dir.join(POD);
        sys::failpoint!("pod.record.before");
        blocking(move || record::write(&path, &record)).await?;
        sys::failpoint!("pod.record.after");
        Ok(())
    }
}

#[cfg(test)]
impl PodFacts {
    /// Some pod.
    pub(crate) fn example() -> PodFacts {
        use crate::domain::PodMetadata;
        PodFacts {
            id: Id::random().unwrap(),
            config: PodConfig {
                metadata: PodMetadata {
                    name: "web".into(),
                    uid: "u-1".into(),
                    namespace: "default".into(),
                    attempt: 0,
                },
                labels: [("a".to_owned(), "b".to_owned())].into(),
                ..PodConfig::default()
            },
            created_at_ns: 5,
            hostname: "web".into(),
            cgroup_parent: "/coffer/x".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{StartStep, StopReason};

    #[tokio::test]
    async fn a_transition_is_on_disk_and_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let state = PodState::Starting {
            step: StartStep::Files,
        };
        let pod = Pod::new(PodFacts::example(), dir.path().to_owned(), state);
        let turn = pod.turn().await;
        turn.write_first().await.unwrap();
        turn.advance(PodState::Ready).await.unwrap();
        assert_eq!(pod.state(), PodState::Ready);
        let record: PodRecord = record::read(&dir.path().join(POD)).unwrap().unwrap();
        assert_eq!(record.state, PodState::Ready);
        assert_eq!(&record.facts, pod.facts());
    }

    #[tokio::test]
    async fn an_illegal_transition_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let pod = Pod::new(
            PodFacts::example(),
            dir.path().to_owned(),
            PodState::Removing,
        );
        let error = pod.turn().await.advance(PodState::Ready).await.unwrap_err();
        assert!(matches!(
            error,
            Error::Transition {
                from: "removing",
                to: "ready",
                ..
            }
        ));
        assert_eq!(pod.state(), PodState::Removing);
    }

    #[tokio::test]
    async fn a_transition_that_cannot_be_written_does_not_happen() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let pod = Pod::new(PodFacts::example(), missing.clone(), PodState::Ready);
        let to = PodState::Stopping {
            reason: StopReason::Requested,
        };
        let error = pod.turn().await.advance(to).await.unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");
        assert_eq!(pod.state(), PodState::Ready);
    }
}
