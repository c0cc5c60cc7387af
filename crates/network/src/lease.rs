//! What a pod has of the host's network: its addresses, its interface, its published ports. It is
//! written to disk before it has an effect.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::Cidr;

/// All that the network has given to one pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The host's end of its pair of interfaces.
    pub interface: String,
    /// Its IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Address>,
    /// Its IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Address>,
    /// Its published ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
}

impl Lease {
    /// The pod's addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.with_subnets().map(|address| address.ip)
    }

    /// The pod's addresses with their subnets, IPv4 first.
    pub fn with_subnets(&self) -> impl Iterator<Item = Address> {
        self.ipv4.into_iter().chain(self.ipv6)
    }
}

/// An address and the subnet that it is from. As text: `10.214.0.2/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Its subnet.
    pub subnet: Cidr,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let wrong = || format!("{text:?} is not an address with the prefix of its subnet");
        let (ip, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let prefix = prefix.parse().map_err(|_| wrong())?;
        let subnet = Cidr::around(ip, prefix).ok_or_else(wrong)?;
        Ok(Address { ip, subnet })
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Address, String> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.subnet.prefix())
    }
}

/// A port of the host that leads to a port of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Transport.
    pub protocol: Protocol,
    /// Address of the host; `None`: all, of both IP versions; unspecified: all of its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ip: Option<IpAddr>,
    /// Port of the host, not 0.
    pub host_port: u16,
    /// Port of the pod, not 0.
    pub pod_port: u16,
}

/// A transport whose ports can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub(crate) fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

impl Port {
    /// Whether it is open on addresses of this IP version.
    pub(crate) fn listens_on(&self, four: bool) -> bool {
        self.host_ip.is_none_or(|ip| ip.is_ipv4() == four)
    }

    /// Whether a packet could be meant for both.
    pub fn overlaps(&self, other: &Port) -> bool {
        let any = |ip: Option<IpAddr>| ip.is_none_or(|ip| ip.is_unspecified());
        let versions = match (self.host_ip, other.host_ip) {
            (Some(a), Some(b)) => a.is_ipv4() == b.is_ipv4(),
            _ => true,
        };
        let addresses = any(self.host_ip) || any(other.host_ip) || self.host_ip == other.host_ip;
        self.protocol == other.protocol
            && self.host_port == other.host_port
            && versions
            && addresses
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        };
        match self.host_ip {
            None => write!(f, "{protocol} port {}", self.host_port),
            Some(ip) => write!(f, "{protocol} port {}", SocketAddr::new(ip, self.host_port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(ip: &str, host_port: u16) -> Port {
        Port {
            protocol: Protocol::Tcp,
            host_ip: (!ip.is_empty()).then(|| ip.parse().unwrap()),
            host_port,
            pod_port: 80,
        }
    }

    #[test]
    fn ports_overlap_when_a_packet_could_be_for_both() {
        let table = [
            ("", "", true),
            ("", "127.0.0.1", true),
            ("0.0.0.0", "10.0.0.1", true),
            ("0.0.0.0", "::1", false),
            ("::", "0.0.0.0", false),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "10.0.0.1", true),
        ];
        for (a, b, overlap) in table {
            assert_eq!(port(a, 80).overlaps(&port(b, 80)), overlap, "{a:?} {b:?}");
            assert_eq!(port(b, 80).overlaps(&port(a, 80)), overlap, "{b:?} {a:?}");
        }
        assert!(!port("", 80).overlaps(&port("", 81)));
        let udp = Port {
            protocol: Protocol::Udp,
            ..port("", 80)
        };
        assert!(!port("", 80).overlaps(&udp));
    }

    #[test]
    fn a_lease_survives_the_disk() {
        let lease = Lease {
            interface: "cf0123456789ab".to_owned(),
            ipv4: Some("10.214.0.2/16".parse().unwrap()),
            ipv6: Some("fd00::2/64".parse().unwrap()),
            ports: vec![port("", 8080), port("::1", 1)],
        };
        let text = serde_json::to_string(&lease).unwrap();
        assert!(text.contains("\"10.214.0.2/16\""), "{text}");
        assert_eq!(serde_json::from_str::<Lease>(&text).unwrap(), lease);
        for bad in [
            "10.0.0.2",
            "10.0.0.2/33",
            "10.0.0.2/x",
            "x/8",
            "10.0.0.2/32",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        assert_eq!(port("::1", 8080).to_string(), "tcp port [::1]:8080");
        assert_eq!(port("", 8080).to_string(), "tcp port 8080");
    }
}
