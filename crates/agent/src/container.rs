//! One container: its state, its processes, and the one lock that orders what is done to it.
//!
//! ```text
//!            start                 first process ends
//!  Created ---------> Running -----------------------> Exited ---remove---> (gone)
//!     |                ^   | pause                        ^
//!     |         resume |   v                              |
//!     +---- pause --> Paused -----------------------------|
//!     +---------------------------------------------------+  killed before its start
//! ```
//! `op` is held by start, pause, resume, update and remove for as long as they take; signals, waits,
//! reads and execs need no lock.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use container::cgroup::Cgroup;
use container::{ContainerId, ContainerRef};

use crate::device::Addresses;
use crate::error::Error;
use crate::exit_record::Exit;
use crate::process::Process;

/// Readings of the figures of one container, or of the pod, at a time.
pub(crate) const READS: usize = 16;

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Created,
    Running {
        started_at_ns: i64,
    },
    /// 0: not started yet.
    Paused {
        started_at_ns: i64,
    },
    Exited {
        started_at_ns: i64,
        exit: Exit,
    },
}

impl State {
    /// The state's name, for texts.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Exited { .. } => "stopped",
        }
    }

    /// When the first process was started; 0 if it never was.
    pub(crate) fn started_at_ns(&self) -> i64 {
        match self {
            Self::Created => 0,
            Self::Running { started_at_ns }
            | Self::Paused { started_at_ns }
            | Self::Exited { started_at_ns, .. } => *started_at_ns,
        }
    }
}

/// What the holder of the container's lock owns.
#[derive(Debug)]
pub(crate) struct Op {
    /// The core's handle, until the start: it holds the gate.
    pub(crate) core: Option<container::Container>,
    pub(crate) removed: bool,
}

/// A container of the pod.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: ContainerId,
    pub(crate) created_at_ns: i64,
    /// The runtime spec as JSON: a fifth of what its structures take, and rarely looked at.
    spec: Box<[u8]>,
    /// The container's directory in the agent's state.
    pub(crate) bundle: PathBuf,
    pub(crate) cgroup: Cgroup,
    pub(crate) init: Arc<Process>,
    pub(crate) stdin_once: bool,
    /// Mount points of storages that this container uses, in the order in which they were made.
    pub(crate) storages: Vec<PathBuf>,
    /// Its name in the pod, where an annotation says it.
    pub(crate) label: Option<String>,
    /// What PCI addresses in the environment of its processes are here.
    pub(crate) addresses: Addresses,
    pub(crate) op: tokio::sync::Mutex<Op>,
    /// Readings of its figures that may go on at a time.
    pub(crate) reads: Arc<tokio::sync::Semaphore>,
    state: Mutex<State>,
    execs: Mutex<BTreeMap<String, Slot>>,
    log_bytes_lost: std::sync::atomic::AtomicU64,
}

/// A name for an exec'd process: taken, or in use.
#[derive(Debug)]
enum Slot {
    /// `killed`: it is to end as soon as it runs.
    Starting {
        killed: bool,
    },
    Started(Arc<Process>),
}

/// Everything that a new container is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) name: ContainerId,
    pub(crate) created_at_ns: i64,
    pub(crate) spec: Box<[u8]>,
    pub(crate) bundle: PathBuf,
    pub(crate) core: container::Container,
    pub(crate) init: Arc<Process>,
    pub(crate) stdin_once: bool,
    pub(crate) storages: Vec<PathBuf>,
    pub(crate) label: Option<String>,
    pub(crate) addresses: Addresses,
}

impl Container {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            id: parts.name.to_string(),
            name: parts.name,
            created_at_ns: parts.created_at_ns,
            spec: parts.spec,
            bundle: parts.bundle,
            cgroup: parts.core.cgroup.clone(),
            init: parts.init,
            stdin_once: parts.stdin_once,
            storages: parts.storages,
            label: parts.label,
            addresses: parts.addresses,
            op: tokio::sync::Mutex::new(Op {
                core: Some(parts.core),
                removed: false,
            }),
            reads: Arc::new(tokio::sync::Semaphore::new(READS)),
            state: Mutex::new(State::Created),
            execs: Mutex::default(),
            log_bytes_lost: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// The runtime spec that it was made of.
    pub(crate) fn spec(&self) -> Result<oci::runtime::Spec, Error> {
        oci::runtime::parse(&self.spec).map_err(|e| {
            let why = crate::logging::chain(&e);
            Error::Internal(format!("container {}: its own spec: {why}", self.id))
        })
    }

    /// Calls the core with the container as it knows it. Blocks for as long as `call` does.
    pub(crate) fn with_core<T>(
        &self,
        call: impl FnOnce(&ContainerRef<'_>) -> Result<T, container::Error>,
    ) -> Result<Result<T, container::Error>, Error> {
        let spec = self.spec()?;
        let alive = self.init.exited().is_none();
        Ok(call(&ContainerRef {
            id: &self.name,
            spec: &spec,
            bundle: &self.bundle,
            init_pid: if alive { self.init.pid } else { 0 },
            init_pidfd: alive.then(|| self.init.pidfd.as_fd()),
            cgroup: &self.cgroup,
            annotations: container::Annotations::Ignored,
        }))
    }

    pub(crate) fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// Moves on by `next`, unless it answers None: then the caller's act does not fit the state.
    pub(crate) fn transition(
        &self,
        act: &'static str,
        next: impl FnOnce(&State) -> Option<State>,
    ) -> Result<(), Error> {
        let mut state = lock(&self.state);
        match next(&state) {
            Some(next) => {
                *state = next;
                Ok(())
            }
            None => Err(Error::State {
                act,
                id: self.id.clone(),
                is: state.name(),
            }),
        }
    }

    /// Records the start, unless the first process has ended already: then only its time is kept.
    pub(crate) fn started(&self, at_ns: i64) {
        let mut state = lock(&self.state);
        match &mut *state {
            State::Exited { started_at_ns, .. } => *started_at_ns = at_ns,
            other => {
                *other = State::Running {
                    started_at_ns: at_ns,
                }
            }
        }
    }

    /// Records the end of the first process.
    pub(crate) fn exited(&self, exit: Exit) {
        let mut state = lock(&self.state);
        *state = State::Exited {
            started_at_ns: state.started_at_ns(),
            exit,
        };
    }

    /// The process that a client means: `exec` is an exec id, or the container's id for its first
    /// process.
    pub(crate) fn process(&self, exec: &str) -> Result<Arc<Process>, Error> {
        if exec == self.id {
            return Ok(Arc::clone(&self.init));
        }
        match lock(&self.execs).get(exec) {
            Some(Slot::Started(process)) => Ok(Arc::clone(process)),
            Some(Slot::Starting { .. }) | None => Err(Error::NoProcess {
                container: self.id.clone(),
                exec: exec.to_owned(),
            }),
        }
    }

    /// Takes the name of a process to be; it is given back when the reservation is dropped.
    pub(crate) fn reserve_exec(self: &Arc<Self>, exec: &str) -> Result<ExecName, Error> {
        let mut execs = lock(&self.execs);
        if exec == self.id || execs.contains_key(exec) {
            return Err(Error::ExecExists {
                container: self.id.clone(),
                exec: exec.to_owned(),
            });
        }
        execs.insert(exec.to_owned(), Slot::Starting { killed: false });
        Ok(ExecName {
            container: Arc::clone(self),
            exec: exec.to_owned(),
            used: false,
        })
    }

    /// Kills an exec'd process with its group: now, or as soon as it runs. Returns it if it does.
    pub(crate) fn kill_exec(&self, exec: &str) -> Result<Option<Arc<Process>>, Error> {
        match lock(&self.execs).get_mut(exec) {
            Some(Slot::Started(process)) => {
                process.kill_group();
                Ok(Some(Arc::clone(process)))
            }
            Some(Slot::Starting { killed }) => {
                *killed = true;
                Ok(None)
            }
            None => Err(Error::NoProcess {
                container: self.id.clone(),
                exec: exec.to_owned(),
            }),
        }
    }

    /// Forgets an exec'd process, if it is still `process`.
    pub(crate) fn forget_exec(&self, exec: &str, process: &Arc<Process>) {
        let mut execs = lock(&self.execs);
        if let Some(Slot::Started(known)) = execs.get(exec)
            && Arc::ptr_eq(known, process)
        {
            execs.remove(exec);
        }
    }

    /// All exec'd processes that have not been forgotten.
    pub(crate) fn exec_processes(&self) -> Vec<(String, Arc<Process>)> {
        let execs = lock(&self.execs);
        let started = execs.iter().filter_map(|(name, slot)| match slot {
            Slot::Started(process) => Some((name.clone(), Arc::clone(process))),
            Slot::Starting { .. } => None,
        });
        started.collect()
    }

    pub(crate) fn set_log_bytes_lost(&self, bytes: u64) {
        self.log_bytes_lost
            .store(bytes, std::sync::atomic::Ordering::Relaxed);
    }

    /// Log bytes lost until the end of the first process.
    pub(crate) fn log_bytes_lost(&self) -> u64 {
        self.log_bytes_lost
            .load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// A reserved exec id.
#[derive(Debug)]
pub(crate) struct ExecName {
    container: Arc<Container>,
    exec: String,
    used: bool,
}

impl ExecName {
    /// The process runs: clients can name it from now on.
    pub(crate) fn assign(mut self, process: Arc<Process>) {
        self.used = true;
        let name = std::mem::take(&mut self.exec);
        let started = Slot::Started(Arc::clone(&process));
        let before = lock(&self.container.execs).insert(name, started);
        if let Some(Slot::Starting { killed: true }) = before {
            process.kill_group();
        }
    }
}

impl Drop for ExecName {
    fn drop(&mut self) {
        if !self.used {
            lock(&self.container.execs).remove(&self.exec);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
