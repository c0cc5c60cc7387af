//! StartContainer: lets the waiting first process run its program.

use std::sync::Arc;

use crate::agent::Agent;
use crate::clock;
use crate::container::{Container, State};
use crate::error::Error;

/// Starts a created container.
///
/// # Errors
/// It is running already or has ended (FAILED_PRECONDITION), or its program cannot be executed.
pub(crate) async fn run(agent: &Arc<Agent>, id: &str) -> Result<(), Error> {
    let container = agent.table.get(id)?;
    let mut op = container.op.lock().await;
    check(&container)?;
    let Some(mut core) = op.core.take() else {
        let (act, id) = ("start", id.to_owned());
        return Err(Error::State {
            act,
            id,
            is: "not waiting to be started",
        });
    };
    sys::failpoint!("agent.start.before");
    let work = {
        let id = id.to_owned();
        move |_: &crate::reaper::Busy| core.start().map_err(|e| Error::core("start it", &id, e))
    };
    agent.core(work).await?;
    sys::failpoint!("agent.start.after");
    // A program that ended at once has moved on already.
    container.started(clock::now_ns());
    log::info!("container {id} started");
    Ok(())
}

fn check(container: &Container) -> Result<(), Error> {
    match container.state() {
        State::Created => Ok(()),
        other => {
            let (act, id) = ("start", container.id.clone());
            Err(Error::State {
                act,
                id,
                is: other.name(),
            })
        }
    }
}
