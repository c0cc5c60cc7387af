//! A namespace that plays the host, pods on its network, and another that plays the world outside.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a test's helpers fail by panicking, and no test binary needs all of them"
)]

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    process::{Child, Command},
    time::Duration,
};

use network::{Error, Lease, Netns, Network, Port, Protocol, Scratch, Settings};

/// A namespace that is the host, and its network.
pub(crate) struct Host {
    pub(crate) scratch: Scratch,
    pub(crate) network: Network,
    pub(crate) dir: tempfile::TempDir,
}

/// A pod: its pin goes with it.
pub(crate) struct Pod {
    pub(crate) id: String,
    pub(crate) pin: PathBuf,
    pub(crate) lease: Lease,
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = Netns::delete(&self.pin);
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        bridge: "br-test".parse().unwrap(),
        table: "coffer-test".parse().unwrap(),
        ipv4: Some("10.99.0.0/24".parse().unwrap()),
        ipv6: Some("fd99::/64".parse().unwrap()),
        mtu: 0,
    }
}

impl Host {
    pub(crate) fn new() -> Host {
        Host::with(settings())
    }

    pub(crate) fn with(settings: Settings) -> Host {
        let dir = tempfile::tempdir().unwrap();
        Host {
            scratch: Scratch::new().unwrap(),
            network: Network::new(settings, dir.path().display().to_string()),
            dir,
        }
    }

    /// Runs the program in the host's namespace; its output.
    pub(crate) fn sh(&self, script: &str) -> String {
        sh(&self.scratch, script)
    }

    pub(crate) fn try_pod(&self, number: u8, ports: &[Port]) -> Result<Pod, Error> {
        let id = format!("{number:02x}").repeat(32);
        let lease = self
            .scratch
            .run(|| self.network.reserve(&id, &format!("pod {number}"), ports))
            .unwrap()?;
        let pin = self.dir.path().join(format!("net-{number}"));
        Netns::create(&pin)?;
        let pod = Pod { id, pin, lease };
        self.scratch
            .run(|| self.network.attach(&pod.id, &pod.pin, &pod.lease))
            .unwrap()?;
        Ok(pod)
    }

    pub(crate) fn pod(&self, number: u8, ports: &[Port]) -> Pod {
        self.try_pod(number, ports).unwrap()
    }

    pub(crate) fn end(&self, pod: Pod) {
        self.scratch
            .run(|| self.network.detach(&pod.id, &pod.lease))
            .unwrap()
            .unwrap();
        self.network.release(&pod.id);
    }
}

impl Pod {
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        use std::os::fd::AsFd;
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let ns = std::fs::File::open(&self.pin).unwrap();
                move_into_link_name_space(ns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }

    pub(crate) fn address(&self, four: bool) -> IpAddr {
        self.lease
            .addresses()
            .find(|ip| ip.is_ipv4() == four)
            .unwrap()
    }

    /// Answers each connection with the address that it comes from.
    pub(crate) fn serve(&self, address: &str) {
        let listener = self.run(|| TcpListener::bind(address).unwrap());
        std::thread::spawn(move || {
            while let Ok((mut stream, from)) = listener.accept() {
                let _ = stream.write_all(from.ip().to_string().as_bytes());
            }
        });
    }

    pub(crate) fn serve_udp(&self, address: &str) {
        let socket = self.run(|| UdpSocket::bind(address).unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 100];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], from);
            }
        });
    }
}

pub(crate) fn sh(scratch: &Scratch, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-ec", script]);
    let output = scratch.run(|| command.output()).unwrap().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{script}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Who the other side saw.
pub(crate) fn ask(address: (IpAddr, u16)) -> std::io::Result<String> {
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from(address), Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

pub(crate) fn ask_udp(address: (IpAddr, u16)) -> std::io::Result<String> {
    let any: IpAddr = if address.0.is_ipv4() {
        [0; 4].into()
    } else {
        [0; 16].into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect(SocketAddr::from(address))?;
    socket.send(b"echo")?;
    let mut buffer = [0; 100];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

pub(crate) fn port(protocol: Protocol, host_ip: &str, host_port: u16, pod_port: u16) -> Port {
    Port {
        protocol,
        host_ip: (!host_ip.is_empty()).then(|| host_ip.parse().unwrap()),
        host_port,
        pod_port,
    }
}

pub(crate) fn tcp(host_ip: &str, host_port: u16, pod_port: u16) -> Port {
    port(Protocol::Tcp, host_ip, host_port, pod_port)
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A process that holds a namespace for `ip link … netns PID`.
pub(crate) struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The world outside: a namespace behind a pair, 192.0.2.1 and fd55::1; the host is .2 and ::2. It
/// has no route to pods.
pub(crate) fn outside(host: &Host) -> Scratch {
    let world = Scratch::new().unwrap();
    let holder = world
        .run(|| Command::new("sleep").arg("60").spawn())
        .unwrap()
        .unwrap();
    let holder = Holder(holder);
    host.sh(&format!(
        "ip link add up0 type veth peer name down0 netns {}; ip link set up0 up; \
         ip addr add 192.0.2.2/24 dev up0; ip addr add fd55::2/64 dev up0 nodad; \
         ip route add default via 192.0.2.1",
        holder.0.id()
    ));
    sh(
        &world,
        "ip link set down0 up; ip addr add 192.0.2.1/24 dev down0; ip addr add fd55::1/64 dev down0 nodad",
    );
    world
}
