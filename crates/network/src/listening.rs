//! Whether a process of this host has a port already. Rules would take the port away from it without
//! a word, so that is an error.

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use crate::{
    Error,
    lease::{Port, Protocol},
};

/// Tries to listen there, for a moment.
///
/// # Errors
/// [`Error::PortInUse`], naming the process where that can be found.
pub(crate) fn check(port: &Port) -> Result<(), Error> {
    let taken = match port.host_ip {
        // An IPv6 socket on all addresses is for IPv4 too.
        None => match taken(port, Ipv6Addr::UNSPECIFIED.into()) {
            Tried::NoSuchAddress => taken(port, Ipv4Addr::UNSPECIFIED.into()),
            tried => tried,
        },
        Some(ip) => taken(port, ip),
    };
    match taken {
        Tried::Free => Ok(()),
        Tried::NoSuchAddress => {
            tracing::warn!(%port, "is published on an address that this host does not have now");
            Ok(())
        }
        Tried::Taken => Err(Error::PortInUse {
            port: port.to_string(),
            process: process(port).unwrap_or_else(|| "a process".to_owned()),
        }),
    }
}

enum Tried {
    Free,
    Taken,
    NoSuchAddress,
}

fn taken(port: &Port, ip: IpAddr) -> Tried {
    let address = SocketAddr::new(ip, port.host_port);
    let tried = match port.protocol {
        Protocol::Tcp => TcpListener::bind(address).map(drop),
        Protocol::Udp => UdpSocket::bind(address).map(drop),
    };
    match tried {
        Ok(()) => Tried::Free,
        Err(error) if error.kind() == ErrorKind::AddrInUse => Tried::Taken,
        Err(_) => Tried::NoSuchAddress,
    }
}

/// "nginx (pid 12)": who listens on this port, by the inode of the socket. For an error only: all
/// processes are looked at.
fn process(port: &Port) -> Option<String> {
    let (files, state) = match port.protocol {
        Protocol::Tcp => (["tcp", "tcp6"], "0A"),
        Protocol::Udp => (["udp", "udp6"], "07"),
    };
    let inode = files.iter().find_map(|file| {
        let table = fs::read_to_string(format!("/proc/thread-self/net/{file}")).ok()?;
        inode(&table, port.host_port, state)
    })?;
    let socket = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid.parse::<u32>().is_err() {
            continue;
        }
        let fds = fs::read_dir(entry.path().join("fd")).into_iter().flatten();
        let has = |fd: fs::DirEntry| {
            fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == socket.as_str())
        };
        if fds.flatten().any(has) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            return Some(format!("{} (pid {pid})", name.trim_end()));
        }
    }
    None
}

/// The inode of the socket in `state` on `port`, from a table of /proc/net: `sl local_address
/// rem_address st … uid timeout inode`, addresses and ports in hexadecimal.
fn inode(table: &str, port: u16, state: &str) -> Option<u64> {
    let local = format!(":{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let hit = words.get(1)?.ends_with(&local) && *words.get(3)? == state;
        if hit {
            words.get(9)?.parse().ok()
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(protocol: Protocol, ip: &str, number: u16) -> Port {
        Port {
            protocol,
            host_ip: (!ip.is_empty()).then(|| ip.parse().unwrap()),
            host_port: number,
            pod_port: 80,
        }
    }

    #[test]
    fn a_port_that_is_listened_on_is_named_with_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        for ip in ["", "0.0.0.0", "127.0.0.1"] {
            let error = check(&port(Protocol::Tcp, ip, number))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(&format!("(pid {})", std::process::id())),
                "{error}"
            );
        }
        assert!(check(&port(Protocol::Tcp, "127.0.0.2", number)).is_ok());
        drop(listener);
        assert!(check(&port(Protocol::Tcp, "127.0.0.1", number)).is_ok());

        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let number = socket.local_addr().unwrap().port();
        let error = check(&port(Protocol::Udp, "127.0.0.1", number)).unwrap_err();
        assert!(error.to_string().contains("udp port 127.0.0.1"), "{error}");
    }

    #[test]
    fn an_address_that_is_not_here_is_no_conflict() {
        assert!(check(&port(Protocol::Tcp, "192.0.2.77", 80)).is_ok());
    }

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0\n";
        assert_eq!(inode(table, 8080, "0A"), Some(4242));
        assert_eq!(inode(table, 8080, "01"), None);
        assert_eq!(inode(table, 80, "0A"), None);
        assert_eq!(inode("", 80, "0A"), None);
    }
}
