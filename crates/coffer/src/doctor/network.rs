//! The pods' network: the built-in network itself, with a pod and its ports, in a throw-away network
//! namespace; then what the host has to give to it.
//!
//! ```text
//! Scratch (a namespace that ends with the trial)
//!   bridge ── veth ── pin of a pod's namespace     by the same code that serves pods
//!   nftables table: masquerade, published TCP and UDP
//! host: subnets free? forwarding can be set? a default route? name servers?
//! ```

use std::{fs, io, path::Path};

use network::{Network, Port, Protocol, Scratch, Settings};

use super::{Area, Finding, Subject, Verdict, trial};

const KERNEL: &str = "the kernel needs bridge, veth and nf_tables with nat (modprobe bridge veth nf_tables \
                      nft_chain_nat nft_masq), and the daemon CAP_NET_ADMIN; or set network.mode = \"none\"";

/// Looks at the network.
pub(crate) fn look(subject: &Subject) -> Vec<Finding> {
    let mut area = Area::new("network");
    let options = match subject.said.network() {
        Ok(options) => options,
        Err(error) => {
            area.fail(
                "settings",
                error.to_string(),
                "mend the keys network.* of the configuration",
            );
            return area.done();
        }
    };
    let cri::NetworkOptions::Bridge(settings) = options else {
        area.ok("settings", "network.mode is none: pods have loopback alone");
        return area.done();
    };
    let subnets: Vec<String> = [settings.ipv4, settings.ipv6]
        .into_iter()
        .flatten()
        .map(|subnet| subnet.to_string())
        .collect();
    let said = format!("{} on bridge {}", subnets.join(", "), settings.bridge);
    area.ok("settings", said);
    area.tried("pod and ports", trial(&settings), Verdict::Fail, KERNEL);
    let owner = subject.state.display().to_string();
    let free = Network::new(settings, owner).tend();
    area.tried(
        "subnets",
        free.map(|()| "no route of this host is in their way".to_owned())
            .map_err(|error| io::Error::other(chain(&error))),
        Verdict::Fail,
        "set network.ipv4 and network.ipv6 to subnets that nobody uses here, or network.bridge to \
         another name",
    );
    forwarding(&mut area);
    routes(&mut area);
    servers(&mut area);
    area.done()
}

/// A pod with two published ports, in a namespace that goes.
fn trial(settings: &Settings) -> io::Result<String> {
    let place = trial::Place::new(&std::env::temp_dir(), "network")?;
    let scratch = Scratch::new()?;
    scratch.run(|| trial::with_mounts(|| pod(settings, place.path())))?
}

fn pod(settings: &Settings, dir: &Path) -> io::Result<String> {
    let said = |what: &'static str| {
        move |error: network::Error| io::Error::other(format!("{what}: {}", chain(&error)))
    };
    // A mount in the trial's own mount namespace: the pin goes with it.
    trial::tmpfs(dir)?;
    let network = Network::new(settings.clone(), "coffer doctor");
    let port = |protocol| Port {
        protocol,
        host_ip: None,
        host_port: 8080,
        pod_port: 80,
    };
    let ports = [port(Protocol::Tcp), port(Protocol::Udp)];
    let lease = network
        .reserve(POD, "the doctor's pod", &ports)
        .map_err(said("addresses"))?;
    let pin = dir.join("net");
    network::Netns::create(&pin).map_err(said("network namespace"))?;
    network
        .attach(POD, &pin, &lease)
        .map_err(said("bridge, veth and rules"))?;
    let addresses: Vec<String> = lease.addresses().map(|ip| ip.to_string()).collect();
    network
        .detach(POD, &lease)
        .map_err(said("taking it back"))?;
    Ok(format!(
        "bridge, veth, {} and published ports made in a namespace of their own",
        addresses.join(", ")
    ))
}

/// The id of the trial's pod.
const POD: &str = "d0c70700d0c70700d0c70700d0c70700d0c70700d0c70700d0c70700d0c70700";

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

fn forwarding(area: &mut Area) {
    let path = Path::new("/proc/sys/net/ipv4/ip_forward");
    let writable = rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    match fs::read_to_string(path) {
        Ok(text) if text.trim() == "1" => area.ok("forwarding", "on"),
        Ok(_) if writable => area.ok(
            "forwarding",
            "off; the daemon turns it on with the first pod",
        ),
        Ok(_) => area.fail(
            "forwarding",
            "off, and /proc/sys can't be written",
            "sysctl -w net.ipv4.ip_forward=1 on the host",
        ),
        Err(error) => area.tried("forwarding", Err(error), Verdict::Fail, "mount /proc"),
    }
}

fn routes(area: &mut Area) {
    let four = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let six = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let found = [
        (default_route(&four), "IPv4"),
        (default_route6(&six), "IPv6"),
    ];
    let found: Vec<String> = found
        .into_iter()
        .filter_map(|(link, version)| link.map(|link| format!("{version} by {link}")))
        .collect();
    if found.is_empty() {
        let fix = "pods reach each other and this host only; add a default route";
        area.warn("default route", "none", fix);
    } else {
        area.ok("default route", found.join(", "));
    }
}

/// `Iface Destination Gateway Flags RefCnt Use Metric Mask …`, addresses as hexadecimal numbers.
fn default_route(table: &str) -> Option<&str> {
    table.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (link, to, mask) = (fields.next()?, fields.next()?, fields.nth(5)?);
        (to == "00000000" && mask == "00000000").then_some(link)
    })
}

/// `destination prefix source prefix next-hop metric … flags interface`; the kernel's own entry that
/// refuses everything is on `lo`.
fn default_route6(table: &str) -> Option<&str> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (to, prefix, link) = (fields.first()?, fields.get(1)?, fields.last()?);
        (to.bytes().all(|b| b == b'0') && *prefix == "00" && *link != "lo").then_some(*link)
    })
}

fn servers(area: &mut Area) {
    let read = |path: &str| nameservers(&fs::read_to_string(path).unwrap_or_default());
    let check = "name servers";
    let host = read("/etc/resolv.conf");
    let outside = |all: &[String]| {
        all.iter()
            .any(|one| !one.starts_with("127.") && one != "::1")
    };
    if outside(&host) {
        area.ok(check, host.join(", "));
        return;
    }
    let behind = read("/run/systemd/resolve/resolv.conf");
    if outside(&behind) {
        area.ok(
            check,
            format!("{}, behind systemd-resolved", behind.join(", ")),
        );
        return;
    }
    let found = match host.as_slice() {
        [] => "none in /etc/resolv.conf".to_owned(),
        all => format!(
            "{}: a pod with its own network can't reach the host's loopback",
            all.join(", ")
        ),
    };
    area.warn(
        check,
        found,
        "give pods servers: `coffer run --dns`, a kubelet's clusterDNS",
    );
}

fn nameservers(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim_start().strip_prefix("nameserver"))
        .filter(|rest| rest.starts_with(char::is_whitespace))
        .filter_map(|rest| rest.split_whitespace().next().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_found_and_others_not() {
        let four = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n\
                    eth1\t000010AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\n\
                    eth0\t00000000\t010010AC\t0003\t0\t0\t0\t00000000\t0\n";
        assert_eq!(default_route(four), Some("eth0"));
        assert_eq!(
            default_route(&four.replace("eth0\t00000000", "eth0\t0000000A")),
            None
        );
        let zero = "0".repeat(32);
        let six = |link| format!("{zero} 00 {zero} 00 {zero} ffffffff 1 0 00200200       {link}\n");
        assert_eq!(default_route6(&six("eth0")), Some("eth0"));
        assert_eq!(default_route6(&six("lo")), None);
    }

    #[test]
    fn name_servers_are_read() {
        let text = "# nameserver 1.1.1.1\nsearch x\nnameserver 127.0.0.53\n nameserver  ::1 # x\n";
        assert_eq!(nameservers(text), ["127.0.0.53", "::1"]);
    }

    #[test]
    fn a_pods_network_is_made_and_nothing_of_it_stays() {
        let links = || fs::read_to_string("/proc/net/dev").unwrap();
        let settings = Settings {
            bridge: "doctor0".parse().unwrap(),
            table: "doctor0".parse().unwrap(),
            ipv4: Some("10.213.0.0/24".parse().unwrap()),
            ipv6: Some("fd00:d0c::/64".parse().unwrap()),
            mtu: 1500,
        };
        let said = trial(&settings).unwrap();
        assert!(
            said.contains("10.213.0.2") && said.contains("fd00:d0c::2"),
            "{said}"
        );
        assert!(!links().contains("doctor0"));
    }
}
