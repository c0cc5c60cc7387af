//! A process's standard streams, the agent's side.
//!
//! ```text
//!              pipes                          terminal
//!  stdin   Input -> pipe                  Input -> pty master
//!  stdout  pipe -> Output | Pump          master -> Output | Pump
//!  stderr  pipe -> Output | Pump          (none: Output of stdout serves both reads)
//! ```
//! `Output` hands data to a client call by call; `Pump` writes the CRI log file and shows it to
//! views.

pub(crate) mod input;
pub(crate) mod lines;
pub(crate) mod log_file;
pub(crate) mod pump;
pub(crate) mod read;
pub(crate) mod view;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use input::Input;
use log_file::{Limits, LogFile};
use pump::Pump;
use read::Output;

/// Where a process's output goes.
#[derive(Debug)]
pub(crate) enum Sink {
    /// To a client that reads it.
    Read {
        stdout: Arc<Output>,
        stderr: Option<Arc<Output>>,
    },
    /// To a log file.
    Log(Arc<Pump>),
    /// Nowhere: /dev/null.
    Null,
}

/// The agent's ends.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) stdin: Option<Arc<Input>>,
    pub(crate) sink: Sink,
    /// The pty master, for window sizes.
    pub(crate) terminal: Option<Arc<OwnedFd>>,
}

/// The process's ends of its pipes; closed by the agent once the process has them.
#[derive(Debug)]
pub(crate) struct ProcessEnds {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// The agent's ends of pipes that nobody serves yet.
#[derive(Debug)]
pub(crate) struct AgentEnds {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// Makes the pipes of a process. Ordinary pipes, so that it can open /dev/stdout again; only the
/// agent's ends do not block. They hold `size` bytes, or as much as the kernel likes.
pub(crate) fn pipes(stdin: bool, size: Option<u32>) -> io::Result<(ProcessEnds, AgentEnds)> {
    let (stdout_r, stdout_w) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stderr_r, stderr_w) = pipe_with(PipeFlags::CLOEXEC)?;
    let (stdin_r, stdin_w) = match stdin {
        true => pipe_with(PipeFlags::CLOEXEC).map(|(r, w)| (Some(r), Some(w)))?,
        false => (None, None),
    };
    for fd in [Some(&stdout_r), Some(&stderr_r), stdin_w.as_ref()]
        .into_iter()
        .flatten()
    {
        rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK)?;
        if let Some(size) = size {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            rustix::pipe::fcntl_setpipe_size(fd, size)?;
        }
    }
    Ok((
        ProcessEnds {
            stdin: stdin_r,
            stdout: stdout_w,
            stderr: stderr_w,
        },
        AgentEnds {
            stdin: stdin_w,
            stdout: stdout_r,
            stderr: stderr_r,
        },
    ))
}

impl Streams {
    /// A process that has none.
    pub(crate) fn none() -> Self {
        Self {
            stdin: None,
            sink: Sink::Null,
            terminal: None,
        }
    }

    /// Serves a process with pipes.
    pub(crate) fn with_pipes(ends: AgentEnds, log: Option<LogFile>) -> io::Result<Self> {
        let stdin = ends
            .stdin
            .map(|fd| Input::new(Arc::new(fd), false))
            .transpose()?
            .map(Arc::new);
        let stdout = Arc::new(ends.stdout);
        let sink = match log {
            Some(log) => Sink::Log(Arc::new(Pump::start(log, stdout, Some(ends.stderr))?)),
            None => Sink::Read {
                stdout: Arc::new(Output::new(stdout)?),
                stderr: Some(Arc::new(Output::new(Arc::new(ends.stderr))?)),
            },
        };
        Ok(Self {
            stdin,
            sink,
            terminal: None,
        })
    }

    /// Serves a process with a terminal.
    pub(crate) fn with_terminal(
        master: OwnedFd,
        stdin: bool,
        log: Option<LogFile>,
    ) -> io::Result<Self> {
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK)?;
        let sink = match log {
            Some(log) => {
                let master = Arc::new(rustix::io::fcntl_dupfd_cloexec(&master, 0)?);
                Sink::Log(Arc::new(Pump::start(log, master, None)?))
            }
            None => {
                // One descriptor can be watched once only; reading gets a second.
                let reader = Arc::new(rustix::io::fcntl_dupfd_cloexec(&master, 0)?);
                Sink::Read {
                    stdout: Arc::new(Output::new(reader)?),
                    stderr: None,
                }
            }
        };
        let master = Arc::new(master);
        let stdin = match stdin {
            true => Some(Arc::new(Input::new(Arc::clone(&master), true)?)),
            false => None,
        };
        Ok(Self {
            stdin,
            sink,
            terminal: Some(master),
        })
    }
}

/// Opens the log file of a container that wants one.
pub(crate) fn open_log(path: Option<&Path>, limits: Limits) -> io::Result<Option<LogFile>> {
    path.map(|path| LogFile::open(path, limits)).transpose()
}
