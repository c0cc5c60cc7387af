//! A container in memory.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as Gate, MutexGuard, watch};

use super::{
    ContainerState, CpuRate,
    record::{self, CONTAINER, ContainerRecord, VERSION},
};
use crate::{
    domain::{ContainerConfig, ContainerKey, Id, Resources},
    error::Error,
    events::Bus,
    index::Object,
    task::blocking,
};

/// What never changes about a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerFacts {
    /// Its id.
    pub id: Id,
    /// Its pod.
    pub pod: Id,
    /// What was asked for.
    pub config: ContainerConfig,
    /// When, nanoseconds since the epoch.
    pub created_at_ns: i64,
    /// The image as it was then.
    pub image: ImageFacts,
    /// The images of its volumes, in the order of those mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<ImageFacts>,
    /// Who its first process is.
    pub user: UserFacts,
    /// Its log file; empty: none.
    pub log_path: PathBuf,
    /// Number of the signal that stops it.
    pub stop_signal: i32,
}

impl ContainerFacts {
    /// Its image, and those of its volumes.
    pub(crate) fn images(&self) -> impl Iterator<Item = &ImageFacts> {
        std::iter::once(&self.image).chain(&self.volumes)
    }

    /// Stacks of layers that it stands on: its root's, its volumes'.
    pub(crate) fn stacks(&self) -> impl Iterator<Item = &[PathBuf]> {
        self.images().map(|image| image.layers.as_slice())
    }
}

/// The image of a container, as it was when the container was created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageFacts {
    /// "sha256:…".
    pub id: String,
    /// What people call it: as it was asked for, unless that was an id.
    pub name: String,
    /// A repository digest, else the id.
    pub reference: String,
    /// Layer directories, the top one first.
    pub layers: Vec<PathBuf>,
}

/// Identity of a container's first process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserFacts {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplemental groups.
    pub groups: Vec<u32>,
}

/// A container.
#[derive(Debug)]
pub(crate) struct Container {
    facts: ContainerFacts,
    dir: PathBuf,
    state: watch::Sender<ContainerState>,
    gate: Gate<()>,
    /// Limits that were updated since it was created.
    updated: Mutex<Option<Resources>>,
    cpu: CpuRate,
    /// Where its changes are told, once it can be seen.
    bus: OnceLock<Bus>,
}

/// The right to change a container: whoever holds it is the only one.
#[derive(Debug)]
pub(crate) struct ContainerTurn<'a> {
    container: &'a Container,
    _turn: MutexGuard<'a, ()>,
}

impl Object for Container {
    type Key = ContainerKey;
    const KIND: &'static str = "container";

    fn id(&self) -> &Id {
        &self.facts.id
    }

    fn key(&self) -> ContainerKey {
        ContainerKey {
            pod: self.facts.pod.clone(),
            container: self.facts.config.metadata.clone(),
        }
    }

    fn appear(self: &Arc<Self>, bus: &Bus, news: bool) {
        bus.container_appeared(self, news);
        let _ = self.bus.set(bus.clone());
    }

    fn vanish(&self, bus: &Bus) {
        bus.container_vanished(&self.facts.id);
    }
}

impl Container {
    /// A container that is about to be made, or was read from its record. Nothing is written.
    pub(crate) fn new(facts: ContainerFacts, dir: PathBuf, state: ContainerState) -> Container {
        Container {
            facts,
            dir,
            state: watch::Sender::new(state),
            gate: Gate::new(()),
            updated: Mutex::default(),
            cpu: CpuRate::default(),
            bus: OnceLock::new(),
        }
    }

    /// As [`Container::new`], with limits that were updated since it was created.
    pub(crate) fn updated(
        facts: ContainerFacts,
        dir: PathBuf,
        state: ContainerState,
        updated: Option<Resources>,
    ) -> Container {
        Container {
            updated: Mutex::new(updated),
            ..Container::new(facts, dir, state)
        }
    }

    /// What never changes.
    pub(crate) fn facts(&self) -> &ContainerFacts {
        &self.facts
    }

    /// The container's id.
    pub(crate) fn id(&self) -> &Id {
        &self.facts.id
    }

    /// The container's directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where it is.
    pub(crate) fn state(&self) -> ContainerState {
        self.state.borrow().clone()
    }

    /// [`Error::State`] about this container.
    pub(crate) fn not(&self, state: impl Into<String>) -> Error {
        Error::State {
            kind: Self::KIND,
            id: self.facts.id.clone(),
            state: state.into(),
        }
    }

    /// Waits for the right to change this container.
    pub(crate) async fn turn(&self) -> ContainerTurn<'_> {
        ContainerTurn {
            container: self,
            _turn: self.gate.lock().await,
        }
    }

    /// Waits until it has no processes any more; false when that takes longer than `limit`.
    pub(crate) async fn ended_within(&self, limit: Duration) -> bool {
        let mut state = self.state.subscribe();
        let ended = state.wait_for(|state| !state.is_live());
        matches!(tokio::time::timeout(limit, ended).await, Ok(Ok(_)))
    }

    /// Notes a sample of processor time: see [`CpuRate::since`].
    pub(crate) fn cpu_rate(&self, at_ns: i64, used_ns: u64) -> Option<u64> {
        self.cpu.since(at_ns, used_ns)
    }

    /// The limits that hold now: as asked for at first, or as updated since.
    pub(crate) fn resources(&self) -> Option<Resources> {
        let updated = self.updated.lock().unwrap_or_else(PoisonError::into_inner);
        updated
            .as_ref()
            .or(self.facts.config.resources.as_ref())
            .cloned()
    }
}

impl ContainerTurn<'_> {
    /// Moves the container to `to`: on disk, then in memory, where waiters see it.
    ///
    /// # Errors
    /// [`Error::Transition`]; [`Error::File`] when it can't be written, and then nothing has
    /// changed.
    pub(crate) async fn advance(&self, to: ContainerState) -> Result<(), Error> {
        self.check(&to)?;
        self.write(to.clone()).await?;
        self.show(to);
        Ok(())
    }

    /// As [`ContainerTurn::advance`] for an end that has happened whether or not it can be written:
    /// memory follows the kernel even when the disk is full. The agent has its own record of it.
    ///
    /// # Errors
    /// [`Error::Transition`].
    pub(crate) async fn advance_anyway(&self, to: ContainerState) -> Result<(), Error> {
        self.check(&to)?;
        if let Err(error) = self.write(to.clone()).await {
            tracing::error!(container = %self.container.id(), error = error.chain(),
                "the container's end is known but could not be recorded");
        }
        self.show(to);
        Ok(())
    }

    fn show(&self, to: ContainerState) {
        self.container.state.send_replace(to.clone());
        if let Some(bus) = self.container.bus.get() {
            bus.container_moved(self.container.id(), &to);
        }
    }

    /// Notes limits that hold now: on disk, then in memory.
    ///
    /// # Errors
    /// [`Error::File`] when it can't be written, and then nothing is noted.
    pub(crate) async fn note_resources(&self, resources: Resources) -> Result<(), Error> {
        let state = self.container.state();
        self.write_both(state, Some(resources.clone())).await?;
        let mut updated = self
            .container
            .updated
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *updated = Some(resources);
        Ok(())
    }

    /// Writes the first record.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) async fn write_first(&self) -> Result<(), Error> {
        self.write(self.container.state()).await
    }

    fn check(&self, to: &ContainerState) -> Result<(), Error> {
        let from = self.container.state();
        if from.may_become(to) {
            return Ok(());
        }
        Err(Error::Transition {
            kind: Container::KIND,
            id: self.container.facts.id.clone(),
            from: from.name(),
            to: to.name(),
        })
    }

    async fn write(&self, state: ContainerState) -> Result<(), Error> {
        let updated = {
            let updated = self.container.updated.lock();
            updated.unwrap_or_else(PoisonError::into_inner).clone()
        };
        self.write_both(state, updated).await
    }

    async fn write_both(
        &self,
        state: ContainerState,
        updated: Option<Resources>,
    ) -> Result<(), Error> {
        let record = ContainerRecord {
            version: VERSION,
            facts: self.container.facts.clone(),
            state,
            updated,
        };
        let path = self.container.dir.join(CONTAINER);
        sys::failpoint!("container.record.before");
        blocking(move || record::write(&path, &record)).await?;
        sys::failpoint!("container.record.after");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ContainerMetadata;
    use crate::state::{Exit, ExitReason};

    fn container(dir: &Path, state: ContainerState) -> Container {
        let facts = ContainerFacts {
            id: Id::random().unwrap(),
            pod: Id::random().unwrap(),
            config: ContainerConfig {
                metadata: ContainerMetadata {
                    name: "c".into(),
                    attempt: 1,
                },
                ..ContainerConfig::default()
            },
            created_at_ns: 1,
            image: ImageFacts::default(),
            volumes: Vec::new(),
            user: UserFacts::default(),
            log_path: PathBuf::new(),
            stop_signal: 15,
        };
        Container::new(facts, dir.to_owned(), state)
    }

    fn exited() -> ContainerState {
        ContainerState::Exited(Exit {
            started_at_ns: 1,
            finished_at_ns: 2,
            code: 0,
            reason: ExitReason::Completed,
            message: String::new(),
        })
    }

    #[tokio::test]
    async fn waiters_see_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let running = ContainerState::Running {
            pid: 1,
            started_at_ns: 1,
        };
        let container = container(dir.path(), running);
        assert!(!container.ended_within(Duration::from_millis(10)).await);
        let end = async {
            container.turn().await.advance(exited()).await.unwrap();
        };
        let (ended, ()) = tokio::join!(container.ended_within(Duration::from_secs(5)), end);
        assert!(ended);
        let record: ContainerRecord = record::read(&dir.path().join(CONTAINER)).unwrap().unwrap();
        assert_eq!(record.state, exited());
    }

    #[tokio::test]
    async fn an_end_is_known_even_when_the_disk_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let running = ContainerState::Running {
            pid: 1,
            started_at_ns: 1,
        };
        let container = container(&dir.path().join("missing"), running);
        assert!(container.turn().await.advance(exited()).await.is_err());
        container
            .turn()
            .await
            .advance_anyway(exited())
            .await
            .unwrap();
        assert_eq!(container.state(), exited());
    }
}
