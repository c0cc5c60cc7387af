//! What the kernel remembers of UDP flows does not outlive the port that they were sent to. Needs root.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::{net::UdpSocket, time::Duration};

use network::{Protocol, Scratch};
use support::{Host, Pod, ip, outside, port};

/// A client that goes on sending from one port.
struct Client(UdpSocket);

impl Client {
    fn new(from: &Scratch, to: (std::net::IpAddr, u16)) -> Client {
        let any = if to.0.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = from.run(|| UdpSocket::bind(any).unwrap()).unwrap();
        socket.connect(to).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        Client(socket)
    }

    /// Who answers; empty: nobody.
    fn ask(&self) -> String {
        let mut buffer = [0; 100];
        // An earlier datagram may have been refused: that is told now.
        let sent = self.0.send(b"who").or_else(|_| self.0.send(b"who"));
        let length = sent.and_then(|_| self.0.recv(&mut buffer)).unwrap_or(0);
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}

/// Answers every datagram with `name`.
fn answer(pod: &Pod, address: &str, name: &'static str) {
    let socket = pod.run(|| UdpSocket::bind(address).unwrap());
    std::thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(name.as_bytes(), from);
        }
    });
}

#[test]
fn a_client_that_goes_on_sending_reaches_the_pod_that_has_the_port_now() {
    let host = Host::new();
    let world = outside(&host);
    let ports = [port(Protocol::Udp, "", 5353, 53)];
    for (address, listen) in [("192.0.2.2", "0.0.0.0:53"), ("fd55::2", "[::]:53")] {
        let client = Client::new(&world, (ip(address), 5353));
        let first = host.pod(1, &ports);
        answer(&first, listen, "first");
        assert_eq!(client.ask(), "first", "{address}");
        host.end(first);
        // A pod with another address, as the next one always has.
        let second = host.pod(2, &ports);
        answer(&second, listen, "second");
        assert_eq!(client.ask(), "second", "{address}");
        host.end(second);
    }
}

#[test]
fn a_port_that_was_the_hosts_own_is_the_pods_for_clients_that_go_on() {
    let host = Host::new();
    let world = outside(&host);
    let client = Client::new(&world, (ip("192.0.2.2"), 5353));
    {
        let own = host
            .scratch
            .run(|| UdpSocket::bind("0.0.0.0:5353").unwrap())
            .unwrap();
        own.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        client.0.send(b"who").unwrap();
        let (_, from) = own.recv_from(&mut [0; 10]).unwrap();
        own.send_to(b"host", from).unwrap();
        assert_eq!(client.0.recv(&mut [0; 10]).unwrap(), 4);
    }
    // conntrack works in this namespace only once a pod's rules are there.
    let other = host.pod(9, &[]);
    let pod = host.pod(1, &[port(Protocol::Udp, "", 5353, 53)]);
    answer(&pod, "0.0.0.0:53", "pod");
    assert_eq!(client.ask(), "pod");
    host.end(pod);
    host.end(other);
}
