//! What a machine has mounted before anything else can run.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::Error;

/// One mount.
struct Mount {
    point: &'static str,
    kind: &'static str,
    flags: MountFlags,
    data: &'static std::ffi::CStr,
    /// Kernels without it are fine.
    optional: bool,
}

const fn entry(point: &'static str, kind: &'static str, flags: MountFlags) -> Mount {
    Mount {
        point,
        kind,
        flags,
        data: c"",
        optional: false,
    }
}

const CLOSED: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);
const SHARED_MEMORY: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);
const TERMINALS: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);

/// In this order: each mount point is in one before.
const SYSTEM: [Mount; 8] = [
    entry("/proc", "proc", CLOSED),
    entry("/sys", "sysfs", CLOSED),
    Mount {
        data: c"mode=0755",
        ..entry("/dev", "devtmpfs", MountFlags::NOSUID)
    },
    Mount {
        data: c"gid=5,mode=0620,ptmxmode=0666",
        ..entry("/dev/pts", "devpts", TERMINALS)
    },
    Mount {
        data: c"mode=1777",
        ..entry("/dev/shm", "tmpfs", SHARED_MEMORY)
    },
    Mount {
        optional: true,
        ..entry("/dev/mqueue", "mqueue", CLOSED)
    },
    Mount {
        data: c"mode=0755",
        ..entry("/run", "tmpfs", SHARED_MEMORY)
    },
    Mount {
        optional: true,
        ..entry("/sys/kernel/security", "securityfs", CLOSED)
    },
];

const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

const CGROUP: &str = "/sys/fs/cgroup";

/// Mounts the system's file systems, and makes every mount shared, as systemd does and volumes with
/// bidirectional propagation need.
///
/// # Errors
/// The kernel refuses one that it should have.
pub(super) fn system() -> Result<(), Error> {
    for mount in &SYSTEM {
        attach(mount)?;
    }
    for (link, target) in LINKS {
        match symlink(target, link) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("make", link)(e));
            }
            _ => {}
        }
    }
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    mount_change("/", shared).map_err(|e| Error::io("make shared", "all mounts")(e.into()))
}

/// Mounts cgroup2, or every controller of v1 on its own.
///
/// # Errors
/// The kernel refuses.
pub(super) fn cgroups(unified: bool) -> Result<(), Error> {
    if unified {
        return attach(&entry(CGROUP, "cgroup2", CLOSED));
    }
    attach(&Mount {
        data: c"mode=0755",
        ..entry(CGROUP, "tmpfs", CLOSED)
    })?;
    let list = fs::read_to_string("/proc/cgroups").map_err(Error::io("read", "/proc/cgroups"))?;
    for controller in controllers(&list) {
        let point = format!("{CGROUP}/{controller}");
        fs::create_dir(&point).map_err(Error::io("make", &point))?;
        mount(
            "cgroup",
            point.as_str(),
            "cgroup",
            CLOSED,
            Some(text(controller).as_c_str()),
        )
        .map_err(|e| Error::io("mount cgroup at", point)(e.into()))?;
    }
    let point = format!("{CGROUP}/systemd");
    fs::create_dir(&point).map_err(Error::io("make", &point))?;
    mount(
        "cgroup",
        point.as_str(),
        "cgroup",
        CLOSED,
        Some(c"none,name=systemd"),
    )
    .map_err(|e| Error::io("mount cgroup at", point)(e.into()))
}

/// The enabled controllers of /proc/cgroups.
fn controllers(list: &str) -> impl Iterator<Item = &str> {
    list.lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let name = fields.next()?;
            (fields.nth(2)? == "1").then_some(name)
        })
}

fn text(word: &str) -> std::ffi::CString {
    // A line of a file of the kernel holds no NUL.
    std::ffi::CString::new(word).unwrap_or_default()
}

fn attach(wanted: &Mount) -> Result<(), Error> {
    let failed =
        |e: io::Error| Error::io("mount", format!("{} at {}", wanted.kind, wanted.point))(e);
    // In /sys the directory is the kernel's, or the kernel lacks it.
    if !Path::new(wanted.point).is_dir() && !wanted.point.starts_with("/sys/") {
        fs::create_dir_all(wanted.point).map_err(failed)?;
    }
    match mount(
        wanted.kind,
        wanted.point,
        wanted.kind,
        wanted.flags,
        Some(wanted.data),
    ) {
        Err(_) if wanted.optional => Ok(()),
        // A kernel that mounts devtmpfs by itself has done so on the disk's root.
        Err(rustix::io::Errno::BUSY) => Ok(()),
        other => other.map_err(|e| failed(e.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disabled_controllers_are_left_out() {
        let list = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t1\t1\nmemory\t0\t1\t0\ncpu\t0\t1\t1\n";
        assert_eq!(controllers(list).collect::<Vec<_>>(), ["cpuset", "cpu"]);
    }
}
