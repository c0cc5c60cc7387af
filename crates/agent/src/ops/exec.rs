//! ExecProcess: a further process in a container. It runs at once; a program that is not there is the
//! call's own error.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use container::ExecRequest;
use oci::runtime;

use crate::agent::Agent;
use crate::container::{Container, State};
use crate::error::Error;
use crate::ops::{plumbing, supervise};
use crate::process::Process;
use crate::reaper::Busy;
use crate::stdio::Streams;

/// A process to run.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) container: String,
    pub(crate) exec: String,
    pub(crate) process: runtime::Process,
    pub(crate) stdin: bool,
}

/// Runs the process; returns its pid.
pub(crate) async fn run(agent: &Arc<Agent>, exec: Exec) -> Result<i32, Error> {
    if exec.exec.is_empty() {
        return Err(Error::invalid("exec_id", "it is empty"));
    }
    let container = agent.table.get(&exec.container)?;
    let name = container.reserve_exec(&exec.exec)?;
    let process = spawn(agent, &container, exec.process, exec.stdin).await?;
    let pid = process.pid;
    supervise::process(agent, Arc::clone(&process));
    name.assign(process);
    Ok(pid)
}

/// Starts a process whose output a client reads; it is to be supervised by the caller.
pub(crate) async fn spawn(
    agent: &Arc<Agent>,
    container: &Arc<Container>,
    process: runtime::Process,
    stdin: bool,
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
    let (engine, container) = (Arc::clone(&agent.engine), Arc::clone(container));
    let work = move |busy: &Busy| {
        let (stdio, ends) = plumbing(process.terminal, stdin)?;
        let request = ExecRequest {
            process: &process,
            stdio,
            preserve_fds: 0,
            no_new_keyring: false,
            extra_env: Vec::new(),
            clamp_capabilities: false,
        };
        sys::failpoint!("agent.exec.before");
        let started = container.with_core(|core| engine.exec(core, request))?;
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
