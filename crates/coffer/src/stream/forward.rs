//! Port forwarding: each TCP connection to us is one to a port in a pod's network.
//!
//! ```text
//! far side's first words: 0 [port, 2 bytes LE]    1 [port, 2 bytes LE]
//! then                    0 data, both ways       1 what went wrong, as text
//!                       255 [0] that side has said everything (version 5)
//! ```

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

use super::{Socket, channel};
use crate::{client::Daemon, error::Error};

const DATA: u8 = 0;
const TROUBLE: u8 = 1;
/// After the end of our side the far side may take so long: whether our side is only done with saying
/// or gone for good can't be told.
const LAST_WORDS: Duration = Duration::from_secs(30);
const CHUNK: usize = 32 << 10;

/// Which port of which pod.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) pod: String,
    pub(crate) name: String,
    pub(crate) number: u16,
}

/// Carries one connection until both sides are done. Closing it is left to the caller, who may want to
/// tell of a failure first.
///
/// # Errors
/// The daemon's for the call; [`Error::State`] with what the far side said.
pub(crate) async fn carry(
    daemon: &Daemon,
    port: &Port,
    connection: &mut TcpStream,
) -> Result<(), Error> {
    let url = daemon
        .port_forward_url(&port.pod, &port.name, port.number)
        .await?;
    let what = format!("forward port {} of pod {}", port.number, port.name);
    let socket = Socket::open(&what, &url).await?;
    let _ = connection.set_nodelay(true);
    let (mut from_us, mut to_us) = connection.split();
    let (mut sink, mut stream) = socket.stream.split();
    let sending = async {
        let mut buffer = vec![0; CHUNK];
        loop {
            match from_us.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    let message = channel::message(DATA, &buffer[..count]);
                    if sink.send(Message::binary(message)).await.is_err() {
                        break;
                    }
                }
            }
        }
        if socket.closes {
            let _ = sink.send(Message::binary(channel::close(DATA))).await;
        }
    };
    let receiving = async {
        let mut trouble = Vec::new();
        // The port number opens each channel.
        let mut introduced = [false; 2];
        while let Some(Ok(message)) = stream.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Close(_) => break,
                _ => continue,
            };
            let Some((&on, data)) = bytes.split_first() else {
                continue;
            };
            if on == channel::CLOSE {
                if data == [DATA] {
                    let _ = to_us.shutdown().await;
                }
                continue;
            }
            match introduced.get_mut(usize::from(on)) {
                Some(introduced) if !*introduced => *introduced = true,
                _ if on == DATA && to_us.write_all(data).await.is_err() => break,
                _ if on == TROUBLE => trouble.extend_from_slice(data),
                _ => {}
            }
        }
        // Trouble is told before the connection ends.
        if trouble.is_empty() {
            let _ = to_us.shutdown().await;
        }
        trouble
    };
    let mut receiving = std::pin::pin!(receiving);
    let trouble = tokio::select! {
        trouble = &mut receiving => trouble,
        () = sending => tokio::time::timeout(LAST_WORDS, receiving).await.unwrap_or_default(),
    };
    if trouble.is_empty() {
        return Ok(());
    }
    let cause = String::from_utf8_lossy(&trouble);
    Err(Error::State {
        message: format!("cannot {what}: {}", cause.trim()),
        hint: "does a program in the pod listen on that port, on its loopback or everywhere?"
            .to_owned(),
    })
}
