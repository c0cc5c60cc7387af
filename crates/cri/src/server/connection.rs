//! One client's connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixStream, unix::UCred},
};
use tonic::transport::server::Connected;

use super::authority::Filter;

/// A connection whose peer may speak to us.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    filter: Filter,
    peer: Peer,
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// Process, user and group, as the kernel tells.
    #[expect(dead_code, reason = "for handlers that want to know who asks")]
    pub credentials: UCred,
}

impl Connection {
    /// Takes a connection; `None` when its peer is neither root nor our own user.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn new(stream: UnixStream) -> io::Result<Option<Connection>> {
        let credentials = stream.peer_cred()?;
        let ours = rustix::process::geteuid().as_raw();
        if credentials.uid() != 0 && credentials.uid() != ours {
            tracing::warn!(
                uid = credentials.uid(),
                pid = credentials.pid(),
                "connection refused"
            );
            return Ok(None);
        }
        Ok(Some(Connection {
            stream,
            filter: Filter::default(),
            peer: Peer { credentials },
        }))
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.filter.take(out) {
                return Poll::Ready(Ok(()));
            }
            // Bytes that need no filtering go straight into the caller's buffer.
            let direct = this.filter.passes().min(out.remaining());
            if direct > 0 {
                let mut part = ReadBuf::new(out.initialize_unfilled_to(direct));
                std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
                let read = part.filled().len();
                out.advance(read);
                this.filter.passed(read);
                return Poll::Ready(Ok(()));
            }
            let mut buffer = [0; 4096];
            let wanted = this.filter.wants().min(buffer.len());
            let mut part = ReadBuf::new(&mut buffer[..wanted]);
            std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
            if part.filled().is_empty() {
                // The end, perhaps inside a frame: HTTP/2 judges what there is.
                return if this.filter.finish() {
                    continue;
                } else {
                    Poll::Ready(Ok(()))
                };
            }
            this.filter.feed(part.filled());
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
