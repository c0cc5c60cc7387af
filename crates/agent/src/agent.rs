//! The agent's state: one pod, its namespaces and its containers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use container::Engine;
use container::cgroup::Cgroup;
use tokio::sync::Notify;

use crate::args::State as StateDir;
use crate::error::Error;
use crate::namespaces::Namespaces;
use crate::oom::OomQueue;
use crate::pod_reaper::PodReaper;
use crate::reaper::{Busy, Reaper};
use crate::storage::Mounts;
use crate::table::Table;

/// What CreateSandbox made.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) id: String,
    pub(crate) namespaces: Namespaces,
    /// First process of the shared pid namespace, if there is one.
    pub(crate) reaper: Option<PodReaper>,
    /// The cgroup below which the containers live.
    pub(crate) cgroup: Option<Cgroup>,
    /// Mount points of the sandbox's own storages.
    pub(crate) storages: Vec<std::path::PathBuf>,
}

/// The sandbox's life: none, being made, there.
#[derive(Debug)]
enum PodState {
    None,
    Creating,
    Ready(Arc<Pod>),
}

/// Everything; one per agent process.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) engine: Arc<Engine>,
    pub(crate) state: StateDir,
    pub(crate) table: Arc<Table>,
    pub(crate) reaper: Arc<Reaper>,
    pub(crate) oom: OomQueue,
    pub(crate) mounts: Arc<Mounts>,
    /// Told once DestroySandbox has done its work.
    pub(crate) done: Notify,
    pod: Mutex<PodState>,
    /// Directories above containers' cgroups that were made for a container which is gone, while
    /// others may still be below them.
    cgroup_parents: Mutex<BTreeSet<PathBuf>>,
}

/// The right to make the sandbox; given back when dropped unused.
#[derive(Debug)]
pub(crate) struct PodReservation {
    agent: Arc<Agent>,
    used: bool,
}

impl Agent {
    pub(crate) fn new(engine: Engine, state: StateDir) -> Self {
        Self {
            engine: Arc::new(engine),
            mounts: Arc::new(Mounts::new(&state.dir)),
            state,
            table: Arc::default(),
            reaper: Arc::default(),
            oom: OomQueue::default(),
            done: Notify::new(),
            pod: Mutex::new(PodState::None),
            cgroup_parents: Mutex::default(),
        }
    }

    /// Removes the directories that were made for `cgroup`, now or when the last container below them
    /// goes.
    pub(crate) fn remove_parents(&self, cgroup: &Cgroup) {
        let mut parents = self
            .cgroup_parents
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        parents.extend(cgroup.record().made_parents);
        let deepest_first: Vec<_> = parents.iter().rev().cloned().collect();
        for parent in deepest_first {
            match std::fs::remove_dir(&parent) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {}
                _ => drop(parents.remove(&parent)),
            }
        }
    }

    /// The sandbox, if CreateSandbox has made one.
    pub(crate) fn pod(&self) -> Option<Arc<Pod>> {
        match &*self.pod.lock().unwrap_or_else(PoisonError::into_inner) {
            PodState::Ready(pod) => Some(Arc::clone(pod)),
            PodState::None | PodState::Creating => None,
        }
    }

    /// Takes the right to make the sandbox.
    ///
    /// # Errors
    /// It exists, or is being made.
    pub(crate) fn reserve_pod(self: &Arc<Self>) -> Result<PodReservation, Error> {
        let mut pod = self.pod.lock().unwrap_or_else(PoisonError::into_inner);
        match &*pod {
            PodState::None => *pod = PodState::Creating,
            PodState::Creating => return Err(Error::SandboxExists(String::new())),
            PodState::Ready(pod) => return Err(Error::SandboxExists(pod.id.clone())),
        }
        Ok(PodReservation {
            agent: Arc::clone(self),
            used: false,
        })
    }

    /// Forgets the sandbox and returns it.
    pub(crate) fn take_pod(&self) -> Option<Arc<Pod>> {
        let mut pod = self.pod.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *pod, PodState::None) {
            PodState::Ready(pod) => Some(pod),
            PodState::None | PodState::Creating => None,
        }
    }

    /// Runs work that may block (files of a cgroup, a mount) on the pool.
    ///
    /// It goes on if the caller is cancelled, and its result is dropped then: calls that make
    /// something run in a task of their own (`rpc::detached`) and are not cancelled.
    pub(crate) async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let joined = tokio::task::spawn_blocking(work).await;
        joined.unwrap_or_else(|e| Err(Error::Internal(format!("the work was cut short: {e}"))))
    }

    /// Runs a call of the core, which may start processes: orphans are not reaped meanwhile.
    pub(crate) async fn core<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Busy) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let busy = self.reaper.busy();
        let done = Self::blocking(move || work(&busy)).await;
        // Specs, plans and filters are large and gone: a quiet agent keeps no memory for them.
        sys::malloc::trim();
        done
    }
}

impl PodReservation {
    pub(crate) fn assign(mut self, made: Pod) {
        self.used = true;
        let mut pod = self
            .agent
            .pod
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *pod = PodState::Ready(Arc::new(made));
    }
}

impl Drop for PodReservation {
    fn drop(&mut self) {
        if !self.used {
            let mut pod = self
                .agent
                .pod
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *pod = PodState::None;
        }
    }
}
