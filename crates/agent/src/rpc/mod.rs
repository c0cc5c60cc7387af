//! The three services on the socket. Each call is a line here and a file in `ops`: the wire is converted
//! on the way in and the error becomes a status on the way out.

mod agent_service;
mod health;
mod sandbox_service;
mod unimplemented;

use std::collections::HashMap;
use std::sync::Arc;

use ttrpc::asynchronous::Service;

use crate::agent::Agent;
use crate::connection::Connection;
use crate::error::Error;

/// An answer to a call.
pub(crate) type Reply<T> = ttrpc::Result<T>;

/// All services of an agent, for the calls of one connection.
pub(crate) fn services(agent: &Arc<Agent>, connection: &Connection) -> HashMap<String, Service> {
    let mut all =
        agent_api::grpc::create_agent_service(Arc::new(agent_service::Calls(Arc::clone(agent))));
    all.extend(agent_api::grpc::create_health(Arc::new(health::Calls)));
    all.extend(agent_api::sandbox::create_sandbox(Arc::new(
        sandbox_service::Calls {
            agent: Arc::clone(agent),
            connection: connection.clone(),
        },
    )));
    all
}

/// Runs a call that changes something in a task of its own: a client that goes away, or whose deadline
/// passes, leaves no half-done work. The result of such a call is seen by the next one.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Reply<T> {
    let result = tokio::spawn(work).await;
    let result =
        result.unwrap_or_else(|e| Err(Error::Internal(format!("the call was cut short: {e}"))));
    result.map_err(Error::into_status)
}

/// Reads a spec on the pool: parsing one takes some 80 KiB of stack, which the event loop's thread would
/// keep for ever and a thread of the pool gives back.
async fn parse<T: Send + 'static>(
    convert: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    Agent::blocking(convert).await
}
