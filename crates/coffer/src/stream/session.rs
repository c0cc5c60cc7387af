//! A session: our standard streams and terminal joined to those of a process in a container.

use std::{future::pending, time::Duration};

use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    net::TcpStream,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use super::{
    Socket,
    channel::{self, STDERR, STDIN, STDOUT, VERDICT},
    keys::DetachKeys,
    local::{self, Output},
    verdict::{self, Verdict},
};
use crate::{
    error::Error,
    terminal::{self, Raw, Size},
};

/// Time for a polite goodbye.
const GOODBYE: Duration = Duration::from_millis(200);

type Sink = SplitSink<WebSocketStream<TcpStream>, Message>;
type Stream = SplitStream<WebSocketStream<TcpStream>>;

/// What of ours is joined.
#[derive(Debug, Default)]
pub(crate) struct Wiring {
    /// Standard input is passed on.
    pub(crate) stdin: bool,
    /// The process has a terminal: its size follows ours, and ours is raw if it gives the input.
    pub(crate) tty: bool,
    /// Keys that end the session and leave the process; `None`: there are no such keys.
    pub(crate) detach: Option<DetachKeys>,
    /// Change the size for a moment, so that a program that drew its screen before draws it again.
    pub(crate) redraw: bool,
    /// Signals are the caller's business.
    pub(crate) deaf: bool,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The process ended with this code; an attach says 0 for every end in order.
    Code(i32),
    /// The far side could not begin or go on: its sentence.
    Failed(String),
    /// The connection broke: what the kernel or the far side said.
    Lost(String),
    /// The keys were typed.
    Detached,
    /// This program got a signal that asks it to end.
    Signal(i32),
}

/// Joins the streams until one side ends it.
///
/// # Errors
/// [`Error::Closed`] when nobody reads our output any more; [`Error::Io`] for our own streams,
/// terminal or signals.
pub(crate) async fn converse(socket: Socket, wiring: Wiring) -> Result<Ended, Error> {
    let mut signals = Signals::catch(wiring.deaf)?;
    let raw = (wiring.tty && wiring.stdin && terminal::at_stdin())
        .then(Raw::enter)
        .transpose()?;
    let input = if wiring.stdin {
        Some(local::input())
    } else {
        None
    };
    let (mut sink, stream) = socket.stream.split();
    let (mut stdout, mut stderr) = (Output::stdout(), Output::stderr());
    let ended = {
        let mut hear = std::pin::pin!(hear(stream, socket.early, &mut stdout, &mut stderr));
        let mut say = std::pin::pin!(say(&mut sink, input, &wiring, socket.closes));
        tokio::select! {
            ended = &mut hear => ended,
            said = &mut say => match said {
                Said::Detached => Ok(Ended::Detached),
                Said::Failed(error) => Err(error),
                // What the far side still has to say explains it.
                Said::Refused => hear.await,
            },
            number = signals.next() => Ok(Ended::Signal(number)),
        }
    };
    let written = match &ended {
        Ok(Ended::Signal(_)) | Err(_) => Ok(()),
        Ok(_) => stdout.finish().await.and(stderr.finish().await),
    };
    let _ = tokio::time::timeout(GOODBYE, sink.close()).await;
    drop(raw);
    let ended = ended?;
    written.map(|()| ended)
}

/// Writes out what comes until the verdict.
async fn hear(
    mut stream: Stream,
    early: Option<Message>,
    stdout: &mut Output,
    stderr: &mut Output,
) -> Result<Ended, Error> {
    let mut early = early.map(Ok);
    loop {
        let message = match early.take() {
            Some(message) => Some(message),
            None => stream.next().await,
        };
        let bytes = match message {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Close(frame))) => {
                let reason = frame.map(|frame| frame.reason.to_string());
                let reason = reason.filter(|reason| !reason.is_empty());
                return Ok(Ended::Lost(reason.unwrap_or_else(|| {
                    "the daemon ended the session without a word".to_owned()
                })));
            }
            Some(Ok(_)) => continue,
            Some(Err(error)) => return Ok(Ended::Lost(error.to_string())),
            None => return Ok(Ended::Lost("the connection ended".to_owned())),
        };
        match bytes.split_first() {
            Some((&STDOUT, data)) if !data.is_empty() => stdout.write(data.to_vec()).await?,
            Some((&STDERR, data)) if !data.is_empty() => stderr.write(data.to_vec()).await?,
            Some((&VERDICT, data)) if !data.is_empty() => {
                return Ok(match verdict::parse(data) {
                    Verdict::Code(code) => Ended::Code(code),
                    Verdict::Failed(text) => Ended::Failed(text),
                });
            }
            _ => {}
        }
    }
}

/// Why the saying half stopped.
enum Said {
    Detached,
    /// Nobody takes it any more.
    Refused,
    Failed(Error),
}

/// Passes on sizes and input. The end of the input is said and then only sizes are left.
async fn say(
    sink: &mut Sink,
    mut input: Option<mpsc::Receiver<Vec<u8>>>,
    wiring: &Wiring,
    closes: bool,
) -> Said {
    let mut keys = wiring.detach.clone();
    let mut sizes = match Sizes::of(wiring.tty) {
        Ok(sizes) => sizes,
        Err(error) => return Said::Failed(error),
    };
    if let Some(size) = sizes.now() {
        let mut all = vec![size];
        if wiring.redraw {
            // Programs redraw when the size changes, not when it is said again.
            all.insert(
                0,
                Size {
                    columns: size.columns.saturating_add(1),
                    rows: size.rows.saturating_add(1),
                },
            );
        }
        for size in all {
            if send(sink, channel::resize(size)).await.is_err() {
                return Said::Refused;
            }
        }
    }
    loop {
        let message = tokio::select! {
            piece = next(&mut input) => match piece {
                Some(piece) => match keys.as_mut().map(|keys| keys.pass(&piece)) {
                    Some((before, true)) => {
                        if !before.is_empty() {
                            let _ = send(sink, channel::message(STDIN, &before)).await;
                        }
                        return Said::Detached;
                    }
                    Some((rest, false)) if rest.is_empty() => continue,
                    Some((rest, false)) => channel::message(STDIN, &rest),
                    None => channel::message(STDIN, &piece),
                },
                None => {
                    input = None;
                    if !closes {
                        continue;
                    }
                    channel::close(STDIN)
                }
            },
            size = sizes.changed() => channel::resize(size),
        };
        if send(sink, message).await.is_err() {
            return Said::Refused;
        }
    }
}

async fn send(sink: &mut Sink, message: Vec<u8>) -> Result<(), ()> {
    sink.send(Message::binary(message)).await.map_err(drop)
}

/// The next piece of input, `None` at its end; never, where there is none.
async fn next(input: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match input {
        Some(input) => input.recv().await,
        None => pending().await,
    }
}

/// Our terminal's size as it changes; never, without a terminal.
struct Sizes {
    changes: Option<Signal>,
    last: Option<Size>,
}

impl Sizes {
    fn of(tty: bool) -> Result<Sizes, Error> {
        let last = if tty { terminal::size() } else { None };
        let changes = last
            .map(|_| signal(SignalKind::window_change()))
            .transpose()
            .map_err(no_signals)?;
        Ok(Sizes { changes, last })
    }

    fn now(&self) -> Option<Size> {
        self.last
    }

    async fn changed(&mut self) -> Size {
        let Some(changes) = &mut self.changes else {
            return pending().await;
        };
        loop {
            if changes.recv().await.is_none() {
                return pending().await;
            }
            let size = terminal::size();
            if size != self.last
                && let Some(size) = size
            {
                self.last = Some(size);
                return size;
            }
        }
    }
}

fn no_signals(source: std::io::Error) -> Error {
    Error::Io {
        what: "wait for signals".to_owned(),
        source,
    }
}

/// Signals that ask this program to end; none for the deaf.
struct Signals(Option<[Signal; 3]>);

impl Signals {
    fn catch(deaf: bool) -> Result<Signals, Error> {
        if deaf {
            return Ok(Signals(None));
        }
        let caught = |kind| signal(kind).map_err(no_signals);
        Ok(Signals(Some([
            caught(SignalKind::interrupt())?,
            caught(SignalKind::terminate())?,
            caught(SignalKind::hangup())?,
        ])))
    }

    async fn next(&mut self) -> i32 {
        let Some([interrupt, terminate, hangup]) = &mut self.0 else {
            return pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = hangup.recv() => SignalKind::hangup().as_raw_value(),
        }
    }
}
