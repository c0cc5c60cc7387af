//! Attach: a client at the streams of a container's first process.
//!
//! ```text
//! with a log file      agent's view ─► client      a slow client loses output and is told how much;
//!                                                  the container and its log never wait for it
//! without              the pipes themselves ─► client, which holds the container up
//! stdin                client ─► process           stdin_once: closed when the first client is done
//! ```
//! A client that goes takes only its view along. A container that has been created and not started
//! can be attached to already: so nothing of what it says at its start is missed.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::pending;
use sandbox::{OutputChunk, Sandbox, Stream};
use tokio::sync::mpsc;

use super::{
    AttachRequest, PIECE_U32,
    session::{Outcome, Output, Session, is_gone},
};
use crate::{error::Error, service::Service, state::Container};

/// How long output may be quiet after the container's end before that is the end of the output: a
/// process that outlives its container's first one can hold the pipes for ever.
const QUIET: Duration = Duration::from_millis(500);
/// How long the last bytes of a client that is gone may wait for the container to read them.
const LAST_BYTES: Duration = Duration::from_secs(2);
/// Longer than anybody waits.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Shows a client the container's output until one of them ends.
pub(crate) async fn run(
    request: AttachRequest,
    opened: Result<Attached, Error>,
    mut session: Session,
) {
    let id = request.container.clone();
    let outcome = match opened {
        Ok(attached) => {
            // A client that is gone is noticed by the talk.
            let _ = session.output.send(Output::Ready).await;
            let outcome = attached.talk(&request, &mut session).await;
            attached.leave(&request).await;
            outcome
        }
        Err(error) => Some(Err(error)),
    };
    let outcome = match outcome {
        Some(Ok(())) => Outcome::Exited(0),
        Some(Err(error)) => {
            tracing::debug!(container = %id, error = error.chain(), "attach");
            Outcome::Failed(error.chain())
        }
        None => return,
    };
    // Nobody is left to hear it: then it does not matter.
    let _ = session.output.send(Output::Exit(outcome)).await;
}

/// A container with a client at it, or one that is about to come.
#[derive(Debug)]
pub(crate) struct Attached {
    sandbox: Sandbox,
    container: Arc<Container>,
    /// The agent's view of its output; `None`: it has no log file, and its pipes are read.
    view: Option<u64>,
}

impl Attached {
    /// Opens the view of the output: what is written from now on reaches the client.
    pub(crate) async fn open(
        service: &Service,
        request: &AttachRequest,
    ) -> Result<Attached, Error> {
        let (container, sandbox) = service.live(&request.container).await?;
        let logged = !container.facts().log_path.as_os_str().is_empty();
        let view = match logged && (request.stdout || request.stderr) {
            true => Some(sandbox.open_output(container.id().as_str()).await?),
            false => None,
        };
        Ok(Attached {
            sandbox,
            container,
            view,
        })
    }

    fn id(&self) -> &str {
        self.container.id().as_str()
    }

    /// Passes everything on until the output ends, or (`None`) the client is gone.
    async fn talk(
        &self,
        request: &AttachRequest,
        session: &mut Session,
    ) -> Option<Result<(), Error>> {
        let Session {
            stdin,
            size,
            output,
            gone,
        } = session;
        let outputs = async {
            match self.view {
                Some(view) => self.follow(view, request, output).await,
                None if request.stdout || request.stderr => self.read(request, output).await,
                None => {
                    self.container.ended_within(FOR_EVER).await;
                    Ok(())
                }
            }
        };
        // Never broken off: a piece that is under way would be lost.
        let input = async {
            while request.stdin
                && let Some(bytes) = stdin.recv().await
            {
                if !self.write(&bytes).await {
                    stdin.close();
                    break;
                }
            }
            if request.stdin {
                self.close_stdin_once().await;
            }
        };
        let sizes = async {
            while request.tty && size.changed().await.is_ok() {
                let new = *size.borrow_and_update();
                let Some(new) = new else { continue };
                let resized = self.sandbox.resize(self.id(), "", new.columns, new.rows);
                if let Err(error) = resized.await {
                    tracing::debug!(container = self.id(), %error, "resizing the terminal");
                }
            }
            pending::<()>().await;
        };
        let (mut input, mut fed) = (std::pin::pin!(input), false);
        let (mut outputs, mut sizes) = (std::pin::pin!(outputs), std::pin::pin!(sizes));
        loop {
            tokio::select! {
                biased;
                ended = &mut outputs => return Some(ended),
                () = &mut input, if !fed => fed = true,
                () = &mut sizes => {}
                () = is_gone(gone) => {
                    if !fed {
                        // What the client had sent before it went is the container's.
                        let _ = tokio::time::timeout(LAST_BYTES, input).await;
                    }
                    return None;
                }
            }
        }
    }

    /// Passes a view on.
    async fn follow(
        &self,
        view: u64,
        request: &AttachRequest,
        output: &mpsc::Sender<Output>,
    ) -> Result<(), Error> {
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = self.sandbox.read_output(self.id(), view, PIECE_U32) => chunk,
                () = self.quiet_after_the_end() => return Ok(()),
            };
            let OutputChunk {
                stdout,
                stderr,
                dropped,
                ended,
            } = match chunk {
                Ok(chunk) => chunk,
                // It was removed, or its pod ended.
                Err(_) if !self.container.state().is_live() => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if dropped > 0 {
                let note = format!(
                    "\r\n[coffer: {dropped} bytes of output were not shown: this client reads too \
                     slowly; they are in the log]\r\n"
                );
                if request.stderr && !request.tty {
                    say(output, Output::Stderr(note.into())).await;
                } else {
                    say(output, Output::Stdout(note.into())).await;
                }
            }
            if request.stdout && !stdout.is_empty() {
                say(output, Output::Stdout(stdout.into())).await;
            }
            if request.stderr && !stderr.is_empty() {
                say(output, Output::Stderr(stderr.into())).await;
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// Passes the pipes of a container without a log on.
    async fn read(
        &self,
        request: &AttachRequest,
        output: &mpsc::Sender<Output>,
    ) -> Result<(), Error> {
        let pump = async |stderr: bool, wanted: bool| {
            let stream = Stream {
                container: self.id().to_owned(),
                exec_id: String::new(),
                stderr,
            };
            loop {
                let piece = match self.sandbox.read(&stream, PIECE_U32).await {
                    Ok(piece) => Bytes::from(piece),
                    Err(_) if !self.container.state().is_live() => return Ok(()),
                    Err(error) => return Err(Error::from(error)),
                };
                match (piece.is_empty(), wanted, stderr) {
                    (true, _, _) => return Ok(()),
                    (_, false, _) => {}
                    (_, _, true) => say(output, Output::Stderr(piece)).await,
                    (_, _, false) => say(output, Output::Stdout(piece)).await,
                }
            }
        };
        let stderr = async {
            if request.tty {
                return Ok(());
            }
            pump(true, request.stderr).await
        };
        tokio::try_join!(pump(false, request.stdout), stderr)?;
        // The streams can be closed long before the process ends.
        self.container.ended_within(FOR_EVER).await;
        Ok(())
    }

    async fn quiet_after_the_end(&self) {
        self.container.ended_within(FOR_EVER).await;
        tokio::time::sleep(QUIET).await;
    }

    /// Writes to the container's standard input; false when that is closed.
    async fn write(&self, bytes: &[u8]) -> bool {
        let written = self.sandbox.write_stdin(self.id(), "", bytes).await;
        if let Err(error) = &written {
            tracing::debug!(container = self.id(), %error, "the container takes no more input");
        }
        written.is_ok()
    }

    async fn close_stdin_once(&self) {
        if !self.container.facts().config.stdin_once {
            return;
        }
        if let Err(error) = self.sandbox.close_stdin(self.id(), "").await {
            tracing::debug!(container = self.id(), %error, "closing the container's input");
        }
    }

    /// What is left to do when the client or the container has gone.
    pub(crate) async fn leave(&self, request: &AttachRequest) {
        if request.stdin {
            self.close_stdin_once().await;
        }
        if let Some(view) = self.view
            && let Err(error) = self.sandbox.close_output(self.id(), view).await
        {
            tracing::debug!(container = self.id(), %error, "closing a view of its output");
        }
    }
}

/// Sends, or waits for ever when the client is gone: whoever waits for that ends this.
async fn say(output: &mpsc::Sender<Output>, what: Output) {
    if output.send(what).await.is_err() {
        pending::<()>().await;
    }
}
