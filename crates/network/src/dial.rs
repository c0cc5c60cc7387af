//! Connecting to a port inside a pod, as port forwarding does: 127.0.0.1 first, then ::1.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use crate::within;

/// Connects to TCP `port` on the loopback of the namespace pinned at `pin`; `None`: the calling
/// thread's own namespace, for a pod on the host's network.
///
/// The socket blocks, and works from any thread. Blocks for at most about `limit`.
///
/// # Errors
/// That of 127.0.0.1 when both refuse: ECONNREFUSED when nobody listens, ETIMEDOUT; ENOENT when
/// nothing is pinned.
pub fn connect(pin: Option<&Path>, port: u16, limit: Duration) -> io::Result<TcpStream> {
    match pin {
        None => dial(port, limit),
        Some(pin) => within::within(within::open(pin)?, || dial(port, limit))?,
    }
}

fn dial(port: u16, limit: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + limit;
    let first = match TcpStream::connect_timeout(&to(Ipv4Addr::LOCALHOST, port), limit) {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(first);
    }
    TcpStream::connect_timeout(&to(Ipv6Addr::LOCALHOST, port), left).map_err(|_| first)
}

fn to(address: impl Into<std::net::IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}
