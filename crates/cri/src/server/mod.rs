//! gRPC on a Unix socket.
//!
//! ```text
//! accept ─► peer: root or ourselves? ─► authority filter ─► HTTP/2 ─► runtime.v1, coffer.v1
//! ```
//! The socket's mode (0600) keeps others out; the peer check holds where the file does not.

mod authority;
mod connection;
mod running;

use std::{future::Future, io, time::Duration};

use tokio::net::UnixListener;
use tokio_stream::{StreamExt, wrappers::UnixListenerStream};
use tonic::transport::Server;

use crate::{node, service::Service, v1, v1alpha1};
use connection::Connection;
use running::Running;

/// Largest request: what clients of CRI use.
const REQUEST: usize = 16 << 20;
/// Largest answer: below the 16 MiB at which clients give up there is an error that says so.
const REPLY: usize = 16 << 20;
/// HTTP/2 windows: enough for an import at full speed, small beside our budget.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;
/// How long the last answers may take to their clients.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Serves until `shutdown`, then lets calls that run finish for `drain`.
///
/// # Errors
/// The transport's.
pub(crate) async fn serve(
    service: Service,
    listener: UnixListener,
    shutdown: impl Future<Output = ()> + Send,
    drain: Duration,
) -> io::Result<()> {
    let connections = UnixListenerStream::new(listener).filter_map(|accepted| {
        match accepted.and_then(Connection::new) {
            Ok(connection) => connection.map(Ok::<_, io::Error>),
            Err(error) => {
                // A failed accept (too many files, say) ends one connection, never the daemon.
                tracing::warn!(%error, "a connection could not be taken");
                None
            }
        }
    });
    let (runtime, images) = v1::services(&service, REQUEST, REPLY);
    let (first_runtime, first_images) = v1alpha1::services(&service, REQUEST, REPLY);
    let node = node::service(&service, REQUEST);

    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let running = Running::default();
    let counted = running.clone();
    let server = Server::builder()
        .layer(tower::layer::layer_fn(move |service| {
            counted.around(service)
        }))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(runtime)
        .add_service(images)
        .add_service(first_runtime)
        .add_service(first_images)
        .add_service(node)
        .serve_with_incoming_shutdown(connections, async move {
            shutdown.await;
            stop.send_replace(true);
        });
    let over = async move {
        if stopped.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
        // Clients that keep their connections open are not waited for, calls are.
        let idle = async {
            while !running.is_idle() {
                tokio::time::sleep(LAST_WORDS).await;
            }
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::time::timeout(drain, idle).await.is_ok()
    };
    tokio::select! {
        served = server => served.map_err(io::Error::other),
        finished = over => {
            if !finished {
                tracing::info!("calls still run; they are left to the next start");
            }
            Ok(())
        }
    }
}
