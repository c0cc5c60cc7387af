//! A pod's pair of interfaces.
//!
//! ```text
//! host's namespace                       pod's namespace
//! coffer0 ── cf<12 digits of the id> ═══ eth0   10.214.0.2/16, fd00:…::2/64, default routes
//! ```
//! The pair is made whole by one message, its far end in the pod's namespace from the beginning. The
//! hardware address follows from the IP address, so that a neighbour's memory of an address that was
//! given out anew is right.

use std::{net::IpAddr, os::fd::AsRawFd, path::Path};

use rustix::io::Errno;

use crate::{
    Error, Lease,
    bridge::Bridge,
    netlink::{
        route::{self, End, Mac},
        socket::Socket,
    },
    sysctl, within,
};

/// The interface's name in every pod.
pub(crate) const IN_POD: &str = "eth0";
const PREFIX: &str = "cf";
const DIGITS: usize = 12;

/// The name of the host's end for a pod.
pub(crate) fn name(pod: &str) -> String {
    let digits: String = pod.chars().take(DIGITS).collect();
    format!("{PREFIX}{digits}")
}

/// Whether a name is one of ours.
pub(crate) fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.len() == DIGITS && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Makes the pair and sets the pod's end up. Blocks for about a millisecond.
///
/// # Errors
/// The kernel's; part of it may be there then, and [`delete`] takes it away.
pub(crate) fn create(
    socket: &Socket,
    pin: &Path,
    bridge: Bridge,
    lease: &Lease,
) -> Result<(), Error> {
    let entered = within::open(pin).and_then(|namespace| {
        within::within(&namespace, || {
            inside(socket, namespace.as_raw_fd(), bridge, lease)
        })
    });
    entered.unwrap_or_else(|source| {
        let act = format!("enter the network namespace {}", pin.display());
        Err(Error::Kernel { act, source })
    })
}

/// Runs in the pod's namespace; `socket` is the host's.
fn inside(socket: &Socket, namespace: i32, bridge: Bridge, lease: &Lease) -> Result<(), Error> {
    sysctl::pod()?;
    sys::failpoint!("network.veth.before", |text| Error::Kernel {
        act: format!("create {}", lease.interface),
        source: std::io::Error::other(text),
    });
    let act = || format!("create {} for the pod", lease.interface);
    match pair(socket, namespace, bridge, lease) {
        // Of a pod with the same beginning of its id that was cut off; ids are random.
        Err(Errno::EXIST) => {
            delete(socket, &lease.interface)?;
            pair(socket, namespace, bridge, lease).map_err(Error::kernel(act()))?;
        }
        made => made.map_err(Error::kernel(act()))?,
    }
    sys::failpoint!("network.veth.after", |text| Error::Kernel {
        act: format!("set up {IN_POD} in the pod"),
        source: std::io::Error::other(text),
    });
    address(lease).map_err(Error::kernel(format!("set up {IN_POD} in the pod")))
}

fn pair(socket: &Socket, namespace: i32, bridge: Bridge, lease: &Lease) -> Result<(), Errno> {
    let mac = mac(lease);
    let mut host_mac = mac;
    host_mac[0] = 0x0e;
    let host = End {
        name: &lease.interface,
        mac: host_mac,
    };
    let pod = End { name: IN_POD, mac };
    socket.request(vec![
        route::new_pair(
            host,
            pod,
            namespace.cast_unsigned(),
            bridge.index.cast_unsigned(),
            bridge.mtu,
        ),
        route::hairpin(&lease.interface),
    ])
}

/// Sets the pod's end up, with addresses and default routes, in the calling thread's namespace.
fn address(lease: &Lease) -> Result<(), Errno> {
    let socket = Socket::route()?;
    let link = route::find_link(&socket, IN_POD)?.ok_or(Errno::NODEV)?;
    let mut messages = vec![route::set_up(link.index)];
    for address in lease.with_subnets() {
        let (ip, prefix) = (address.ip, address.subnet.prefix());
        messages.push(route::add_address(link.index, ip, prefix));
        messages.push(route::add_default_route(
            link.index,
            address.subnet.gateway(),
        ));
    }
    socket.request(messages)
}

/// Deletes a pair by the name of its host's end; none is success.
///
/// # Errors
/// The kernel's.
pub(crate) fn delete(socket: &Socket, name: &str) -> Result<(), Error> {
    match socket.request(vec![route::delete(name)]) {
        Ok(()) | Err(Errno::NODEV) => Ok(()),
        Err(error) => Err(Error::kernel(format!("delete {name}"))(error)),
    }
}

/// A locally administered address from the pod's IP address.
fn mac(lease: &Lease) -> Mac {
    let mut mac = [0x0a, 0x58, 0, 0, 0, 0];
    match lease.addresses().next() {
        Some(IpAddr::V4(ip)) => mac[2..].copy_from_slice(&ip.octets()),
        Some(IpAddr::V6(ip)) => mac[2..].copy_from_slice(&ip.octets()[12..]),
        None => {}
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_are_known_again() {
        let name = name(&"0123456789abcdef".repeat(4));
        assert_eq!(name, "cf0123456789ab");
        assert!(is_name(&name) && name.len() <= 15);
        for other in ["cf", "cf0", "cfg123456789ab", "coffer0", "cf0123456789abc"] {
            assert!(!is_name(other), "{other}");
        }
    }
}
