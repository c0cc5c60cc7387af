//! The name of a container: what may stand in a file name, a cgroup path and a log line.

use std::fmt;

/// A valid container id: letters, digits, `_`, `+`, `-`, `.`; not `.` or `..`; at most 255 bytes.
///
/// The set is runc's (`^[\w+-\.]+$`), the length what a directory entry holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

/// Why a string is no container id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid container id {id:?}: 1 to 255 of letters, digits, '_', '+', '-' and '.' (not \".\" or \"..\")"
)]
pub struct InvalidId {
    /// The string.
    pub id: String,
}

impl ContainerId {
    /// Checks `id`.
    ///
    /// # Errors
    /// [`InvalidId`] that quotes it.
    pub fn new(id: &str) -> Result<Self, InvalidId> {
        let valid = |b: u8| b.is_ascii_alphanumeric() || b"_+-.".contains(&b);
        if id.is_empty() || id.len() > 255 || id == "." || id == ".." || !id.bytes().all(valid) {
            return Err(InvalidId { id: id.to_owned() });
        }
        Ok(Self(id.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ContainerId {
    type Err = InvalidId;

    fn from_str(id: &str) -> Result<Self, InvalidId> {
        Self::new(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_file_names_and_nothing_else() {
        for good in ["a", "A-b_c.d+9", "...", "0".repeat(255).as_str()] {
            assert_eq!(ContainerId::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "../a",
            "a b",
            "a\n",
            "ä",
            "a\0",
            "0".repeat(256).as_str(),
        ] {
            assert!(ContainerId::new(bad).is_err(), "{bad:?}");
        }
    }
}
