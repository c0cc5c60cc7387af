//! The standard streams of a process, call by call: WriteStdin, CloseStdin, ReadStdout, ReadStderr,
//! TtyWinResize.

use std::sync::Arc;

use rustix::termios::{Winsize, tcsetwinsize};

use crate::agent::Agent;
use crate::error::Error;
use crate::process::Process;
use crate::stdio::Sink;
use crate::stdio::input;

/// What to read.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) container: String,
    pub(crate) exec: String,
    /// At most so many bytes.
    pub(crate) len: usize,
    pub(crate) stderr: bool,
}

/// Waits for output; empty is its end. Safe to cancel.
pub(crate) async fn read(agent: &Agent, read: &Read) -> Result<Vec<u8>, Error> {
    let process = process(agent, &read.container, &read.exec)?;
    let output = match &process.streams.sink {
        Sink::Log(_) => {
            let why = format!(
                "container {}: its output goes to its log file",
                read.container
            );
            return Err(Error::Precondition(why));
        }
        Sink::Null => return Ok(Vec::new()),
        // With a terminal there is one stream, and both calls read it.
        Sink::Read {
            stderr: Some(stderr),
            ..
        } if read.stderr => stderr,
        Sink::Read { stdout, .. } => stdout,
    };
    output
        .read(read.len, &mut process.exit())
        .await
        .map_err(|e| Error::io("read the output of", named(&read.container, &read.exec), e))
}

/// Writes all of `data`; empty data closes stdin, as later clients mean by it.
pub(crate) async fn write(agent: &Agent, id: &str, exec: &str, data: &[u8]) -> Result<u32, Error> {
    if data.is_empty() {
        close(agent, id, exec).await?;
        return Ok(0);
    }
    let process = process(agent, id, exec)?;
    let closed = || Error::Precondition(format!("{}: stdin is closed", named(id, exec)));
    let stdin = process.streams.stdin.as_ref().ok_or_else(closed)?;
    match stdin.write(data, &mut process.exit()).await {
        Ok(()) => Ok(u32::try_from(data.len()).unwrap_or(u32::MAX)),
        Err(input::Error::Closed) => Err(closed()),
        Err(input::Error::Ended) => Err(Error::Finished {
            container: id.to_owned(),
            exec: exec.to_owned(),
        }),
        Err(input::Error::Io(e)) => Err(Error::io("write to stdin of", named(id, exec), e)),
    }
}

/// Ends a process's input. Doing so again changes nothing.
pub(crate) async fn close(agent: &Agent, id: &str, exec: &str) -> Result<(), Error> {
    let process = process(agent, id, exec)?;
    if let Some(stdin) = &process.streams.stdin {
        stdin.close().await;
    }
    Ok(())
}

/// Sets the size of a process's terminal: rows and columns.
pub(crate) fn resize(agent: &Agent, id: &str, exec: &str, size: (u32, u32)) -> Result<(), Error> {
    let process = process(agent, id, exec)?;
    let terminal = process.streams.terminal.as_ref();
    let terminal =
        terminal.ok_or_else(|| Error::Precondition(format!("{}: no tty", named(id, exec))))?;
    let side = |n: u32| {
        u16::try_from(n).map_err(|_| Error::invalid("window size", format!("{n} is too large")))
    };
    let size = Winsize {
        ws_row: side(size.0)?,
        ws_col: side(size.1)?,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size)
        .map_err(|e| Error::io("resize the terminal of", named(id, exec), e))
}

/// The process that a call names.
fn process(agent: &Agent, id: &str, exec: &str) -> Result<Arc<Process>, Error> {
    let exec = agent.exec_id(id, exec)?;
    agent.table.get(id)?.process(exec)
}

/// A process, for texts.
fn named(id: &str, exec: &str) -> String {
    if exec.is_empty() || exec == id {
        format!("container {id}")
    } else {
        format!("process {exec} of container {id}")
    }
}
