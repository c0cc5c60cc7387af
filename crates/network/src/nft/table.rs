//! What the table is, as messages.

use std::net::IpAddr;

use crate::{
    lease::{Lease, Protocol},
    netlink::{
        message::{APPEND, CREATE, Message},
        route::octets,
    },
};

use super::{
    SUBSYSTEM,
    expr::{Meta, REG, Rule, Version},
};

const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;
/// `nfgenmsg` of family inet.
const INET: [u8; 4] = [1, 0, 0, 0];
/// Elements in one message: a list's attribute has a length of 16 bits.
const CHUNK: usize = 400;

const DROP: i32 = 0;
const JUMP: i32 = -3;
const RETURN: i32 = -5;

/// A set or map of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Set {
    Pods4,
    Pods6,
    Any4,
    Any6,
    On4,
    On6,
}

/// Types of keys and data, as `nft list` shows them; the kernel looks at lengths only.
mod kind {
    pub(super) const IPV4: u32 = 7;
    pub(super) const IPV6: u32 = 8;
    pub(super) const PROTOCOL: u32 = 12;
    pub(super) const SERVICE: u32 = 13;

    /// Several fields after each other.
    pub(super) fn of(fields: &[u32]) -> u32 {
        fields.iter().fold(0, |all, field| (all << 6) | field)
    }
}

impl Set {
    const ALL: [Set; 6] = [
        Set::Pods4,
        Set::Pods6,
        Set::Any4,
        Set::Any6,
        Set::On4,
        Set::On6,
    ];

    fn name(self) -> &'static str {
        match self {
            Set::Pods4 => "pods4",
            Set::Pods6 => "pods6",
            Set::Any4 => "any4",
            Set::Any6 => "any6",
            Set::On4 => "on4",
            Set::On6 => "on6",
        }
    }

    /// Type and length of the key, and of the data of a map.
    fn shape(self) -> ((u32, u32), Option<(u32, u32)>) {
        use kind::{IPV4, IPV6, PROTOCOL, SERVICE, of};
        let to4 = Some((of(&[IPV4, SERVICE]), 8));
        let to6 = Some((of(&[IPV6, SERVICE]), 20));
        match self {
            Set::Pods4 => ((IPV4, 4), None),
            Set::Pods6 => ((IPV6, 16), None),
            Set::Any4 => ((of(&[PROTOCOL, SERVICE]), 8), to4),
            Set::Any6 => ((of(&[PROTOCOL, SERVICE]), 8), to6),
            Set::On4 => ((of(&[IPV4, PROTOCOL, SERVICE]), 12), to4),
            Set::On6 => ((of(&[IPV6, PROTOCOL, SERVICE]), 24), to6),
        }
    }

    fn number(self) -> u32 {
        // Positions in ALL, from 1: an id within a batch must not be 0.
        self as u32 + 1
    }
}

/// One entry of a set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    set: Set,
    key: Vec<u8>,
    data: Vec<u8>,
}

impl Element {
    /// All that a pod needs in the table.
    pub(crate) fn of(lease: &Lease) -> Vec<Element> {
        let mut elements: Vec<Element> = lease
            .addresses()
            .map(|address| Element {
                set: if address.is_ipv4() {
                    Set::Pods4
                } else {
                    Set::Pods6
                },
                key: octets(address),
                data: Vec::new(),
            })
            .collect();
        for port in &lease.ports {
            for to in lease.addresses() {
                if port.listens_on(to.is_ipv4()) {
                    elements.push(Element {
                        set: match (to.is_ipv4(), port.host_ip) {
                            (true, None) => Set::Any4,
                            (false, None) => Set::Any6,
                            (true, Some(ip)) if ip.is_unspecified() => Set::Any4,
                            (false, Some(ip)) if ip.is_unspecified() => Set::Any6,
                            (true, Some(_)) => Set::On4,
                            (false, Some(_)) => Set::On6,
                        },
                        key: key(port.host_ip, port.protocol, port.host_port),
                        data: destination(to, port.pod_port),
                    });
                }
            }
        }
        elements
    }
}

/// Each field fills whole registers of four bytes.
fn key(host: Option<IpAddr>, protocol: Protocol, port: u16) -> Vec<u8> {
    let host = host.filter(|ip| !ip.is_unspecified());
    let mut key = host.map(octets).unwrap_or_default();
    key.extend([protocol.number(), 0, 0, 0]);
    key.extend(port.to_be_bytes());
    key.extend([0, 0]);
    key
}

fn destination(address: IpAddr, port: u16) -> Vec<u8> {
    let mut data = octets(address);
    data.extend(port.to_be_bytes());
    data.extend([0, 0]);
    data
}

fn message(kind: u16, flags: u16) -> Message {
    Message::new(SUBSYSTEM | kind, flags, &INET)
}

fn new_table(name: &str) -> Message {
    message(NEWTABLE, CREATE).text(1, name)
}

/// Removes the table, whether or not it is there.
pub(super) fn delete(name: &str) -> Vec<Message> {
    vec![new_table(name), message(DELTABLE, 0).text(1, name)]
}

/// The table anew, with these elements.
pub(super) fn whole(name: &str, bridge: &str, elements: &[Element]) -> Vec<Message> {
    let mut messages = delete(name);
    messages.push(new_table(name));
    messages.extend(Set::ALL.map(|set| new_set(name, set)));
    messages.extend(chains(name));
    messages.extend(rules(name, bridge));
    messages.extend(add(name, elements));
    messages
}

/// Adds elements; one that is there already with the same data is no error.
pub(super) fn add(table: &str, elements: &[Element]) -> Vec<Message> {
    list(table, elements, NEWSETELEM, CREATE)
}

/// Removes elements; one that is not there fails the batch.
pub(super) fn remove(table: &str, elements: &[Element]) -> Vec<Message> {
    list(table, elements, DELSETELEM, 0)
}

fn list(table: &str, elements: &[Element], kind: u16, flags: u16) -> Vec<Message> {
    let mut messages = Vec::new();
    for set in Set::ALL {
        let of_set: Vec<&Element> = elements.iter().filter(|e| e.set == set).collect();
        for part in of_set.chunks(CHUNK) {
            let start = message(kind, flags).text(1, table).text(2, set.name());
            messages.push(start.nest(3, |m| part.iter().fold(m, |m, e| element(m, e))));
        }
    }
    messages
}

fn element(list: Message, element: &Element) -> Message {
    list.nest(1, |m| {
        let m = m.nest(1, |m| m.attr(1, &element.key));
        if element.data.is_empty() {
            m
        } else {
            m.nest(2, |m| m.attr(1, &element.data))
        }
    })
}

fn new_set(table: &str, set: Set) -> Message {
    const MAP: u32 = 8;
    let ((kind, length), data) = set.shape();
    let m = message(NEWSET, CREATE)
        .text(1, table)
        .text(2, set.name())
        .big(3, if data.is_some() { MAP } else { 0 })
        .big(4, kind)
        .big(5, length)
        .big(10, set.number());
    match data {
        Some((kind, length)) => m.big(6, kind).big(7, length),
        None => m,
    }
}

fn chains(table: &str) -> Vec<Message> {
    const PREROUTING: u32 = 0;
    const OUTPUT: u32 = 3;
    const POSTROUTING: u32 = 4;
    let base = |name: &str, kind: &str, hook: u32, priority: i32| {
        message(NEWCHAIN, CREATE)
            .text(1, table)
            .text(3, name)
            .nest(4, |m| m.big(1, hook).big(2, priority.cast_unsigned()))
            .text(7, kind)
    };
    vec![
        message(NEWCHAIN, CREATE).text(1, table).text(3, "ports"),
        base("guard", "filter", PREROUTING, -300),
        base("prerouting", "nat", PREROUTING, -100),
        base("output", "nat", OUTPUT, -100),
        base("postrouting", "nat", POSTROUTING, 100),
    ]
}

fn rules(table: &str, bridge: &str) -> Vec<Message> {
    let rule = |chain: &str, fill: &dyn Fn(Rule) -> Rule| {
        message(NEWRULE, CREATE | APPEND)
            .text(1, table)
            .text(2, chain)
            .nest(4, |m| fill(Rule(m)).0)
    };
    let mut rules = vec![
        rule("guard", &|r| {
            r.interface(Meta::Iifname, true, bridge)
                .version(Version::Four)
                .address(Version::Four, false, REG)
                .loopback(REG)
                .verdict(DROP, None)
        }),
        rule("prerouting", &|r| {
            r.towards_this_host().verdict(JUMP, Some("ports"))
        }),
        rule("output", &|r| {
            r.towards_this_host().verdict(JUMP, Some("ports"))
        }),
        // A packet from ::1 can't leave the host: refused at once is better than lost.
        rule("ports", &|r| {
            r.version(Version::Six)
                .address(Version::Six, false, REG)
                .compare(REG, true, &std::net::Ipv6Addr::LOCALHOST.octets())
                .verdict(RETURN, None)
        }),
    ];
    for (version, words, on, any) in [
        (Version::Four, 1, Set::On4, Set::Any4),
        (Version::Six, 4, Set::On6, Set::Any6),
    ] {
        rules.push(rule("ports", &|r| {
            r.version(version)
                .address(version, false, REG)
                .meta(Meta::L4proto, REG + words)
                .destination_port(REG + words + 1)
                .map(on.name(), REG, REG)
                .redirect(version, REG, REG + words)
        }));
        rules.push(rule("ports", &|r| {
            r.version(version)
                .meta(Meta::L4proto, REG)
                .destination_port(REG + 1)
                .map(any.name(), REG, REG)
                .redirect(version, REG, REG + words)
        }));
    }
    for (version, pods) in [(Version::Four, Set::Pods4), (Version::Six, Set::Pods6)] {
        let from_pod = |r: Rule| {
            r.version(version)
                .address(version, true, REG)
                .within(pods.name(), REG)
        };
        rules.push(rule("postrouting", &|r| {
            from_pod(r)
                .interface(Meta::Oifname, false, bridge)
                .masquerade()
        }));
        // A pod that reaches a pod (or itself) by a published port: the answer must come this way.
        rules.push(rule("postrouting", &|r| {
            from_pod(r)
                .interface(Meta::Oifname, true, bridge)
                .was_redirected()
                .masquerade()
        }));
    }
    rules.push(rule("postrouting", &|r| {
        r.version(Version::Four)
            .address(Version::Four, true, REG)
            .loopback(REG)
            .interface(Meta::Oifname, true, bridge)
            .masquerade()
    }));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Port;

    fn lease() -> Lease {
        Lease {
            interface: "cf0123456789".to_owned(),
            ipv4: Some(("10.1.0.2/16").parse().unwrap()),
            ipv6: Some("fd00::2/64".parse().unwrap()),
            ports: vec![
                Port {
                    protocol: Protocol::Tcp,
                    host_ip: None,
                    host_port: 8080,
                    pod_port: 80,
                },
                Port {
                    protocol: Protocol::Udp,
                    host_ip: Some("127.0.0.1".parse().unwrap()),
                    host_port: 53,
                    pod_port: 5353,
                },
            ],
        }
    }

    #[test]
    fn a_pod_is_elements() {
        let elements = Element::of(&lease());
        let sets: Vec<Set> = elements.iter().map(|e| e.set).collect();
        assert_eq!(
            sets,
            [Set::Pods4, Set::Pods6, Set::Any4, Set::Any6, Set::On4]
        );
        assert_eq!(elements[2].key, [6, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(elements[2].data, [10, 1, 0, 2, 0, 80, 0, 0]);
        assert_eq!(elements[4].key, [127, 0, 0, 1, 17, 0, 0, 0, 0, 53, 0, 0]);
        for element in &elements {
            let ((_, key), data) = element.set.shape();
            assert_eq!(element.key.len(), usize::try_from(key).unwrap());
            let data = data.map_or(0, |(_, length)| length);
            assert_eq!(element.data.len(), usize::try_from(data).unwrap());
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn an_element_has_the_kernels_layout() {
        let elements = Element::of(&lease());
        let messages = add("t", &elements[2..3]);
        assert_eq!(
            messages[0].clone().finish(2),
            [
                80, 0, 0, 0, 12, 10, 1, 4, 2, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
                1, 0, 0, 0, // nfgenmsg: inet
                6, 0, 1, 0, b't', 0, 0, 0, // table
                9, 0, 2, 0, b'a', b'n', b'y', b'4', 0, 0, 0, 0, // set
                40, 0, 3, 0x80, // elements
                36, 0, 1, 0x80, // element
                16, 0, 1, 0x80, 12, 0, 1, 0, 6, 0, 0, 0, 0x1f, 0x90, 0, 0, // key
                16, 0, 2, 0x80, 12, 0, 1, 0, 10, 1, 0, 2, 0, 80, 0, 0, // data
            ]
        );
    }

    #[test]
    fn a_list_is_cut_before_its_length_overflows() {
        let many: Vec<Element> = Element::of(&lease())
            .into_iter()
            .cycle()
            .take(5000)
            .collect();
        let messages = add("t", &many);
        assert_eq!(messages.len(), 5 * 3);
        assert!(messages.into_iter().all(|m| m.finish(1).len() < 65_536));
    }
}
