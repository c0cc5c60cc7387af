//! OpenOutput, ReadOutput, CloseOutput: views of what a container's first process writes, beside its
//! log. A view ends with the connection that opened it.

use std::sync::Arc;

use crate::agent::Agent;
use crate::connection::Connection;
use crate::container::Container;
use crate::error::Error;
use crate::stdio::Sink;
use crate::stdio::pump::Pump;
use crate::stdio::view::Chunk;

/// Opens a view; returns its number.
pub(crate) fn open(agent: &Agent, id: &str, connection: &Connection) -> Result<u64, Error> {
    let container = agent.table.get(id)?;
    let pump = pump(&container)?;
    let view = pump.views().open();
    let number = view.id;
    let (pump, connection) = (Arc::downgrade(pump), connection.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = connection.ended() => {}
            () = view.closed() => return,
        }
        if let Some(pump) = pump.upgrade() {
            pump.views().close(number);
        }
    });
    Ok(number)
}

/// Waits for output. Safe to cancel.
///
/// # Errors
/// The view is closed, or never was.
pub(crate) async fn read(agent: &Agent, id: &str, view: u64, max: usize) -> Result<Chunk, Error> {
    let container = agent.table.get(id)?;
    let closed = || Error::NoView {
        container: id.to_owned(),
        view,
    };
    let view = pump(&container)?.views().get(view).ok_or_else(closed)?;
    // A container that is removed meanwhile must not be kept by those who look at it.
    drop(container);
    view.take(max).await.ok_or_else(closed)
}

/// Closes a view; again changes nothing.
pub(crate) fn close(agent: &Agent, id: &str, view: u64) -> Result<(), Error> {
    let container = agent.table.get(id)?;
    pump(&container)?.views().close(view);
    Ok(())
}

fn pump(container: &Container) -> Result<&Arc<Pump>, Error> {
    match &container.init.streams.sink {
        Sink::Log(pump) => Ok(pump),
        Sink::Read { .. } | Sink::Null => Err(Error::Precondition(format!(
            "container {}: its output has no log file and is read by ReadStdout",
            container.id
        ))),
    }
}
