//! Starting, finding and ending the agent of a pod.
//!
//! ```text
//! start                                       undone by
//! 1  cgroups   /coffer/<pod> when ours,       remove
//!              /coffer-agents/<pod>
//! 2  socket    agent.sock, listening          unlink
//! 3  process   coffer-agent                   SIGKILL by pidfd, reaped
//! 4  record    agent.json: pid, start time    unlink
//! 5  Handshake protocol version, same pid?
//! 6  CreateSandbox                            3, and the kill of both cgroups
//! ```
//! The record is written before the first call: from then on a daemon that dies finds the agent
//! again. One that dies between 3 and 4 leaves an agent that [`kill_pod`] knows by its arguments.

use std::{path::Path, time::Duration};

use agent_api::{
    sandbox::{HandshakeRequest, HandshakeResponse, SandboxClient},
    ttrpc,
};

use crate::{
    AgentRecord, Code, Error, LostPod, PodSpec, Sandbox, Settings, cgroup, convert, kill_pod,
    process::{self, Gone},
    record,
};

/// How long after a broken connection the agent's death may take to show.
pub(crate) const DEATH_SHOWS: Duration = Duration::from_secs(2);

/// Starts the agent of a pod and makes the pod's namespaces.
///
/// Run it to its end: a future that is dropped half-way leaves its work to [`kill_pod`].
///
/// # Errors
/// The step that failed. Nothing is left behind then: no socket, process, cgroup or record, only
/// the agent's log.
pub async fn start(settings: &Settings, spec: &PodSpec) -> Result<Sandbox, Error> {
    let started = tokio::time::timeout(settings.start_timeout, bring_up(settings, spec)).await;
    let error = match started {
        Ok(Ok(sandbox)) => return Ok(sandbox),
        Ok(Err(error)) => error,
        Err(_) => Error::Timeout {
            call: "the start",
            pod: spec.id.clone(),
            limit: settings.start_timeout,
        },
    };
    let pod = LostPod {
        id: spec.id.clone(),
        dir: spec.dir.clone(),
        cgroup_parent: spec.cgroup_parent.clone(),
        containers: Vec::new(),
    };
    if let Err(e) = kill_pod_elsewhere(settings, &pod).await {
        tracing::error!(pod = spec.id, error = %e, "undoing a failed start failed");
    }
    Err(error)
}

async fn bring_up(settings: &Settings, spec: &PodSpec) -> Result<Sandbox, Error> {
    let request = convert::create_sandbox(spec).map_err(|what| Error::Spec {
        pod: spec.id.clone(),
        what,
    })?;
    let (mut record, gone) = launch(settings, spec).await?;
    sys::failpoint!("sandbox.start.record.before", |text| injected(spec, text));
    record::write(&spec.dir, &record)?;
    sys::failpoint!("sandbox.start.handshake.before", |text| injected(
        spec, text
    ));
    let (client, hello) = greet(settings, &spec.dir, &record, gone.clone()).await?;
    record.protocol = hello.protocol;
    record.agent_version = hello.agent_version;
    record::write(&spec.dir, &record)?;

    let socket = spec.dir.join(process::SOCKET);
    let sandbox = Sandbox::new(record, socket, settings.call_timeout, client, gone);
    sys::failpoint!("sandbox.start.create_sandbox.before", |text| injected(
        spec, text
    ));
    sandbox
        .create_sandbox(&request, settings.start_timeout)
        .await?;
    sys::failpoint!("sandbox.start.create_sandbox.after", |text| injected(
        spec, text
    ));
    Ok(sandbox)
}

/// The error of a test that lets a step fail.
#[cfg(feature = "failpoints")]
fn injected(spec: &PodSpec, what: String) -> Error {
    Error::Spec {
        pod: spec.id.clone(),
        what,
    }
}

/// Steps 1 to 3: cgroups, socket, process. The process is watched and will be reaped.
async fn launch(settings: &Settings, spec: &PodSpec) -> Result<(AgentRecord, Gone), Error> {
    let agent_cgroup = settings.agent_cgroup(&spec.id);
    let child = {
        let (settings, spec, agent_cgroup) = (settings.clone(), spec.clone(), agent_cgroup.clone());
        blocking(move || {
            sys::failpoint!("sandbox.start.cgroups.before", |text| injected(&spec, text));
            make_cgroups(&settings, &spec)?;
            sys::failpoint!("sandbox.start.socket.before", |text| injected(&spec, text));
            let socket = process::listen(&spec.dir)?;
            sys::failpoint!("sandbox.start.spawn.before", |text| injected(&spec, text));
            process::spawn(&settings, &spec.dir, &agent_cgroup, socket)
        })
        .await?
    };
    let spawned = |source| Error::Spawn {
        program: settings.agent.clone(),
        source,
    };
    let (pid, start_ticks, gone) = process::adopt(child).map_err(spawned)?;
    let record = AgentRecord {
        version: record::VERSION,
        pod: spec.id.clone(),
        pid,
        start_ticks,
        protocol: 0,
        agent_version: String::new(),
        cgroup_parent: spec.cgroup_parent.clone(),
        agent_cgroup,
    };
    Ok((record, gone))
}

/// Both cgroups are made here and not by the agent: container cgroups then come and go below a
/// parent that stays.
fn make_cgroups(settings: &Settings, spec: &PodSpec) -> Result<(), Error> {
    let mounts = cgroup::Mounts::probe()?;
    if settings.owns_cgroup(&spec.id, &spec.cgroup_parent) {
        cgroup::create(&mounts, &cgroup::Name::new(&spec.cgroup_parent)?)?;
    }
    cgroup::create(
        &mounts,
        &cgroup::Name::new(&settings.agent_cgroup(&spec.id))?,
    )
}

/// Connects and shakes hands: the right protocol, and the very process of the record.
async fn greet(
    settings: &Settings,
    dir: &Path,
    record: &AgentRecord,
    mut gone: Gone,
) -> Result<(ttrpc::asynchronous::Client, HandshakeResponse), Error> {
    const CALL: &str = "Handshake";
    let pod = || record.pod.clone();
    let path = dir.join(process::SOCKET);
    let client = match agent_api::connect(&path).await {
        Ok(client) => client,
        // Refused: nobody has the listening socket any more, so the process is ending.
        Err(source) => {
            return Err(stillborn(record, dir, &mut gone).await.unwrap_or_else(|| {
                Error::Connect {
                    pod: pod(),
                    path,
                    source,
                }
            }));
        }
    };
    let request = HandshakeRequest {
        protocol: agent_api::PROTOCOL,
        client_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let limit = settings.start_timeout;
    let context = ttrpc::context::Context::default();
    let service = SandboxClient::new(client.clone());
    let answer = tokio::time::timeout(limit, service.handshake(context, &request)).await;
    let hello = match answer {
        Ok(Ok(hello)) => hello,
        Ok(Err(ttrpc::Error::RpcStatus(status))) => {
            let code = Code::from_number(status.code);
            return Err(Error::Rpc {
                call: CALL,
                pod: pod(),
                code,
                message: status.message,
            });
        }
        // A broken connection: the process is ending, and its status says more.
        Ok(Err(e)) => {
            let what = e.to_string();
            return Err(stillborn(record, dir, &mut gone).await.unwrap_or_else(|| {
                Error::Interrupted {
                    call: CALL,
                    pod: pod(),
                    what,
                }
            }));
        }
        Err(_) => {
            return Err(Error::Timeout {
                call: CALL,
                pod: pod(),
                limit,
            });
        }
    };
    if hello.protocol != agent_api::PROTOCOL {
        let (ours, theirs) = (agent_api::PROTOCOL, hello.protocol);
        return Err(Error::Protocol {
            pod: pod(),
            ours,
            theirs,
        });
    }
    if (hello.pid, hello.start_ticks) != (record.pid, record.start_ticks) {
        let told = |pid, ticks| format!("process {pid} started at tick {ticks}");
        return Err(Error::Stranger {
            pod: pod(),
            found: told(hello.pid, hello.start_ticks),
            recorded: told(record.pid, record.start_ticks),
        });
    }
    Ok((client, hello))
}

/// The error for an agent that has ended, or is about to; `None` when it lives on.
async fn stillborn(record: &AgentRecord, dir: &Path, gone: &mut Gone) -> Option<Error> {
    let status = match tokio::time::timeout(DEATH_SHOWS, gone.wait_for(Option::is_some)).await {
        Ok(Ok(how)) => how.clone().unwrap_or_default(),
        _ => return None,
    };
    let log = process::log_tail(dir);
    Some(Error::Stillborn {
        pod: record.pod.clone(),
        status,
        log,
    })
}

/// Finds the agent that an earlier run of the daemon has started for the pod in `dir`, whose last part
/// is the pod's id. A record that is missing or damaged is made anew from the process itself.
///
/// # Errors
/// [`Error::is_agent_gone`] when there is none any more, or one whose start was never finished:
/// then [`kill_pod`] cleans up.
pub async fn connect(settings: &Settings, dir: &Path) -> Result<Sandbox, Error> {
    let no_agent = |why: &str| Error::NoAgent {
        pod: dir.display().to_string(),
        why: why.to_owned(),
    };
    let (mut record, recorded) = match record::read(dir) {
        Ok(Some(record)) => (record, true),
        other => {
            let why = other
                .err()
                .map_or("there is no agent.json".to_owned(), |e| e.to_string());
            tracing::warn!(dir = %dir.display(), why, "looking for the agent among the processes");
            let agent = unrecorded(settings, dir)?;
            (
                agent.ok_or_else(|| no_agent(&format!("{why}, and no process")))?,
                false,
            )
        }
    };
    let found = process::find(record.pid, record.start_ticks);
    let watched = |source| Error::Record {
        act: "follow",
        path: dir.join(record::FILE),
        source,
    };
    let pidfd = found
        .map_err(watched)?
        .ok_or_else(|| no_agent(&format!("process {} has ended", record.pid)))?;
    let gone = process::watch(pidfd, None).map_err(watched)?;
    let (client, hello) = greet(settings, dir, &record, gone.clone()).await?;
    record.protocol = hello.protocol;
    record.agent_version = hello.agent_version;
    if hello.sandbox_id != record.pod {
        return Err(no_agent(&format!(
            "its agent serves {:?}",
            hello.sandbox_id
        )));
    }
    if !recorded {
        record::write(dir, &record)?;
    }
    let socket = dir.join(process::SOCKET);
    Ok(Sandbox::new(
        record,
        socket,
        settings.call_timeout,
        client,
        gone,
    ))
}

/// The record of an agent that has none, by its process.
fn unrecorded(settings: &Settings, dir: &Path) -> Result<Option<AgentRecord>, Error> {
    let found = process::unrecorded(dir).map_err(|source| Error::Record {
        act: "make anew",
        path: dir.join(record::FILE),
        source,
    })?;
    let pod = dir
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    Ok(found.first().map(|(pid, start_ticks)| AgentRecord {
        version: record::VERSION,
        pod: pod.to_owned(),
        pid: *pid,
        start_ticks: *start_ticks,
        protocol: 0,
        agent_version: String::new(),
        cgroup_parent: settings.pod_cgroup(pod),
        agent_cgroup: settings.agent_cgroup(pod),
    }))
}

/// Ends a pod in good order: every container is removed, the agent ends, its socket, record and
/// cgroups go. What the agent does not manage within `limit` is ended by force, as by [`kill_pod`].
///
/// # Errors
/// What could not be killed or removed.
pub async fn destroy(
    settings: &Settings,
    sandbox: &Sandbox,
    pod: &LostPod,
    limit: Duration,
) -> Result<(), Error> {
    sys::failpoint!("sandbox.destroy.call.before");
    match sandbox.destroy_sandbox(limit).await {
        // All is done when it has answered; the process that is left is not waited for but killed
        // with the rest. The connection may also break before the answer is out.
        Ok(()) | Err(Error::Lost { .. }) => {}
        Err(e) => tracing::warn!(pod = pod.id, error = %e, "ending the pod by force"),
    }
    sys::failpoint!("sandbox.destroy.cleanup.before");
    kill_pod_elsewhere(settings, pod).await
}

async fn kill_pod_elsewhere(settings: &Settings, pod: &LostPod) -> Result<(), Error> {
    let (settings, pod) = (settings.clone(), pod.clone());
    blocking(move || kill_pod(&settings, &pod)).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(e) => Err(Error::Worker { source: e.into() }),
    }
}
