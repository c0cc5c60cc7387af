//! The usual layouts, told by a handful of look-ups below /sys/fs/cgroup.
//!
//! mountinfo has a line for every mount, and a node has one or more for each of its containers: reading it
//! takes 1.3 us a line, so that every container would make the start of the next one slower.
//!
//! | what is looked for | what it tells |
//! |---|---|
//! | the filesystem's type at /sys/fs/cgroup | cgroup2: unified; tmpfs: v1 or hybrid; else: unusual |
//! | inode 1 of a cgroup2 | the mount shows the root of the hierarchy (`cgroup_ino(root)`, Linux 5.5) |
//! | lines of /proc/self/cgroup | which v1 hierarchies there are, with their controllers |
//! | `<controllers>/release_agent` | the root of a v1 hierarchy is mounted there: nothing else has the file. Which one is told by its name |
//! | `unified/cgroup.controllers` | a cgroup2 beside v1 |

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{Access, AtFlags};

use super::file::{STANDARD_ROOT, with_root};
use super::hierarchy::{Hierarchy, Mount};

const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;
const TMPFS_MAGIC: i64 = 0x0102_1994;
/// Of a cgroup2's root.
const ROOT_INODE: u64 = 1;
const UNIFIED: &str = "unified";

/// `None`: not a usual layout, or not for certain.
pub(super) fn probe() -> Option<Hierarchy> {
    with_root(|root| match rustix::fs::fstatfs(root).ok()?.f_type {
        CGROUP2_SUPER_MAGIC if rustix::fs::fstat(root).ok()?.st_ino == ROOT_INODE => {
            let mount = mount("");
            Some(Hierarchy::V2 { mount })
        }
        TMPFS_MAGIC => {
            let text = sys::small_file::read_text(Path::new("/proc/self/cgroup")).ok()?;
            beside_each_other(root, &text)
        }
        _ => None,
    })
}

fn beside_each_other(root: BorrowedFd<'_>, own: &str) -> Option<Hierarchy> {
    let mut controllers = BTreeMap::new();
    let mut unified = None;
    for line in own.lines() {
        let (_, rest) = line.split_once(':')?;
        let (names, _) = rest.split_once(':')?;
        if names.is_empty() {
            unified = hybrid(root)?;
            continue;
        }
        let dir = names.strip_prefix("name=").unwrap_or(names);
        if !has(root, &format!("{dir}/release_agent")) {
            return None;
        }
        for name in names.split(',') {
            controllers.insert(name.to_owned(), mount(dir));
        }
    }
    (!controllers.is_empty()).then_some(Hierarchy::V1 {
        controllers,
        unified,
    })
}

/// The cgroup2 beside v1, if it is mounted; `None`: it shows another cgroup than its root.
fn hybrid(root: BorrowedFd<'_>) -> Option<Option<Mount>> {
    if !has(root, "unified/cgroup.controllers") {
        return Some(None);
    }
    let found = rustix::fs::statat(root, UNIFIED, AtFlags::empty()).ok()?;
    (found.st_ino == ROOT_INODE).then(|| Some(mount(UNIFIED)))
}

fn has(root: BorrowedFd<'_>, path: &str) -> bool {
    rustix::fs::accessat(root, path, Access::EXISTS, AtFlags::empty()).is_ok()
}

fn mount(dir: &str) -> Mount {
    let root = Path::new(STANDARD_ROOT);
    Mount {
        point: if dir.is_empty() {
            root.to_owned()
        } else {
            root.join(dir)
        },
        root: "/".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn this_machine_is_as_mountinfo_says() {
        let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let listed = Hierarchy::parse(&text).unwrap();
        if let Some(usual) = probe() {
            assert_eq!(usual, listed);
        }
    }

    #[test]
    fn a_hierarchy_that_is_not_at_its_place_makes_it_unusual() {
        let tree = tempfile::tempdir().unwrap();
        let root = File::open(tree.path()).unwrap();
        let text = "3:cpu,cpuacct:/a:b\n2:memory:/\n1:name=systemd:/init\n0::/\n";
        let look = || beside_each_other(root.as_fd(), text);
        for dir in ["cpu,cpuacct", "memory", "systemd"] {
            assert_eq!(look(), None, "{dir}");
            fs::create_dir(tree.path().join(dir)).unwrap();
            assert_eq!(look(), None, "{dir}");
            fs::write(tree.path().join(dir).join("release_agent"), "").unwrap();
        }
        let Some(Hierarchy::V1 {
            controllers,
            unified,
        }) = look()
        else {
            panic!("not v1");
        };
        assert_eq!(unified, None);
        let names: Vec<_> = controllers.keys().map(String::as_str).collect();
        assert_eq!(names, ["cpu", "cpuacct", "memory", "name=systemd"]);
        assert_eq!(controllers["cpu"], mount("cpu,cpuacct"));
        assert_eq!(controllers["name=systemd"], mount("systemd"));
        assert_eq!(
            controllers["memory"].point,
            Path::new("/sys/fs/cgroup/memory")
        );
        // Not a cgroup2's root: it has another inode.
        fs::create_dir(tree.path().join("unified")).unwrap();
        assert!(look().is_some());
        fs::write(tree.path().join("unified/cgroup.controllers"), "").unwrap();
        assert_eq!(look(), None);
        assert_eq!(beside_each_other(root.as_fd(), "0::/\n"), None);
        assert_eq!(beside_each_other(root.as_fd(), "nonsense\n"), None);
    }
}
