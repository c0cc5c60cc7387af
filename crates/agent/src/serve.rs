//! From the command line to the end of the process.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use container::{Engine, EngineOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::Agent;
use crate::args::Args;
use crate::{connection, listen, logging, ops, rpc, setup, storage};

/// Idle threads of the pool end after this time.
const IDLE: Duration = Duration::from_millis(500);
/// Calls of the core, or files that hang, at the same time.
const POOL: usize = 64;
/// For the last answer to reach the client before the connection is closed.
const FAREWELL: Duration = Duration::from_millis(50);

/// Runs the agent until DestroySandbox, SIGTERM or SIGINT.
pub(crate) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    logging::start(args.log_level);
    for name in &args.unsupported {
        log::warn!("the setting {name} is not supported and has no effect");
    }
    let listen::Bound { listener, file } = listen::listen(&args.address)?;
    // The address is ours, so no other agent uses the directory.
    storage::clean(&args.state.dir);
    let cgroup = setup::settle(args.cgroup.as_deref(), args.dev_mode)?;
    let engine = Engine::probe(EngineOptions {
        seccomp_cache: args.seccomp_cache.clone(),
        ..EngineOptions::default()
    })?;
    let agent = Arc::new(Agent::new(engine, args));
    // Its rules name calls.
    rpc::learn_calls(&agent);
    agent.policy.begin(&args.rules)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(POOL)
        .thread_keep_alive(IDLE)
        .thread_stack_size(256 * 1024)
        .build()?;
    let served = runtime.block_on(serve(agent, listener, args.passfd_port));
    // Work that hangs in the kernel must not keep a pod's agent alive.
    runtime.shutdown_background();
    drop(file);
    setup::leave(cgroup);
    served
}

async fn serve(
    agent: Arc<Agent>,
    listener: listen::Listener,
    passfd_port: Option<u32>,
) -> Result<(), Box<dyn Error>> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let reaper = tokio::spawn(Arc::clone(&agent.reaper).run());
    let resting = Arc::clone(&agent);
    tokio::spawn(async move { resting.rest.run().await });
    let listener = connection::Listener::new(listener)?;
    if let Some(port) = passfd_port {
        let streams = connection::Listener::new(listen::Listener::Vsock {
            cid: libc::VMADDR_CID_ANY,
            port,
        })?;
        tokio::spawn(connection::accept_streams(Arc::clone(&agent), streams));
    }
    let serving = tokio::spawn(connection::accept(Arc::clone(&agent), listener));
    log::info!("serving, pid {}", std::process::id());
    tokio::select! {
        () = agent.done.notified() => tokio::time::sleep(FAREWELL).await,
        _ = terminate.recv() => end(&agent).await?,
        _ = interrupt.recv() => end(&agent).await?,
        ended = serving => return Err(format!("the server ended: {ended:?}").into()),
        ended = reaper => return Err(format!("the reaper ended: {ended:?}").into()),
    }
    Ok(())
}

/// A signal to the agent ends its pod, as DestroySandbox does.
async fn end(agent: &Arc<Agent>) -> Result<(), Box<dyn Error>> {
    log::info!("told to end");
    Ok(ops::destroy::run(agent).await?)
}
