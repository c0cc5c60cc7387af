//! What the operator decides about the built-in network.

use std::{fmt, str::FromStr};

use crate::Cidr;

/// The built-in network of one daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The bridge, made by the daemon.
    pub bridge: Name,
    /// The one nftables table, made and owned by the daemon.
    pub table: Name,
    /// Where IPv4 addresses come from; none: pods have no IPv4.
    pub ipv4: Option<Cidr>,
    /// Where IPv6 addresses come from; none: pods have no IPv6.
    pub ipv6: Option<Cidr>,
    /// MTU of pods' interfaces in bytes; 0: that of the interface of the host's default route.
    pub mtu: u32,
}

/// A name that is good for a network interface and for an nftables table: 1 to 15 letters, digits,
/// `-`, `_` and `.`, beginning with a letter (IFNAMSIZ counts a NUL).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(String);

/// Not a name of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not 1 to 15 letters, digits, '-', '_' or '.', beginning with a letter")]
pub struct NameError;

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Name, NameError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
        if begins && text.len() <= 15 && text.chars().all(fits) {
            Ok(Name(text.to_owned()))
        } else {
            Err(NameError)
        }
    }
}

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_the_kernel_takes_and_a_path_cannot_hide_in() {
        for good in ["coffer0", "a", "br-x_1.2", "fifteen-letters"] {
            assert_eq!(
                good.parse::<Name>().map(|n| n.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "",
            "sixteen-letters-",
            "a/b",
            "..",
            "0a",
            "a b",
            "a\n",
            "\u{e9}",
        ] {
            assert_eq!(bad.parse::<Name>(), Err(NameError), "{bad:?}");
        }
    }
}
