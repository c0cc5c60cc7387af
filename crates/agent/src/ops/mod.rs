//! What the agent does, one act a file, in domain terms. Wire types end before here (`convert`), codes
//! begin after (`error`).

pub(crate) mod copy_file;
pub(crate) mod create;
pub(crate) mod destroy;
pub(crate) mod details;
pub(crate) mod diagnostic;
pub(crate) mod ephemeral;
pub(crate) mod exec;
pub(crate) mod exec_collect;
pub(crate) mod machine;
pub(crate) mod metrics;
pub(crate) mod output;
pub(crate) mod pause;
pub(crate) mod remove;
pub(crate) mod resolver;
pub(crate) mod sandbox;
pub(crate) mod scratch;
pub(crate) mod shared_mounts;
pub(crate) mod signal;
pub(crate) mod stale_shares;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod streams;
pub(crate) mod supervise;
pub(crate) mod update;
pub(crate) mod volume;
pub(crate) mod wait;

use container::Stdio;

use crate::agent::Agent;
use crate::error::Error;
use crate::stdio::{AgentEnds, pipes};

/// The streams of a process to be: a terminal, which the core makes in the container's devpts, or pipes,
/// whose agent's ends come back.
pub(crate) fn plumbing(
    agent: &Agent,
    tty: bool,
    stdin: bool,
) -> Result<(Stdio, Option<AgentEnds>), Error> {
    if tty {
        return Ok((Stdio::Terminal, None));
    }
    let made = pipes(stdin, agent.pipe_size);
    let (process, agent) = made.map_err(|e| match agent.pipe_size {
        Some(size) => Error::io("make", format!("pipes of {size} bytes"), e),
        None => Error::io("make", "pipes", e),
    })?;
    let stdio = Stdio::Fds {
        stdin: process.stdin,
        stdout: Some(process.stdout),
        stderr: Some(process.stderr),
    };
    Ok((stdio, Some(agent)))
}
