//! `slice:prefix:name`, and what it is called in systemd and in the cgroup tree.
//!
//! ```text
//!  machine.slice:libpod:c1   unit libpod-c1.scope   /machine.slice/libpod-c1.scope
//!  a-b.slice:x:c1            unit x-c1.scope        /a.slice/a-b.slice/x-c1.scope
//!  :x:c1, nothing            system.slice, of an ordinary user user.slice
//! ```

use super::super::error::Error;

/// The prefix of a container whose document names none.
const PREFIX: &str = "coffer";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct ScopeName {
    pub(super) slice: String,
    prefix: String,
    name: String,
}

impl ScopeName {
    pub(super) fn parse(path: &str, id: &str, rootless: bool) -> Result<Self, Error> {
        let err = |reason| Error::Path {
            path: path.to_owned(),
            reason,
        };
        let default = if rootless {
            "user.slice"
        } else {
            "system.slice"
        };
        if path.is_empty() {
            return Ok(Self {
                slice: default.to_owned(),
                prefix: PREFIX.to_owned(),
                name: id.to_owned(),
            });
        }
        let parts: Vec<&str> = path.split(':').collect();
        let [slice, prefix, name] = parts.as_slice() else {
            return Err(err(
                "with systemd it is slice:prefix:name, such as machine.slice:coffer:c1",
            ));
        };
        let slice = if slice.is_empty() { default } else { slice };
        if name.is_empty() {
            return Err(err("the name after the second colon is missing"));
        }
        if name.ends_with(".slice") {
            return Err(err("a container's unit is a scope, not a slice"));
        }
        let plain = |text: &str| {
            text.chars()
                .all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))
        };
        if !plain(slice) || !plain(prefix) || !plain(name) {
            return Err(err("a unit's name has letters, digits and :-_.\\@ only"));
        }
        let this = Self {
            slice: slice.to_owned(),
            prefix: (*prefix).to_owned(),
            name: (*name).to_owned(),
        };
        if this.expanded().is_none() {
            return Err(err("a slice is named like a-b.slice, without empty parts"));
        }
        if this.unit().len() > 255 {
            return Err(err("a unit's name has at most 255 bytes"));
        }
        Ok(this)
    }

    /// The unit's name.
    pub(super) fn unit(&self) -> String {
        if self.prefix.is_empty() {
            return format!("{}.scope", self.name);
        }
        format!("{}-{}.scope", self.prefix, self.name)
    }

    /// Its cgroup's path below that of the manager.
    pub(super) fn path(&self) -> String {
        let slice = self.expanded().unwrap_or_default();
        format!("{slice}/{}", self.unit())
    }

    /// A slice is below those whose names its own begins with.
    fn expanded(&self) -> Option<String> {
        let stem = self.slice.strip_suffix(".slice")?;
        // The root of all slices.
        if stem == "-" {
            return Some(String::new());
        }
        let mut path = String::new();
        let mut prefix = String::new();
        for part in stem.split('-') {
            if part.is_empty() {
                return None;
            }
            prefix.push_str(part);
            path.push_str(&format!("/{prefix}.slice"));
            prefix.push('-');
        }
        Some(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_units_and_paths() {
        for (given, rootless, unit, path) in [
            (
                "machine.slice:libpod:c1",
                false,
                "libpod-c1.scope",
                "/machine.slice/libpod-c1.scope",
            ),
            (
                "a-b-c.slice:x:c1",
                false,
                "x-c1.scope",
                "/a.slice/a-b.slice/a-b-c.slice/x-c1.scope",
            ),
            (":x:c1", false, "x-c1.scope", "/system.slice/x-c1.scope"),
            (":x:c1", true, "x-c1.scope", "/user.slice/x-c1.scope"),
            ("-.slice::c1", false, "c1.scope", "/c1.scope"),
            (
                "",
                false,
                "coffer-id.scope",
                "/system.slice/coffer-id.scope",
            ),
        ] {
            let name = ScopeName::parse(given, "id", rootless).unwrap();
            assert_eq!(
                (name.unit().as_str(), name.path().as_str()),
                (unit, path),
                "{given}"
            );
        }
    }

    #[test]
    fn what_is_no_unit_is_refused() {
        for (given, text) in [
            ("/a/b", "slice:prefix:name"),
            ("a:b:c:d", "slice:prefix:name"),
            ("a.slice:b:", "is missing"),
            ("a.slice:b:c.slice", "not a slice"),
            ("../a.slice:b:c", "letters, digits"),
            ("a.slice:b:c/d", "letters, digits"),
            ("a--b.slice:b:c", "without empty parts"),
            ("a:b:c", "without empty parts"),
        ] {
            let error = ScopeName::parse(given, "id", false).unwrap_err();
            assert!(error.is_invalid_input());
            assert!(error.to_string().contains(text), "{given}: {error}");
        }
    }
}
