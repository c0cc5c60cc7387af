//! What the builder has to ask of the host: facts, read once, and look-ups, one by one.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::mountinfo;

/// What is true of this node for as long as the daemon runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The v2 hierarchy holds the controllers (no hybrid).
    pub cgroup_v2: bool,
    /// Memory cgroups can limit swap.
    pub swap_accounting: bool,
    /// The sizes of huge pages that the node can limit: "2MB", "1GB"; empty without the controller.
    pub hugepage_sizes: Vec<String>,
    /// Our bounding set: what a process of ours can be given, one bit a capability.
    pub capabilities: u64,
    /// The AppArmor profiles that are loaded; `None`: AppArmor is off.
    pub apparmor_profiles: Option<Vec<String>>,
    /// SELinux is on.
    pub selinux: bool,
}

impl HostFacts {
    /// Reads the facts. What can't be read is taken to be absent.
    pub fn probe() -> HostFacts {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let cgroups = mountinfo::cgroups(&table);
        let controller = |name: &str| cgroups.v1.iter().find(|(known, _)| known == name);
        let memory = controller("memory").map(|(_, path)| path.as_path());
        let cgroup_v2 = memory.is_none() && cgroups.v2.is_some();
        let v2_file = |file: &str| {
            // The root cgroup has no limits; any group below it shows which there are.
            let below = |root: &Path| {
                fs::read_dir(root)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .any(|e| e.path().join(file).exists())
            };
            cgroups.v2.as_deref().is_some_and(below)
        };
        let hugetlb = controller("hugetlb").is_some()
            || cgroups.v2.as_deref().is_some_and(|root| {
                let text = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
                text.split_whitespace().any(|name| name == "hugetlb")
            });
        HostFacts {
            cgroup_v2,
            swap_accounting: match memory {
                Some(root) => root.join("memory.memsw.limit_in_bytes").exists(),
                None => v2_file("memory.swap.max"),
            },
            hugepage_sizes: if hugetlb {
                hugepage_sizes()
            } else {
                Vec::new()
            },
            capabilities: bounding_set(),
            apparmor_profiles: apparmor_profiles(),
            selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        }
    }
}

/// "2MB" for `/sys/kernel/mm/hugepages/hugepages-2048kB`.
fn hugepage_sizes() -> Vec<String> {
    let entries = fs::read_dir("/sys/kernel/mm/hugepages")
        .into_iter()
        .flatten()
        .flatten();
    let mut sizes: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kib: u64 = name
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()?;
            Some(size_name(kib))
        })
        .collect();
    sizes.sort();
    sizes
}

fn size_name(kib: u64) -> String {
    if kib >= 1 << 20 {
        format!("{}GB", kib >> 20)
    } else if kib >= 1 << 10 {
        format!("{}MB", kib >> 10)
    } else {
        format!("{kib}KB")
    }
}

fn bounding_set() -> u64 {
    fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapBnd:")?.trim(), 16).ok())
        .unwrap_or_default()
}

fn apparmor_profiles() -> Option<Vec<String>> {
    let on = fs::read_to_string("/sys/module/apparmor/parameters/enabled").ok()?;
    if on.trim() != "Y" {
        return None;
    }
    let text = fs::read_to_string("/sys/kernel/security/apparmor/profiles").unwrap_or_default();
    // "name (enforce)"
    Some(
        text.lines()
            .filter_map(|line| Some(line.rsplit_once(" (")?.0.to_owned()))
            .collect(),
    )
}

/// How mounts travel to and from a place of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peers {
    /// Mounts made there show elsewhere.
    pub shared: bool,
    /// Mounts made elsewhere show there.
    pub slave: bool,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDevice {
    /// Where it was found.
    pub path: PathBuf,
    /// A block device; else a character device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Look-ups on the host. [`RealHost`] does them; tests have a host of their own.
pub trait Host {
    /// The path behind all symbolic links of a mount's source; a directory is made where nothing is.
    ///
    /// # Errors
    /// The kernel's.
    fn mount_source(&self, path: &Path) -> io::Result<PathBuf>;

    /// How mounts travel at a path without symbolic links.
    ///
    /// # Errors
    /// The kernel's.
    fn peers(&self, path: &Path) -> io::Result<Peers>;

    /// The device at a path, or all devices below a directory.
    ///
    /// # Errors
    /// The kernel's; one that says so when it is neither.
    fn devices(&self, path: &Path) -> io::Result<Vec<HostDevice>>;

    /// The contents of a small file of the node's operator.
    ///
    /// # Errors
    /// The kernel's; one that says so when it is larger than 4 MiB.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// This machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealHost;

impl Host for RealHost {
    fn mount_source(&self, path: &Path) -> io::Result<PathBuf> {
        match fs::canonicalize(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path)?;
                fs::canonicalize(path)
            }
            other => other,
        }
    }

    fn peers(&self, path: &Path) -> io::Result<Peers> {
        let table = fs::read_to_string("/proc/self/mountinfo")?;
        mountinfo::peers(&table, path)
            .ok_or_else(|| io::Error::other("no mount of mountinfo holds it"))
    }

    fn devices(&self, path: &Path) -> io::Result<Vec<HostDevice>> {
        let meta = fs::metadata(path)?;
        if meta.is_dir() {
            let mut found = Vec::new();
            devices_below(path, &mut found)?;
            found.sort_by(|a, b| a.path.cmp(&b.path));
            return Ok(found);
        }
        let device = device(path, &meta);
        Ok(vec![
            device.ok_or_else(|| io::Error::other("it is not a device"))?,
        ])
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        const LIMIT: u64 = 4 << 20;
        let size = fs::metadata(path)?.len();
        if size > LIMIT {
            return Err(io::Error::other(format!(
                "it has {size} bytes; the limit is {LIMIT}"
            )));
        }
        fs::read(path)
    }
}

/// Places below `/dev` that are no devices of the host: terminals and what containers get anew.
const NOT_BELOW: [&str; 6] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts"];

fn devices_below(dir: &Path, found: &mut Vec<HostDevice>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let path = entry.path();
        // Neither links (their targets are met anyway) nor /dev/console, which is a container's own.
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            if !NOT_BELOW.iter().any(|skipped| *skipped == name) {
                devices_below(&path, found)?;
            }
        } else if name != "console" {
            found.extend(device(&path, &meta));
        }
    }
    Ok(())
}

fn device(path: &Path, meta: &fs::Metadata) -> Option<HostDevice> {
    let kind = meta.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return None;
    }
    Some(HostDevice {
        path: path.to_owned(),
        block: kind.is_block_device(),
        major: rustix::fs::major(meta.rdev()),
        minor: rustix::fs::minor(meta.rdev()),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_devices_and_facts() {
        let facts = HostFacts::probe();
        assert_ne!(facts.capabilities, 0);
        let null = RealHost.devices(Path::new("/dev/null")).unwrap();
        assert_eq!((null[0].major, null[0].minor, null[0].block), (1, 3, false));
        let all = RealHost.devices(Path::new("/dev")).unwrap();
        assert!(
            all.iter()
                .any(|device| device.path == Path::new("/dev/null"))
        );
        assert!(!all.iter().any(|device| device.path.starts_with("/dev/pts")));
        let error = RealHost.devices(Path::new("/etc/passwd")).unwrap_err();
        assert_eq!(error.to_string(), "it is not a device");
    }

    #[test]
    fn a_source_is_resolved_and_made_where_missing() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let source = |name: &str| RealHost.mount_source(&root.join(name));
        assert_eq!(source("link").unwrap(), root.join("real"));
        assert_eq!(source("link/new/deep").unwrap(), root.join("real/new/deep"));
        assert!(root.join("real/new/deep").is_dir());
        std::os::unix::fs::symlink("gone", root.join("dangling")).unwrap();
        assert!(source("dangling").is_err());
    }

    #[test]
    fn huge_pages_have_the_names_of_the_contract() {
        for (kib, name) in [
            (64, "64KB"),
            (2048, "2MB"),
            (32 << 10, "32MB"),
            (1 << 20, "1GB"),
        ] {
            assert_eq!(size_name(kib), name);
        }
    }
}
