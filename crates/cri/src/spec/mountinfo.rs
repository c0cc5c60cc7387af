//! The parts of `/proc/self/mountinfo` that the builder needs.
//!
//! ```text
//! 36 35 98:0 /root /point rw,noatime master:1 shared:7 - ext4 /dev/sda rw
//! │  │  │    │     │      │          │ optional        │
//! id │  device root point options    └ up to "-"       └ type, source, super options
//! ```

use std::path::{Path, PathBuf};

use super::host::Peers;

/// Where cgroups are mounted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cgroups {
    /// Controllers of v1 and their mounts.
    pub(super) v1: Vec<(String, PathBuf)>,
    /// The v2 hierarchy.
    pub(super) v2: Option<PathBuf>,
}

struct Line<'a> {
    point: PathBuf,
    optional: Vec<&'a str>,
    kind: &'a str,
    super_options: &'a str,
}

fn lines(table: &str) -> impl Iterator<Item = Line<'_>> {
    table.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(4);
        let point = PathBuf::from(unescape(left.next()?));
        let _options = left.next()?;
        let mut right = right.split(' ');
        Some(Line {
            point,
            optional: left.collect(),
            kind: right.next()?,
            super_options: right.nth(1).unwrap_or_default(),
        })
    })
}

/// Where cgroups are mounted, by mountinfo's text.
pub(super) fn cgroups(table: &str) -> Cgroups {
    let mut found = Cgroups::default();
    for line in lines(table) {
        match line.kind {
            "cgroup" => {
                let controllers = line
                    .super_options
                    .split(',')
                    .filter(|o| *o != "rw" && *o != "ro");
                found
                    .v1
                    .extend(controllers.map(|name| (name.to_owned(), line.point.clone())));
            }
            "cgroup2" if found.v2.is_none() => found.v2 = Some(line.point),
            _ => {}
        }
    }
    found
}

/// How mounts travel at `path`: by the last mount whose point is the longest beginning of it.
pub(super) fn peers(table: &str, path: &Path) -> Option<Peers> {
    lines(table)
        .filter(|line| path.starts_with(&line.point))
        .max_by_key(|line| line.point.components().count())
        .map(|line| Peers {
            shared: line
                .optional
                .iter()
                .any(|field| field.starts_with("shared:")),
            slave: line
                .optional
                .iter()
                .any(|field| field.starts_with("master:")),
        })
}

/// Space, tab, newline and backslash are written as `\040` and the like.
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

    const TABLE: &str = "\
        22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        23 22 0:20 / /mnt rw - tmpfs tmpfs rw\n\
        24 22 0:21 / /mnt/slave rw master:5 - tmpfs tmpfs rw\n\
        25 22 0:22 / /mnt/both rw shared:9 master:5 - tmpfs tmpfs rw\n\
        26 22 0:23 / /mnt/a\\040b rw shared:7 - tmpfs tmpfs rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
        nonsense\n";

    #[test]
    fn the_nearest_mount_decides_how_mounts_travel() {
        let peers = |path: &str| peers(TABLE, Path::new(path)).unwrap();
        assert_eq!(
            peers("/srv/x"),
            Peers {
                shared: true,
                slave: false
            }
        );
        assert_eq!(peers("/mnt/x"), Peers::default());
        assert_eq!(
            peers("/mnt/slave/x"),
            Peers {
                shared: false,
                slave: true
            }
        );
        assert_eq!(
            peers("/mnt/both"),
            Peers {
                shared: true,
                slave: true
            }
        );
        assert_eq!(
            peers("/mnt/a b/c"),
            Peers {
                shared: true,
                slave: false
            }
        );
        // A name that only begins alike is another place.
        assert_eq!(
            peers("/mntx"),
            Peers {
                shared: true,
                slave: false
            }
        );
    }

    #[test]
    fn a_mount_on_top_of_another_hides_it() {
        let table = format!("{TABLE}27 23 0:24 / /mnt rw shared:3 - tmpfs tmpfs rw\n");
        assert!(super::peers(&table, Path::new("/mnt/x")).unwrap().shared);
    }

    #[test]
    fn cgroups_are_found_by_controller() {
        let found = cgroups(TABLE);
        let cpu = PathBuf::from("/sys/fs/cgroup/cpu,cpuacct");
        assert_eq!(
            found.v1,
            [("cpu".to_owned(), cpu.clone()), ("cpuacct".to_owned(), cpu)]
        );
        assert_eq!(found.v2, Some(PathBuf::from("/sys/fs/cgroup/unified")));
    }
}
