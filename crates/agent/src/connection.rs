//! A client's connection, as the calls that came over it see it: they can wait for its end.
//!
//! ```text
//!  accept -> Tracked stream -> one ttrpc server -> services of this Connection
//!               | end of file, error or drop
//!               +--> ended(): execs that end with it are killed, its views are closed
//! ```
//! The ttRPC library drops the handler of a call that is pending at the end of its connection, and tells
//! nobody else; what a finished call left running has to be ended here. So every connection has a server
//! of its own, whose services know it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use ttrpc::asynchronous::Server;
use ttrpc::asynchronous::transport::Listener;

use crate::agent::Agent;
use crate::rpc;

/// Before accepting is tried again, when there are no descriptors or no memory.
const BREATH: Duration = Duration::from_millis(100);

/// What calls know of the connection that they came over.
#[derive(Debug, Clone)]
pub(crate) struct Connection(watch::Receiver<bool>);

impl Connection {
    /// Resolves when the connection has ended, at once when it has already.
    pub(crate) async fn ended(&self) {
        // An error means that the stream is gone, which is an end too.
        let _ = self.0.clone().wait_for(|ended| *ended).await;
    }
}

/// Serves every client that connects; never returns.
pub(crate) async fn accept(agent: Arc<Agent>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(sort(Arc::clone(&agent), stream))),
            Err(e) => {
                log::error!("cannot accept a connection: {e}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

/// A connection of calls is served; a stream for a port waits for its process.
async fn sort(agent: Arc<Agent>, stream: UnixStream) {
    if let Some(stream) = agent.ports.sort(stream).await {
        serve(agent, stream).await;
    }
}

async fn serve(agent: Arc<Agent>, stream: UnixStream) {
    let (stream, connection) = track(stream);
    let only = futures::stream::iter([Ok::<_, io::Error>(stream)]);
    let mut server = Server::new()
        .add_listener(Listener::new(only))
        .register_service(rpc::services(&agent, &connection));
    if let Err(e) = server.start().await {
        log::error!("cannot serve a connection: {e}");
        return;
    }
    // Its drop would close the connection.
    connection.ended().await;
}

/// A stream that tells of its end.
struct Tracked {
    stream: UnixStream,
    ended: watch::Sender<bool>,
}

fn track(stream: UnixStream) -> (Tracked, Connection) {
    let (ended, seen) = watch::channel(false);
    (Tracked { stream, ended }, Connection(seen))
}

impl AsyncRead for Tracked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let over = match &read {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => room > 0 && buf.filled().len() == before,
            Poll::Ready(Err(_)) => true,
        };
        if over {
            self.ended.send_replace(true);
        }
        read
    }
}

impl AsyncWrite for Tracked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
