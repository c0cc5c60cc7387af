//! Streams over WebSocket: channels of Kubernetes' `channel.k8s.io` subprotocols.
//!
//! ```text
//! exec, attach    0 ► stdin   1 ◄ stdout   2 ◄ stderr   3 ◄ how it ended   4 ► size   255 ► close
//! portforward     2n ◄► data of the n-th port   2n+1 ◄ what went wrong with it    255 ◄► close
//!                 each channel's first message from us is the port, two bytes, the low one first
//! ```
//! Each is an adapter: it knows frames and channels, and nothing of processes and pods. Another
//! protocol stands beside this module and fills the same [`Remote`]s.

mod codec;
mod connection;
mod pulse;

use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};

pub(crate) use codec::Codec;
pub(crate) use connection::{Limits, Socket};

use super::{
    forward::{Forwarded, RemotePorts},
    session::{Output, Remote},
    status,
};
use connection::{Inbound, Wires};

const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;

/// Largest message of a client.
const MESSAGE: usize = 4 << 20;

/// Limits on what a client sends.
pub(crate) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(32 << 10)
        .write_buffer_size(0)
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE))
}

/// Which of a process's streams a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// Carries exec and attach.
pub(crate) async fn process(
    mut socket: Socket,
    codec: Codec,
    mut remote: Remote,
    wanted: Wanted,
    limits: &Limits,
) {
    // An empty message on the first channel that we write says that all is set up.
    let first = match wanted {
        Wanted { stdout: true, .. } => STDOUT,
        Wanted { stderr: true, .. } => STDERR,
        _ => STATUS,
    };
    let first = match remote.output.recv().await {
        Some(Output::Ready) => Some(codec.data(first, &[])),
        Some(other) => process_frame(codec, other),
        None => None,
    };
    if let Some(first) = first
        && let Err(error) = futures::SinkExt::send(&mut socket, first).await
    {
        tracing::debug!(%error, "a client was gone before its stream began");
        remote.gone.send_replace(true);
        return;
    }
    let stdin = if wanted.stdin {
        Inbound::Data(remote.stdin)
    } else {
        Inbound::Ignored
    };
    let wires = Wires {
        codec,
        inbound: vec![
            stdin,
            Inbound::Ignored,
            Inbound::Ignored,
            Inbound::Ignored,
            Inbound::Size(remote.size),
        ],
        outbound: remote.output,
        gone: remote.gone,
    };
    connection::carry(socket, wires, limits, process_frame).await;
}

fn process_frame(codec: Codec, output: Output) -> Option<Message> {
    Some(match output {
        Output::Ready => return None,
        Output::Stdout(bytes) => codec.data(STDOUT, &bytes),
        Output::Stderr(bytes) => codec.data(STDERR, &bytes),
        Output::Exit(outcome) if codec.status => codec.data(STATUS, &status::json(&outcome)),
        Output::Exit(outcome) => {
            let text = status::text(&outcome);
            if text.is_empty() {
                return None;
            }
            codec.data(STATUS, text.as_bytes())
        }
    })
}

/// Carries port-forward.
pub(crate) async fn ports(socket: Socket, codec: Codec, remote: RemotePorts, limits: &Limits) {
    let inbound = remote.from_client.into_iter();
    let wires = Wires {
        codec,
        inbound: inbound
            .flat_map(|data| [Inbound::Data(data), Inbound::Ignored])
            .collect(),
        outbound: remote.to_client,
        gone: remote.gone,
    };
    connection::carry(socket, wires, limits, ports_frame).await;
}

fn ports_frame(codec: Codec, forwarded: Forwarded) -> Option<Message> {
    match forwarded {
        Forwarded::Port(at, port) => Some(codec.data(2 * at, &port.to_le_bytes())),
        Forwarded::ErrorPort(at, port) => Some(codec.data(2 * at + 1, &port.to_le_bytes())),
        Forwarded::Data(at, bytes) => Some(codec.data(2 * at, &bytes)),
        Forwarded::Error(at, text) => Some(codec.data(2 * at + 1, text.as_bytes())),
        Forwarded::End(at) => codec.close(2 * at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streaming::session::Outcome;

    fn bytes(message: Option<Message>) -> Option<Vec<u8>> {
        message.map(|message| message.into_data().to_vec())
    }

    #[test]
    fn the_last_word_depends_on_the_version() {
        let codec = |name: &str| Codec::choose([name].into_iter()).unwrap();
        let v4 = codec("v4.channel.k8s.io");
        let v1 = codec("channel.k8s.io");
        let json = |outcome| bytes(process_frame(v4, Output::Exit(outcome)));
        let said = json(Outcome::Exited(0)).unwrap();
        assert_eq!(said, b"\x03{\"metadata\":{},\"status\":\"Success\"}");
        let text = |outcome| bytes(process_frame(v1, Output::Exit(outcome)));
        assert_eq!(text(Outcome::Exited(0)), None);
        assert_eq!(
            text(Outcome::Failed("broken".to_owned())),
            Some(b"\x03broken".to_vec())
        );
    }

    #[test]
    fn each_port_has_two_channels() {
        let v5 = Codec::choose(["v5.channel.k8s.io"].into_iter()).unwrap();
        let v4 = Codec::choose(["v4.channel.k8s.io"].into_iter()).unwrap();
        let frame = |forwarded| bytes(ports_frame(v5, forwarded));
        assert_eq!(frame(Forwarded::Port(1, 8080)), Some(vec![2, 0x90, 0x1f]));
        assert_eq!(frame(Forwarded::ErrorPort(1, 80)), Some(vec![3, 80, 0]));
        assert_eq!(frame(Forwarded::End(1)), Some(vec![255, 2]));
        assert_eq!(bytes(ports_frame(v4, Forwarded::End(1))), None);
    }
}
