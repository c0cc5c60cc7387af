//! A subnet in the form `ADDRESS/PREFIX`.
//!
//! ```text
//! 10.214.0.0/16     .0.0 network │ .0.1 the bridge (gateway) │ .0.2 … pods … │ .255.255 broadcast
//! fd00:c0ff:e::/64  ::0 anycast  │ ::1 the bridge            │ ::2 … pods … (the last one as well)
//! ```

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// A subnet that pods can live in: host bits are zero, and there is room for a gateway and a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a subnet for pods.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CidrError {
    /// Not ADDRESS/PREFIX.
    #[error("is not a subnet such as 10.214.0.0/16 or fd00:c0ff:e::/64")]
    Form,
    /// Bits after the prefix are set.
    #[error("has bits set after its prefix; the subnet is {0}")]
    HostBits(Cidr),
    /// No room for a gateway and a pod.
    #[error("is too small: /{0} is the smallest that holds a gateway and a pod")]
    TooSmall(u8),
    /// Loopback, multicast, link-local and the like.
    #[error("is not for hosts: it is loopback, link-local, multicast or reserved")]
    Special,
}

impl Cidr {
    /// The subnet of this prefix around an address; `None` when it is none for pods.
    pub fn around(address: IpAddr, prefix: u8) -> Option<Cidr> {
        let width = if address.is_ipv4() { 32 } else { 128 };
        if u32::from(prefix) > width {
            return None;
        }
        let own = from_bits(bits(address) & mask(width, prefix), address.is_ipv4());
        format!("{own}/{prefix}").parse().ok()
    }

    /// The subnet's own address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Length of the prefix in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether it is IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }

    /// The bridge's address: the first after the subnet's own.
    pub fn gateway(&self) -> IpAddr {
        self.nth(1)
    }

    /// Number of the last address that a pod can have; the first is 2. At most 2^32: more are not
    /// used of an IPv6 subnet.
    pub fn last(&self) -> u64 {
        let bits = self.width() - u32::from(self.prefix);
        if bits >= 32 {
            return u64::from(u32::MAX) - u64::from(self.is_ipv4());
        }
        // IPv4's last is broadcast.
        (1 << bits) - 1 - u64::from(self.is_ipv4())
    }

    /// The address of this number; it must be at most [`Cidr::last`].
    pub fn nth(&self, number: u64) -> IpAddr {
        from_bits(bits(self.address) | u128::from(number), self.is_ipv4())
    }

    /// The number of an address, `None` when it is not in the subnet.
    pub fn number_of(&self, address: IpAddr) -> Option<u64> {
        if !self.contains(address) {
            return None;
        }
        u64::try_from(bits(address) - bits(self.address)).ok()
    }

    /// Whether an address is in the subnet.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4() && bits(address) & self.mask() == bits(self.address)
    }

    /// Whether the two have an address in common; `prefix` may be any length.
    pub fn overlaps(&self, address: IpAddr, prefix: u8) -> bool {
        if address.is_ipv4() != self.is_ipv4() {
            return false;
        }
        let mask = mask(self.width(), self.prefix.min(prefix));
        bits(address) & mask == bits(self.address) & mask
    }

    fn width(&self) -> u32 {
        if self.is_ipv4() { 32 } else { 128 }
    }

    fn mask(&self) -> u128 {
        mask(self.width(), self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Cidr, CidrError> {
        let (address, prefix) = text.split_once('/').ok_or(CidrError::Form)?;
        let address: IpAddr = address.parse().map_err(|_| CidrError::Form)?;
        // "+8" and "08" are not how anybody writes a prefix.
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let plain = digits && (prefix == "0" || !prefix.starts_with('0'));
        let prefix: u8 = prefix.parse().map_err(|_| CidrError::Form)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        if !plain || u32::from(prefix) > width {
            return Err(CidrError::Form);
        }
        let whole = bits(address) & mask(width, prefix);
        let cidr = Cidr {
            address: from_bits(whole, address.is_ipv4()),
            prefix,
        };
        if whole != bits(address) {
            return Err(CidrError::HostBits(cidr));
        }
        let smallest = if address.is_ipv4() { 30 } else { 126 };
        if prefix > smallest {
            return Err(CidrError::TooSmall(smallest));
        }
        if special(&cidr) {
            return Err(CidrError::Special);
        }
        Ok(cidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// Whether a subnet has addresses that hosts can't have.
fn special(cidr: &Cidr) -> bool {
    let four = |a, b, c, d| IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    let six = |first| IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0));
    [
        (four(0, 0, 0, 0), 8),
        (four(127, 0, 0, 0), 8),
        (four(169, 254, 0, 0), 16),
        (four(224, 0, 0, 0), 3),
        (six(0), 8),
        (six(0xfe80), 10),
        (six(0xff00), 8),
    ]
    .iter()
    .any(|(address, prefix)| cidr.overlaps(*address, *prefix))
}

fn mask(width: u32, prefix: u8) -> u128 {
    match width - u32::from(prefix) {
        128 => 0,
        host => (u128::MAX << host) & (u128::MAX >> (128 - width)),
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn from_bits(bits: u128, four: bool) -> IpAddr {
    if four {
        // The upper bits are zero: masks of IPv4 have 32 bits.
        IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_has_a_gateway_and_room() {
        let table = [
            ("10.214.0.0/16", "10.214.0.1", 65534, "10.214.255.254"),
            ("192.168.7.0/30", "192.168.7.1", 2, "192.168.7.2"),
            ("fd00::/126", "fd00::1", 3, "fd00::3"),
            (
                "fd00:c0ff:e::/64",
                "fd00:c0ff:e::1",
                0xffff_ffff,
                "fd00:c0ff:e::ffff:ffff",
            ),
        ];
        for (text, gateway, last, end) in table {
            let cidr = cidr(text);
            assert_eq!(cidr.to_string(), text);
            assert_eq!(cidr.gateway().to_string(), gateway);
            assert_eq!(cidr.last(), last);
            assert_eq!(cidr.nth(last).to_string(), end);
            assert_eq!(cidr.number_of(cidr.nth(last)), Some(last));
        }
    }

    #[test]
    fn what_is_not_a_subnet_for_pods_is_refused_with_the_reason() {
        let special = CidrError::Special;
        let table = [
            ("", CidrError::Form),
            ("10.0.0.0", CidrError::Form),
            ("10.0.0.0/", CidrError::Form),
            ("10.0.0/8", CidrError::Form),
            ("10.0.0.0/33", CidrError::Form),
            ("10.0.0.0/+8", CidrError::Form),
            ("10.0.0.0/08", CidrError::Form),
            ("10.0.0.0/8 ", CidrError::Form),
            ("fd00::/129", CidrError::Form),
            ("10.0.0.1/8", CidrError::HostBits(cidr("10.0.0.0/8"))),
            ("10.0.0.0/31", CidrError::TooSmall(30)),
            ("fd00::/127", CidrError::TooSmall(126)),
            ("127.0.0.0/16", special.clone()),
            ("0.0.0.0/0", special.clone()),
            ("224.0.0.0/8", special.clone()),
            ("fe80::/64", special.clone()),
            ("ff02::/64", special.clone()),
            ("::/64", special),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Cidr>(), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn overlap_is_by_the_shorter_prefix() {
        let ours = cidr("10.214.0.0/16");
        let ip = |text: &str| text.parse().unwrap();
        assert!(ours.overlaps(ip("10.214.7.0"), 24));
        assert!(ours.overlaps(ip("10.0.0.0"), 8));
        assert!(!ours.overlaps(ip("10.215.0.0"), 16));
        assert!(!ours.overlaps(ip("fd00::"), 16));
        assert!(ours.contains(ip("10.214.255.255")) && !ours.contains(ip("10.215.0.0")));
    }
}
