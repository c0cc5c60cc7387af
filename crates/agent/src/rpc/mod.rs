//! The three services on the socket. Each call is a line here and a file in `ops`: the wire is converted
//! on the way in and the error becomes a status on the way out.

mod agent_service;
mod files;
mod guard;
mod health;
mod machine;
mod network;
mod plain;
mod sandbox_service;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;
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
    all.extend(agent_api::sandbox::create_sandbox(Arc::new(
        sandbox_service::Calls {
            agent: Arc::clone(agent),
            connection: connection.clone(),
        },
    )));
    let mut all = guard::guard(agent, all);
    all.extend(agent_api::grpc::create_health(Arc::new(health::Calls)));
    all
}

/// Tells the policy which calls there are, before anyone connects.
pub(crate) fn learn_calls(agent: &Arc<Agent>) {
    drop(services(agent, &Connection::over()));
}

/// Runs a call that changes something in a task of its own: a client that goes away, or whose deadline
/// passes, leaves no half-done work. The result of such a call is seen by the next one.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Reply<T> {
    let (tell, told) = oneshot::channel();
    spawn(Box::pin(async move {
        // Nobody waits any more: the next call sees the effect.
        let _ = tell.send(work.await);
    }));
    let cut = |_| Err(Error::Internal("the call was cut short".into()));
    told.await.unwrap_or_else(cut).map_err(Error::into_status)
}

/// One kind of task for all calls: one of each type would be half a megabyte of program.
fn spawn(work: Pin<Box<dyn Future<Output = ()> + Send>>) {
    tokio::spawn(work);
}

/// Reads a spec on the pool: parsing one takes some 80 KiB of stack, which the event loop's thread would
/// keep for ever and a thread of the pool gives back.
async fn parse<T: Send + 'static>(
    convert: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    Agent::blocking(convert).await
}
