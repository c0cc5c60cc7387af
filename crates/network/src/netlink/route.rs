//! rtnetlink: interfaces, addresses and routes.
//!
//! ```text
//! ifinfomsg family u8 │ pad u8 │ type u16 │ index i32 │ flags u32 │ change u32
//! ifaddrmsg family u8 │ prefix u8 │ flags u8 │ scope u8 │ index u32
//! rtmsg     family u8 │ dst u8 │ src u8 │ tos u8 │ table u8 │ protocol u8 │ scope u8 │ type u8 │ flags u32
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;
pub(crate) use sys::netlink::route::octets;
use sys::netlink::route::{GETLINK, NEWLINK, UP, family, ip, link, set_flags};

use super::{
    message::{self, CREATE, DUMP, EXCL, Message, REPLACE, attributes, number},
    socket::Socket,
};

const DELLINK: u16 = 17;
const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const GETADDR: u16 = 22;
const NEWROUTE: u16 = 24;
const GETROUTE: u16 = 26;

const ADDRESS: u16 = 1;
const IFNAME: u16 = 3;
const MTU: u16 = 4;
const MASTER: u16 = 10;
const LINKINFO: u16 = 18;
const IFALIAS: u16 = 20;
const NET_NS_FD: u16 = 28;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const INFO_SLAVE_KIND: u16 = 4;
const INFO_SLAVE_DATA: u16 = 5;
const VETH_PEER: u16 = 1;
const BRPORT_HAIRPIN: u16 = 4;

/// A hardware address.
pub(crate) type Mac = [u8; 6];

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: i32,
    pub(crate) up: bool,
    pub(crate) name: String,
    /// "bridge", "veth" …; empty for hardware.
    pub(crate) kind: String,
    /// Index of the bridge that it is a port of, or 0.
    pub(crate) master: u32,
    pub(crate) alias: String,
    pub(crate) mtu: u32,
}

/// A unicast route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) to: IpAddr,
    pub(crate) prefix: u8,
    /// Index of the interface; 0 when it has several.
    pub(crate) interface: i32,
}

/// Sets an interface up.
pub(crate) fn set_up(index: i32) -> Message {
    set_flags(index, UP, UP)
}

/// A bridge without ports, up. Its hardware address is given: else it would change with its ports.
pub(crate) fn new_bridge(name: &str, mac: Mac, mtu: u32) -> Message {
    Message::new(NEWLINK, CREATE | EXCL, &link(0, UP, UP))
        .text(IFNAME, name)
        .attr(ADDRESS, &mac)
        .number(MTU, mtu)
        .within(LINKINFO, |m| m.text(INFO_KIND, "bridge"))
}

/// Gives an interface a note for people and for us; it cannot be given when it is made.
pub(crate) fn set_alias(name: &str, alias: &str) -> Message {
    Message::new(NEWLINK, 0, &link(0, 0, 0))
        .text(IFNAME, name)
        .attr(IFALIAS, alias.as_bytes())
}

/// One end of a pair of interfaces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: Mac,
}

/// A pair: `host` in the socket's namespace, up and a port of `bridge`; `pod` in the namespace that
/// `namespace` (a descriptor's number) names, down.
pub(crate) fn new_pair(
    host: End<'_>,
    pod: End<'_>,
    namespace: u32,
    bridge: u32,
    mtu: u32,
) -> Message {
    Message::new(NEWLINK, CREATE | EXCL, &link(0, UP, UP))
        .text(IFNAME, host.name)
        .attr(ADDRESS, &host.mac)
        .number(MTU, mtu)
        .number(MASTER, bridge)
        .within(LINKINFO, |m| {
            m.text(INFO_KIND, "veth").within(INFO_DATA, |m| {
                m.within(VETH_PEER, |m| {
                    m.raw(&link(0, 0, 0))
                        .text(IFNAME, pod.name)
                        .attr(ADDRESS, &pod.mac)
                        .number(MTU, mtu)
                        .number(NET_NS_FD, namespace)
                })
            })
        })
}

/// Makes an interface a port of a bridge.
pub(crate) fn join_bridge(name: &str, bridge: u32) -> Message {
    Message::new(NEWLINK, 0, &link(0, 0, 0))
        .text(IFNAME, name)
        .number(MASTER, bridge)
}

/// Lets a bridge send a packet out of the port that it came in by: a pod reaches its own published
/// port even where the bridge's packets go through the host's rules (`bridge-nf-call-iptables`).
pub(crate) fn hairpin(name: &str) -> Message {
    Message::new(NEWLINK, 0, &link(0, 0, 0))
        .text(IFNAME, name)
        .within(LINKINFO, |m| {
            m.text(INFO_SLAVE_KIND, "bridge")
                .within(INFO_SLAVE_DATA, |m| m.attr(BRPORT_HAIRPIN, &[1]))
        })
}

/// Deletes an interface; the other end of a pair goes with it.
pub(crate) fn delete(name: &str) -> Message {
    Message::new(DELLINK, 0, &link(0, 0, 0)).text(IFNAME, name)
}

/// Gives an interface an address, at once usable: no duplicate detection.
pub(crate) fn add_address(index: i32, address: IpAddr, prefix: u8) -> Message {
    about_address(NEWADDR, CREATE | REPLACE, index, address, prefix)
}

/// Takes an address away.
pub(crate) fn remove_address(index: i32, address: IpAddr, prefix: u8) -> Message {
    about_address(DELADDR, 0, index, address, prefix)
}

fn about_address(kind: u16, flags: u16, index: i32, address: IpAddr, prefix: u8) -> Message {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    const IFA_BROADCAST: u16 = 4;
    const NODAD: u8 = 2;
    let flag = if address.is_ipv6() { NODAD } else { 0 };
    let mut body = vec![family(address), prefix, flag, 0];
    body.extend(index.to_ne_bytes());
    let bytes = octets(address);
    let message = Message::new(kind, flags, &body)
        .attr(IFA_LOCAL, &bytes)
        .attr(IFA_ADDRESS, &bytes);
    match address {
        IpAddr::V4(four) if prefix < 31 => {
            let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            message.attr(IFA_BROADCAST, &(four.to_bits() | host).to_be_bytes())
        }
        _ => message,
    }
}

/// A default route by way of `gateway`.
pub(crate) fn add_default_route(index: i32, gateway: IpAddr) -> Message {
    const RTA_OIF: u16 = 4;
    const RTA_GATEWAY: u16 = 5;
    // main table, protocol boot, universe, unicast
    let body = [family(gateway), 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
    Message::new(NEWROUTE, CREATE | REPLACE, &body)
        .attr(RTA_GATEWAY, &octets(gateway))
        .number(RTA_OIF, index.cast_unsigned())
}

/// The interface of this name.
///
/// # Errors
/// The kernel's; an unknown name is `None`.
pub(crate) fn find_link(socket: &Socket, name: &str) -> Result<Option<Link>, Errno> {
    let message = Message::new(GETLINK, 0, &link(0, 0, 0)).text(IFNAME, name);
    match socket.ask(message, false) {
        Ok(found) => Ok(found.first().map(|body| read_link(body))),
        Err(Errno::NODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All interfaces.
///
/// # Errors
/// The kernel's.
pub(crate) fn links(socket: &Socket) -> Result<Vec<Link>, Errno> {
    let found = socket.ask(Message::new(GETLINK, DUMP, &link(0, 0, 0)), true)?;
    Ok(found.iter().map(|body| read_link(body)).collect())
}

/// The addresses of an interface, with their prefixes.
///
/// # Errors
/// The kernel's.
pub(crate) fn addresses(socket: &Socket, index: i32) -> Result<Vec<(IpAddr, u8)>, Errno> {
    let found = socket.ask(Message::new(GETADDR, DUMP, &[0; 8]), true)?;
    let read = |body: &Vec<u8>| {
        let of = number(body.get(4..)?)?.cast_signed();
        let address = attributes(body.get(8..)?).find(|(kind, _)| *kind == 1)?.1;
        (of == index).then_some((ip(address)?, *body.get(1)?))
    };
    Ok(found.iter().filter_map(read).collect())
}

/// The unicast routes of the main table, both IP versions, default routes included.
///
/// # Errors
/// The kernel's.
pub(crate) fn routes(socket: &Socket) -> Result<Vec<Route>, Errno> {
    let found = socket.ask(Message::new(GETROUTE, DUMP, &[0; 12]), true)?;
    Ok(found.iter().filter_map(|body| read_route(body)).collect())
}

fn read_route(body: &[u8]) -> Option<Route> {
    const CLONED: u32 = 0x200;
    let (table, kind, flags) = (*body.get(4)?, *body.get(7)?, number(body.get(8..)?)?);
    if table != 254 || kind != 1 || flags & CLONED != 0 {
        return None;
    }
    let mut to = match *body.first()? {
        2 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        10 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut interface = 0;
    for (kind, data) in attributes(body.get(12..)?) {
        match kind {
            1 => to = ip(data)?,
            4 => interface = number(data)?.cast_signed(),
            _ => {}
        }
    }
    Some(Route {
        to,
        prefix: body[1],
        interface,
    })
}

fn read_link(body: &[u8]) -> Link {
    let field = |at: usize| body.get(at..).and_then(number).unwrap_or(0);
    let mut link = Link {
        index: field(4).cast_signed(),
        up: field(8) & UP != 0,
        ..Link::default()
    };
    for (kind, data) in attributes(body.get(16..).unwrap_or(&[])) {
        match kind {
            IFNAME => link.name = message::text(data),
            IFALIAS => link.alias = message::text(data),
            MASTER => link.master = number(data).unwrap_or(0),
            MTU => link.mtu = number(data).unwrap_or(0),
            LINKINFO => {
                let kind = attributes(data).find(|(kind, _)| *kind == INFO_KIND);
                link.kind = kind
                    .map(|(_, data)| message::text(data))
                    .unwrap_or_default();
            }
            _ => {}
        }
    }
    link
}

/// An `ifinfomsg` for one interface: `flags` counts where `change` has a bit.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_link_request_has_the_kernels_layout() {
        let bytes = set_up(1).finish(1);
        assert_eq!(
            bytes,
            [
                32, 0, 0, 0, 16, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
                0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, // ifinfomsg
            ]
        );
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn an_address_request_has_the_kernels_layout() {
        let bytes = add_address(7, "10.1.2.3".parse().unwrap(), 16).finish(1);
        assert_eq!(
            bytes[16..],
            [
                2, 16, 0, 0, 7, 0, 0, 0, // ifaddrmsg
                8, 0, 2, 0, 10, 1, 2, 3, // IFA_LOCAL
                8, 0, 1, 0, 10, 1, 2, 3, // IFA_ADDRESS
                8, 0, 4, 0, 10, 1, 255, 255, // IFA_BROADCAST
            ]
        );
        let six = add_address(7, "fd00::2".parse().unwrap(), 64).finish(1);
        assert_eq!(six[16..20], [10, 64, 2, 0], "IFA_F_NODAD");
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = new_bridge("coffer0", [2; 6], 1400).finish(1);
        let link = read_link(&bytes[16..]);
        let alias = read_link(&set_alias("coffer0", "an alias").finish(1)[16..]).alias;
        assert_eq!(alias, "an alias");
        assert_eq!(
            (link.name.as_str(), link.kind.as_str()),
            ("coffer0", "bridge")
        );
        assert_eq!((link.mtu, link.up), (1400, true));
        assert_eq!(read_link(&[1, 2, 3]), Link::default());
        let route = add_default_route(3, "fd00::1".parse().unwrap()).finish(1);
        let route = read_route(&route[16..]).unwrap();
        assert_eq!((route.prefix, route.interface), (0, 3));
    }
}
