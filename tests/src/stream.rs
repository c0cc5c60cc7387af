//! A client of the streaming server that knows channels and no more.

use std::time::{Duration, Instant};

use cri_api::v1;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, client::IntoClientRequest, http::HeaderValue, protocol::CloseFrame,
    },
};

use crate::{Client, Node};

/// Nothing in a test takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// Version 5 of the channels: streams can be closed.
pub const V5: &str = "v5.channel.k8s.io";
/// Version 4: the last word is a Status.
pub const V4: &str = "v4.channel.k8s.io";

/// Which streams of a command.
#[derive(Debug, Clone, Copy, Default)]
pub struct Want {
    /// A terminal.
    pub tty: bool,
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Want {
    /// Standard output and error.
    pub const OUTPUT: Want = Want {
        tty: false,
        stdin: false,
        stdout: true,
        stderr: true,
    };
    /// All three.
    pub const ALL: Want = Want {
        tty: false,
        stdin: true,
        stdout: true,
        stderr: true,
    };
    /// A terminal to type at.
    pub const TTY: Want = Want {
        tty: true,
        stdin: true,
        stdout: true,
        stderr: false,
    };
}

impl Client {
    /// Exec: the URL.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn exec_url(
        &self,
        id: &str,
        command: &[&str],
        want: Want,
    ) -> Result<String, tonic::Status> {
        let request = v1::ExecRequest {
            container_id: id.to_owned(),
            cmd: command.iter().map(|word| (*word).to_owned()).collect(),
            tty: want.tty,
            stdin: want.stdin,
            stdout: want.stdout,
            stderr: want.stderr,
        };
        let answer = self.runtime.clone().exec(request).await?;
        Ok(answer.into_inner().url)
    }

    /// Attach: the URL.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn attach_url(&self, id: &str, want: Want) -> Result<String, tonic::Status> {
        let request = v1::AttachRequest {
            container_id: id.to_owned(),
            tty: want.tty,
            stdin: want.stdin,
            stdout: want.stdout,
            stderr: want.stderr,
        };
        let answer = self.runtime.clone().attach(request).await?;
        Ok(answer.into_inner().url)
    }

    /// PortForward: the URL.
    ///
    /// # Errors
    /// The daemon's.
    pub async fn forward_url(&self, pod: &str, ports: &[i32]) -> Result<String, tonic::Status> {
        let request = v1::PortForwardRequest {
            pod_sandbox_id: pod.to_owned(),
            port: ports.to_vec(),
        };
        let answer = self.runtime.clone().port_forward(request).await?;
        Ok(answer.into_inner().url)
    }
}

/// A connected stream.
#[derive(Debug)]
pub struct Stream {
    socket: WebSocketStream<TcpStream>,
    /// The subprotocol that the server has taken; empty: none.
    pub protocol: String,
    /// What has come so far.
    pub got: Got,
}

/// What came on a stream.
#[derive(Debug, Clone, Default)]
pub struct Got {
    /// By channel number.
    pub channels: Vec<Vec<u8>>,
    /// How it was closed.
    pub close: Option<CloseFrame>,
    /// No more comes.
    pub ended: bool,
    /// Data messages.
    pub messages: usize,
}

impl Got {
    /// What came on a channel.
    pub fn channel(&self, channel: usize) -> &[u8] {
        self.channels.get(channel).map_or(&[], Vec::as_slice)
    }

    /// What came on a channel, as text.
    pub fn text(&self, channel: usize) -> String {
        String::from_utf8_lossy(self.channel(channel)).into_owned()
    }

    /// The Status of versions 4 and 5.
    pub fn status(&self) -> serde_json::Value {
        serde_json::from_slice(self.channel(3)).unwrap_or_default()
    }

    /// The exit code that it tells; `None`: something else went wrong.
    pub fn exit_code(&self) -> Option<i32> {
        let status = self.status();
        match (status["status"].as_str(), status["reason"].as_str()) {
            (Some("Success"), _) => Some(0),
            (Some("Failure"), Some("NonZeroExitCode")) => status["details"]["causes"][0]["message"]
                .as_str()?
                .parse()
                .ok(),
            _ => None,
        }
    }
}

impl Stream {
    /// Connects to a URL of the daemon's and offers subprotocols.
    ///
    /// # Errors
    /// The server's refusal: status and text.
    pub async fn open(node: &Node, url: &str, protocols: &[&str]) -> Result<Stream, String> {
        let address = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next()?.parse().ok())
            .ok_or_else(|| format!("{url:?} is no URL of a stream"))?;
        let tcp = node
            .connect(address)
            .and_then(|tcp| {
                tcp.set_nonblocking(true)?;
                TcpStream::from_std(tcp)
            })
            .map_err(|error| format!("{address}: {error}"))?;
        let mut request = url
            .replacen("http://", "ws://", 1)
            .into_client_request()
            .map_err(|error| error.to_string())?;
        if !protocols.is_empty() {
            let offered =
                HeaderValue::from_str(&protocols.join(", ")).map_err(|error| error.to_string())?;
            request
                .headers_mut()
                .insert("sec-websocket-protocol", offered);
        }
        match tokio_tungstenite::client_async(request, tcp).await {
            Ok((socket, answer)) => Ok(Stream {
                socket,
                protocol: answer
                    .headers()
                    .get("sec-websocket-protocol")
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default()
                    .to_owned(),
                got: Got::default(),
            }),
            Err(Error::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                Err(format!(
                    "{} {}",
                    answer.status().as_u16(),
                    String::from_utf8_lossy(&body)
                ))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Sends bytes on a channel; waits for room.
    pub async fn send(&mut self, channel: u8, bytes: &[u8]) {
        let mut message = vec![channel];
        message.extend_from_slice(bytes);
        self.message(Message::Binary(message.into())).await;
    }

    /// Sends any message.
    pub async fn message(&mut self, message: Message) {
        if let Err(error) = self.socket.send(message).await {
            panic!("cannot send: {error}");
        }
    }

    /// Says that nothing more comes on a channel.
    pub async fn close_channel(&mut self, channel: u8) {
        self.send(255, &[channel]).await;
    }

    /// Tells the size of the terminal.
    pub async fn resize(&mut self, columns: u16, rows: u16) {
        let size = format!("{{\"Width\":{columns},\"Height\":{rows}}}");
        self.send(4, size.as_bytes()).await;
    }

    /// Waits for the next message; false at the end.
    pub async fn next(&mut self) -> bool {
        let next = tokio::time::timeout(LIMIT, self.socket.next()).await;
        let Ok(next) = next else {
            panic!("nothing came for {LIMIT:?}; so far {:?}", self.got)
        };
        let bytes = match next {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Text(text))) => text.into(),
            Some(Ok(Message::Close(frame))) => {
                self.got.close = frame;
                return true;
            }
            Some(Ok(_)) => return true,
            Some(Err(_)) | None => {
                self.got.ended = true;
                return false;
            }
        };
        if let Some((channel, bytes)) = bytes.split_first() {
            let channel = usize::from(*channel);
            if self.got.channels.len() <= channel {
                self.got.channels.resize(channel + 1, Vec::new());
            }
            self.got.channels[channel].extend_from_slice(bytes);
            self.got.messages += 1;
        }
        true
    }

    /// Reads until a channel's text has `text` in it.
    ///
    /// # Panics
    /// The stream ends before, or it does not come in time.
    pub async fn until(&mut self, channel: usize, text: &str) {
        // Pings come all the time, so each message alone says nothing.
        let deadline = Instant::now() + LIMIT;
        while !self.got.text(channel).contains(text) {
            assert!(
                Instant::now() < deadline,
                "no {text:?} on channel {channel} for {LIMIT:?}: {:?}",
                self.got
            );
            assert!(
                self.next().await,
                "ended without {text:?} on channel {channel}: {:?}",
                self.got
            );
        }
    }

    /// Reads to the end.
    pub async fn finish(mut self) -> Got {
        while self.next().await {}
        self.got
    }

    /// The two directions, for traffic in both at once.
    pub fn into_socket(self) -> WebSocketStream<TcpStream> {
        self.socket
    }
}
