//! What all rtnetlink messages are made of (`rtnetlink(7)`).
//!
//! ```text
//! ifinfomsg family u8 │ pad u8 │ type u16 │ index i32 │ flags u32 │ change u32
//! ```

use std::net::IpAddr;

use super::message::Message;

/// `RTM_NEWLINK`: make an interface, or change one.
pub const NEWLINK: u16 = 16;
/// `RTM_GETLINK`.
pub const GETLINK: u16 = 18;
/// `IFF_UP`.
pub const UP: u32 = 1;
/// The index of loopback: the kernel makes it first in every network namespace.
pub const LOOPBACK: i32 = 1;

/// `ifinfomsg`: of the flags those that `change` names count.
pub fn link(index: i32, flags: u32, change: u32) -> [u8; 16] {
    let mut body = [0; 16];
    body[4..8].copy_from_slice(&index.to_ne_bytes());
    body[8..12].copy_from_slice(&flags.to_ne_bytes());
    body[12..16].copy_from_slice(&change.to_ne_bytes());
    body
}

/// Sets those flags of an interface that `change` names.
pub fn set_flags(index: i32, flags: u32, change: u32) -> Message {
    Message::new(NEWLINK, 0, &link(index, flags, change))
}

/// `AF_INET` or `AF_INET6`.
pub fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 2 } else { 10 }
}

/// An address for the wire.
pub fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// An address as the wire has it.
pub fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
