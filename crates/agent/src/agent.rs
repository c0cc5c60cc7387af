//! The agent's state: one pod, its namespaces and its containers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use container::Engine;
use container::cgroup::Cgroup;
use tokio::sync::{Notify, Semaphore, oneshot};

use crate::args::{Args, Forms, State as StateDir};
use crate::error::Error;
use crate::guest_hooks::GuestHooks;
use crate::machine::Machine;
use crate::namespaces::Namespaces;
use crate::oom::OomQueue;
use crate::pod_reaper::PodReaper;
use crate::policy::Policy;
use crate::ports::Ports;
use crate::reaper::{Busy, Reaper};
use crate::rest::Rest;
use crate::storage::Mounts;
use crate::table::Table;

/// Calls on files that may hang, at a time.
const SLOW: usize = 16;

/// What CreateSandbox made.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) id: String,
    pub(crate) namespaces: Namespaces,
    /// First process of the shared pid namespace, if there is one.
    pub(crate) reaper: Option<PodReaper>,
    /// The cgroup below which the containers live.
    pub(crate) cgroup: Option<Cgroup>,
    /// Readings of its figures at a time.
    pub(crate) reads: Arc<Semaphore>,
    /// Mount points of the sandbox's own storages.
    pub(crate) storages: Vec<std::path::PathBuf>,
    /// Hooks that the machine brings for every container.
    pub(crate) hooks: GuestHooks,
    /// The resolv.conf of containers that bring none.
    pub(crate) resolver: Option<PathBuf>,
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
    pub(crate) rest: Rest,
    pub(crate) oom: OomQueue,
    pub(crate) mounts: Arc<Mounts>,
    pub(crate) machine: Machine,
    pub(crate) forms: Forms,
    pub(crate) policy: Policy,
    pub(crate) ports: Ports,
    /// Bytes of the pipes of containers; None: the kernel's default.
    pub(crate) pipe_size: Option<u32>,
    /// Told once DestroySandbox has done its work.
    pub(crate) done: Notify,
    pod: Mutex<PodState>,
    slow: Arc<Semaphore>,
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
    pub(crate) fn new(engine: Engine, args: &Args) -> Self {
        let state = args.state.clone();
        Self {
            engine: Arc::new(engine),
            mounts: Arc::new(Mounts::new(&state.dir)),
            state,
            machine: args.machine.clone(),
            forms: args.forms,
            policy: Policy::default(),
            ports: Ports::default(),
            pipe_size: args.pipe_size,
            slow: Arc::new(Semaphore::new(SLOW)),
            table: Arc::default(),
            reaper: Arc::default(),
            rest: Rest::default(),
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

    /// The process that a client means by `exec` in `container`: shims of Kata 3.2 say nothing for its
    /// first one.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for nothing, from any other client.
    pub(crate) fn exec_id<'a>(&self, container: &'a str, exec: &'a str) -> Result<&'a str, Error> {
        match (exec, self.forms) {
            ("", Forms::Kata32) => Ok(container),
            ("", Forms::Current) => {
                let why = "it is empty; the container's id means its first process";
                Err(Error::invalid("exec_id", why))
            }
            (exec, _) => Ok(exec),
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
        let (tell, told) = oneshot::channel();
        on_pool(Box::new(move || {
            // Nobody waits any more: the work is done all the same.
            let _ = tell.send(work());
        }));
        let cut = |_| Err(Error::Internal("the work was cut short".into()));
        told.await.unwrap_or_else(cut)
    }

    /// Runs work on files that may hang for ever, such as those of a volume over the network. Only so
    /// much of it is begun at a time that the pool has threads for everything else.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when so much hangs already; those of the work.
    pub(crate) async fn slow<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.slow).try_acquire_owned();
        let permit = permit.map_err(|_| Error::Hanging(SLOW))?;
        Self::blocking(move || {
            let done = work();
            drop(permit);
            done
        })
        .await
    }

    /// Runs a call of the core, which may start processes: orphans are not reaped meanwhile.
    pub(crate) async fn core<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Busy) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let busy = self.reaper.busy();
        let done = Self::blocking(move || work(&busy)).await;
        self.rest.stirred();
        done
    }
}

/// One kind of work for the pool: one of each type would be a large part of the program.
fn on_pool(work: Box<dyn FnOnce() + Send>) {
    tokio::task::spawn_blocking(work);
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
