//! The end of a container, as soon as the daemon knows of it.
//!
//! ```text
//! subscribe to events ──► ask for the status ──► Exited, or not there: that is the answer
//!      ▲                        ▲  │ it runs
//!      │ the daemon is away     │  ▼
//!      └──────────────◄─────────┴─ an event of this container
//! ```
//! Events are subscribed to before the status is asked for, so that no end falls between the two. The
//! daemon may go away and come back meanwhile: containers do not care, and neither does this.

use std::time::Duration;

use crate::{
    client::{Daemon, Events, EventsWanted},
    error::{CallKind, Error},
    view::{State, Status},
};

/// How often a daemon that is away is asked again.
const AWAY: Duration = Duration::from_millis(100);
/// How long no event may come before the status is asked for in spite of that.
const QUIET: Duration = Duration::from_secs(10);

/// Waits until a container has ended: its last status, or `None` when it was removed.
///
/// # Errors
/// The daemon's, unless it is only away.
pub(crate) async fn of(daemon: &Daemon, id: &str) -> Result<Option<Status>, Error> {
    loop {
        let done = match watched(daemon, id).await {
            Err(Error::Call {
                kind: CallKind::Unavailable,
                ..
            }) => None,
            done => done?,
        };
        if let Some(status) = done {
            return Ok(status);
        }
        tokio::time::sleep(AWAY).await;
    }
}

/// The same for as long as one stream of events lasts; `None` when that ends before.
async fn watched(daemon: &Daemon, id: &str) -> Result<Option<Option<Status>>, Error> {
    let wanted = EventsWanted {
        after: 0,
        snapshot: true,
        follow: true,
    };
    let mut events = daemon.events(wanted).await?;
    loop {
        match daemon.status(id, false).await {
            Ok(status) if status.state == State::Exited => return Ok(Some(Some(status))),
            Ok(_) => {}
            Err(Error::Call {
                kind: CallKind::NotFound,
                ..
            }) => return Ok(Some(None)),
            Err(error) => return Err(error),
        }
        match tokio::time::timeout(QUIET, news(&mut events, id)).await {
            Ok(Ok(true)) | Err(_) => {}
            Ok(Ok(false)) => return Ok(None),
            Ok(Err(error)) => return Err(error),
        }
    }
}

/// Waits for something new about a container; false when no more events come.
async fn news(events: &mut Events, id: &str) -> Result<bool, Error> {
    while let Some(event) = events.next().await? {
        // What "exists" was there before the status was asked for.
        if event.id == id && event.action != "exists" {
            return Ok(true);
        }
    }
    Ok(false)
}
