//! WaitProcess and WaitContainer: they answer once the exit is recorded and the log complete. The code
//! of a container's first process stays readable until its removal, an exec's until it was read once.

use std::sync::Arc;

use crate::agent::Agent;
use crate::container::Container;
use crate::error::Error;

/// Waits for a process; returns its exit code. Safe to cancel: an exec is forgotten only when its code
/// is returned.
pub(crate) async fn process(agent: &Agent, id: &str, exec: &str) -> Result<i32, Error> {
    let exec = agent.exec_id(id, exec)?;
    let container = agent.table.get(id)?;
    let process = container.process(exec)?;
    let exit = process.wait().await;
    if exec != id {
        container.forget_exec(exec, &process);
    }
    Ok(exit.code)
}

/// Waits for a container's first process.
pub(crate) async fn container(agent: &Agent, id: &str) -> Result<Arc<Container>, Error> {
    let container = agent.table.get(id)?;
    container.init.wait().await;
    Ok(container)
}
