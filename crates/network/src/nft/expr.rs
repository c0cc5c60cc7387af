//! The expressions that our rules are made of: each is a name and its attributes.
//!
//! Registers: the kernel has sixteen of four bytes. A key of several fields fills them in turn, each
//! field beginning at a register of its own; that is also how keys of our maps look.

use crate::netlink::message::Message;

/// The first register of four bytes (`NFT_REG32_00`).
pub(super) const REG: u32 = 8;
const LIST_ELEM: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;

/// IP version 4 or 6, by the numbers of `NFPROTO_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Four = 2,
    Six = 10,
}

/// A value that `meta` reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meta {
    Iifname = 6,
    Oifname = 7,
    Nfproto = 15,
    L4proto = 16,
}

/// A list of expressions being written.
pub(super) struct Rule(pub(super) Message);

impl Rule {
    fn expression(self, name: &str, fill: impl FnOnce(Message) -> Message) -> Rule {
        Rule(
            self.0
                .nest(LIST_ELEM, |m| m.text(EXPR_NAME, name).nest(EXPR_DATA, fill)),
        )
    }

    /// Reads a meta value into a register.
    pub(super) fn meta(self, key: Meta, register: u32) -> Rule {
        self.expression("meta", |m| m.big(2, key as u32).big(1, register))
    }

    /// Goes on only if the register holds (or, with `equal` false, does not hold) `value`.
    pub(super) fn compare(self, register: u32, equal: bool, value: &[u8]) -> Rule {
        self.expression("cmp", |m| {
            m.big(1, register)
                .big(2, u32::from(!equal))
                .nest(3, |m| m.attr(DATA_VALUE, value))
        })
    }

    /// Goes on only for this IP version: what follows reads its header.
    pub(super) fn version(self, version: Version) -> Rule {
        self.meta(Meta::Nfproto, REG)
            .compare(REG, true, &[version as u8])
    }

    /// Goes on only if the interface has (or has not) this name.
    pub(super) fn interface(self, side: Meta, equal: bool, name: &str) -> Rule {
        let mut padded = [0; 16];
        for (to, from) in padded.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        self.meta(side, REG).compare(REG, equal, &padded)
    }

    /// Reads the source (or destination) address into registers.
    pub(super) fn address(self, version: Version, source: bool, register: u32) -> Rule {
        let (offset, length) = match (version, source) {
            (Version::Four, true) => (12, 4),
            (Version::Four, false) => (16, 4),
            (Version::Six, true) => (8, 16),
            (Version::Six, false) => (24, 16),
        };
        self.payload(1, offset, length, register)
    }

    /// Reads the transport's destination port into a register.
    pub(super) fn destination_port(self, register: u32) -> Rule {
        self.payload(2, 2, 2, register)
    }

    fn payload(self, base: u32, offset: u32, length: u32, register: u32) -> Rule {
        self.expression("payload", |m| {
            m.big(1, register)
                .big(2, base)
                .big(3, offset)
                .big(4, length)
        })
    }

    /// Goes on only if the IPv4 address in the register is of 127/8.
    pub(super) fn loopback(self, register: u32) -> Rule {
        self.and(register, &[255, 0, 0, 0])
            .compare(register, true, &[127, 0, 0, 0])
    }

    fn and(self, register: u32, mask: &[u8]) -> Rule {
        let length = u32::try_from(mask.len()).unwrap_or(0);
        let zero = vec![0; mask.len()];
        self.expression("bitwise", |m| {
            m.big(1, register)
                .big(2, register)
                .big(3, length)
                .nest(4, |m| m.attr(DATA_VALUE, mask))
                .nest(5, |m| m.attr(DATA_VALUE, &zero))
        })
    }

    /// Goes on only if the destination is an address of this host.
    pub(super) fn towards_this_host(self) -> Rule {
        const ADDRTYPE: u32 = 3;
        const BY_DESTINATION: u32 = 2;
        const LOCAL: u32 = 2;
        self.expression("fib", |m| {
            m.big(1, REG).big(2, ADDRTYPE).big(3, BY_DESTINATION)
        })
        // The kind of a route is a number in the host's byte order.
        .compare(REG, true, &LOCAL.to_ne_bytes())
    }

    /// Goes on only if this connection's destination was changed.
    pub(super) fn was_redirected(self) -> Rule {
        const STATUS: u32 = 2;
        const DST_NAT: u32 = 32;
        self.expression("ct", |m| m.big(2, STATUS).big(1, REG))
            .and(REG, &DST_NAT.to_ne_bytes())
            .compare(REG, false, &[0; 4])
    }

    /// Goes on only if the key in the registers is in the set.
    pub(super) fn within(self, set: &str, register: u32) -> Rule {
        self.expression("lookup", |m| m.text(1, set).big(2, register))
    }

    /// Reads what the map has for the key in the registers; goes on only if it has something.
    pub(super) fn map(self, map: &str, register: u32, result: u32) -> Rule {
        self.expression("lookup", |m| m.text(1, map).big(2, register).big(3, result))
    }

    /// Changes the destination to the address and the port in the registers.
    pub(super) fn redirect(self, version: Version, address: u32, port: u32) -> Rule {
        const DNAT: u32 = 1;
        const MAP_IPS_AND_PORTS: u32 = 3;
        self.expression("nat", |m| {
            m.big(1, DNAT)
                .big(2, version as u32)
                .big(3, address)
                .big(5, port)
                .big(7, MAP_IPS_AND_PORTS)
        })
    }

    /// Changes the source to this host's address on the way out.
    pub(super) fn masquerade(self) -> Rule {
        self.expression("masq", |m| m)
    }

    /// Ends with a verdict: 0 drop, -3 jump to a chain, -5 return.
    pub(super) fn verdict(self, code: i32, chain: Option<&str>) -> Rule {
        self.expression("immediate", |m| {
            m.big(1, 0).nest(2, |m| {
                m.nest(DATA_VERDICT, |m| {
                    let m = m.big(1, code.cast_unsigned());
                    match chain {
                        Some(chain) => m.text(2, chain),
                        None => m,
                    }
                })
            })
        })
    }
}
