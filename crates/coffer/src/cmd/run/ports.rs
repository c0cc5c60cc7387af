//! Host ports that nobody named: any that are free. CRI wants a number, so one is looked for; what
//! takes it in between is told by the daemon as for any other port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::{
    error::Error,
    launch::{Protocol, Published},
};

/// The same ports, each with a host port. Those that were chosen here are told on standard error.
pub(super) fn decided<'a>(
    ports: impl Iterator<Item = &'a Published>,
) -> Result<Vec<Published>, Error> {
    let mut all: Vec<Published> = Vec::new();
    // Held until all are chosen, so that none is chosen twice.
    let mut held: Vec<Box<dyn std::any::Any>> = Vec::new();
    for port in ports {
        let mut port = port.clone();
        if port.host == 0 {
            port.host = free(&port, &mut held)?;
            let (host, container, protocol) = (port.host, port.container, port.protocol.word());
            let said = format!("coffer: port {container}/{protocol} is published on {host}\n");
            crate::out::raw_error(said.as_bytes())?;
        }
        let key = |port: &Published| (port.ip.clone(), port.host, port.protocol);
        if all.iter().any(|other| key(other) == key(&port)) {
            return Err(Error::Usage(format!(
                "host port {}/{} is published twice",
                port.host,
                port.protocol.word()
            )));
        }
        all.push(port);
    }
    Ok(all)
}

fn free(port: &Published, held: &mut Vec<Box<dyn std::any::Any>>) -> Result<u16, Error> {
    let ip = port.ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let at = SocketAddr::new(ip, 0);
    let found = match port.protocol {
        Protocol::Udp => UdpSocket::bind(at).and_then(|socket| {
            let port = socket.local_addr()?.port();
            held.push(Box::new(socket));
            Ok(port)
        }),
        Protocol::Tcp | Protocol::Sctp => TcpListener::bind(at).and_then(|socket| {
            let port = socket.local_addr()?.port();
            held.push(Box::new(socket));
            Ok(port)
        }),
    };
    found.map_err(|source| Error::Io {
        what: format!("find a free port on {ip}"),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host: u16) -> Published {
        Published {
            ip: "127.0.0.1".to_owned(),
            host,
            container: 80,
            protocol: Protocol::Tcp,
        }
    }

    #[test]
    fn free_ports_differ_and_named_ones_stay() {
        let ports = [port(0), port(8080), port(0)];
        let decided = decided(ports.iter()).unwrap();
        assert_eq!(decided[1].host, 8080);
        assert!(decided[0].host != 0 && decided[0].host != decided[2].host);
    }

    #[test]
    fn one_port_twice_is_refused() {
        let ports = [port(8080), port(8080)];
        let said = decided(ports.iter()).unwrap_err().to_string();
        assert!(said.contains("8080/tcp is published twice"), "{said}");
    }
}
