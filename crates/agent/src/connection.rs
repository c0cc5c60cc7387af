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
use tokio_vsock::{VsockAddr, VsockListener};
use ttrpc::asynchronous::Server;
use ttrpc::asynchronous::transport;

use crate::agent::Agent;
use crate::{listen, rpc};

/// Before accepting is tried again, when there are no descriptors or no memory.
const BREATH: Duration = Duration::from_millis(100);

/// What calls know of the connection that they came over.
#[derive(Debug, Clone)]
pub(crate) struct Connection(watch::Receiver<bool>);

impl Connection {
    /// Of nobody: it has ended.
    pub(crate) fn none() -> Self {
        Self(watch::channel(true).1)
    }

    /// Resolves when the connection has ended, at once when it has already.
    pub(crate) async fn ended(&self) {
        // An error means that the stream is gone, which is an end too.
        let _ = self.0.clone().wait_for(|ended| *ended).await;
    }
}

/// A listening socket of this event loop.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener),
    Vsock(VsockListener),
}

impl Listener {
    /// Takes over what the command line asked for.
    ///
    /// # Errors
    /// There is no virtio socket device, or its port is in use.
    pub(crate) fn new(listener: listen::Listener) -> Result<Self, listen::Error> {
        let failed = |at: String| move |source| listen::Error::Bind { at, source };
        match listener {
            listen::Listener::Unix(listener) => {
                let taken = listener.set_nonblocking(true);
                let taken = taken.and_then(|()| UnixListener::from_std(listener));
                Ok(Self::Unix(taken.map_err(failed("the socket".into()))?))
            }
            listen::Listener::Vsock { cid, port } => {
                let bound = VsockListener::bind(VsockAddr::new(cid, port));
                Ok(Self::Vsock(
                    bound.map_err(failed(format!("vsock port {port}")))?,
                ))
            }
        }
    }
}

/// Serves every client that connects; never returns.
pub(crate) async fn accept(agent: Arc<Agent>, listener: Listener) {
    loop {
        let agent = Arc::clone(&agent);
        let accepted = match &listener {
            Listener::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| drop(tokio::spawn(sort(agent, stream)))),
            Listener::Vsock(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| drop(tokio::spawn(serve(agent, stream)))),
        };
        if let Err(e) = accepted {
            log::error!("cannot accept a connection: {e}");
            tokio::time::sleep(BREATH).await;
        }
    }
}

/// A connection of calls is served; a stream for a port waits for its process.
async fn sort(agent: Arc<Agent>, stream: UnixStream) {
    if let Some(stream) = agent.ports.sort(stream).await {
        serve(agent, stream).await;
    }
}

/// What carries a connection.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static> Stream for S {}

async fn serve(agent: Arc<Agent>, stream: impl Stream) {
    let (stream, connection) = track(stream);
    let only = futures::stream::iter([Ok::<_, io::Error>(stream)]);
    let mut server = Server::new()
        .add_listener(transport::Listener::new(only))
        .register_service(rpc::services(&agent, &connection));
    if let Err(e) = server.start().await {
        log::error!("cannot serve a connection: {e}");
        return;
    }
    // Its drop would close the connection.
    connection.ended().await;
}

/// A stream that tells of its end.
struct Tracked<S> {
    stream: S,
    ended: watch::Sender<bool>,
}

fn track<S>(stream: S) -> (Tracked<S>, Connection) {
    let (ended, seen) = watch::channel(false);
    (Tracked { stream, ended }, Connection(seen))
}

impl<S: AsyncRead + Unpin> AsyncRead for Tracked<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Tracked<S> {
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
