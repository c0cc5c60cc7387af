//! From a URL that a CRI call answered to a WebSocket.

use std::{net::SocketAddr, time::Duration};

use futures::StreamExt;
use http::{HeaderValue, Uri};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest},
};

use crate::error::{CallKind, Error};

/// Time for connection and handshake: the daemon is on this machine, or close.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open session.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(super) stream: WebSocketStream<TcpStream>,
    /// Version 5: the end of a channel can be said.
    pub(super) closes: bool,
    /// A message that was read while waiting for the session to stand.
    pub(super) early: Option<Message>,
}

impl Socket {
    /// Opens `url`, which can be used once; `what` is what it is for.
    ///
    /// # Errors
    /// [`Error::Call`] when nobody answers there, or not with a session.
    pub(crate) async fn open(what: &str, url: &str) -> Result<Socket, Error> {
        let failed = |cause: String| Error::Call {
            what: what.to_owned(),
            cause,
            kind: CallKind::Other,
        };
        let opening = Socket::handshake(url);
        match tokio::time::timeout(PATIENCE, opening).await {
            Ok(opened) => opened.map_err(|cause| failed(format!("its streaming server: {cause}"))),
            Err(_) => Err(failed(format!(
                "its streaming server did not answer in {} s",
                PATIENCE.as_secs()
            ))),
        }
    }

    async fn handshake(url: &str) -> Result<Socket, String> {
        let uri: Uri = url.parse().map_err(|e| format!("{url:?} is no URL: {e}"))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!(
                "{url:?} is not plain http, which is all this speaks"
            ));
        }
        let host = uri.host().ok_or_else(|| format!("{url:?} names no host"))?;
        let address = (reachable(host), uri.port_u16().unwrap_or(80));
        let tcp = TcpStream::connect(address)
            .await
            .map_err(|e| format!("cannot connect to {host}: {e}"))?;
        // Keys are single bytes; each goes out at once.
        let _ = tcp.set_nodelay(true);
        let mut request = url
            .replacen("http://", "ws://", 1)
            .into_client_request()
            .map_err(|e| e.to_string())?;
        request.headers_mut().insert(
            "sec-websocket-protocol",
            HeaderValue::from_static("v5.channel.k8s.io, v4.channel.k8s.io"),
        );
        let (stream, answer) = tokio_tungstenite::client_async(request, tcp)
            .await
            .map_err(refusal)?;
        let spoken = answer.headers().get("sec-websocket-protocol");
        Ok(Socket {
            stream,
            closes: spoken.is_some_and(|spoken| spoken == "v5.channel.k8s.io"),
            early: None,
        })
    }

    /// Waits for the message, most often an empty one, by which the far side says that it is
    /// connected to the streams: from then on no output is missed.
    ///
    /// # Errors
    /// [`Error::Call`] when the session ends first.
    pub(crate) async fn stands(&mut self, what: &str) -> Result<(), Error> {
        let first = tokio::time::timeout(PATIENCE, self.stream.next()).await;
        let cause = match first {
            Ok(Some(Ok(message @ Message::Binary(_)))) => {
                self.early = Some(message);
                return Ok(());
            }
            Ok(Some(Ok(Message::Close(Some(frame))))) => frame.reason.to_string(),
            Ok(Some(Err(error))) => error.to_string(),
            Ok(Some(Ok(_)) | None) => "the session ended before it began".to_owned(),
            Err(_) => "the session does not begin".to_owned(),
        };
        Err(Error::Call {
            what: what.to_owned(),
            cause,
            kind: CallKind::Other,
        })
    }
}

/// A server that listens everywhere is reached by loopback.
fn reachable(host: &str) -> String {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match format!("{host}:0").parse::<SocketAddr>() {
        Ok(SocketAddr::V4(four)) if four.ip().is_unspecified() => "127.0.0.1".to_owned(),
        Ok(SocketAddr::V6(six)) if six.ip().is_unspecified() => "::1".to_owned(),
        _ => bare.to_owned(),
    }
}

fn refusal(error: tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Http(answer) => {
            let body = answer.body().as_deref().unwrap_or_default();
            let body = String::from_utf8_lossy(body);
            match body.trim() {
                "" => format!("it answered {}", answer.status()),
                text => format!("it answered {}: {text}", answer.status()),
            }
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everywhere_is_reached_by_loopback() {
        let table = [
            ("0.0.0.0", "127.0.0.1"),
            ("[::]", "::1"),
            ("[fd00::1]", "fd00::1"),
            ("127.0.0.1", "127.0.0.1"),
            ("node.example", "node.example"),
        ];
        for (said, reached) in table {
            assert_eq!(reachable(said), reached);
        }
    }
}
