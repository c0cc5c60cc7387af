//! A container in the foreground.
//!
//! ```text
//!                     output                  input            Ctrl-C
//! run IMAGE           its log, to the end     none             Interrupts (see there)
//! run -i IMAGE        its log, to the end     one session      the same
//! run -it IMAGE       one session, which is a terminal         is a key like others
//! ```
//! A log is complete whatever the reader does; a session that is too slow loses output. So only a
//! terminal, whose reader is a person, is watched by a session.

use std::pin::Pin;

use super::interrupts::Interrupts;
use crate::{
    client::Daemon,
    cmd::{attach, logs},
    ending,
    error::Error,
    stream::{self, DetachKeys, Ended, Socket, Wiring},
    view::{State, Status},
};

/// A container that was just started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) id: String,
    pub(super) name: String,
    /// Where its output is on disk.
    pub(super) has_log: bool,
    pub(super) tty: bool,
    pub(super) stdin: bool,
    /// Joined before it ran; `None` where its log says all.
    pub(super) session: Option<Socket>,
}

/// How watching ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The container ended.
    Ended(Box<Status>),
    /// It was removed by somebody else while it ran.
    Removed,
    /// The person left it running.
    Left,
    /// This program was told to end, and the container has a terminal of its own.
    Signal(i32),
}

impl Started {
    /// Whether its session shows its output; else the log does.
    fn shows(&self) -> bool {
        self.tty || !self.has_log
    }
}

/// Joins the streams of a container that is about to start.
pub(super) async fn join(daemon: &Daemon, started: &mut Started) -> Result<(), Error> {
    if !started.shows() && !started.stdin {
        return Ok(());
    }
    let url = daemon
        .attach_url(
            &started.id,
            &started.name,
            started.stdin,
            started.tty,
            started.shows(),
        )
        .await?;
    let what = format!("attach to container {}", started.name);
    let mut socket = Socket::open(&what, &url).await?;
    socket.stands(&what).await?;
    started.session = Some(socket);
    Ok(())
}

/// Watches until the container ends or the person has had enough.
pub(super) async fn attend(
    daemon: &Daemon,
    mut started: Started,
    keys: DetachKeys,
    interrupts: &mut Interrupts,
) -> Result<Outcome, Error> {
    let raw = started.tty && started.stdin && crate::terminal::at_stdin();
    let wiring = Wiring {
        stdin: started.stdin,
        tty: started.tty,
        detach: started.tty.then_some(keys),
        redraw: false,
        deaf: !raw,
    };
    let shows = started.shows();
    let session = started.session.take();
    let watching: Pin<Box<dyn Future<Output = Result<Outcome, Error>> + '_>> = match session {
        Some(session) if shows => Box::pin(by_session(daemon, &started, session, wiring)),
        session => Box::pin(by_log(daemon, &started, session, wiring)),
    };
    if raw {
        return watching.await;
    }
    interrupts
        .while_waiting(daemon, &started.id, &started.name, watching)
        .await
}

async fn by_session(
    daemon: &Daemon,
    started: &Started,
    session: Socket,
    wiring: Wiring,
) -> Result<Outcome, Error> {
    match stream::converse(session, wiring).await? {
        // Its first process may have closed its output and live on.
        Ended::Code(_) => ending::of(daemon, &started.id).await.map(outcome),
        Ended::Detached => Ok(Outcome::Left),
        Ended::Signal(number) => Ok(Outcome::Signal(number)),
        other => Err(attach::broken(&started.name, other)),
    }
}

/// Output from the log, which is complete; input by the session beside it.
async fn by_log(
    daemon: &Daemon,
    started: &Started,
    session: Option<Socket>,
    wiring: Wiring,
) -> Result<Outcome, Error> {
    let status = daemon.status(&started.id, false).await?;
    let mut follower = logs::open(&status)?;
    let following = logs::to_the_end(daemon, &started.id, &mut follower);
    let mut following = std::pin::pin!(following);
    if let Some(session) = session {
        let feeding = stream::converse(session, wiring);
        tokio::select! {
            ended = &mut following => return ended.map(outcome),
            fed = feeding => if let Ok(Ended::Lost(_) | Ended::Failed(_)) | Err(_) = fed {
                // What it writes goes on; the log does not need the session.
                match daemon.status(&started.id, false).await {
                    Ok(status) if status.state == State::Running => crate::report(
                        &attach::broken(&started.name, Ended::Lost("input stopped".to_owned())),
                    ),
                    _ => {}
                }
            },
        }
    }
    following.await.map(outcome)
}

fn outcome(status: Option<Status>) -> Outcome {
    status.map_or(Outcome::Removed, |status| Outcome::Ended(Box::new(status)))
}
