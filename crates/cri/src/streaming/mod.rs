//! The streaming server: exec, attach and port-forward over HTTP.
//!
//! ```text
//!  client                          unix socket                     TCP, loopback
//!    │── Exec{container, command} ─────►│ checked ─► token.rs            │
//!    │◄─ http://127.0.0.1:4711/exec/<token> ────────────────────────────│
//!    │── GET /exec/<token>, Upgrade: websocket ──────────────────────────►│ http.rs: token ─► request
//!    │◄─ 101, then frames both ways ─────────────────────────────────────►│ websocket/ ◄─► Session
//!                                                                         │ exec.rs, attach.rs,
//!                                                                         │ forward.rs ─► agent, pod
//! ```
//! Requests are checked when they are made, on the unix socket, by people who may (root). The TCP
//! side knows them by their tokens only. One task for each stream: it does everything for it, so a
//! stream that ends leaves nothing behind. A protocol is an adapter to [`session`] and [`forward`];
//! WebSocket is the one that is there.

mod attach;
mod exec;
mod forward;
mod http;
mod session;
mod status;
mod token;
mod websocket;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{domain::Id, error::Error, options::StreamOptions, spec::Otherwise};

pub(crate) use http::Server;
pub(crate) use session::Size;
use token::Tokens;
pub(crate) use token::{Kind, Request};

/// [`session::PIECE`], as the agent's calls want it.
const PIECE_U32: u32 = 64 << 10;
const _: () = assert!(PIECE_U32 as usize == session::PIECE);

/// A command to run with a client at its streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecRequest {
    pub container: Id,
    pub command: Vec<String>,
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub otherwise: Otherwise,
}

/// A container to attach a client to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AttachRequest {
    pub container: Id,
    pub tty: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// Ports of a pod to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortForwardRequest {
    pub pod: Id,
    /// None: the client names them when it connects.
    pub ports: Vec<u16>,
}

/// Where streams are prepared and found again.
#[derive(Debug)]
pub(crate) struct Streaming {
    tokens: Tokens,
    /// "http://127.0.0.1:4711".
    base: String,
}

impl Streaming {
    /// Prepares a stream; answers the URL where a client finds it within a minute.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Random`].
    pub(crate) fn url(&self, request: Request) -> Result<String, Error> {
        let path = request.kind().path();
        let token = self.tokens.keep(request)?;
        Ok(format!("{}/{path}/{token}", self.base))
    }

    fn take(&self, kind: Kind, token: &str) -> Option<Request> {
        self.tokens.take(kind, token)
    }
}

/// Listens for streams; the answers say where.
///
/// # Errors
/// The kernel's.
pub(crate) fn open(options: &StreamOptions) -> std::io::Result<(Streaming, Server)> {
    let (server, address) = Server::bind(options)?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "exec, attach and port-forward are served beyond this machine, in \
            clear text, to whoever learns a URL: stream.address is not a loopback address");
    }
    let streaming = Streaming {
        tokens: Tokens::default(),
        base: format!("http://{}", reachable(address)),
    };
    Ok((streaming, server))
}

/// Where a client on this machine reaches a server that is bound to `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (ip, address.port()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_a_client_on_this_machine_gets_through() {
        for (bound, said) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("0.0.0.0:2", "127.0.0.1:2"),
            ("[::]:3", "[::1]:3"),
            ("10.0.0.1:4", "10.0.0.1:4"),
        ] {
            let address: SocketAddr = bound.parse().unwrap();
            assert_eq!(reachable(address).to_string(), said);
        }
    }
}
