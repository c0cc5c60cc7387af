//! What the daemon finds when it starts.
//!
//! ```text
//! records ─► in memory, as they say          unreadable: set aside, the pod or container ended
//! per pod, all at once:
//!   Starting              taken back
//!   Ready    agent answers ─► containers as the agent says; those it does not know ended
//!            agent gone    ─► lost (watch.rs)
//!            agent hangs   ─► tried again and again, while the daemon serves
//!   Stopping, Removing    finished
//!   Creating container    taken back
//! directories without a record, writable layers without a container, interfaces and rules of pods
//! that are gone: removed
//! ```
//! The kernel is believed over the file, by way of the agent. Nothing here stops the daemon.

use std::{collections::HashSet, fs, path::Path, sync::Arc, time::Duration};

use futures::future::join_all;
use sandbox::{ContainerStatus, Sandbox};

use crate::{
    domain::Id,
    error::Error,
    explain::Doing,
    layout,
    service::Service,
    shm,
    state::{
        Agent, Container, ContainerState, Pod, PodState, now_ns,
        record::{self, CONTAINER, ContainerRecord, POD, PodRecord},
    },
    task::blocking,
    watch,
};

/// Pause between the first two tries to reach an agent that hangs; it doubles with each.
const AGAIN: Duration = Duration::from_secs(1);
/// The longest pause.
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);
/// How long the agent may take to remove what it should not have.
const REMOVAL: Duration = Duration::from_secs(10);

impl Service {
    /// Reads all records, then sets things right: for no longer than `wait` before it returns, the
    /// rest while the daemon serves.
    ///
    /// # Errors
    /// [`Error::File`] when the pods' directory can't be read at all.
    pub(crate) async fn recover(&self, wait: Duration) -> Result<(), Error> {
        let service = self.clone();
        let strays = blocking(move || service.load()).await?;
        self.start_network().await;
        let mut work: Vec<_> = self
            .pods
            .all()
            .into_iter()
            .map(|pod| {
                let service = self.clone();
                tokio::spawn(async move { service.recover_pod(&pod).await })
            })
            .collect();
        for stray in strays {
            let service = self.clone();
            work.push(tokio::spawn(
                async move { service.remove_stray(&stray).await },
            ));
        }
        let count = work.len();
        let done = async {
            for result in join_all(work).await {
                if let Err(error) = result {
                    tracing::error!(%error, "recovery of a pod failed");
                }
            }
        };
        // Tasks that are not awaited any more go on.
        if tokio::time::timeout(wait, done).await.is_err() {
            tracing::warn!("not all of {count} pods are recovered yet; serving meanwhile");
        }
        let service = self.clone();
        blocking(move || service.remove_orphaned_layers()).await?;
        // Of images that were removed while a container stood on them, before a crash.
        let service = self.clone();
        let collect = tokio::spawn(async move {
            if let Err(error) = service.collect_layers().await {
                tracing::warn!(error = error.chain(), "layers that nobody needs stay");
            }
        });
        let _ = tokio::time::timeout(wait, collect).await;
        Ok(())
    }

    /// Reads the records into memory. Answers the pods' directories that have no usable one. Blocks.
    fn load(&self) -> Result<Vec<Id>, Error> {
        let mut strays = Vec::new();
        for id in layout::ids_in(&self.layout.pods())? {
            let dir = self.layout.pod(&id);
            match self.read::<PodRecord>(&dir.join(POD), &format!("{id}-{POD}")) {
                Some(record) if record.facts.id == id => {
                    self.load_containers(&id);
                    let pod = Pod::new(record.facts, dir, record.state);
                    self.adopt_network(&pod);
                    self.pods.load(Arc::new(pod));
                }
                _ => strays.push(id),
            }
        }
        Ok(strays)
    }

    fn load_containers(&self, pod: &Id) {
        let dir = self.layout.pod(pod).join(layout::CONTAINERS);
        let ids = layout::ids_in(&dir).unwrap_or_else(|error| {
            tracing::error!(%pod, error = error.chain(), "its containers can't be listed");
            Vec::new()
        });
        for id in ids {
            let dir = dir.join(&id);
            let name = format!("{id}-{CONTAINER}");
            if let Some(record) = self.read::<ContainerRecord>(&dir.join(CONTAINER), &name)
                && record.facts.id == id
                && record.facts.pod == *pod
            {
                self.use_layers(&id, record.facts.stacks());
                self.containers.load(Arc::new(Container::updated(
                    record.facts,
                    dir,
                    record.state,
                    record.updated,
                )));
            }
        }
    }

    /// A record, or `None` when there is none or it had to be set aside.
    fn read<T: serde::de::DeserializeOwned>(&self, path: &Path, name: &str) -> Option<T> {
        match record::read(path) {
            Ok(record) => record,
            Err(error) => {
                let aside = record::set_aside(&self.layout.state, path, name);
                let to = match &aside {
                    Ok(to) => to.display().to_string(),
                    Err(error) => error.chain(),
                };
                tracing::error!(error = error.chain(), to, "a record is set aside");
                None
            }
        }
    }

    async fn recover_pod(&self, pod: &Arc<Pod>) {
        let doing = self.journal.begin_pod(pod, "recovery");
        let result = match pod.state() {
            PodState::Ready => {
                self.reach(pod, &doing).await;
                Ok(())
            }
            PodState::Starting { .. } => self.take_back_start(pod).await,
            PodState::Stopping { .. } => self.finish_stop(pod).await,
            PodState::Stopped { .. } => {
                pod.set_agent(Agent::Gone);
                self.sweep(pod).await;
                self.settle_containers(self.containers_of(pod.id()), &HashSet::new())
                    .await;
                Ok(())
            }
            PodState::Removing => {
                pod.set_agent(Agent::Gone);
                self.finish_removal(pod).await
            }
        };
        if let Err(error) = result {
            // The record still says what is to be done: a client's call or the next start tries again.
            self.journal.failed(&doing, &error.chain());
            tracing::error!(pod = %pod.id(), error = error.chain(), "recovery is not complete");
        }
    }

    /// Connects to the agent of a pod that was ready, however long that takes.
    async fn reach(&self, pod: &Arc<Pod>, doing: &Doing) {
        let mut pause = AGAIN;
        loop {
            doing.step("its agent's answer");
            let tried = sandbox::connect(&self.settings, pod.dir());
            match tokio::time::timeout(TRY, tried).await {
                Ok(Ok(sandbox)) => {
                    if self.adopt(pod, &sandbox).await {
                        return;
                    }
                    self.journal
                        .failed(doing, "the agent does not list its containers");
                }
                Ok(Err(error)) if error.is_agent_gone() => {
                    tracing::warn!(pod = %pod.id(), %error, "the agent is gone");
                    return self.agent_lost(pod).await;
                }
                Ok(Err(error)) => {
                    tracing::error!(pod = %pod.id(), %error, "the agent can't be reached");
                    self.journal.failed(doing, &Error::from(error).chain());
                }
                Err(_) => {
                    tracing::error!(pod = %pod.id(), "the agent does not answer");
                    let why = format!("the agent did not answer within {TRY:?}");
                    self.journal.failed(doing, &why);
                }
            }
            let again = i64::try_from(pause.as_nanos()).unwrap_or(0);
            doing.waits("its agent, which does not answer", now_ns() + again);
            tokio::time::sleep(pause).await;
            pause = AGAIN_MAX.min(pause * 2);
            // A client may have stopped the pod meanwhile.
            if pod.state() != PodState::Ready {
                return;
            }
        }
    }

    /// Takes over a pod whose agent answers; false when it stopped answering.
    async fn adopt(&self, pod: &Arc<Pod>, sandbox: &Sandbox) -> bool {
        let states = match tokio::time::timeout(TRY, sandbox.list()).await {
            Ok(Ok(states)) => states,
            Ok(Err(error)) => {
                tracing::error!(pod = %pod.id(), %error, "its containers can't be listed");
                return false;
            }
            Err(_) => return false,
        };
        let old = self.containers_of(pod.id());
        self.sweep(pod).await;
        // From here on calls can use it; what follows concerns the containers from before, each by
        // its gate.
        pod.set_agent(Agent::Here(sandbox.clone()));
        let mut known = HashSet::new();
        for state in states {
            let id: Option<Id> = state.id.parse().ok();
            let container = id.and_then(|id| self.containers.get(&id));
            match container {
                Some(container)
                    if container.facts().pod == *pod.id() && settle(&container, &state).await =>
                {
                    known.insert(container.id().clone());
                    if container.state().is_live() {
                        self.watch_container(&container, sandbox);
                    }
                }
                // Half made, half removed, or with a record that could not be read.
                _ => {
                    tracing::warn!(pod = %pod.id(), container = state.id, "removing a stray");
                    if let Err(error) = sandbox.remove_container(&state.id, REMOVAL).await {
                        tracing::error!(container = state.id, %error, "it can't be removed");
                    }
                }
            }
        }
        self.settle_containers(old, &known).await;
        self.watch_agent(pod, sandbox);
        true
    }

    /// Containers that the agent does not know: half-made ones are taken back, half-removed ones
    /// removed, live ones have ended.
    async fn settle_containers(&self, containers: Vec<Arc<Container>>, known: &HashSet<Id>) {
        for container in containers {
            let result = match container.state() {
                ContainerState::Creating { .. } | ContainerState::Removing { .. } => {
                    self.remove_container_now(&container).await
                }
                _ if known.contains(container.id()) => Ok(()),
                state if state.is_live() => {
                    self.record_lost(&container, "its agent does not know it")
                        .await;
                    Ok(())
                }
                _ => Ok(()),
            };
            if let Err(error) = result {
                tracing::error!(container = %container.id(), error = error.chain(),
                    "recovery is not complete");
            }
        }
    }

    /// Removes containers' directories that have no record. Before any call can create one: while
    /// the pod's agent is unknown or gone.
    async fn sweep(&self, pod: &Pod) {
        let (service, id) = (self.clone(), pod.id().clone());
        let swept = blocking(move || {
            let dir = service.layout.pod(&id).join(layout::CONTAINERS);
            for id in layout::ids_in(&dir)? {
                let dir = dir.join(&id);
                if service.containers.get(&id).is_none() && !dir.join(CONTAINER).exists() {
                    layout::remove_dir(&dir, CONTAINER)?;
                }
            }
            Ok::<_, Error>(())
        })
        .await;
        if let Err(error) = swept {
            tracing::error!(pod = %pod.id(), error = error.chain(), "recovery is not complete");
        }
    }

    /// Takes a half-made pod back.
    async fn take_back_start(&self, pod: &Arc<Pod>) -> Result<(), Error> {
        tracing::warn!(pod = %pod.id(), "taking back a start that was cut off");
        pod.set_agent(Agent::Gone);
        let turn = pod.turn().await;
        self.kill_pod(pod).await?;
        turn.advance(PodState::Removing).await?;
        drop(turn);
        self.finish_removal(pod).await
    }

    /// Goes on with a stop that was cut off.
    async fn finish_stop(&self, pod: &Arc<Pod>) -> Result<(), Error> {
        let reached = sandbox::connect(&self.settings, pod.dir());
        match tokio::time::timeout(Duration::from_secs(2), reached).await {
            Ok(Ok(sandbox)) => {
                // Ends that the agent knows are worth more than what a kill would leave.
                if let Ok(Ok(states)) = tokio::time::timeout(TRY, sandbox.list()).await {
                    for state in states {
                        let id: Option<Id> = state.id.parse().ok();
                        if let Some(container) = id.and_then(|id| self.containers.get(&id)) {
                            settle(&container, &state).await;
                            if container.state().is_live() {
                                self.watch_container(&container, &sandbox);
                            }
                        }
                    }
                }
                pod.set_agent(Agent::Here(sandbox));
            }
            _ => pod.set_agent(Agent::Gone),
        }
        let turn = pod.turn().await;
        self.stop_pod_in_turn(pod, &turn).await?;
        drop(turn);
        self.sweep(pod).await;
        self.settle_containers(self.containers_of(pod.id()), &HashSet::new())
            .await;
        Ok(())
    }

    /// Goes on with a removal that was cut off.
    async fn finish_removal(&self, pod: &Arc<Pod>) -> Result<(), Error> {
        let (dir, pin) = (pod.dir().to_owned(), pod.netns_path());
        blocking(move || shm::unmount_at(&dir)).await?;
        self.give_back_network(pod).await?;
        blocking(move || network::Netns::delete(&pin)).await?;
        self.sweep(pod).await;
        self.settle_containers(self.containers_of(pod.id()), &HashSet::new())
            .await;
        for container in self.containers_of(pod.id()) {
            self.remove_container_now(&container).await?;
        }
        let dir = pod.dir().to_owned();
        blocking(move || layout::remove_dir(&dir, POD)).await?;
        self.pods.remove(pod.id());
        Ok(())
    }

    /// Ends and removes what is left of a pod without a usable record.
    async fn remove_stray(&self, id: &Id) {
        tracing::warn!(pod = %id, "removing a pod without a record");
        let dir = self.layout.pod(id);
        let (service, id) = (self.clone(), id.clone());
        let removed = blocking(move || {
            let containers = layout::ids_in(&dir.join(layout::CONTAINERS))?;
            let lost = sandbox::LostPod {
                id: id.to_string(),
                dir: dir.clone(),
                cgroup_parent: agents_cgroup_parent(&dir)
                    .unwrap_or_else(|| service.settings.pod_cgroup(id.as_str())),
                containers: containers.into_iter().map(String::from).collect(),
            };
            sandbox::kill_pod(&service.settings, &lost)?;
            shm::unmount_at(&dir)?;
            network::Netns::delete(&dir.join("ns").join("net"))?;
            layout::remove_dir(&dir, POD)
        })
        .await;
        if let Err(error) = removed {
            tracing::error!(error = error.chain(), "it can't be removed whole");
        }
    }

    /// Removes writable layers that no container has. Blocks.
    fn remove_orphaned_layers(&self) -> Result<(), Error> {
        for id in layout::ids_in(&self.layout.layers())? {
            // Looked at before anything new is created: the daemon does not serve yet. A container
            // whose removal is still going on keeps its own until then.
            if self.containers.get(&id).is_none() {
                let layer = self.layout.layer(&id);
                if let Err(source) = fs::remove_dir_all(&layer) {
                    let error = Error::file("remove", &layer)(source);
                    tracing::error!(error = error.chain(), "an orphaned writable layer stays");
                }
            }
        }
        Ok(())
    }
}

/// The containers' cgroup, from the agent's record, where that is whole. Blocks.
fn agents_cgroup_parent(dir: &Path) -> Option<String> {
    let bytes = fs::read(dir.join("agent.json")).ok()?;
    let record: sandbox::AgentRecord = serde_json::from_slice(&bytes).ok()?;
    Some(record.cgroup_parent)
}

/// Brings a container's state to what the agent says; false when the container is one that must go:
/// half made or half removed.
async fn settle(container: &Arc<Container>, told: &sandbox::ContainerState) -> bool {
    match container.state() {
        ContainerState::Creating { .. } | ContainerState::Removing { .. } => return false,
        ContainerState::Exited(_) => return true,
        ContainerState::Created { .. } | ContainerState::Running { .. } => {}
    }
    match told.status {
        ContainerStatus::Exited => {
            watch::record_end(container, told.clone()).await;
        }
        ContainerStatus::Running | ContainerStatus::Paused => {
            let turn = container.turn().await;
            if matches!(container.state(), ContainerState::Created { .. }) {
                let started_at_ns = if told.started_at_ns == 0 {
                    now_ns()
                } else {
                    told.started_at_ns
                };
                let running = ContainerState::Running {
                    pid: told.pid,
                    started_at_ns,
                };
                if let Err(error) = turn.advance_anyway(running).await {
                    tracing::error!(container = %container.id(), error = error.chain(), "settling");
                }
            }
        }
        ContainerStatus::Created => {}
    }
    true
}
