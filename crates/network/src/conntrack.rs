//! Flows of UDP that the kernel remembers.
//!
//! ```text
//! client:4000 ─► host:5353   first datagram: the rules say pod A:53, and conntrack keeps it
//! client:4000 ─► host:5353   later ones:     no rule is looked at, for as long as they keep coming
//! ```
//! A client that goes on asking from one port would so be sent to a pod that is gone, or past a pod
//! that has just published the port. TCP has no such trouble: its connections end. So what the
//! kernel remembers about a pod's published UDP ports goes when they come and when they go.

use std::net::IpAddr;

use rustix::io::Errno;

use crate::{
    lease::{Lease, Protocol},
    netlink::{
        message::{Message, attributes},
        route::octets,
        socket::Socket,
    },
};

/// `NFNL_SUBSYS_CTNETLINK`, as the upper byte of a message's type.
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = 1;
const DELETE: u16 = 2;

/// Attributes of a flow (`enum ctattr_type`).
mod flow {
    pub(super) const ORIGINAL: u16 = 1;
    pub(super) const REPLY: u16 = 2;
    pub(super) const FILTER: u16 = 25;
}

/// Attributes of one direction: `CTA_TUPLE_IP`, `CTA_TUPLE_PROTO` and what is in them.
mod tuple {
    pub(super) const IP: u16 = 1;
    pub(super) const PROTO: u16 = 2;
    pub(super) const V4_SOURCE: u16 = 1;
    pub(super) const V6_SOURCE: u16 = 3;
    pub(super) const PROTOCOL: u16 = 1;
    pub(super) const TO_PORT: u16 = 3;
}

/// `CTA_FILTER_ORIG_FLAGS`, and the flag for the protocol's number.
const BY_ORIGINAL: u16 = 1;
const BY_PROTOCOL: u32 = 1 << 3;

/// Makes the kernel forget the flows to and from a pod's published UDP ports.
///
/// # Errors
/// The kernel's: EOPNOTSUPP or EINVAL when it has no ctnetlink.
pub(crate) fn forget(lease: &Lease) -> Result<(), Errno> {
    let udp = lease
        .ports
        .iter()
        .filter(|port| port.protocol == Protocol::Udp);
    let ports: Vec<u16> = udp.map(|port| port.host_port).collect();
    if ports.is_empty() {
        return Ok(());
    }
    let socket = Socket::netfilter()?;
    for address in lease.addresses() {
        let family = match address {
            IpAddr::V4(_) => 2,
            IpAddr::V6(_) => 10,
        };
        for flow in socket.ask(udp_flows(family), true)? {
            let Some(original) = concerned(&flow, address, &ports) else {
                continue;
            };
            match socket.request(vec![delete(family, original)]) {
                // It has just ended by itself.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Asks for all flows of UDP. A kernel before 5.8 knows no filter and tells all.
fn udp_flows(family: u8) -> Message {
    Message::new(
        SUBSYSTEM | GET,
        crate::netlink::message::DUMP,
        &[family, 0, 0, 0],
    )
    .nest(flow::ORIGINAL, |m| {
        m.nest(tuple::PROTO, |m| {
            m.attr(tuple::PROTOCOL, &[Protocol::Udp.number()])
        })
    })
    .nest(flow::FILTER, |m| m.number(BY_ORIGINAL, BY_PROTOCOL))
}

fn delete(family: u8, original: &[u8]) -> Message {
    Message::new(SUBSYSTEM | DELETE, 0, &[family, 0, 0, 0])
        .nest(flow::ORIGINAL, |m| m.raw(original))
}

/// What tells a flow from others, if it is UDP and was answered by `pod` or sent to one of `ports`.
fn concerned<'a>(message: &'a [u8], pod: IpAddr, ports: &[u16]) -> Option<&'a [u8]> {
    let all = message.get(4..)?;
    let (original, reply) = (find(all, flow::ORIGINAL)?, find(all, flow::REPLY)?);
    let proto = find(original, tuple::PROTO)?;
    if find(proto, tuple::PROTOCOL)? != [Protocol::Udp.number()] {
        return None;
    }
    let to = find(proto, tuple::TO_PORT)?.try_into().ok()?;
    let source = find(reply, tuple::IP).and_then(|ip| {
        let kind = match pod {
            IpAddr::V4(_) => tuple::V4_SOURCE,
            IpAddr::V6(_) => tuple::V6_SOURCE,
        };
        find(ip, kind)
    });
    let answered = source == Some(octets(pod).as_slice());
    (answered || ports.contains(&u16::from_be_bytes(to))).then_some(original)
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(kind, _)| *kind == wanted)
        .map(|(_, data)| data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(protocol: u8, to: u16, answers: IpAddr) -> Vec<u8> {
        let kind = if answers.is_ipv4() { 1 } else { 3 };
        let message = Message::new(0, 0, &[2, 0, 0, 0])
            .nest(flow::ORIGINAL, |m| {
                m.nest(tuple::IP, |m| m.attr(1, &[192, 0, 2, 1]))
                    .nest(tuple::PROTO, |m| {
                        m.attr(1, &[protocol])
                            .attr(2, &[0x10, 0])
                            .attr(3, &to.to_be_bytes())
                    })
            })
            .nest(flow::REPLY, |m| {
                m.nest(tuple::IP, |m| m.attr(kind, &octets(answers)))
            });
        message.finish(1).split_off(16)
    }

    #[test]
    fn flows_of_a_pod_or_a_port_are_meant_and_no_others() {
        let pod: IpAddr = [10, 0, 0, 2].into();
        let other: IpAddr = [10, 0, 0, 3].into();
        let six: IpAddr = "fd00::2".parse().unwrap();
        for (protocol, to, answers, asked, meant) in [
            (17, 9, pod, pod, true),
            (17, 5353, other, pod, true),
            (17, 9, other, pod, false),
            (6, 5353, pod, pod, false),
            (17, 9, six, six, true),
            (17, 9, six, pod, false),
        ] {
            let message = message(protocol, to, answers);
            let found = concerned(&message, asked, &[53, 5353]);
            assert_eq!(found.is_some(), meant, "{protocol} {to} {answers} {asked}");
        }
        assert_eq!(concerned(&[2, 0, 0, 0, 9], pod, &[1]), None);
        assert_eq!(concerned(&[], pod, &[1]), None);
    }
}
