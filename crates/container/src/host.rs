//! What the host is like: read once, then plain data that plans are made from.

use std::{collections::BTreeMap, os::fd::OwnedFd, path::Path};

use rustix::fs::{Mode, OFlags};
use sys::small_file::{self, read_text};

use crate::{
    Error,
    cgroup::{self, Hierarchy, Mount},
    launch,
    mountinfo::Entry,
};

const CAP_SETGID: u64 = 1 << 6;
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Facts that plans depend on. What few documents need is asked for when one does.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Capabilities that we may hand on: our permitted and bounding ones.
    pub capabilities: u64,
    /// Our user.
    pub uid: u32,
    /// Our group.
    pub gid: u32,
    /// Number of capabilities that the kernel knows.
    pub capability_count: u8,
    /// Our own oom_score_adj.
    pub oom_score_adj: fn() -> i32,
    /// AppArmor is on.
    pub apparmor: fn() -> bool,
    /// SELinux is on.
    pub selinux: fn() -> bool,
    /// We have no CAP_SYS_ADMIN: what needs it is done in the container's user namespace, or not at all.
    pub rootless: bool,
    /// We may set supplementary groups, and so may a user namespace of ours.
    pub setgroups: bool,
    /// v1 cgroup mounts: name of the directory, and the controllers that it has.
    pub cgroup_v1: Vec<(String, Vec<String>)>,
}

impl Facts {
    /// Whether we have CAP_SYS_RESOURCE.
    #[must_use]
    pub fn may_lower_oom_score(&self) -> bool {
        self.capabilities & (1 << 24) != 0
    }
}

/// Where the host has a whole procfs or sysfs: by those the kernel measures what a user namespace may mount.
pub(crate) fn whole_filesystems() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    let mounts = text.lines().filter_map(Entry::parse);
    let whole = mounts.filter(|m| m.root == "/" && matches!(m.fstype, "proc" | "sysfs"));
    whole.map(|m| m.point.into_owned()).collect()
}

/// The host: facts, and what is kept open of it.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) facts: Facts,
    pub(crate) hierarchy: Hierarchy,
    /// Files of procfs are root's, so that we can't use those of an undumpable process.
    pub(crate) foreign_proc: bool,
    /// /proc, checked to be procfs.
    pub(crate) proc: OwnedFd,
}

impl Host {
    pub(crate) fn probe() -> Result<Self, Error> {
        let proc = rustix::fs::open(
            "/proc",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| launch::Error::io("open", "/proc", e))?;
        let magic = rustix::fs::fstatfs(&proc)
            .map_err(|e| launch::Error::io("examine", "/proc", e))?
            .f_type;
        if magic != rustix::fs::PROC_SUPER_MAGIC {
            return Err(launch::Error::NotProc.into());
        }
        // Nobody in a container may look into us or our children before they have become theirs.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
            .map_err(|e| launch::Error::io("make undumpable", "ourselves", e))?;
        let hierarchy = match Hierarchy::probe() {
            // Containers run without one; a limit is then an error that says so.
            Err(cgroup::Error::NoHierarchy(_)) => Hierarchy::V1 {
                controllers: BTreeMap::new(),
                unified: None,
            },
            other => other?,
        };
        let own = sys::process::capabilities()
            .map_err(|e| launch::Error::io("ask for", "our capabilities", e))?;
        let capabilities = own.to_give;
        let initial = in_initial_user_namespace(&proc);
        let whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
        let whole = initial || read_text(Path::new("/proc/self/uid_map")).is_ok_and(whole);
        let denied = |text: Vec<u8>| text.starts_with(b"deny");
        let setgroups_denied =
            || !initial && small_file::read(Path::new("/proc/self/setgroups")).is_ok_and(denied);
        let facts = Facts {
            capabilities,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            rootless: capabilities & CAP_SYS_ADMIN == 0,
            setgroups: capabilities & CAP_SETGID != 0 && !setgroups_denied(),
            capability_count: own.count,
            oom_score_adj,
            apparmor,
            selinux: || Path::new("/sys/fs/selinux/enforce").exists(),
            cgroup_v1: v1_mounts(&hierarchy),
        };
        Ok(Self {
            facts,
            foreign_proc: !(rustix::process::geteuid().is_root() && whole),
            hierarchy,
            proc,
        })
    }
}

/// Where nothing is mapped and nothing denied. Its inode number is the kernel's since 3.8 (PROC_USER_INIT_INO).
fn in_initial_user_namespace(proc: &OwnedFd) -> bool {
    let found = rustix::fs::statat(proc, "self/ns/user", rustix::fs::AtFlags::empty());
    found.is_ok_and(|stat| stat.st_ino == 0xefff_fffd)
}

/// 0 is the kernel's own first value.
fn oom_score_adj() -> i32 {
    let text = read_text(Path::new("/proc/self/oom_score_adj")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn apparmor() -> bool {
    let text = small_file::read(Path::new("/sys/module/apparmor/parameters/enabled"));
    text.is_ok_and(|text| text.starts_with(b"Y"))
}

/// Controllers that share a mount stand together.
fn v1_mounts(hierarchy: &Hierarchy) -> Vec<(String, Vec<String>)> {
    let Hierarchy::V1 { controllers, .. } = hierarchy else {
        return Vec::new();
    };
    let name = |mount: &Mount| {
        let name = mount.point.file_name()?;
        Some(name.to_string_lossy().into_owned())
    };
    cgroup::by_mount(controllers)
        .into_iter()
        .filter_map(|(mount, names)| Some((name(mount)?, names)))
        .collect()
}
