//! rtnetlink messages.
//!
//! ```text
//! ifaddrmsg family u8 │ prefix u8 │ flags u8 │ scope u8 │ index u32
//! rtmsg     family u8 │ dst u8 │ src u8 │ tos u8 │ table u8 │ protocol u8 │ scope u8 │ type u8 │ flags u32
//! ndmsg     family u8 │ pad u8 │ pad u16 │ index i32 │ state u16 │ flags u8 │ type u8
//! ```

use std::net::IpAddr;

use sys::netlink::message::{CREATE, DUMP, Message, REPLACE};
use sys::netlink::route::{GETLINK, NEWLINK, family, link, octets};
pub(super) use sys::netlink::route::{UP, ip, set_flags};

use super::neighbour::Neighbour;
use super::route::Route;

/// `IFF_NOARP`.
pub(super) const NOARP: u32 = 0x80;
/// `RT_TABLE_MAIN`.
pub(super) const MAIN: u8 = 254;
/// `RTN_UNICAST`.
pub(super) const UNICAST: u8 = 1;

pub(super) const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_STATS64: u16 = 23;
pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_SRC: u16 = 2;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const RTA_PREFSRC: u16 = 7;
pub(super) const RTA_METRICS: u16 = 8;
pub(super) const RTA_TABLE: u16 = 15;
pub(super) const RTAX_MTU: u16 = 2;

/// All interfaces.
pub(super) fn dump_links() -> Message {
    Message::new(GETLINK, DUMP, &link(0, 0, 0))
}

/// All addresses.
pub(super) fn dump_addresses() -> Message {
    Message::new(22, DUMP, &[0; 8])
}

/// All routes, of both IP versions.
pub(super) fn dump_routes() -> Message {
    Message::new(26, DUMP, &[0; 12])
}

pub(super) fn rename(index: i32, name: &str) -> Message {
    Message::new(NEWLINK, 0, &link(index, 0, 0)).text(IFLA_IFNAME, name)
}

pub(super) fn set_mtu(index: i32, mtu: u32) -> Message {
    Message::new(NEWLINK, 0, &link(index, 0, 0)).number(IFLA_MTU, mtu)
}

pub(super) fn set_mac(index: i32, mac: &[u8]) -> Message {
    Message::new(NEWLINK, 0, &link(index, 0, 0)).attr(IFLA_ADDRESS, mac)
}

/// Gives an interface an address, at once usable: no duplicate detection.
pub(super) fn add_address(index: i32, ip: IpAddr, prefix: u8) -> Message {
    about_address(20, CREATE | REPLACE, index, ip, prefix)
}

pub(super) fn remove_address(index: i32, ip: IpAddr, prefix: u8) -> Message {
    about_address(21, 0, index, ip, prefix)
}

fn about_address(kind: u16, flags: u16, index: i32, ip: IpAddr, prefix: u8) -> Message {
    const NODAD: u8 = 2;
    let mut body = vec![family(ip), prefix, if ip.is_ipv6() { NODAD } else { 0 }, 0];
    body.extend(index.to_ne_bytes());
    let bytes = octets(ip);
    let message = Message::new(kind, flags, &body)
        .attr(IFA_LOCAL, &bytes)
        .attr(IFA_ADDRESS, &bytes);
    match ip {
        IpAddr::V4(four) if prefix < 31 => {
            let host = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
            message.attr(IFA_BROADCAST, &(four.to_bits() | host).to_be_bytes())
        }
        _ => message,
    }
}

/// Makes a route of the main table, or replaces the one to the same destination.
pub(super) fn set_route(route: &Route, index: i32) -> Message {
    const BOOT: u8 = 3;
    let source_prefix = route.source.and_then(|(_, prefix)| prefix).unwrap_or(0);
    let mut body = vec![
        if route.v6 { 10 } else { 2 },
        route.to.map_or(0, |(_, prefix)| prefix),
        source_prefix,
        0,
        MAIN,
        BOOT,
        route.scope,
        UNICAST,
    ];
    body.extend(route.flags.to_ne_bytes());
    let mut message =
        Message::new(24, CREATE | REPLACE, &body).number(RTA_OIF, index.cast_unsigned());
    if let Some((to, _)) = route.to {
        message = message.attr(RTA_DST, &octets(to));
    }
    if let Some(gateway) = route.gateway {
        message = message.attr(RTA_GATEWAY, &octets(gateway));
    }
    match route.source {
        Some((ip, Some(1..))) => message = message.attr(RTA_SRC, &octets(ip)),
        Some((ip, _)) => message = message.attr(RTA_PREFSRC, &octets(ip)),
        None => {}
    }
    match route.mtu {
        0 => message,
        mtu => message.within(RTA_METRICS, |m| m.number(RTAX_MTU, mtu)),
    }
}

/// Makes or replaces an entry of the neighbour table.
pub(super) fn set_neighbour(neighbour: &Neighbour, index: i32) -> Message {
    const NDA_DST: u16 = 1;
    const NDA_LLADDR: u16 = 2;
    let mut body = vec![family(neighbour.ip), 0, 0, 0];
    body.extend(index.to_ne_bytes());
    body.extend(neighbour.state.to_ne_bytes());
    body.extend([neighbour.flags, 0]);
    let message = Message::new(28, CREATE | REPLACE, &body).attr(NDA_DST, &octets(neighbour.ip));
    match &neighbour.mac {
        Some(mac) => message.attr(NDA_LLADDR, mac),
        None => message,
    }
}
