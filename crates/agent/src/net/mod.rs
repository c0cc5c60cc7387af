//! The pod's network, as the AgentService configures it: by netlink, in the network namespace of the
//! pod, or the agent's own where the pod has none. The node's own network is shown, never changed.
//!
//! Addresses that a container sees are this namespace's; who routes to it from outside is not the
//! agent's business.

pub(crate) mod interface;
pub(crate) mod iptables;
mod links;
mod message;
pub(crate) mod neighbour;
pub(crate) mod route;
pub(crate) mod statistics;

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sys::netlink::socket::Socket;

use crate::agent::{Agent, Pod};
use crate::error::Error;

/// Whether a call only looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Look,
    Change,
}

/// Runs `work` on a thread that is in the pod's network namespace. Blocks.
///
/// # Errors
/// FAILED_PRECONDITION for a change where the namespace is the node's.
pub(crate) fn within<T: Send>(
    agent: &Agent,
    access: Access,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let pod = agent.pod();
    if access == Access::Change && is_the_nodes(agent, pod.as_ref())? {
        let why = "the network is the node's own: it is not changed for a pod";
        return Err(Error::Precondition(why.into()));
    }
    let Some(net) = pod.as_ref().and_then(|p| p.namespaces.net.as_ref()) else {
        return work();
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("in-netns".into())
            .stack_size(256 * 1024);
        let started = thread.spawn_scoped(scope, || {
            move_into_link_name_space(net.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|e| Error::io("enter", "the pod's network namespace", e))?;
            work()
        });
        let started = started.map_err(|e| Error::io("start", "a thread for the network", e))?;
        let died = |_| Err(Error::Internal("the thread for the network died".into()));
        started.join().unwrap_or_else(died)
    })
}

/// Whether the pod has no network namespace of its own.
fn is_the_nodes(agent: &Agent, pod: Option<&Arc<Pod>>) -> Result<bool, Error> {
    let failed = |e: std::io::Error| Error::io("look at", "the network namespace", e);
    let of = |path: &str| std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
    let own = match pod.and_then(|p| p.namespaces.net.as_ref()) {
        Some(fd) => {
            let stat = rustix::fs::fstat(fd).map_err(|e| failed(e.into()))?;
            (stat.st_dev, stat.st_ino)
        }
        None => of("/proc/self/ns/net").map_err(failed)?,
    };
    Ok(agent.machine.is_node_network(own))
}

fn socket() -> Result<Socket, Error> {
    Socket::route().map_err(|e| Error::io("open", "a netlink socket", e))
}

/// Reads an address.
pub(crate) fn address(text: &str) -> Result<IpAddr, Error> {
    text.parse()
        .map_err(|_| Error::invalid(format!("address {text:?}"), "not an IP address"))
}

/// Reads `address/prefix`; without a prefix it is None.
pub(crate) fn network(text: &str) -> Result<(IpAddr, Option<u8>), Error> {
    let Some((ip, prefix)) = text.split_once('/') else {
        return Ok((address(text)?, None));
    };
    let ip = address(ip)?;
    Ok((ip, Some(self::prefix(ip, prefix)?)))
}

/// Reads a prefix length, or the IPv4 mask that means one.
pub(crate) fn prefix(ip: IpAddr, text: &str) -> Result<u8, Error> {
    let wrong = |why| Error::invalid(format!("network mask {text:?}"), why);
    let max = if ip.is_ipv4() { 32 } else { 128 };
    if let Ok(mask) = text.parse::<std::net::Ipv4Addr>()
        && ip.is_ipv4()
    {
        let bits = mask.to_bits();
        return match bits.leading_ones() == bits.count_ones() {
            true => Ok(u8::try_from(bits.count_ones()).unwrap_or(32)),
            false => Err(wrong("its ones are not all in front")),
        };
    }
    match text.parse::<u8>() {
        Ok(prefix) if prefix <= max => Ok(prefix),
        _ => Err(wrong("not the length of a prefix")),
    }
}

/// Reads a hardware address: pairs of hexadecimal digits with colons or dashes between.
pub(crate) fn mac(text: &str) -> Result<Vec<u8>, Error> {
    let wrong = || Error::invalid(format!("hardware address {text:?}"), "not pairs of digits");
    let digits = |pair: &str| pair.bytes().all(|b| b.is_ascii_hexdigit());
    let pair = |pair: &str| match pair.len() {
        2 if digits(pair) => u8::from_str_radix(pair, 16).map_err(|_| wrong()),
        _ => Err(wrong()),
    };
    text.split([':', '-']).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_lengths_or_dotted() {
        let four: IpAddr = "10.0.0.1".parse().unwrap();
        let six: IpAddr = "fd00::1".parse().unwrap();
        for (ip, text, expected) in [
            (four, "24", Some(24)),
            (four, "255.255.240.0", Some(20)),
            (four, "0", Some(0)),
            (four, "0.0.0.0", Some(0)),
            (four, "33", None),
            (four, "255.0.255.0", None),
            (six, "64", Some(64)),
            (six, "129", None),
            (six, "255.255.255.0", None),
            (six, "", None),
        ] {
            assert_eq!(prefix(ip, text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn hardware_addresses_are_read_whole() {
        assert_eq!(mac("02:aB:00-ff").unwrap(), [2, 0xab, 0, 0xff]);
        for wrong in ["", "2:3", "02:zz", "0203", "02::03", "+2:03"] {
            assert!(mac(wrong).is_err(), "{wrong}");
        }
        assert_eq!(network("fd00::/8").unwrap().1, Some(8));
        assert_eq!(network("fd00::").unwrap().1, None);
    }
}
