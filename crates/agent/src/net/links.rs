//! The interfaces of a namespace, as the kernel lists them.

use std::net::IpAddr;

use sys::netlink::message::{attributes, number, text};
use sys::netlink::socket::Socket;

use super::message::{self as wire, UP};
use super::statistics::Counters;
use crate::error::Error;

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: i32,
    pub(crate) name: String,
    pub(crate) mac: Vec<u8>,
    pub(crate) mtu: u32,
    /// `IFF_…`.
    pub(crate) flags: u32,
    /// `ARPHRD_…`.
    pub(crate) hardware: u16,
    pub(crate) counters: Counters,
}

impl Link {
    pub(super) fn is_up(&self) -> bool {
        self.flags & UP != 0
    }
}

/// All interfaces.
pub(super) fn all(socket: &Socket) -> Result<Vec<Link>, Error> {
    let found = socket.ask(wire::dump_links(), true);
    let found = found.map_err(|e| Error::io("list", "interfaces", e))?;
    Ok(found.iter().map(|body| read(body)).collect())
}

/// All addresses: interface index, address, prefix length.
pub(super) fn addresses(socket: &Socket) -> Result<Vec<(i32, IpAddr, u8)>, Error> {
    let found = socket.ask(wire::dump_addresses(), true);
    let found = found.map_err(|e| Error::io("list", "addresses", e))?;
    let read = |body: &Vec<u8>| {
        let index = number(body.get(4..)?)?.cast_signed();
        // At one end of a point-to-point link ADDRESS is the other end's, LOCAL its own.
        let of = |wanted| {
            let mut all = attributes(body.get(8..)?);
            all.find(|(kind, _)| *kind == wanted).map(|(_, data)| data)
        };
        let data = of(wire::IFA_LOCAL).or_else(|| of(wire::IFA_ADDRESS))?;
        Some((index, wire::ip(data)?, *body.get(1)?))
    };
    Ok(found.iter().filter_map(read).collect())
}

fn read(body: &[u8]) -> Link {
    let field = |at: usize| body.get(at..).and_then(number).unwrap_or(0);
    let mut link = Link {
        hardware: body
            .get(2..4)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u16::from_ne_bytes),
        index: field(4).cast_signed(),
        flags: field(8),
        ..Link::default()
    };
    for (kind, data) in attributes(body.get(16..).unwrap_or(&[])) {
        match kind {
            wire::IFLA_IFNAME => link.name = text(data),
            wire::IFLA_ADDRESS => link.mac = data.to_vec(),
            wire::IFLA_MTU => link.mtu = number(data).unwrap_or(0),
            wire::IFLA_STATS64 => link.counters = Counters::read(data),
            _ => {}
        }
    }
    link
}
