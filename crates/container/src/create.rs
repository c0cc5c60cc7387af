//! create: cgroup, plan, launch; all undone when one fails.
//!
//! ```text
//!  cgroup made ─► limits ─► seccomp compiled ─► plan ─► launch ─► Container
//!      ▲                                                  │
//!      └──────── removed again ◄──────── any failure ◄────┘
//! ```

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use oci::runtime as spec;
use rustix::io::Errno;

use crate::{
    Error,
    annotations::Annotations,
    cgroup::{Cgroup, NewScope, container_device_rules},
    engine::{CgroupNeed, Engine},
    home, hooks, host,
    id::ContainerId,
    launch::{self, Answers, Opened, Waiter},
    net_device,
    plan::{self, Options},
    request::{Container, CreateRequest, Gate, Process, Rootfs},
    resctrl, seccomp, stdio, trace,
};

/// Version of the state that hooks read.
const STATE_VERSION: &str = "1.0.2";

pub(crate) fn create(engine: &Engine, request: CreateRequest<'_>) -> Result<Container, Error> {
    let (cgroup, waiter) = match &engine.systemd {
        Some(bus) => {
            let path = request.cgroup_path.as_deref();
            scope(engine, request.id, request.spec, path, bus)?
        }
        None => {
            let path = path_of(engine, &request);
            (make_cgroup(engine, request.spec, &path)?, None)
        }
    };
    trace::mark("cgroup made");
    if let Err(error) = cgroup.refuse_frozen().and_then(|()| cgroup.refuse_used()) {
        // Somebody else's, with whatever it holds, is left as it was.
        if cgroup.was_joined() {
            cgroup.undo();
        } else {
            let _gone = cgroup.remove();
        }
        return Err(error.into());
    }
    let fifo = match &request.gate {
        Gate::Fifo(path) => Some(path.clone()),
        Gate::None | Gate::Pipe => None,
    };
    let (spec, id, bundle) = (request.spec, request.id, request.bundle);
    let mut launched = false;
    match in_cgroup(engine, request, &cgroup, waiter, &mut launched) {
        Ok(container) => Ok(container),
        Err(error) => {
            if let Some(fifo) = fifo {
                remove_fifos(&fifo);
            }
            // The first error is the one to tell; what stays behind is logged.
            if let Err(e) = resctrl::remove(spec, id.as_str()) {
                tracing::warn!(error = &e as &dyn std::error::Error, "resctrl");
            }
            if let Err(e) = cgroup.remove() {
                tracing::warn!(
                    error = &e as &dyn std::error::Error,
                    "cgroup {} is left behind",
                    cgroup.path()
                );
            }
            // What the first hooks did is undone by the last, if they may have run.
            let id = id.as_str();
            let hooks = spec.hooks.as_ref().filter(|_| launched);
            hooks::poststop(id, hooks, engine.annotations, || {
                state(id, spec, bundle, spec::Status::Stopped, 0)
            });
            Err(error)
        }
    }
}

/// Removes the gate's fifos, if they are there.
pub(crate) fn remove_fifos(fifo: &Path) {
    let mut status = fifo.as_os_str().to_owned();
    status.push(".status");
    for path in [fifo, Path::new(&status)] {
        let _ = std::fs::remove_file(path);
    }
}

/// systemd's scope, and the process that keeps it until the container's is there.
fn scope(
    engine: &Engine,
    id: &ContainerId,
    spec: &spec::Spec,
    path: Option<&str>,
    bus: &Path,
) -> Result<(Cgroup, Option<Waiter>), Error> {
    let waiter = Waiter::new(0)?;
    let linux = spec.linux.as_ref();
    let path = path.or_else(|| linux.and_then(|l| l.cgroups_path.as_deref()));
    let cgroup = Cgroup::create_scope(
        &engine.host.hierarchy,
        &NewScope {
            bus,
            rootless: engine.host.facts.rootless,
            path: path.unwrap_or_default(),
            id: id.as_str(),
            sleeper: waiter.pid(),
            spec,
        },
    )?;
    Ok((cgroup, Some(waiter)))
}

/// A cgroup with a document's limits, for processes that somebody else makes.
#[derive(Debug)]
pub struct Prepared {
    /// It.
    pub cgroup: Cgroup,
    /// systemd's scope ends with its last process.
    waiter: Option<Waiter>,
}

impl Prepared {
    /// A process is in it, and will stay.
    pub fn joined(&mut self) {
        self.waiter = None;
    }
}

/// See [`Engine::prepare`].
pub(crate) fn prepare(
    engine: &Engine,
    id: &ContainerId,
    spec: &spec::Spec,
) -> Result<Prepared, Error> {
    let (cgroup, waiter) = match &engine.systemd {
        Some(bus) => scope(engine, id, spec, None, bus)?,
        None => {
            let path = cgroup_path(id, spec);
            (Cgroup::create(&engine.host.hierarchy, &path)?, None)
        }
    };
    if let Err(error) = cgroup.apply(&limits(spec.linux.as_ref())) {
        // What the limits say is told; the waiter goes before its cgroup.
        drop(waiter);
        if cgroup.unit().is_some() {
            let _ = cgroup.remove();
        } else {
            cgroup.undo();
        }
        return Err(error.into());
    }
    Ok(Prepared { cgroup, waiter })
}

/// A cgroup, or none where we may not make one and nothing asks for it.
fn make_cgroup(engine: &Engine, spec: &spec::Spec, path: &str) -> Result<Cgroup, Error> {
    let error = match Cgroup::create(&engine.host.hierarchy, path) {
        Ok(cgroup) => return Ok(cgroup),
        Err(error) => error,
    };
    let denied = [Errno::ACCESS, Errno::PERM, Errno::ROFS]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()));
    let resources = spec.linux.as_ref().and_then(|l| l.resources.as_ref());
    let limited = resources.is_some_and(|r| {
        let others = spec::LinuxResources {
            devices: Vec::new(),
            ..r.clone()
        };
        others != spec::LinuxResources::default()
    });
    if !denied || engine.cgroup_need == CgroupNeed::Always {
        return Err(error.into());
    }
    if limited {
        let limit =
            first_limit(resources).map_or("limits".to_owned(), |name| format!("{name} limit"));
        return Err(error
            .needed(format!(
                "cannot set {limit}: container could not join or create cgroup"
            ))
            .into());
    }
    let linux = spec.linux.as_ref();
    let named = linux.and_then(|l| l.cgroups_path.as_deref());
    if engine.cgroup_need == CgroupNeed::IfNamed && named.is_some_and(|path| !path.is_empty()) {
        let text = "unable to apply cgroup configuration: permission denied, and linux.cgroupsPath asks for it";
        return Err(error.needed(text.to_owned()).into());
    }
    let error = &error as &dyn std::error::Error;
    let own_pids = linux.is_some_and(|l| l.namespace(spec::NamespaceType::Pid).is_some());
    if !own_pids {
        tracing::warn!(
            error,
            "the container has neither a cgroup nor a pid namespace. Such configuration is strongly discouraged: not all \
             of its processes can be found and killed"
        );
    } else if engine.host.facts.rootless {
        // An ordinary user's everyday.
        tracing::info!(error, "the container runs without a cgroup");
    } else {
        tracing::warn!(error, "the container runs without a cgroup");
    }
    Ok(Cgroup::none())
}

/// A limit that is asked for, by its cgroup's name.
fn first_limit(resources: Option<&spec::LinuxResources>) -> Option<&'static str> {
    fn said<T: Default + PartialEq>(section: Option<&T>) -> bool {
        section.is_some_and(|section| *section != T::default())
    }
    let r = resources?;
    let sections = [
        (said(r.memory.as_ref()), "memory"),
        (said(r.cpu.as_ref()), "cpu"),
        (said(r.pids.as_ref()), "pids"),
        (said(r.block_io.as_ref()), "blkio"),
    ];
    let mut sections = sections.into_iter();
    sections.find(|(said, _)| *said).map(|(_, name)| name)
}

/// An unprivileged caller's relative path starts beside its own cgroup: in there are processes, so that
/// controllers can't be enabled below it.
fn beside_our_own(engine: &Engine, path: &str) -> Option<String> {
    if !engine.host.facts.rootless || !engine.host.hierarchy.is_v2() || path.starts_with('/') {
        return None;
    }
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (parent, _) = own.rsplit_once('/')?;
    Some(format!("{parent}/{path}"))
}

/// The cgroup of a container: `linux.cgroupsPath`, or `/<id>` where a document names none.
#[must_use]
pub fn cgroup_path(id: &ContainerId, spec: &spec::Spec) -> String {
    let path = spec.linux.as_ref().and_then(|l| l.cgroups_path.as_deref());
    absolute(path.filter(|path| !path.is_empty()).unwrap_or(id.as_str()))
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    }
}

fn path_of(engine: &Engine, request: &CreateRequest<'_>) -> String {
    let linux = request.spec.linux.as_ref();
    let path = request
        .cgroup_path
        .as_deref()
        .or_else(|| linux.and_then(|l| l.cgroups_path.as_deref()))
        .filter(|path| !path.is_empty())
        .unwrap_or(request.id.as_str());
    beside_our_own(engine, path).unwrap_or_else(|| absolute(path))
}

pub(crate) fn state(
    id: &str,
    spec: &spec::Spec,
    bundle: &Path,
    status: spec::Status,
    pid: i32,
) -> spec::State {
    spec::State {
        oci_version: STATE_VERSION.to_owned(),
        id: id.to_owned(),
        status,
        pid: (pid != 0).then_some(pid),
        bundle: bundle.display().to_string(),
        annotations: spec.annotations.clone(),
    }
}

struct Parent<'a> {
    id: &'a str,
    spec: &'a spec::Spec,
    bundle: &'a Path,
    annotations: Annotations,
}

impl Answers for Parent<'_> {
    fn state(&mut self, status: spec::Status, pid: i32) -> Result<Vec<u8>, Error> {
        let pid = pid_inside(pid).unwrap_or(pid);
        hooks::json(&state(self.id, self.spec, self.bundle, status, pid))
    }

    fn place(&mut self, pid: i32) -> Result<(), Error> {
        let Some(linux) = &self.spec.linux else {
            return Ok(());
        };
        if let Some(rdt) = &linux.intel_rdt {
            resctrl::Group::join(&resctrl::mounted()?, rdt, self.id, pid)?;
        }
        Ok(net_device::move_all(linux, pid)?)
    }

    fn hooks(&mut self, pid: i32) -> Result<(), Error> {
        let Some(h) = &self.spec.hooks else {
            return Ok(());
        };
        let state = state(self.id, self.spec, self.bundle, spec::Status::Creating, pid);
        hooks::run("prestart", &h.prestart, &state, self.annotations)?;
        hooks::run("createRuntime", &h.create_runtime, &state, self.annotations)
    }

    fn listener(&mut self, pid: i32, listener: OwnedFd) -> Result<(), Error> {
        let state = state(self.id, self.spec, self.bundle, spec::Status::Creating, pid);
        Ok(seccomp::hand_on(self.spec, &state, pid, &listener)?)
    }
}

/// The number of a process in its own pid namespace, which is what hooks inside know.
fn pid_inside(pid: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().last()?.parse().ok()
}

/// Where the sources of mounts with `copy-symlink` lead; one that is no link is mounted as it is.
pub(crate) fn links(spec: &spec::Spec, bundle: &Path) -> Result<BTreeMap<usize, String>, Error> {
    let mut links = BTreeMap::new();
    for (index, mount) in spec.mounts.iter().enumerate() {
        if !mount.options.iter().any(|word| word == "copy-symlink") {
            continue;
        }
        let path = bundle.join(mount.source.as_deref().unwrap_or_default());
        let failed = |e| launch::Error::io("read link", path.display().to_string(), e);
        let target = match std::fs::read_link(&path) {
            // Not a link.
            Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => continue,
            other => other.map_err(failed)?,
        };
        let target = target.into_os_string().into_string();
        let no_text = |_| failed(std::io::ErrorKind::InvalidData.into());
        links.insert(index, target.map_err(no_text)?);
    }
    Ok(links)
}

/// Preserved descriptors must be there, and theirs: ours are all close-on-exec.
pub(crate) fn check_preserved(count: u32) -> Result<(), Error> {
    for number in 3..count.saturating_add(3) {
        let path = PathBuf::from(format!("/proc/self/fdinfo/{number}"));
        let missing = || launch::Error::NotPreserved(number);
        let text = std::fs::read_to_string(path).map_err(|_| missing())?;
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|f| u32::from_str_radix(f.trim(), 8).ok());
        // O_CLOEXEC.
        if flags.is_none_or(|flags| flags & 0o2_000_000 != 0) {
            return Err(missing().into());
        }
    }
    Ok(())
}

/// HOME is looked up only for an environment without one.
pub(crate) fn home_of(
    process: &spec::Process,
    extra: &[String],
    root: Option<OwnedFd>,
) -> Option<String> {
    let mut all = process.env.iter().chain(extra).rev();
    if all
        .find(|entry| entry.starts_with("HOME="))
        .is_some_and(|entry| plan::is_home(entry))
    {
        return None;
    }
    root.map(|root| home::of(root, process.user.uid))
}

fn root_dir(rootfs: &Rootfs) -> Option<OwnedFd> {
    match rootfs {
        Rootfs::Path(path) => sys::in_root::dir(path).ok(),
        Rootfs::Mount(fd) => fd.try_clone().ok(),
    }
}

/// The document's limits, with the device rules that every container runs with: a document without
/// rules denies all but the default devices, as runc has it.
fn limits(linux: Option<&spec::Linux>) -> spec::LinuxResources {
    let mut limits = linux.and_then(|l| l.resources.clone()).unwrap_or_default();
    let nodes = linux.map(|l| l.devices.as_slice()).unwrap_or_default();
    limits.devices = container_device_rules(&limits.devices, nodes);
    limits
}

fn in_cgroup(
    engine: &Engine,
    request: CreateRequest<'_>,
    cgroup: &Cgroup,
    waiter: Option<Waiter>,
    launching: &mut bool,
) -> Result<Container, Error> {
    check_preserved(request.preserve_fds)?;
    let spec = request.spec;
    let linux = spec.linux.as_ref();
    let home = spec
        .process
        .as_ref()
        .and_then(|p| home_of(p, &request.extra_env, root_dir(&request.rootfs)));
    let owner = spec
        .process
        .as_ref()
        .and_then(|p| stdio::owner(spec, &p.user));
    let (stdio, streams) = stdio::streams(request.stdio, owner);
    let (gate, fifo) = match &request.gate {
        Gate::None => (plan::Gate::Open, None),
        Gate::Pipe => (plan::Gate::Channel, None),
        Gate::Fifo(path) => (plan::Gate::Fifo, Some(path.as_path())),
    };
    let into = cgroup.dir_fd()?;
    let joins = cgroup.join_fds()?;
    let options = Options {
        bundle: request.bundle.to_owned(),
        id: request.id.to_string(),
        stdio,
        gate,
        preserve_fds: request.preserve_fds,
        no_pivot: request.no_pivot.then(host::whole_filesystems),
        no_new_keyring: request.no_new_keyring,
        extra_env: request.extra_env,
        clamp_capabilities: request.clamp_capabilities,
        joins: joins.len(),
        unified: into.is_some(),
        home,
        rootfs: match &request.rootfs {
            Rootfs::Path(path) => Some(path.clone()),
            Rootfs::Mount(_) => None,
        },
        links: links(spec, request.bundle)?,
        hook_env: match &spec.hooks {
            Some(h) => hooks::own_env(&h.create_container),
            None => Vec::new(),
        },
        said: engine.annotations.said(&spec.annotations),
    };
    let plan = plan::create(&engine.host.facts, spec, &options)?;
    trace::mark("planned");
    for note in plan.notes() {
        tracing::warn!(container = %request.id, "{note}");
    }
    let filter = match &plan.seccomp {
        Some(profile) => Some(seccomp::compile(profile, engine.seccomp_cache.as_deref())?),
        None => None,
    };
    if let Some(filter) = &filter {
        tracing::debug!("seccomp filter flags: {}", filter.said_flags());
    }
    for warning in filter.iter().flat_map(|f| &f.warnings) {
        tracing::warn!(container = %request.id, "{warning}");
    }
    trace::mark("filter compiled");
    let mut limits = limits(linux);
    if cgroup.is_none() || engine.host.facts.rootless {
        // Nobody to hold the rules; in its user namespace the container can't make nodes either.
        limits.devices.clear();
    }
    // A scope's waiter counts: the number of processes is limited when it is gone.
    let late = waiter.is_some().then(|| spec::LinuxResources {
        pids: limits.pids.take(),
        ..spec::LinuxResources::default()
    });
    cgroup.apply_first(&limits)?;
    trace::mark("limits set");
    let mut opened = Opened {
        proc: Some(engine.host.proc.as_fd()),
        cgroup: Some(cgroup),
        joins,
        rootfs: Some(request.rootfs),
        streams,
        fifo,
        init_pidfd: None,
        own_pids: None,
        foreign_proc: engine.host.foreign_proc,
        setgroups: engine.host.facts.setgroups,
    };
    if let Some(rdt) = linux.and_then(|l| l.intel_rdt.as_ref()) {
        resctrl::Group::make(&resctrl::mounted()?, rdt, request.id.as_str())?;
    }
    let mut parent = Parent {
        id: request.id.as_str(),
        spec,
        bundle: request.bundle,
        annotations: engine.annotations,
    };
    let into = into.as_ref().map(AsFd::as_fd);
    *launching = true;
    let launched = launch::launch(
        &plan,
        &mut opened,
        into,
        filter.as_ref(),
        request.preserve_fds,
        &mut parent,
    )?;
    drop(waiter);
    if let Some(late) = late.filter(|late| late.pids.is_some())
        && let Err(error) = cgroup.apply(&late)
    {
        launched.child.end();
        return Err(error.into());
    }
    let (pid, pidfd) = launched.child.into_parts();
    let runs = matches!(request.gate, Gate::None);
    let (gate, unrecorded) = match request.gate {
        Gate::None => (None, None),
        Gate::Pipe => (Some((launched.channel, plan, launched.words)), None),
        Gate::Fifo(_) => (None, Some(launched.channel)),
    };
    let container = Container {
        id: request.id.clone(),
        init: Process {
            pid,
            pidfd,
            console: launched.console,
        },
        cgroup: cgroup.clone(),
        gate,
        unrecorded,
        hooks: spec.hooks.clone().map(Box::new),
        annotations: engine.annotations,
        state: state(
            request.id.as_str(),
            spec,
            request.bundle,
            spec::Status::Running,
            pid,
        ),
    };
    if runs {
        container.poststart().inspect_err(|_| {
            let _ = sys::wait::wait(container.init.pidfd.as_fd());
        })?;
    }
    Ok(container)
}

impl Container {
    /// A poststart hook that fails ends the container (specification 1.2).
    pub(crate) fn poststart(&self) -> Result<(), Error> {
        let list = self
            .hooks
            .as_ref()
            .map(|h| h.poststart.as_slice())
            .unwrap_or_default();
        hooks::run("poststart", list, &self.state, self.annotations).inspect_err(|_| {
            // Its process may have ended already.
            let _ = sys::pidfd::send_signal(self.init.pidfd.as_fd(), 9);
        })
    }
}
