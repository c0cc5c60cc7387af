//! SignalProcess.
//!
//! | exec_id | who gets the signal |
//! |---|---|
//! | an exec's | that process |
//! | the container's id | its first process |
//! | empty | every process of the container and their descendants |
//!
//! The first process of a pid namespace never sees a SIGTERM that it neither handles nor blocks: the
//! kernel drops it. Such a one gets SIGKILL, as it would have died of the SIGTERM anywhere else.

use std::sync::Arc;

use crate::agent::Agent;
use crate::container::{Container, State};
use crate::error::Error;
use crate::process::Process;

/// Sends `signal`; 0 only asks whether the process is there.
///
/// # Errors
/// NOT_FOUND if the process has ended, save for SIGKILL to all, which is then done already.
pub(crate) async fn run(
    agent: &Arc<Agent>,
    id: &str,
    exec: &str,
    signal: u32,
) -> Result<(), Error> {
    let signal = i32::try_from(signal).ok().filter(|s| *s <= 64);
    let signal = signal.ok_or_else(|| Error::invalid("signal", "there are 64 of them"))?;
    let container = agent.table.get(id)?;
    if exec.is_empty() {
        return all(container, signal).await;
    }
    let process = container.process(exec)?;
    let signal = if exec == id {
        for_init(&process, signal)
    } else {
        signal
    };
    send(&container, exec, &process, signal)
}

fn send(container: &Container, exec: &str, process: &Process, signal: i32) -> Result<(), Error> {
    let ended = || Error::Finished {
        container: container.id.clone(),
        exec: exec.to_owned(),
    };
    if process.exited().is_some() {
        return Err(ended());
    }
    // Ended and not reaped yet is no error: the signal came in time as far as anyone can tell.
    process
        .signal(signal)
        .map(drop)
        .map_err(|e| Error::io("signal", format!("process {exec} of {}", container.id), e))
}

async fn all(container: Arc<Container>, signal: i32) -> Result<(), Error> {
    sys::failpoint!("agent.signal.all.before");
    if let State::Exited { .. } = container.state()
        && signal != libc::SIGKILL
    {
        let id = container.id.clone();
        return Err(Error::Finished {
            exec: id.clone(),
            container: id,
        });
    }
    let cgroup = container.cgroup.clone();
    let id = container.id.clone();
    Agent::blocking(move || {
        cgroup
            .signal_all(signal)
            .map_err(|e| Error::cgroup("signal the processes of", &id, e))
    })
    .await?;
    if for_init(&container.init, signal) != signal && container.init.exited().is_none() {
        drop(container.init.signal(libc::SIGKILL));
    }
    Ok(())
}

/// SIGKILL instead of a SIGTERM that the kernel would drop.
fn for_init(init: &Process, signal: i32) -> i32 {
    let dropped = signal == libc::SIGTERM
        && std::fs::read_to_string(format!("/proc/{}/status", init.pid))
            .is_ok_and(|status| drops_sigterm(&status));
    if dropped { libc::SIGKILL } else { signal }
}

/// Whether the process is first in its pid namespace, below ours, and has no use for SIGTERM.
fn drops_sigterm(status: &str) -> bool {
    let field = |name: &str| {
        status
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))
            .unwrap_or("")
            .trim()
    };
    let pids: Vec<_> = field("NSpid").split_whitespace().collect();
    let bit = 1u64 << (libc::SIGTERM - 1);
    let has = |name| u64::from_str_radix(field(name), 16).is_ok_and(|mask| mask & bit != 0);
    pids.len() > 1
        && pids.last() == Some(&"1")
        && !["SigBlk", "SigIgn", "SigCgt"].iter().any(|m| has(m))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_process_of_a_namespace_drops_sigterm() {
        let status = |pids: &str, caught: &str| {
            format!(
                "Name:\tx\nNSpid:\t{pids}\nSigBlk:\t0000000000000000\n\
                 SigIgn:\t0000000000000000\nSigCgt:\t{caught}\n"
            )
        };
        let none = "0000000000000000";
        assert!(drops_sigterm(&status("812\t1", none)));
        assert!(!drops_sigterm(&status("812\t7", none)));
        assert!(!drops_sigterm(&status("1", none)));
        assert!(!drops_sigterm(&status("812\t1", "0000000000004000")));
        assert!(drops_sigterm(&status("812\t1", "0000000000002000")));
        assert!(!drops_sigterm(""));
    }
}
