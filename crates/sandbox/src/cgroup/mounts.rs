//! Where the cgroup hierarchies are mounted, from `/proc/self/mountinfo`.
//!
//! ```text
//! 35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
//! │     │    │ │                     │           │        │ └ filesystem type
//! │     │    │ mount point           options     optional fields, any number, up to "-"
//! │     │    root within the filesystem
//! │     device: one per hierarchy
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::Error;

/// One mount point per hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounts(Vec<PathBuf>);

impl Mounts {
    /// # Errors
    /// [`Error::Cgroups`] when mountinfo can't be read or names no hierarchy.
    pub(crate) fn probe() -> Result<Mounts, Error> {
        let text = fs::read_to_string("/proc/self/mountinfo").map_err(|e| Error::Cgroups {
            what: format!("/proc/self/mountinfo: {e}"),
        })?;
        let mounts = Mounts::parse(&text);
        if mounts.0.is_empty() {
            return Err(Error::Cgroups {
                what: "no cgroup filesystem is mounted".to_owned(),
            });
        }
        Ok(mounts)
    }

    pub(crate) fn parse(mountinfo: &str) -> Mounts {
        let mut seen: Vec<(&str, PathBuf)> = Vec::new();
        for line in mountinfo.lines() {
            let Some((device, root, point)) = cgroup_line(line) else {
                continue;
            };
            // A hierarchy can be mounted twice; a part of one (root other than "/") is a
            // container's view of it and not the mount to work on.
            if root == "/" && !seen.iter().any(|(known, _)| *known == device) {
                seen.push((device, PathBuf::from(unescape(point))));
            }
        }
        Mounts(seen.into_iter().map(|(_, point)| point).collect())
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(PathBuf::as_path)
    }
}

fn cgroup_line(line: &str) -> Option<(&str, &str, &str)> {
    let (left, right) = line.split_once(" - ")?;
    let kind = right.split(' ').next()?;
    let mut fields = left.split(' ').skip(2);
    let found = (fields.next()?, fields.next()?, fields.next()?);
    matches!(kind, "cgroup" | "cgroup2").then_some(found)
}

/// mountinfo writes space, tab, newline and backslash as `\040` and the like.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        match after
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
        {
            Some(byte) => {
                plain.push(char::from(byte));
                rest = &after[3..];
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_v2_and_odd_mounts_are_read() {
        let table: [(&str, &str, &[&str]); 4] = [
            (
                "hybrid",
                "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                 32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:3 - cgroup cgroup rw,cpu\n\
                 41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
                &["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"],
            ),
            (
                "v2",
                "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
                &["/sys/fs/cgroup"],
            ),
            (
                "twice, and a part",
                "1 0 0:28 /docker/x /inner rw - cgroup2 cgroup rw\n\
                 2 0 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n\
                 3 0 0:28 / /mnt/again rw - cgroup2 cgroup rw\n",
                &["/sys/fs/cgroup"],
            ),
            (
                "a space",
                "1 0 0:1 / /my\\040cg rw - cgroup2 x rw\nnonsense\n",
                &["/my cg"],
            ),
        ];
        for (what, text, expected) in table {
            let expected = expected.iter().map(PathBuf::from).collect();
            assert_eq!(Mounts::parse(text), Mounts(expected), "{what}");
        }
    }

    #[test]
    fn this_machine_has_cgroups() {
        assert!(Mounts::probe().unwrap().paths().count() > 0);
    }
}
