//! From what a caller knows of a device to its node: each kind awaited until it has appeared.

use std::ffi::OsStr;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{pci, uevent};
use crate::error::Error;
use crate::machine::Machine;

/// A device node: its path and numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) path: PathBuf,
    pub(crate) block: bool,
    pub(crate) major: i64,
    pub(crate) minor: i64,
}

/// The disk at a PCI path (virtio-blk, or any other that stands there alone).
pub(crate) fn pci_disk(machine: &Machine, path: &pci::Path) -> Result<Node, Error> {
    uevent::wait(
        format!("a disk at PCI path {path}"),
        machine.hotplug_timeout,
        || {
            let Some(dir) = path.find(&machine.sys) else {
                return Ok(None);
            };
            match class(&dir, "block") {
                Some(name) => node(&machine.dev.join(name)),
                None => Ok(None),
            }
        },
    )
}

/// The name of the network interface at a PCI path.
pub(crate) fn pci_interface(machine: &Machine, path: &pci::Path) -> Result<String, Error> {
    uevent::wait(
        format!("an interface at PCI path {path}"),
        machine.hotplug_timeout,
        || {
            let dir = path.find(&machine.sys);
            Ok(dir.and_then(|dir| class(&dir, "net")))
        },
    )
}

/// The disk `target:lun` of the first SCSI host that has it.
pub(crate) fn scsi_disk(machine: &Machine, address: &str) -> Result<Node, Error> {
    let wrong = || Error::invalid(format!("SCSI address {address:?}"), "expected target:lun");
    let (target, lun) = address.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
    let (target, lun) = (number(target)?, number(lun)?);
    let hosts = machine.sys.join("class/scsi_host");
    uevent::wait(
        format!("SCSI disk {address}"),
        machine.hotplug_timeout,
        || {
            for host in entries(&hosts) {
                // Hosts find what was plugged into them only when they are asked to look.
                let scan = hosts.join(&host).join("scan");
                if let Err(e) = std::fs::write(&scan, format!("0 {target} {lun}")) {
                    log::debug!("cannot scan {}: {e}", scan.display());
                }
            }
            let devices = machine.sys.join("class/scsi_device");
            let found = entries(&devices).into_iter().find(|name| {
                let mut parts = name.split(':').map(str::parse::<u32>);
                let mut next = || parts.next()?.ok();
                matches!((next(), next(), next(), next()), (Some(_), Some(_), Some(t), Some(l))
                    if (t, l) == (target, lun))
            });
            let disk = found.and_then(|name| {
                entries(&devices.join(name).join("device/block"))
                    .into_iter()
                    .next()
            });
            match disk {
                Some(name) => node(&machine.dev.join(name)),
                None => Ok(None),
            }
        },
    )
}

/// A device node by its path.
pub(crate) fn by_path(machine: &Machine, path: &Path) -> Result<Node, Error> {
    if !path.is_absolute() {
        let why = "expected the absolute path of a device node";
        return Err(Error::invalid(format!("device {path:?}"), why));
    }
    uevent::wait(
        format!("device {}", path.display()),
        machine.hotplug_timeout,
        || node(path),
    )
}

/// A block device by its path.
pub(crate) fn block_by_path(machine: &Machine, path: &Path) -> Result<Node, Error> {
    let node = by_path(machine, path)?;
    match node.block {
        true => Ok(node),
        false => Err(Error::invalid(
            format!("device {}", path.display()),
            "it is no block device",
        )),
    }
}

/// The path of a disk that the agent itself is to use, once its driver answers. The kernel makes the node
/// first, and answers ENXIO until the disk itself is added (`device_add_disk`, Linux 6.1: `device_add` long before
/// `bdev_add`). Any other answer is for who uses the disk. A disk that is passed on to a container is
/// not opened: one that answers nothing would hold the call, as it holds whoever uses it.
pub(crate) fn answering(machine: &Machine, node: Node) -> Result<PathBuf, Error> {
    use std::os::unix::fs::OpenOptionsExt as _;
    if machine.own && node.block {
        uevent::wait(
            format!("the driver of disk {}", node.path.display()),
            machine.hotplug_timeout,
            || {
                let mut options = std::fs::OpenOptions::new();
                // Without waiting for a medium.
                options.read(true).custom_flags(libc::O_NONBLOCK);
                let open = options.open(&node.path);
                let absent = open.is_err_and(|e| e.raw_os_error() == Some(libc::ENXIO));
                Ok((!absent).then_some(()))
            },
        )?;
    }
    Ok(node.path)
}

/// The node at `path`; None while it is not there. Something else there is an error.
fn node(path: &Path) -> Result<Option<Node>, Error> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => {
            return Err(Error::io(
                "look at",
                format!("device {}", path.display()),
                e,
            ));
        }
    };
    let kind = meta.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        let why = "it is no device node";
        return Err(Error::invalid(format!("device {}", path.display()), why));
    }
    let number = meta.rdev();
    Ok(Some(Node {
        path: path.to_owned(),
        block: kind.is_block_device(),
        major: rustix::fs::major(number).into(),
        minor: rustix::fs::minor(number).into(),
    }))
}

/// The device of a class below a PCI device: `virtioN/block/vda`, `net/eth0`, `nvme/nvme0/nvme0n1` …
fn class(dir: &Path, class: &str) -> Option<String> {
    let mut below = vec![dir.to_owned()];
    below.extend(directories(dir));
    let direct = below
        .iter()
        .find_map(|dir| entries(&dir.join(class)).into_iter().next());
    direct.or_else(|| {
        // NVMe: the namespaces are directories of the controller, without a class directory.
        let nvme = directories(&dir.join("nvme")).into_iter().next()?;
        let is_disk = |name: &String| class == "block" && name.starts_with("nvme");
        entries(&nvme).into_iter().find(is_disk)
    })
}

/// The directories in `dir` that are not links and hold devices.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .filter(|path| path.file_name() != Some(OsStr::new("power")))
        .collect();
    found.sort();
    found
}

/// The names in `dir`, in order; none if it is not there.
fn entries(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    /// A machine whose sysfs and /dev are directories of a test; node files are links to real ones.
    fn machine(dir: &Path) -> Machine {
        fs::create_dir_all(dir.join("dev")).unwrap();
        Machine {
            own: true,
            sys: dir.join("sys"),
            dev: dir.join("dev"),
            hotplug_timeout: Duration::from_millis(300),
            node_network: None,
        }
    }

    fn link_node(machine: &Machine, name: &str) {
        std::os::unix::fs::symlink("/dev/null", machine.dev.join(name)).unwrap();
    }

    #[test]
    fn disks_are_found_at_their_pci_path_once_they_appear() {
        let temp = tempfile::tempdir().unwrap();
        let machine = machine(temp.path());
        let path = pci::Path::parse("02/03").unwrap();
        let bridge = machine.sys.join("devices/pci0000:00/0000:00:02.0");
        fs::create_dir_all(bridge.join("pci_bus/0000:01")).unwrap();
        let error = pci_disk(&machine, &path).unwrap_err();
        assert!(matches!(error, Error::NotPlugged { .. }), "{error}");
        let later = std::thread::spawn({
            let (machine, bridge) = (machine.clone(), bridge.clone());
            move || {
                std::thread::sleep(Duration::from_millis(20));
                fs::create_dir_all(bridge.join("0000:01:03.0/virtio5/block/vdq")).unwrap();
                link_node(&machine, "vdq");
            }
        });
        let slow = Machine {
            hotplug_timeout: Duration::from_secs(30),
            ..machine.clone()
        };
        let node = pci_disk(&slow, &path).unwrap();
        assert_eq!(node.path, machine.dev.join("vdq"));
        assert_eq!((node.block, node.major, node.minor), (false, 1, 3));
        later.join().unwrap();
        fs::create_dir_all(bridge.join("0000:01:04.0/virtio6/net/eth7")).unwrap();
        let path = pci::Path::parse("02/04").unwrap();
        assert_eq!(pci_interface(&machine, &path).unwrap(), "eth7");
        fs::create_dir_all(bridge.join("0000:01:05.0/nvme/nvme0/nvme0n1")).unwrap();
        link_node(&machine, "nvme0n1");
        let path = pci::Path::parse("02/05").unwrap();
        assert!(pci_disk(&machine, &path).is_ok());
    }

    #[test]
    fn scsi_disks_are_scanned_for() {
        let temp = tempfile::tempdir().unwrap();
        let machine = machine(temp.path());
        let host = machine.sys.join("class/scsi_host/host0");
        fs::create_dir_all(&host).unwrap();
        fs::write(host.join("scan"), "").unwrap();
        assert!(scsi_disk(&machine, "1:2").is_err());
        assert_eq!(fs::read_to_string(host.join("scan")).unwrap(), "0 1 2");
        for device in ["0:0:2:1", "0:0:1:2"] {
            let name = device.replace(':', "");
            let block = machine
                .sys
                .join(format!("class/scsi_device/{device}/device/block/sd{name}"));
            fs::create_dir_all(block).unwrap();
            link_node(&machine, &format!("sd{name}"));
        }
        let node = scsi_disk(&machine, "1:2").unwrap();
        assert_eq!(node.path, machine.dev.join("sd0012"));
        assert!(matches!(
            scsi_disk(&machine, "x"),
            Err(Error::Invalid { .. })
        ));
    }

    #[test]
    fn a_disk_is_used_once_its_driver_answers() {
        use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
        let temp = tempfile::tempdir().unwrap();
        let machine = machine(temp.path());
        let path = machine.dev.join("vdb");
        // A number that no driver has: what the node of a disk answers before the disk is added.
        let nobody = makedev(4095, 7);
        mknodat(CWD, &path, FileType::BlockDevice, Mode::RUSR, nobody).unwrap();
        let node = block_by_path(&machine, &path).unwrap();
        assert_eq!((node.major, node.minor), (4095, 7));
        let error = answering(&machine, node.clone()).unwrap_err();
        assert!(matches!(error, Error::NotPlugged { .. }), "{error}");
        assert!(error.to_string().contains("driver of disk"), "{error}");
        // On a machine of others nothing is opened that may be asleep.
        let of_others = Machine {
            own: false,
            ..machine.clone()
        };
        assert_eq!(answering(&of_others, node.clone()).unwrap(), path);
        let later = std::thread::spawn({
            let path = path.clone();
            move || {
                std::thread::sleep(Duration::from_millis(20));
                let aside = path.with_extension("aside");
                std::os::unix::fs::symlink("/dev/null", &aside).unwrap();
                fs::rename(aside, path).unwrap();
            }
        });
        let slow = Machine {
            hotplug_timeout: Duration::from_secs(30),
            ..machine.clone()
        };
        assert_eq!(answering(&slow, node).unwrap(), path);
        later.join().unwrap();
    }

    #[test]
    fn a_path_must_be_a_device() {
        let machine = Machine {
            hotplug_timeout: Duration::from_millis(1),
            ..Machine::here(false)
        };
        let node = by_path(&machine, Path::new("/dev/null")).unwrap();
        assert_eq!((node.major, node.minor), (1, 3));
        for (path, part) in [
            ("/etc/passwd", "no device node"),
            ("dev/null", "absolute"),
            ("/dev/none-such", "did not appear"),
        ] {
            let error = by_path(&machine, Path::new(path)).unwrap_err().to_string();
            assert!(error.contains(part), "{path}: {error}");
        }
        assert!(block_by_path(&machine, Path::new("/dev/null")).is_err());
    }
}
