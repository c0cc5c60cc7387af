//! UpdateInterface and ListInterfaces.
//!
//! ```text
//!  find by hardware address, PCI path or name -> rename (swapping with who has the name)
//!      -> hardware address, MTU -> addresses that are not wanted go -> addresses come -> flags, up
//! ```
//! An interface is set down only for what needs it: a second, equal call disturbs no traffic.

use std::net::IpAddr;

use rustix::io::Errno;
use sys::netlink::message::Message;
use sys::netlink::socket::Socket;

use super::links::{self, Link};
use super::message::{self as wire, NOARP, UP};
use super::{Access, socket, within};
use crate::agent::Agent;
use crate::device::{find, pci};
use crate::error::Error;

/// How an interface is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Its name now, for one that has neither a hardware address nor a PCI path.
    pub(crate) device: String,
    /// Its name then; empty: as it is.
    pub(crate) name: String,
    /// All its addresses; none: they stay as they are.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    /// 0: as it is.
    pub(crate) mtu: u32,
    pub(crate) mac: Vec<u8>,
    pub(crate) pci: Option<pci::Path>,
    pub(crate) noarp: bool,
}

/// An interface and its addresses.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) link: Link,
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    /// "loopback", "ether" …: the kernel's own words.
    pub(crate) kind: &'static str,
}

/// All interfaces with their addresses. Blocks.
pub(crate) fn list(agent: &Agent) -> Result<Vec<Listed>, Error> {
    within(agent, Access::Look, || {
        let socket = socket()?;
        let addresses = links::addresses(&socket)?;
        let listed = links::all(&socket)?.into_iter().map(|link| {
            let own = addresses.iter().filter(|(index, ..)| *index == link.index);
            Listed {
                addresses: own.map(|(_, ip, prefix)| (*ip, *prefix)).collect(),
                kind: kind(link.hardware),
                link,
            }
        });
        Ok(listed.collect())
    })
}

fn kind(hardware: u16) -> &'static str {
    match hardware {
        1 => "ether",
        772 => "loopback",
        768 | 769 | 776 | 778 | 823 => "tunnel",
        65534 => "none",
        _ => "",
    }
}

/// Makes an interface be as wanted. Blocks, until a hot-plugged one has appeared or the limit.
///
/// # Errors
/// NOT_FOUND, or the kernel's reason for a step; the steps before it have had their effect.
pub(crate) fn update(agent: &Agent, wanted: &Interface) -> Result<(), Error> {
    within(agent, Access::Change, || {
        let plugged = match &wanted.pci {
            Some(path) => Some(find::pci_interface(&agent.machine, path)?),
            None => None,
        };
        let socket = socket()?;
        let links = links::all(&socket)?;
        let link = choose(&links, wanted, plugged.as_deref())?;
        let step = |act: &'static str, messages: Vec<Message>| {
            let done = socket.request(messages);
            done.map_err(|e| Error::io(act, format!("interface {}", link.name), e))
        };
        sys::failpoint!("agent.interface.before");
        let mut down = false;
        if !wanted.name.is_empty() && link.name != wanted.name {
            rename(&socket, &links, link, &wanted.name)?;
            down = true;
        }
        if !wanted.mac.is_empty() && link.mac != wanted.mac {
            // A NIC that the guest's own driver took over may have another address than promised.
            step("set down", vec![wire::set_flags(link.index, 0, UP)])?;
            step(
                "set the hardware address of",
                vec![wire::set_mac(link.index, &wanted.mac)],
            )?;
            down = true;
        }
        if wanted.mtu != 0 && link.mtu != wanted.mtu {
            step(
                "set the MTU of",
                vec![wire::set_mtu(link.index, wanted.mtu)],
            )?;
        }
        sys::failpoint!("agent.interface.renamed");
        addresses(&socket, link, &wanted.addresses)?;
        let noarp = if wanted.noarp { NOARP } else { 0 };
        if down || !link.is_up() || link.flags & NOARP != noarp {
            step(
                "set up",
                vec![wire::set_flags(link.index, UP | noarp, UP | NOARP)],
            )?;
        }
        Ok(())
    })
}

/// The interface that is meant.
fn choose<'a>(
    links: &'a [Link],
    wanted: &Interface,
    plugged: Option<&str>,
) -> Result<&'a Link, Error> {
    let named = |name: &str| links.iter().find(|link| link.name == name);
    if let Some(link) = plugged.and_then(named) {
        return Ok(link);
    }
    if !wanted.mac.is_empty() {
        let mut same = links.iter().filter(|link| link.mac == wanted.mac);
        // Bridges and VLANs share the address of what they stand on: the name decides among those.
        let by_name = same
            .clone()
            .find(|link| [&wanted.device, &wanted.name].contains(&&link.name));
        if let Some(link) = by_name.or_else(|| same.next()) {
            return Ok(link);
        }
        let mac: Vec<_> = wanted.mac.iter().map(|b| format!("{b:02x}")).collect();
        return Err(Error::NoInterface(mac.join(":")));
    }
    let name = match wanted.device.is_empty() {
        true => &wanted.name,
        false => &wanted.device,
    };
    named(name).ok_or_else(|| Error::NoInterface(name.clone()))
}

/// Renames, and gives who has that name ours.
fn rename(socket: &Socket, links: &[Link], link: &Link, name: &str) -> Result<(), Error> {
    let step = |of: &Link, messages: Vec<Message>| {
        let done = socket.request(messages);
        let what = format!("interface {} to {name}", of.name);
        done.map_err(|e| Error::io("rename", what, e))
    };
    let other = links.iter().find(|l| l.name == name);
    // Named by its number: nobody else has this one.
    let between = format!("swap{}", link.index);
    let down = |of: &Link| wire::set_flags(of.index, 0, UP);
    if let Some(other) = other {
        step(
            other,
            vec![down(other), wire::rename(other.index, &between)],
        )?;
    }
    let renamed = step(link, vec![down(link), wire::rename(link.index, name)]);
    let Some(other) = other else { return renamed };
    let others = match renamed {
        Ok(()) => link.name.as_str(),
        Err(_) => name,
    };
    let mut back = vec![wire::rename(other.index, others)];
    if other.is_up() {
        back.push(wire::set_flags(other.index, UP, UP));
    }
    step(other, back)?;
    renamed
}

/// Gives an interface its addresses. Those that the kernel gave itself (fe80::) stay.
fn addresses(socket: &Socket, link: &Link, wanted: &[(IpAddr, u8)]) -> Result<(), Error> {
    if wanted.is_empty() {
        return Ok(());
    }
    let link_local = |ip: &IpAddr| matches!(ip, IpAddr::V6(six) if six.is_unicast_link_local());
    let failed = |act, ip, prefix, e: Errno| {
        Error::io(
            act,
            format!("address {ip}/{prefix} of interface {}", link.name),
            e,
        )
    };
    let now = links::addresses(socket)?;
    let now: Vec<_> = now
        .iter()
        .filter(|(index, ..)| *index == link.index)
        .collect();
    // First those that go: with the first address of a network its further ones go too.
    for (_, ip, prefix) in &now {
        if !link_local(ip) && !wanted.contains(&(*ip, *prefix)) {
            match socket.request(vec![wire::remove_address(link.index, *ip, *prefix)]) {
                Ok(()) | Err(Errno::ADDRNOTAVAIL) => {}
                Err(e) => return Err(failed("remove", ip, prefix, e)),
            }
        }
    }
    for (ip, prefix) in wanted {
        match socket.request(vec![wire::add_address(link.index, *ip, *prefix)]) {
            Ok(()) => {}
            Err(Errno::ACCESS) if ip.is_ipv6() => {
                log::warn!("IPv6 is disabled on {}: it does not get {ip}", link.name);
            }
            Err(e) => return Err(failed("add", ip, prefix, e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: i32, name: &str, mac: &[u8]) -> Link {
        Link {
            index,
            name: name.into(),
            mac: mac.to_vec(),
            ..Link::default()
        }
    }

    #[test]
    fn an_interface_is_found_by_what_says_most() {
        let links = [
            link(1, "lo", &[0; 6]),
            link(2, "eth0", &[2; 6]),
            link(3, "br0", &[2; 6]),
            link(4, "eth1", &[4; 6]),
        ];
        let of = |device: &str, name: &str, mac: &[u8], plugged: Option<&str>| {
            let wanted = Interface {
                device: device.into(),
                name: name.into(),
                mac: mac.to_vec(),
                ..Interface::default()
            };
            choose(&links, &wanted, plugged).map(|link| link.index).ok()
        };
        assert_eq!(of("", "net1", &[2; 6], None), Some(2));
        assert_eq!(of("br0", "net1", &[2; 6], None), Some(3));
        assert_eq!(of("", "net1", &[2; 6], Some("eth1")), Some(4));
        assert_eq!(of("eth1", "net1", &[], None), Some(4));
        assert_eq!(of("", "eth1", &[], None), Some(4));
        assert_eq!(of("eth0", "eth0", &[9; 6], None), None);
        assert_eq!(of("", "", &[], None), None);
    }
}
