//! Port-forward: connections to ports of a pod.
//!
//! ```text
//! client ─► from_client[n] ─► TCP to 127.0.0.1:port, else [::1]:port, in the pod's network namespace
//! client ◄─ to_client      ◄─ Port, ErrorPort first; Data; End or Error last
//! ```
//! One connection for each port of the stream: a client that wants more asks for more streams. The
//! daemon dials through the pin of the namespace, so the agent has no part in it. The ports of one
//! stream share one way back: a client that wants them independent uses a stream for each.

use std::{path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, watch},
};

use super::{
    PortForwardRequest,
    session::{PIECE, PIECES, is_gone},
};
use crate::{error::Error, service::Service, task::blocking};

/// How long a connection may take: both ends are on this machine.
const CONNECT: Duration = Duration::from_secs(10);

/// What goes to a client; the number says which port of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Forwarded {
    /// The port, on the data channel.
    Port(u8, u16),
    /// The port, on the error channel.
    ErrorPort(u8, u16),
    /// Bytes of the connection.
    Data(u8, Bytes),
    /// What went wrong with it.
    Error(u8, String),
    /// The pod's side has said everything.
    End(u8),
}

/// The connections of a stream, as the pod's side sees them.
#[derive(Debug)]
pub(crate) struct Ports {
    pub from_client: Vec<mpsc::Receiver<Bytes>>,
    pub to_client: mpsc::Sender<Forwarded>,
    pub gone: watch::Receiver<bool>,
    /// The protocol can say that one direction has ended.
    pub half_close: bool,
}

/// The same, as a protocol's adapter sees them.
#[derive(Debug)]
pub(crate) struct RemotePorts {
    pub from_client: Vec<mpsc::Sender<Bytes>>,
    pub to_client: mpsc::Receiver<Forwarded>,
    pub gone: watch::Sender<bool>,
}

/// Both sides of a stream of `count` ports.
pub(crate) fn pair(count: usize, half_close: bool) -> (Ports, RemotePorts) {
    let (senders, receivers) = (0..count).map(|_| mpsc::channel(PIECES)).unzip();
    let (to_client, from_ports) = mpsc::channel(PIECES);
    let (to_gone, gone) = watch::channel(false);
    (
        Ports {
            from_client: receivers,
            to_client,
            gone,
            half_close,
        },
        RemotePorts {
            from_client: senders,
            to_client: from_ports,
            gone: to_gone,
        },
    )
}

/// Forwards until every connection has ended, or the client is gone.
pub(crate) async fn run(service: &Service, request: PortForwardRequest, ports: Ports) {
    let Ports {
        from_client,
        to_client,
        gone,
        half_close,
    } = ports;
    let pin = service.network_of(&request.pod);
    let all = request.ports.iter().zip(from_client).zip(0_u8..);
    let all = all.map(|((port, from), at)| {
        let pin = &pin;
        let pod = &request.pod;
        let to = Way {
            at,
            to: to_client.clone(),
        };
        async move {
            let port = *port;
            to.say(Forwarded::Port(at, port)).await;
            to.say(Forwarded::ErrorPort(at, port)).await;
            let connected = match pin {
                Ok(pin) => connect(pin.clone(), port).await,
                Err(error) => Err(error.clone()),
            };
            let done = match connected {
                Ok(stream) => pass(stream, from, &to, half_close)
                    .await
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error.chain()),
            };
            if let Err(why) = done {
                tracing::debug!(%pod, port, why, "forwarding a port");
                let why = format!("cannot forward to port {port} of pod {pod}: {why}");
                to.say(Forwarded::Error(at, why)).await;
            }
        }
    });
    let all = futures::future::join_all(all);
    drop(to_client);
    tokio::select! {
        _ = all => {}
        () = is_gone(&gone) => {}
    }
}

/// The way back to the client for one port.
struct Way {
    at: u8,
    to: mpsc::Sender<Forwarded>,
}

impl Way {
    /// An error means that the client is gone, and whoever waits for that ends all.
    async fn say(&self, what: Forwarded) -> bool {
        self.to.send(what).await.is_ok()
    }
}

/// Connects inside the pod's network namespace; `None`: the host's.
async fn connect(pin: Option<PathBuf>, port: u16) -> Result<TcpStream, Error> {
    let refused = move |source| Error::Connect {
        port,
        source: std::sync::Arc::new(source),
    };
    let dialled = blocking(move || {
        let stream = network::connect(pin.as_deref(), port, CONNECT).map_err(refused)?;
        stream.set_nonblocking(true).map_err(refused)?;
        Ok::<_, Error>(stream)
    })
    .await?;
    // Whole pieces are written here; there is nothing to wait for.
    let _ = dialled.set_nodelay(true);
    TcpStream::from_std(dialled).map_err(refused)
}

/// Copies both ways until the pod's side has ended, and the client's if it can tell.
async fn pass(
    stream: TcpStream,
    mut from: mpsc::Receiver<Bytes>,
    to: &Way,
    half_close: bool,
) -> std::io::Result<()> {
    let (mut read, mut write) = stream.into_split();
    let up = async {
        while let Some(bytes) = from.recv().await {
            if write.write_all(&bytes).await.is_err() {
                // The other direction says what has happened; a reader that is gone is no error.
                from.close();
                return;
            }
        }
        let _ = write.shutdown().await;
    };
    let down = async {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            if read.read_buf(&mut piece).await? == 0 {
                to.say(Forwarded::End(to.at)).await;
                return Ok(());
            }
            if !to.say(Forwarded::Data(to.at, piece.freeze())).await {
                return Ok(());
            }
        }
    };
    if half_close {
        tokio::join!(up, down).1
    } else {
        // The client could not be told that only one direction has ended.
        let mut up = std::pin::pin!(up);
        let mut down = std::pin::pin!(down);
        tokio::select! {
            () = &mut up => down.await,
            ended = &mut down => ended,
        }
    }
}
