//! Which cgroup hierarchies this machine has, read from one text: `/proc/thread-self/mountinfo`.
//!
//! ```text
//! legacy, hybrid   /sys/fs/cgroup            tmpfs
//!                  /sys/fs/cgroup/memory     cgroup   memory
//!                  /sys/fs/cgroup/cpu,cpuacct cgroup  cpu, cpuacct (one mount, two controllers)
//!                  /sys/fs/cgroup/systemd    cgroup   name=systemd
//!                  /sys/fs/cgroup/unified    cgroup2  (hybrid only; holds what v1 does not)
//! unified          /sys/fs/cgroup            cgroup2
//! ```
//! A cgroup2 on /sys/fs/cgroup itself hides whatever v1 mounts are still listed below it, so it
//! decides. Elsewhere, v1 mounts make the machine hybrid, a lone cgroup2 makes it unified.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::Error;

const STANDARD_ROOT: &str = "/sys/fs/cgroup";

/// v1 options of the superblock that are not controllers.
const NOT_CONTROLLERS: [&str; 8] = [
    "rw",
    "ro",
    "noprefix",
    "clone_children",
    "xattr",
    "cpuset_v2_mode",
    "favordynmods",
    "none",
];

/// One mounted cgroup filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Which cgroup of the hierarchy the mount shows: `/`, save in a container without its own
    /// cgroup namespace.
    pub root: String,
}

/// The hierarchies in use. Paths come from mountinfo, so a test can bring its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchy {
    /// v1, alone or with a cgroup2 beside it (hybrid).
    V1 {
        /// By controller (`memory`) or name (`name=systemd`). Two may share a mount.
        controllers: BTreeMap<String, Mount>,
        /// The cgroup2 of a hybrid machine.
        unified: Option<Mount>,
    },
    /// Only cgroup2.
    V2 {
        /// Its mount.
        mount: Mount,
    },
}

impl Hierarchy {
    /// Reads `/proc/thread-self/mountinfo`.
    pub fn probe() -> Result<Hierarchy, Error> {
        let file = Path::new("/proc/thread-self/mountinfo");
        let text = sys::small_file::read_text(file).map_err(|e| Error::file("read", file, e))?;
        Hierarchy::parse(&text)
    }

    /// Decides from the text of a mountinfo file (proc_pid_mountinfo(5)).
    pub fn parse(mountinfo: &str) -> Result<Hierarchy, Error> {
        let mut controllers: BTreeMap<String, Option<Mount>> = BTreeMap::new();
        let mut unified: Option<Mount> = None;
        let mut top_is_v2 = false;
        for line in mountinfo.lines() {
            let Some(entry) = Entry::parse(line) else {
                continue;
            };
            if entry.point == STANDARD_ROOT {
                top_is_v2 = entry.fstype == "cgroup2";
            }
            match entry.fstype {
                "cgroup2" => prefer(&mut unified, &entry),
                "cgroup" => {
                    for name in entry.super_options.split(',') {
                        let known = NOT_CONTROLLERS.contains(&name)
                            || name.starts_with("release_agent=")
                            || name.is_empty();
                        if !known {
                            prefer(controllers.entry(name.to_owned()).or_default(), &entry);
                        }
                    }
                }
                _ => {}
            }
        }
        match unified {
            Some(mount) if top_is_v2 || controllers.is_empty() => Ok(Hierarchy::V2 { mount }),
            _ if controllers.is_empty() => {
                Err(Error::NoHierarchy("/proc/thread-self/mountinfo".to_owned()))
            }
            unified => Ok(Hierarchy::V1 {
                controllers: controllers
                    .into_iter()
                    .filter_map(|(name, mount)| Some((name, mount?)))
                    .collect(),
                unified,
            }),
        }
    }

    /// True for cgroup2 alone.
    pub fn is_v2(&self) -> bool {
        matches!(self, Hierarchy::V2 { .. })
    }
}

/// Of two mounts of one hierarchy keeps the one at the standard place; the later of equals, because
/// a later mount hides an earlier one.
fn prefer(kept: &mut Option<Mount>, new: &Entry<'_>) {
    let rank = |point: &str, root: &str| (Path::new(point).starts_with(STANDARD_ROOT), root == "/");
    if let Some(kept) = kept {
        let before = rank(&kept.point.to_string_lossy(), &kept.root);
        let now = rank(&new.point, &new.root);
        // The shortest standard place wins: /sys/fs/cgroup, not a bind of it below.
        let point = Path::new(&*new.point);
        let deeper = point.starts_with(&kept.point) && point != kept.point;
        if now < before || deeper && now == before {
            return;
        }
    }
    *kept = Some(Mount {
        point: PathBuf::from(&*new.point),
        root: new.root.to_string(),
    });
}

struct Entry<'a> {
    root: Cow<'a, str>,
    point: Cow<'a, str>,
    fstype: &'a str,
    super_options: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Entry<'a>> {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(3);
        let root = unescape(fields.next()?);
        let point = unescape(fields.next()?);
        let mut fields = right.split(' ');
        let fstype = fields.next()?;
        let super_options = fields.nth(1).unwrap_or("");
        Some(Entry {
            root,
            point,
            fstype,
            super_options,
        })
    }
}

/// Undoes mountinfo's `\040` escapes.
pub(crate) fn unescape(field: &str) -> Cow<'_, str> {
    if !field.contains('\\') {
        return Cow::Borrowed(field);
    }
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        match rest {
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

    fn mount(point: &str) -> Mount {
        Mount {
            point: PathBuf::from(point),
            root: "/".to_owned(),
        }
    }

    #[test]
    fn hybrid_has_controllers_and_unified() {
        let Hierarchy::V1 {
            controllers,
            unified,
        } = Hierarchy::parse(HYBRID).unwrap()
        else {
            panic!("not v1");
        };
        assert_eq!(unified, Some(mount("/sys/fs/cgroup/unified")));
        assert_eq!(controllers["cpu"], mount("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(controllers["cpuacct"], mount("/sys/fs/cgroup/cpu,cpuacct"));
        let names: Vec<_> = controllers.keys().map(String::as_str).collect();
        assert_eq!(names, ["cpu", "cpuacct", "memory", "name=systemd"]);
    }

    #[test]
    fn a_cgroup2_over_the_standard_root_hides_v1() {
        let text = format!("{HYBRID}77 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        let h = Hierarchy::parse(&text).unwrap();
        assert_eq!(
            h,
            Hierarchy::V2 {
                mount: mount("/sys/fs/cgroup")
            }
        );
        assert!(h.is_v2());
    }

    #[test]
    fn a_tmpfs_over_a_cgroup2_shows_v1_again() {
        let text = format!("20 1 0:3 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n{HYBRID}");
        let Hierarchy::V1 { unified, .. } = Hierarchy::parse(&text).unwrap() else {
            panic!("not v1");
        };
        assert!(unified.is_some());
    }

    #[test]
    fn the_standard_place_wins_over_copies_elsewhere() {
        let text = format!(
            "9 1 0:32 / /mnt/odd\\040place/memory rw - cgroup cgroup rw,memory\n{HYBRID}\
             90 1 0:32 /sub /var/lib/x rw - cgroup cgroup rw,memory\n\
             91 1 0:99 / /mnt/odd\\040place/pids rw - cgroup cgroup rw,pids\n"
        );
        let Hierarchy::V1 { controllers, .. } = Hierarchy::parse(&text).unwrap() else {
            panic!("not v1");
        };
        assert_eq!(controllers["memory"], mount("/sys/fs/cgroup/memory"));
        assert_eq!(controllers["pids"], mount("/mnt/odd place/pids"));
    }

    #[test]
    fn a_lone_cgroup2_anywhere_is_unified() {
        let h = Hierarchy::parse("5 1 0:9 /x /cg rw - cgroup2 cgroup2 rw\n").unwrap();
        let mount = Mount {
            point: PathBuf::from("/cg"),
            root: "/x".to_owned(),
        };
        assert_eq!(h, Hierarchy::V2 { mount });
    }

    #[test]
    fn nothing_mounted_is_an_error_that_says_what_to_do() {
        let e = Hierarchy::parse("5 1 0:9 / / rw - ext4 /dev/x rw\n").unwrap_err();
        assert!(e.to_string().contains("mount cgroup2"), "{e}");
    }

    #[test]
    fn this_machine_parses() {
        Hierarchy::probe().unwrap();
    }
}
