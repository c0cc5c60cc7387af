//! Exec: a command in a container, with a client at its streams.
//!
//! ```text
//! start ─► stdout, stderr ─► client     both at their end ─► exit code ─► the last word
//!          client ─► stdin, window size
//!          client gone ─► SIGKILL: it was there for that client only
//! ```
//! Output is pulled from the agent piece by piece, so that a client that does not read holds the
//! command up and nothing else. Streams that the client did not ask for are read and dropped.

use std::time::Duration;

use bytes::Bytes;
use futures::future::pending;
use sandbox::{ExecStart, Sandbox, Stream};
use tokio::sync::mpsc;

use super::{
    ExecRequest, PIECE_U32,
    session::{Outcome, Output, Session, Size, is_gone},
};
use crate::{domain::Id, error::Error, layout::CONFIG, service::Service, task::blocking};

/// How long the first size of the client's terminal may come after the connection: with it the
/// program starts in a terminal of the right size.
const FIRST_SIZE: Duration = Duration::from_millis(20);

/// Runs the command to its end, or the client's.
pub(crate) async fn run(service: &Service, request: ExecRequest, mut session: Session) {
    let container = request.container.clone();
    // The program starts when the client's terminal has told its size: it must know that it can.
    let _ = session.output.send(Output::Ready).await;
    let outcome = match start(service, &request, &mut session).await {
        Ok(process) => {
            let gone = session.gone.clone();
            tokio::select! {
                biased;
                outcome = talk(&process, &request, &mut session) => outcome,
                () = is_gone(&gone) => {
                    tracing::debug!(%container, exec = process.exec, "a client is gone: killing its command");
                    return process.kill().await;
                }
            }
        }
        Err(error) => Err(error),
    };
    let outcome = outcome.unwrap_or_else(|error| {
        tracing::debug!(%container, error = error.chain(), "exec");
        Outcome::Failed(error.chain())
    });
    // Nobody is left to hear it: then it does not matter.
    let _ = session.output.send(Output::Exit(outcome)).await;
}

async fn start(
    service: &Service,
    request: &ExecRequest,
    session: &mut Session,
) -> Result<Process, Error> {
    let (container, sandbox) = service.running(&request.container).await?;
    let size = if request.tty {
        first_size(session).await
    } else {
        None
    };
    let exec = Id::random().map_err(|e| Error::Random(std::sync::Arc::new(e)))?;
    let (config, request) = (container.dir().join(CONFIG), request.clone());
    let (stdin, name) = (request.stdin, request.container.to_string());
    let process_json = blocking(move || {
        let terminal = request.tty.then_some(size);
        crate::service::process_document(&config, &request.command, terminal, &request.otherwise)
    })
    .await?;
    let start = ExecStart {
        container: name,
        exec_id: exec.to_string(),
        process_json,
        stdin,
    };
    sys::failpoint!("stream.exec.before");
    sandbox.exec_start(&start).await?;
    sys::failpoint!("stream.exec.after");
    Ok(Process {
        sandbox,
        container: start.container,
        exec: start.exec_id,
    })
}

async fn first_size(session: &mut Session) -> Option<Size> {
    let first = session.size.wait_for(Option::is_some);
    let _ = tokio::time::timeout(FIRST_SIZE, first).await;
    *session.size.borrow_and_update()
}

/// Passes everything on until the command has ended and its output with it.
async fn talk(
    process: &Process,
    request: &ExecRequest,
    session: &mut Session,
) -> Result<Outcome, Error> {
    let Session {
        stdin,
        size,
        output,
        ..
    } = session;
    let stdout = pump(process, false, request.stdout.then_some(&*output));
    let stderr = async {
        // A terminal has one stream for both.
        if request.tty {
            return Ok(());
        }
        pump(process, true, request.stderr.then_some(&*output)).await
    };
    let outputs = async {
        tokio::try_join!(stdout, stderr)?;
        let code = process
            .sandbox
            .wait_exec(&process.container, &process.exec)
            .await?;
        Ok(Outcome::Exited(code))
    };
    let input = async {
        if request.stdin {
            process.feed(stdin).await;
        }
        pending().await
    };
    let sizes = async {
        while request.tty && size.changed().await.is_ok() {
            let new = *size.borrow_and_update();
            if let Some(size) = new {
                process.resize(size).await;
            }
        }
        pending().await
    };
    // Only the output ends; the other two serve it meanwhile.
    tokio::select! {
        outcome = outputs => outcome,
        outcome = input => outcome,
        outcome = sizes => outcome,
    }
}

/// Reads one of the command's streams to its end.
async fn pump(
    process: &Process,
    stderr: bool,
    to: Option<&mpsc::Sender<Output>>,
) -> Result<(), Error> {
    let stream = Stream {
        container: process.container.clone(),
        exec_id: process.exec.clone(),
        stderr,
    };
    loop {
        let piece = process.sandbox.read(&stream, PIECE_U32).await?;
        if piece.is_empty() {
            return Ok(());
        }
        let Some(to) = to else { continue };
        let piece = Bytes::from(piece);
        let piece = if stderr {
            Output::Stderr(piece)
        } else {
            Output::Stdout(piece)
        };
        if to.send(piece).await.is_err() {
            // The client is gone, and whoever waits for that ends this.
            pending::<()>().await;
        }
    }
}

/// A command that runs.
#[derive(Debug)]
struct Process {
    sandbox: Sandbox,
    container: String,
    exec: String,
}

impl Process {
    /// Writes the client's input until it ends or the command takes no more.
    async fn feed(&self, stdin: &mut mpsc::Receiver<Bytes>) {
        while let Some(bytes) = stdin.recv().await {
            let written = self
                .sandbox
                .write_stdin(&self.container, &self.exec, &bytes);
            if let Err(error) = written.await {
                tracing::debug!(exec = self.exec, %error, "the command takes no more input");
                // What is still under way is dropped, and the client not held up.
                stdin.close();
                return;
            }
        }
        if let Err(error) = self.sandbox.close_stdin(&self.container, &self.exec).await {
            tracing::debug!(exec = self.exec, %error, "closing the command's input");
        }
    }

    async fn resize(&self, size: Size) {
        let resized = self
            .sandbox
            .resize(&self.container, &self.exec, size.columns, size.rows);
        if let Err(error) = resized.await {
            tracing::debug!(exec = self.exec, %error, "resizing the command's terminal");
        }
    }

    /// Ends the command with its process group; its end is collected by its agent.
    async fn kill(&self) {
        let killed = self.sandbox.kill_exec(&self.container, &self.exec).await;
        if let Err(error) = killed
            && !error.is_not_found()
        {
            tracing::warn!(container = self.container, %error,
                "a command whose client is gone could not be killed");
        }
    }
}
