//! Ids of pods and containers: 64 lower-case hex digits from the kernel's random source.

use std::{borrow::Borrow, fmt, io, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

/// The id of a pod or a container. Safe as a file name and in a cgroup path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an id: 64 lower-case hex digits are")]
pub struct IdError(String);

impl Id {
    /// A new id: 32 random bytes.
    ///
    /// # Errors
    /// The kernel's, which getrandom(2) gives only on kernels far below our floor.
    pub fn random() -> io::Result<Id> {
        let mut bytes = [0_u8; 32];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += rustix::rand::getrandom(
                &mut bytes[filled..],
                rustix::rand::GetRandomFlags::empty(),
            )?;
        }
        Ok(Id(hex::encode(bytes)))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Id, IdError> {
        Id::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Id {
    type Error = IdError;

    fn try_from(text: String) -> Result<Id, IdError> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(hex) {
            Ok(Id(text))
        } else {
            Err(IdError(text))
        }
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.0
    }
}

// Ids compare as their text does, so that an index of ids can be searched by a prefix.
impl Borrow<str> for Id {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<Path> for Id {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_valid_and_differ() {
        let (a, b) = (Id::random().unwrap(), Id::random().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.as_str().parse::<Id>(), Ok(a));
    }

    #[test]
    fn anything_else_is_refused() {
        let upper = "A".repeat(64);
        for text in [
            "",
            "../..",
            "abc",
            upper.as_str(),
            &"0".repeat(63),
            &"0".repeat(65),
        ] {
            assert!(text.parse::<Id>().is_err(), "{text}");
        }
    }
}
