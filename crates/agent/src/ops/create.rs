//! CreateContainer: from a request to a first process that waits before its exec.
//!
//! ```text
//!  name taken -> log opened -> storages mounted -> rootfs made -> core creates -> watched -> named
//! ```
//! Each step that fails undoes those before it, by the drop of what they made.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use container::cgroup::OomWatch;
use container::{ContainerId, CreateRequest, Gate, Rootfs};
use oci::runtime::Spec;

use crate::agent::Agent;
use crate::clock;
use crate::container::{Container, Parts};
use crate::device::{self, Device};
use crate::error::Error;
use crate::ops::shared_mounts::{self, SharedMount};
use crate::ops::{plumbing, resolver, scratch, supervise};
use crate::ports::{self, Numbers};
use crate::process::Process;
use crate::reaper::Busy;
use crate::rootfs::{self, Overlay};
use crate::spec_fixup::{self, Pid, Placed};
use crate::stdio::log_file::{Limits, LogFile};
use crate::stdio::{AgentEnds, Streams, open_log};
use crate::storage::Storage;
use crate::users::{self, Named};

/// The annotation that holds a container's name in its pod.
const LABEL: &str = "io.kubernetes.cri.container-name";

/// A container to create; both services convert to this.
#[derive(Debug)]
pub(crate) struct Create {
    pub(crate) id: String,
    pub(crate) spec: Spec,
    pub(crate) storages: Vec<Storage>,
    /// None: the spec's root.path.
    pub(crate) overlay: Option<Overlay>,
    pub(crate) devices: Vec<Device>,
    pub(crate) shared_mounts: Vec<SharedMount>,
    /// Wins over the numbers of the spec.
    pub(crate) user: Named,
    pub(crate) pid: Pid,
    /// None: a client reads the output.
    pub(crate) log: Option<PathBuf>,
    pub(crate) log_limits: Limits,
    /// Streams that the client has opened for input and output.
    pub(crate) ports: Numbers,
    pub(crate) stdin: bool,
    pub(crate) stdin_once: bool,
}

/// Creates the container; returns the pid of its first process.
pub(crate) async fn run(agent: &Arc<Agent>, create: Create) -> Result<i32, Error> {
    let id = ContainerId::new(&create.id).map_err(|e| Error::invalid("id", e.to_string()))?;
    let reserved = agent.table.reserve(&create.id)?;
    let target = match &create.pid {
        Pid::Target(target) => Some(agent.table.get(target)?),
        Pid::Container | Pid::Pod | Pid::Node => None,
    };
    let taken = agent.ports.take(create.ports)?;
    let work = {
        let agent = Arc::clone(agent);
        move |busy: &Busy| make(&agent, busy, target.as_deref(), id, create)
    };
    let (container, oom) = agent.core(work).await?;
    let container = Arc::new(container);
    let pid = container.init.pid;
    supervise::container(agent, Arc::clone(&container), oom);
    sys::failpoint!("agent.create.ports.before");
    ports::copy(&container.init, taken);
    log::info!("container {} created, pid {pid}", container.id);
    sys::failpoint!("agent.create.reply.before");
    reserved.assign(container);
    Ok(pid)
}

/// The blocking part: what fails here leaves nothing behind.
fn make(
    agent: &Agent,
    busy: &Busy,
    target: Option<&Container>,
    id: ContainerId,
    create: Create,
) -> Result<(Container, Option<OomWatch>), Error> {
    let pod = agent.pod();
    let mut spec = create.spec;
    let placed = Placed {
        id: &create.id,
        pod: pod.as_deref(),
        pid: &create.pid,
        target,
    };
    spec_fixup::place(&mut spec, &placed)?;
    sys::failpoint!("agent.create.devices.before");
    let addresses = device::attach(&agent.machine, &create.devices, &mut spec)?;
    if let Some(pod) = &pod {
        pod.hooks.append(&mut spec);
        resolver::mount(&mut spec, pod.resolver.as_deref());
    }
    let label = spec.annotations.get(LABEL).cloned();
    let names = [Some(create.id.as_str()), label.as_deref()];
    let names: Vec<_> = names.into_iter().flatten().collect();
    let mut storages = create.storages;
    storages.extend(scratch::resolve(agent, &create.id, &mut spec)?);
    let shared = shared_mounts::open_all(agent, &create.shared_mounts, &names, &mut spec)?;
    storages.extend(shared);
    oci::runtime::validate(&spec).map_err(|e| Error::invalid("spec", crate::logging::chain(&e)))?;
    let log = open_log(create.log.as_deref(), create.log_limits).map_err(|e| {
        let path = create.log.as_deref().unwrap_or(Path::new("")).display();
        Error::io("open", format!("log {path} of container {id}"), e)
    })?;
    let held = agent.mounts.hold(&agent.machine, &storages)?;
    sys::failpoint!("agent.create.bundle.before");
    let bundle = Bundle::make(agent.state.dir.join(&create.id))?;
    let rootfs = root(&spec, create.overlay.as_ref())?;
    name_user(&mut spec, &create.user, &rootfs)?;
    let kept = serde_json::to_vec(&spec)
        .map_err(|e| Error::Internal(format!("cannot print the spec of {id}: {e}")))?
        .into_boxed_slice();
    let tty = spec.process.as_ref().is_some_and(|p| p.terminal);
    let (stdio, ends) = plumbing(agent, tty, create.stdin)?;
    let request = CreateRequest {
        id: &id,
        spec: &spec,
        bundle: &bundle.dir,
        rootfs,
        stdio,
        gate: Gate::Pipe,
        preserve_fds: 0,
        no_pivot: false,
        no_new_keyring: false,
        extra_env: Vec::new(),
        cgroup_path: None,
        clamp_capabilities: spec.process.as_ref().is_some_and(wants_all_capabilities),
    };
    sys::failpoint!("agent.create.core.before");
    let created = agent.engine.create(request);
    sys::failpoint!("agent.create.core.after");
    let mut core = created.map_err(|e| Error::core("create it", &create.id, e))?;
    busy.adopt(core.init.pid);
    let served = streams(&mut core, ends, create.stdin, log).and_then(|streams| {
        let pidfd = core.init.pidfd.try_clone()?;
        Ok(Process::new(core.init.pid, Arc::new(pidfd), streams))
    });
    let init = match served {
        Ok(init) => init,
        Err(e) => {
            undo(busy, &core, &spec, &bundle.dir);
            return Err(Error::io(
                "serve the streams of",
                format!("container {id}"),
                e,
            ));
        }
    };
    let oom = core.cgroup.oom_watch().map_err(|e| {
        log::warn!(
            "container {id}: no OOM events: {}",
            crate::logging::chain(&e)
        );
    });
    let container = Container::new(Parts {
        name: id,
        created_at_ns: clock::now_ns(),
        spec: kept,
        bundle: bundle.keep(),
        core,
        init: Arc::new(init),
        stdin_once: create.stdin_once,
        storages: held.keep(),
        label,
        addresses,
    });
    Ok((container, oom.ok()))
}

/// Numbers for a user who is known by name.
fn name_user(spec: &mut Spec, named: &Named, rootfs: &Rootfs) -> Result<(), Error> {
    let (false, Some(process)) = (named.is_empty(), &mut spec.process) else {
        return Ok(());
    };
    let user = &mut process.user;
    match rootfs {
        Rootfs::Mount(fd) => users::resolve(fd, named, user),
        Rootfs::Path(path) => {
            let root = sys::in_root::dir(path);
            let root = root.map_err(|e| Error::io("open", path.display(), e))?;
            users::resolve(root, named, user)
        }
    }
}

/// The root filesystem.
fn root(spec: &Spec, overlay: Option<&Overlay>) -> Result<Rootfs, Error> {
    if let Some(overlay) = overlay {
        return Ok(Rootfs::Mount(rootfs::overlay(overlay)?));
    }
    let path = spec
        .root
        .as_ref()
        .map(|r| PathBuf::from(&r.path))
        .unwrap_or_default();
    if !path.is_absolute() {
        let why = "it must be absolute: there is no bundle that it could be relative to";
        return Err(Error::invalid(format!("root.path {path:?}"), why));
    }
    Ok(Rootfs::Path(path))
}

fn streams(
    core: &mut container::Container,
    ends: Option<AgentEnds>,
    stdin: bool,
    log: Option<LogFile>,
) -> std::io::Result<Streams> {
    match (core.init.console.take(), ends) {
        (Some(master), _) => Streams::with_terminal(master, stdin, log),
        (None, Some(ends)) => Streams::with_pipes(ends, log),
        (None, None) => Err(std::io::Error::other("the core made no terminal")),
    }
}

/// A privileged process asks for every capability that there is, and gets those that the node gives
/// us; one that is named has to be had.
pub(crate) fn wants_all_capabilities(process: &oci::runtime::Process) -> bool {
    /// CAP_CHECKPOINT_RESTORE, the last one, is number 40.
    const ALL: usize = 41;
    let sets = process.capabilities.as_ref();
    sets.is_some_and(|sets| sets.bounding.len() >= ALL)
}

/// Takes a created container away again.
fn undo(busy: &Busy, core: &container::Container, spec: &Spec, bundle: &Path) {
    use std::os::fd::AsFd as _;
    drop(sys::pidfd::send_signal(
        core.init.pidfd.as_fd(),
        libc::SIGKILL,
    ));
    if let Err(e) = sys::wait::wait(core.init.pidfd.as_fd()) {
        log::warn!("container {}: cannot reap it: {e}", core.id);
    }
    busy.forget(core.init.pid);
    if let Err(e) = ::container::destroy(&core.as_ref(spec, bundle)) {
        log::warn!(
            "container {}: cannot undo it: {}",
            core.id,
            crate::logging::chain(&e)
        );
    }
}

/// The container's directory in the agent's state; removed on failure if it was made here.
#[derive(Debug)]
struct Bundle {
    dir: PathBuf,
    made: bool,
}

impl Bundle {
    fn make(dir: PathBuf) -> Result<Self, Error> {
        let made = !dir.exists();
        std::fs::create_dir_all(&dir).map_err(|e| Error::io("make", dir.display(), e))?;
        // The record of an earlier container of this name must not be taken for this one's.
        match std::fs::remove_file(dir.join(crate::exit_record::FILE)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("clear", dir.display(), e))
            }
            _ => Ok(Self { dir, made }),
        }
    }

    fn keep(mut self) -> PathBuf {
        self.made = false;
        std::mem::take(&mut self.dir)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if self.made {
            drop(std::fs::remove_dir(&self.dir));
        }
    }
}
