//! The name of a container: what may stand in a file name, a cgroup path and a log line.

use std::fmt;

/// A valid container id: letters, digits, `_`, `+`, `-`, `.`, which does not begin it; at most 255 bytes.
///
/// The set is runc's (`^[\w+-\.]+$`), the length what a directory entry holds; names that are hidden are
/// none, as for crun.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

/// Why a string is no container id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    /// The string.
    pub id: String,
}

impl std::error::Error for InvalidId {}

/// In the words that callers of runc and crun know.
impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bad = match self.id.chars().next() {
            Some('.') => Some('.'),
            _ => self.id.chars().find(|&c| !is_allowed(c)),
        };
        match bad {
            Some(c) => write!(f, "invalid character `{c}` in the ID {:?}", self.id)?,
            None => write!(f, "invalid ID {:?}", self.id)?,
        }
        f.write_str(
            ": a container ID has 1 to 255 letters, digits, '_', '+', '-' and '.', which does not begin it",
        )
    }
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+-.".contains(c)
}

impl ContainerId {
    /// Checks `id`.
    ///
    /// # Errors
    /// [`InvalidId`] that quotes it.
    pub fn new(id: &str) -> Result<Self, InvalidId> {
        if id.is_empty() || id.len() > 255 || id.starts_with('.') || !id.chars().all(is_allowed) {
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
        for good in ["a", "A-b_c.d+9", "a..", "0".repeat(255).as_str()] {
            assert_eq!(ContainerId::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "...",
            ".a",
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

    #[test]
    fn the_error_says_what_is_wrong() {
        for (id, begin) in [
            (
                "a/b",
                "invalid character `/` in the ID \"a/b\": a container ID",
            ),
            (
                ".a",
                "invalid character `.` in the ID \".a\": a container ID",
            ),
            ("", "invalid ID \"\": a container ID has"),
        ] {
            let error = ContainerId::new(id).unwrap_err().to_string();
            assert!(error.starts_with(begin), "{error}");
        }
    }
}
