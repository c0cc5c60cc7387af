//! The door for wire types: requests become domain requests here, answers become messages here.

pub(crate) mod files;
pub(crate) mod network;
mod spec;
mod stats;
pub(crate) mod storage;

use std::path::PathBuf;

use agent_api::{grpc, sandbox};
use oci::runtime::{LinuxResources, Process, Spec};

use crate::container::{Container, State};
use crate::error::Error;
use crate::namespaces::Wanted;
use crate::oom::OomEvent;
use crate::ops::create::Create;
use crate::ops::exec::Exec;
use crate::ops::exec_collect::{Collect, Event};
use crate::ops::machine::Module;
use crate::ops::sandbox::CreateSandbox;
use crate::ops::shared_mounts::SharedMount;
use crate::ops::streams::Read;
use crate::ports::Numbers;
use crate::rootfs::Overlay;
use crate::spec_fixup::Pid;
use crate::stdio::lines::Stream;
use crate::stdio::log_file::Limits;
use crate::users::Named;

pub(crate) use stats::{cgroup_stats, network_stats, stats};

/// `grpc.AgentService/CreateContainer`.
pub(crate) fn create_published(wire: grpc::CreateContainerRequest) -> Result<Create, Error> {
    let mut document = wire
        .oci
        .ok_or_else(|| Error::invalid("OCI", "the spec is missing"))?;
    let Some(process) = &mut document.process else {
        let why = "the process to run is missing";
        return Err(Error::invalid("OCI.Process", why));
    };
    let user = named(wire.string_user, process);
    Ok(Create {
        id: wire.container_id,
        spec: parse_spec(&serde_json::to_vec(&spec::spec(document)?).map_err(unprintable)?)?,
        storages: storage::all(wire.storages)?,
        overlay: None,
        devices: storage::devices(&wire.devices)?,
        shared_mounts: wire.shared_mounts.into_iter().map(shared_mount).collect(),
        user,
        pid: if wire.sandbox_pidns {
            Pid::Pod
        } else {
            Pid::Container
        },
        log: None,
        log_limits: Limits::default(),
        ports: Numbers {
            stdin: wire.stdin_port,
            stdout: wire.stdout_port,
            stderr: wire.stderr_port,
        },
        stdin: true,
        stdin_once: false,
    })
}

/// A user by name: of the request, else of the process, whose document has only numbers then.
fn named(wire: Option<grpc::StringUser>, process: &mut grpc::Process) -> Named {
    let user = process.user.as_mut();
    let name = user
        .map(|u| std::mem::take(&mut u.username))
        .unwrap_or_default();
    let wire = wire.unwrap_or_default();
    Named {
        uid: if wire.uid.is_empty() { name } else { wire.uid },
        gid: wire.gid,
        additional: wire.additional_gids,
    }
}

fn shared_mount(wire: grpc::SharedMount) -> SharedMount {
    SharedMount {
        name: wire.name,
        from: wire.src_ctr,
        from_path: wire.src_path.into(),
        to: wire.dst_ctr,
        to_path: wire.dst_path.into(),
    }
}

/// `coffer.agent.v1.Sandbox/CreateContainer`.
pub(crate) fn create_own(wire: sandbox::CreateContainerRequest) -> Result<Create, Error> {
    use sandbox::PidMode;
    let pid = match enumeration("pid", wire.pid)? {
        PidMode::Container => Pid::Container,
        PidMode::Pod => Pid::Pod,
        PidMode::Node => Pid::Node,
        PidMode::Target if wire.pid_target.is_empty() => {
            return Err(Error::invalid(
                "pid_target",
                "it is empty and pid is TARGET",
            ));
        }
        PidMode::Target => Pid::Target(wire.pid_target),
    };
    let mut spec = parse_spec(&wire.spec_json)?;
    if wire.rootfs.as_ref().is_some_and(|r| r.readonly) {
        // The upper layer, if there is one, still takes the mount points that the launch makes.
        spec.root.get_or_insert_default().readonly = true;
    }
    let Some(process) = &spec.process else {
        return Err(Error::invalid("spec_json", "process is missing"));
    };
    if process.terminal != wire.tty {
        let why = format!("is {} and process.terminal of the spec is not", wire.tty);
        return Err(Error::invalid("tty", why));
    }
    let log_limits = wire
        .log
        .as_ref()
        .map_or_else(Limits::default, |log| Limits {
            max_bytes: log.max_bytes,
            bytes_per_second: log.bytes_per_second,
        });
    let log = wire
        .log
        .map(|l| l.path)
        .filter(|p| !p.is_empty())
        .map(PathBuf::from);
    if let Some(path) = log.as_deref().filter(|p| !p.is_absolute()) {
        return Err(Error::invalid(
            format!("log.path {path:?}"),
            "must be absolute",
        ));
    }
    Ok(Create {
        id: wire.id,
        spec,
        storages: storage::all(wire.storages)?,
        overlay: wire.rootfs.map(overlay).transpose()?,
        devices: storage::devices(&wire.devices)?,
        shared_mounts: Vec::new(),
        user: Named::default(),
        pid,
        log,
        log_limits,
        ports: Numbers::default(),
        stdin: wire.stdin,
        stdin_once: wire.stdin_once,
    })
}

fn overlay(wire: sandbox::Rootfs) -> Result<Overlay, Error> {
    let wrong = |why| Err(Error::invalid("rootfs", why));
    if wire.lowers.is_empty() {
        return wrong("there are no lower layers");
    }
    let writable = match (wire.upper.is_empty(), wire.work.is_empty()) {
        (true, true) => None,
        (false, false) => Some((wire.upper.into(), wire.work.into())),
        _ => return wrong("upper and work go together"),
    };
    if writable.is_none() && !wire.readonly {
        return wrong("it is to be writable and has no upper and work directory");
    }
    Ok(Overlay {
        lowers: wire.lowers.into_iter().map(PathBuf::from).collect(),
        writable,
    })
}

/// `grpc.AgentService/ExecProcess`.
pub(crate) fn exec_published(wire: grpc::ExecProcessRequest) -> Result<Exec, Error> {
    let mut process = wire
        .process
        .ok_or_else(|| Error::invalid("process", "it is missing"))?;
    let user = named(wire.string_user, &mut process);
    let json = serde_json::to_vec(&spec::process(process)).map_err(unprintable)?;
    let process = parse_process("process", &json)?;
    Ok(Exec {
        container: wire.container_id,
        exec: wire.exec_id,
        process,
        inherits: true,
        user,
        ports: Numbers {
            stdin: wire.stdin_port,
            stdout: wire.stdout_port,
            stderr: wire.stderr_port,
        },
        stdin: true,
    })
}

/// `coffer.agent.v1.Sandbox/ExecProcess`.
pub(crate) fn exec_own(wire: sandbox::ExecProcessRequest) -> Result<Exec, Error> {
    let process = parse_process("process_json", &wire.process_json)?;
    Ok(Exec {
        container: wire.container_id,
        exec: wire.exec_id,
        process,
        inherits: false,
        user: Named::default(),
        ports: Numbers::default(),
        stdin: wire.stdin,
    })
}

/// `coffer.agent.v1.Sandbox/UpdateContainer`.
pub(crate) fn resources_own(json: &[u8]) -> Result<oci::runtime::LinuxResources, Error> {
    oci::runtime::parse_resources(json)
        .map_err(|e| Error::invalid("resources_json", crate::logging::chain(&e)))
}

/// `coffer.agent.v1.Sandbox/ExecCollect`.
pub(crate) fn collect(wire: sandbox::ExecCollectRequest) -> Result<Collect, Error> {
    let timeout = u64::try_from(wire.timeout_ns)
        .map_err(|_| Error::invalid("timeout_ns", "it is negative"))?;
    Ok(Collect {
        container: wire.container_id,
        exec: wire.exec_id,
        process: parse_process("process_json", &wire.process_json)?,
        timeout: (timeout > 0).then(|| std::time::Duration::from_nanos(timeout)),
        max_bytes: (wire.max_bytes > 0).then_some(wire.max_bytes),
    })
}

/// `grpc.AgentService/CreateSandbox`: ipc and uts are always the sandbox's own.
pub(crate) fn sandbox_published(wire: grpc::CreateSandboxRequest) -> Result<CreateSandbox, Error> {
    Ok(CreateSandbox {
        id: wire.sandbox_id,
        namespaces: Wanted {
            ipc: true,
            uts: true,
            hostname: wire.hostname,
            ..Default::default()
        },
        shared_pid: wire.sandbox_pidns,
        cgroup_parent: None,
        dns: wire.dns,
        hooks: wire.guest_hook_path,
        modules: wire
            .kernel_modules
            .into_iter()
            .map(|module| Module {
                name: module.name,
                parameters: module.parameters,
            })
            .collect(),
        storages: storage::all(wire.storages)?,
    })
}

/// `coffer.agent.v1.Sandbox/CreateSandbox`.
pub(crate) fn sandbox_own(wire: sandbox::CreateSandboxRequest) -> Result<CreateSandbox, Error> {
    use sandbox::{NamespaceMode, PidMode};
    let own = |mode: NamespaceMode| mode == NamespaceMode::Pod;
    let shared_pid = match enumeration("pid", wire.pid)? {
        PidMode::Pod => true,
        PidMode::Container | PidMode::Node => false,
        PidMode::Target => return Err(Error::invalid("pid", "TARGET is for containers")),
    };
    let net = (!wire.netns_path.is_empty()).then(|| PathBuf::from(wire.netns_path));
    if let Some(path) = net.as_deref().filter(|p| !p.is_absolute()) {
        return Err(Error::invalid(
            format!("netns_path {path:?}"),
            "must be absolute",
        ));
    }
    if wire.id.is_empty() {
        return Err(Error::invalid("id", "it is empty"));
    }
    Ok(CreateSandbox {
        id: wire.id,
        namespaces: Wanted {
            ipc: own(enumeration("ipc", wire.ipc)?),
            uts: own(enumeration("uts", wire.uts)?),
            hostname: wire.hostname,
            net,
            sysctls: wire.sysctls.into_iter().collect(),
        },
        shared_pid,
        cgroup_parent: (!wire.cgroup_parent.is_empty()).then_some(wire.cgroup_parent),
        dns: Vec::new(),
        hooks: String::new(),
        modules: Vec::new(),
        storages: storage::all(wire.storages)?,
    })
}

/// `ReadStdout`, `ReadStderr`.
pub(crate) fn read(wire: grpc::ReadStreamRequest, stderr: bool) -> Read {
    Read {
        container: wire.container_id,
        exec: wire.exec_id,
        len: usize::try_from(wire.len).unwrap_or(usize::MAX),
        stderr,
    }
}

/// An event of a collected process.
pub(crate) fn collected(event: Event) -> sandbox::ExecCollectEvent {
    use sandbox::exec_collect_event::Event as Wire;
    let event = match event {
        Event::Output(Stream::Stdout, data) => Wire::Stdout(data),
        Event::Output(Stream::Stderr, data) => Wire::Stderr(data),
        Event::Exit {
            code,
            timed_out,
            truncated,
        } => Wire::Exit(sandbox::ExecExit {
            code,
            timed_out,
            truncated,
        }),
    };
    sandbox::ExecCollectEvent { event: Some(event) }
}

/// Limits to change; None: nothing.
pub(crate) fn resources(
    wire: Option<grpc::LinuxResources>,
) -> Result<Option<LinuxResources>, Error> {
    let Some(wire) = wire else { return Ok(None) };
    // Read as part of a document: a second parser for this part alone would be 100 KiB of code.
    let document = serde_json::json!({
        "ociVersion": "1.0.2",
        "linux": { "resources": spec::resources(wire) }
    });
    let spec = oci::runtime::parse(document.to_string().as_bytes())
        .map_err(|e| Error::invalid("resources", crate::logging::chain(&e)))?;
    Ok(spec.linux.and_then(|l| l.resources))
}

/// How a container is, with how it ended.
pub(crate) fn state(container: &Container) -> sandbox::ContainerState {
    let state = container.state();
    let exit = match &state {
        State::Exited { exit, .. } => Some(exit),
        _ => None,
    };
    let wire = match &state {
        State::Created => sandbox::State::Created,
        State::Running { .. } => sandbox::State::Running,
        State::Paused { .. } => sandbox::State::Paused,
        State::Exited { .. } => sandbox::State::Exited,
    };
    sandbox::ContainerState {
        id: container.id.clone(),
        state: wire.into(),
        pid: container.init.pid,
        created_at_ns: container.created_at_ns,
        started_at_ns: state.started_at_ns(),
        finished_at_ns: exit.map_or(0, |e| e.finished_at_ns),
        exit_code: exit.map_or(0, |e| e.code),
        reason: exit.map_or("", |e| e.reason()).to_owned(),
        oom_killed: exit.is_some_and(|e| e.oom_killed),
        stdin_once: container.stdin_once,
        log_bytes_lost: container.log_bytes_lost(),
    }
}

pub(crate) fn oom_event(event: OomEvent) -> sandbox::OomEvent {
    sandbox::OomEvent {
        container_id: event.container,
        cgroup: event.cgroup,
        kills: event.kills,
        at_ns: event.at_ns,
    }
}

fn parse_spec(json: &[u8]) -> Result<Spec, Error> {
    oci::runtime::parse(json).map_err(|e| Error::invalid("spec", crate::logging::chain(&e)))
}

fn parse_process(what: &str, json: &[u8]) -> Result<Process, Error> {
    oci::runtime::parse_process(json).map_err(|e| Error::invalid(what, crate::logging::chain(&e)))
}

fn enumeration<E: TryFrom<i32>>(field: &str, value: i32) -> Result<E, Error> {
    E::try_from(value).map_err(|_| Error::invalid(field, format!("unknown value {value}")))
}

fn unprintable(error: serde_json::Error) -> Error {
    Error::Internal(format!("cannot print the spec: {error}"))
}

#[cfg(test)]
mod tests;
