//! ExecCollect: runs a process and streams what it prints, then how it ended.
//!
//! ```text
//!   stdout ---+                          +--> Output events, at most max_bytes of both together
//!   stderr ---+--> this task ------------+--> what is over is read and dropped (truncated)
//!   timeout --+      |                   +--> exactly one Exit event
//!                    +-- SIGKILL to the process group, at the timeout or when the client is gone
//! ```
//! A background child that keeps the pipes does not hold up the end: once the process has ended, what
//! is in the pipes is taken and no more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::agent::Agent;
use crate::container::ExecName;
use crate::error::Error;
use crate::ops::exec::{self, Run};
use crate::ops::supervise;
use crate::process::Process;
use crate::stdio::Sink;
use crate::stdio::lines::Stream;
use crate::stdio::read::Output;
use crate::users::Named;

/// Bytes of both streams together unless the caller says otherwise.
const MAX: u64 = 15 * 1024 * 1024;
/// Bytes of one event.
const CHUNK: usize = 64 * 1024;
/// Most bytes taken after the end: more than both pipes can hold.
const DRAIN: usize = 2 * 1024 * 1024;

/// A process to run to its end.
#[derive(Debug)]
pub(crate) struct Collect {
    pub(crate) container: String,
    /// Its name; empty for none.
    pub(crate) exec: String,
    pub(crate) process: oci::runtime::Process,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max_bytes: Option<u64>,
}

/// What the caller hears.
#[derive(Debug)]
pub(crate) enum Event {
    Output(Stream, Vec<u8>),
    Exit {
        code: i32,
        timed_out: bool,
        truncated: bool,
    },
}

/// Takes the name by which KillExec is to find the process, before anything that takes time.
pub(crate) fn reserve(agent: &Agent, id: &str, exec: &str) -> Result<Option<ExecName>, Error> {
    if exec.is_empty() {
        return Ok(None);
    }
    agent.table.get(id)?.reserve_exec(exec).map(Some)
}

/// Runs it, sending events to `listener`; one that went away ends the process.
///
/// # Errors
/// The process could not be started; nothing was told then.
pub(crate) async fn run(
    agent: &Arc<Agent>,
    collect: Collect,
    name: Option<ExecName>,
    listener: mpsc::Sender<Event>,
) -> Result<(), Error> {
    if collect.process.terminal {
        return Err(Error::invalid(
            "process.terminal",
            "output cannot be collected from one",
        ));
    }
    let container = agent.table.get(&collect.container)?;
    let run = Run {
        process: collect.process,
        inherits: false,
        user: Named::default(),
        stdin: false,
    };
    let process = exec::spawn(agent, &container, run).await?;
    supervise::process(agent, Arc::clone(&process));
    if let Some(name) = name {
        name.assign(Arc::clone(&process));
    }
    let limits = (collect.timeout, collect.max_bytes.unwrap_or(MAX));
    let told = tell(&process, limits, listener).await;
    if !collect.exec.is_empty() {
        container.forget_exec(&collect.exec, &process);
    }
    told
}

/// Tells of the process's output until its end, within a time and a number of bytes.
async fn tell(
    process: &Process,
    (timeout, left): (Option<Duration>, u64),
    listener: mpsc::Sender<Event>,
) -> Result<(), Error> {
    let Sink::Read {
        stdout,
        stderr: Some(stderr),
    } = &process.streams.sink
    else {
        return Err(Error::Internal("a collected process has no pipes".into()));
    };
    let mut reader = Reader {
        process,
        out: Some(stdout),
        err: Some(stderr),
        left,
        drained: 0,
        truncated: false,
    };
    let (mut heard, mut timed_out) = (true, false);
    let timeout = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(timeout);
    loop {
        let next = tokio::select! {
            next = reader.next() => next?,
            () = &mut timeout, if !timed_out => {
                timed_out = process.exited().is_none();
                process.kill_group();
                continue;
            }
            () = listener.closed(), if heard => {
                heard = false;
                process.kill_group();
                continue;
            }
        };
        match next {
            Next::Data(stream, data) => {
                if heard
                    && !data.is_empty()
                    && listener.send(Event::Output(stream, data)).await.is_err()
                {
                    heard = false;
                    process.kill_group();
                }
            }
            Next::End(code) => {
                let truncated = reader.truncated;
                // Nobody is left to hear it: then it does not matter.
                drop(
                    listener
                        .send(Event::Exit {
                            code,
                            timed_out,
                            truncated,
                        })
                        .await,
                );
                return Ok(());
            }
        }
    }
}

enum Next {
    Data(Stream, Vec<u8>),
    End(i32),
}

struct Reader<'a> {
    process: &'a Process,
    out: Option<&'a Output>,
    err: Option<&'a Output>,
    /// Bytes that may still be told.
    left: u64,
    /// Bytes taken after the end of the process.
    drained: usize,
    truncated: bool,
}

impl Reader<'_> {
    /// The next data (empty once the limit is reached), or the end. Safe to cancel.
    async fn next(&mut self) -> Result<Next, Error> {
        let (mut exit, mut exit2) = (self.process.exit(), self.process.exit());
        loop {
            let (stream, data) = match (self.out, self.err) {
                (None, None) => return Ok(Next::End(self.process.wait().await.code)),
                (Some(out), None) => (Stream::Stdout, out.read(CHUNK, &mut exit).await),
                (None, Some(err)) => (Stream::Stderr, err.read(CHUNK, &mut exit).await),
                (Some(out), Some(err)) => tokio::select! {
                    data = out.read(CHUNK, &mut exit) => (Stream::Stdout, data),
                    data = err.read(CHUNK, &mut exit2) => (Stream::Stderr, data),
                },
            };
            let mut data = data.map_err(|e| Error::io("read", "the output of a process", e))?;
            if self.process.exited().is_some() {
                self.drained += data.len();
            }
            if data.is_empty() || self.drained > DRAIN {
                match stream {
                    Stream::Stdout => self.out = None,
                    Stream::Stderr => self.err = None,
                }
            }
            if data.is_empty() {
                continue;
            }
            let room = usize::try_from(self.left).unwrap_or(usize::MAX);
            if data.len() > room {
                self.truncated = true;
                data.truncate(room);
            }
            self.left -= u64::try_from(data.len()).unwrap_or(self.left);
            return Ok(Next::Data(stream, data));
        }
    }
}
