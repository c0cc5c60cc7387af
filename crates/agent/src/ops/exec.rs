//! ExecProcess: a further process in a container. It runs at once; a program that is not there is the
//! call's own error.
//!
//! One that ends with its connection is killed, with its process group, when the client is gone, and
//! forgotten then: nobody would ask how it ended.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Arc, Weak};

use container::ExecRequest;
use oci::runtime;
use tokio::sync::watch;

use crate::agent::Agent;
use crate::connection::Connection;
use crate::container::{Container, State};
use crate::error::Error;
use crate::exit_record::Exit;
use crate::ops::create::wants_all_capabilities;
use crate::ops::{plumbing, supervise};
use crate::ports::{self, Numbers};
use crate::process::Process;
use crate::reaper::Busy;
use crate::stdio::Streams;
use crate::users::{self, Named};

/// A process to run.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) container: String,
    pub(crate) exec: String,
    pub(crate) process: runtime::Process,
    /// Without capabilities of its own it gets those of the container's first process.
    pub(crate) inherits: bool,
    /// Wins over the numbers of the process.
    pub(crate) user: Named,
    /// Streams that the client has opened for input and output.
    pub(crate) ports: Numbers,
    pub(crate) stdin: bool,
}

/// Runs the process, until its end or that of the connection `with`; returns its pid.
pub(crate) async fn run(
    agent: &Arc<Agent>,
    exec: Exec,
    with: Option<&Connection>,
) -> Result<i32, Error> {
    if exec.exec.is_empty() {
        return Err(Error::invalid("exec_id", "it is empty"));
    }
    let container = agent.table.get(&exec.container)?;
    let name = container.reserve_exec(&exec.exec)?;
    let taken = agent.ports.take(exec.ports)?;
    let run = Run {
        process: exec.process,
        inherits: exec.inherits,
        user: exec.user,
        stdin: exec.stdin,
    };
    let process = spawn(agent, &container, run).await?;
    let pid = process.pid;
    supervise::process(agent, Arc::clone(&process));
    sys::failpoint!("agent.exec.ports.before");
    ports::copy(&process, taken);
    if let Some(connection) = with {
        tokio::spawn(end_with(
            connection.clone(),
            Arc::downgrade(&container),
            exec.exec,
            Arc::downgrade(&process),
            process.exit(),
        ));
    }
    name.assign(process);
    Ok(pid)
}

/// Ends a process with its connection, unless someone has heard of its end before.
async fn end_with(
    connection: Connection,
    container: Weak<Container>,
    exec: String,
    process: Weak<Process>,
    mut exit: watch::Receiver<Option<Exit>>,
) {
    // The channel closes when the process is forgotten.
    let forgotten = async { while exit.changed().await.is_ok() {} };
    tokio::select! {
        () = connection.ended() => {}
        () = forgotten => return,
    }
    if let (Some(container), Some(process)) = (container.upgrade(), process.upgrade()) {
        log::info!(
            "container {}: process {exec} ends with its client",
            container.id
        );
        process.kill_group();
        forget(&container, &exec, process);
    }
}

/// KillExec: ends a process that nobody waits for any more. One that has ended is only
/// forgotten.
pub(crate) fn kill(agent: &Agent, id: &str, exec: &str) -> Result<(), Error> {
    let container = agent.table.get(id)?;
    if exec.is_empty() || exec == id {
        return Err(Error::invalid("exec_id", "it names no exec'd process"));
    }
    if let Some(process) = container.kill_exec(exec)? {
        forget(&container, exec, process);
    }
    Ok(())
}

/// Forgets a process that was killed once it is reaped.
fn forget(container: &Arc<Container>, exec: &str, process: Arc<Process>) {
    let (container, exec) = (Arc::clone(container), exec.to_owned());
    tokio::spawn(async move {
        process.wait().await;
        container.forget_exec(&exec, &process);
    });
}

/// What [`spawn`] runs.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) process: runtime::Process,
    pub(crate) inherits: bool,
    pub(crate) user: Named,
    pub(crate) stdin: bool,
}

/// Starts a process whose output a client reads; it is to be supervised by the caller.
pub(crate) async fn spawn(
    agent: &Arc<Agent>,
    container: &Arc<Container>,
    run: Run,
) -> Result<Arc<Process>, Error> {
    // In a paused container the new process would stop half-way into it, and the call with it.
    let state = container.state();
    if let State::Exited { .. } | State::Paused { .. } = state {
        let (act, id) = ("run a process in", container.id.clone());
        return Err(Error::State {
            act,
            id,
            is: state.name(),
        });
    }
    let (of, container) = (Arc::clone(agent), Arc::clone(container));
    let work = move |busy: &Busy| {
        let Run {
            mut process,
            inherits,
            user,
            stdin,
        } = run;
        if inherits && process.capabilities.is_none() {
            let first = container.spec()?.process;
            process.capabilities = first.and_then(|process| process.capabilities);
        }
        container.addresses.rewrite(&mut process.env)?;
        if !user.is_empty() {
            let root = format!("/proc/{}/root", container.init.pid);
            let opened = sys::in_root::dir(Path::new(&root));
            let opened = opened.map_err(|e| Error::io("open", &root, e))?;
            users::resolve(opened, &user, &mut process.user)?;
        }
        let (stdio, ends) = plumbing(&of, process.terminal, stdin)?;
        let request = ExecRequest {
            process: &process,
            stdio,
            preserve_fds: 0,
            no_new_keyring: false,
            extra_env: Vec::new(),
            clamp_capabilities: wants_all_capabilities(&process),
            ignore_paused: false,
        };
        sys::failpoint!("agent.exec.before");
        let started = container.with_core(|core| of.engine.exec(core, request))?;
        let started = started.map_err(|e| Error::core("run a process in it", &container.id, e))?;
        sys::failpoint!("agent.exec.after");
        busy.adopt(started.pid);
        let pidfd = Arc::new(started.pidfd);
        let streams = match (started.console, ends) {
            (Some(master), _) => Streams::with_terminal(master, stdin, None),
            (None, Some(ends)) => Streams::with_pipes(ends, None),
            (None, None) => Err(std::io::ErrorKind::NotConnected.into()),
        };
        let streams = streams.map_err(|e| {
            // It runs already, and nobody would ever hear of it.
            drop(sys::pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL));
            Error::io("serve the streams of a process of", &container.id, e)
        })?;
        Ok(Arc::new(Process::new(started.pid, pidfd, streams)))
    };
    agent.core(work).await
}
