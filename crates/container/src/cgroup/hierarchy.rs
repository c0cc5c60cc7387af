//! Which cgroup hierarchies this machine has: as usual ([`standard`]), or by one text,
//! `/proc/thread-self/mountinfo`.
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
//! decides. Elsewhere, v1 mounts make the machine hybrid, a lone cgroup2 makes it unified. Beside v1 only a
//! cgroup2 on /sys/fs/cgroup/unified counts: one elsewhere is somebody's for a purpose of theirs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::file::STANDARD_ROOT;
use super::standard;
use crate::mountinfo::Entry;

/// Of the cgroup2 beside v1.
const UNIFIED_PLACE: &str = "/sys/fs/cgroup/unified";
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
    /// Looks at the standard place; what is not as usual there is read from `/proc/thread-self/mountinfo`.
    pub fn probe() -> Result<Hierarchy, Error> {
        if let Some(usual) = standard::probe() {
            return Ok(usual);
        }
        let file = Path::new("/proc/thread-self/mountinfo");
        let text = sys::small_file::read_text(file).map_err(|e| Error::file("read", file, e))?;
        Hierarchy::parse(&text)
    }

    /// Decides from the text of a mountinfo file (proc_pid_mountinfo(5)).
    pub fn parse(mountinfo: &str) -> Result<Hierarchy, Error> {
        let mut controllers: BTreeMap<String, Mount> = BTreeMap::new();
        let mut unified: Option<Mount> = None;
        let mut beside_v1: Option<Mount> = None;
        let mut top_is_v2 = false;
        for entry in mountinfo.lines().filter_map(Entry::parse) {
            if entry.point == STANDARD_ROOT {
                top_is_v2 = entry.fstype == "cgroup2";
            }
            if entry.fstype == "cgroup2" && entry.point == UNIFIED_PLACE {
                beside_v1 = Some(Mount::from(&entry));
            }
            match entry.fstype {
                "cgroup2" if is_better(&entry, unified.as_ref()) => {
                    unified = Some(Mount::from(&entry));
                }
                "cgroup" => {
                    for name in entry.super_options.split(',') {
                        let known = NOT_CONTROLLERS.contains(&name)
                            || name.starts_with("release_agent=")
                            || name.is_empty();
                        if !known && is_better(&entry, controllers.get(name)) {
                            controllers.insert(name.to_owned(), Mount::from(&entry));
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
            _ => Ok(Hierarchy::V1 {
                controllers,
                unified: beside_v1,
            }),
        }
    }

    /// True for cgroup2 alone.
    pub fn is_v2(&self) -> bool {
        matches!(self, Hierarchy::V2 { .. })
    }
}

/// The mounts of v1 controllers; those that share one stand together.
pub(crate) fn by_mount(controllers: &BTreeMap<String, Mount>) -> Vec<(&Mount, Vec<String>)> {
    // As the kernel has spelled it both times: `Path` would compare name by name.
    let same =
        |a: &Mount, b: &Mount| a.point.as_os_str() == b.point.as_os_str() && a.root == b.root;
    let mut mounts: Vec<(&Mount, Vec<String>)> = Vec::new();
    for (controller, mount) in controllers {
        match mounts.iter_mut().find(|(known, _)| same(known, mount)) {
            Some((_, names)) => names.push(controller.clone()),
            None => mounts.push((mount, vec![controller.clone()])),
        }
    }
    mounts
}

impl From<&Entry<'_>> for Mount {
    fn from(entry: &Entry<'_>) -> Self {
        Self {
            point: PathBuf::from(&*entry.point),
            root: entry.root.to_string(),
        }
    }
}

/// Of two mounts of one hierarchy the one at the standard place is better; the later of equals, because
/// a later mount hides an earlier one.
fn is_better(new: &Entry<'_>, kept: Option<&Mount>) -> bool {
    let Some(kept) = kept else {
        return true;
    };
    let rank = |point: &Path, root: &str| (point.starts_with(STANDARD_ROOT), root == "/");
    let point = Path::new(&*new.point);
    let (before, now) = (rank(&kept.point, &kept.root), rank(point, &new.root));
    // The shortest standard place wins: /sys/fs/cgroup, not a bind of it below.
    let deeper = point.starts_with(&kept.point) && point != kept.point;
    now > before || now == before && !deeper
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
