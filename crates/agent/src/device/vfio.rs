//! PCI devices that were passed to the micro-VM: awaited, and for a driver in the container given to
//! vfio-pci, whole IOMMU groups only.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path as FilePath, PathBuf};

use super::find::{self, Node};
use super::{pci, uevent};
use crate::error::Error;
use crate::machine::Machine;

const DRIVER: &str = "vfio-pci";

/// One function of a device: its address where the spec was written, and its path here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Function {
    outside: String,
    path: pci::Path,
}

/// What PCI addresses of the spec's environment are here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Addresses(Vec<(String, String)>);

impl Addresses {
    /// Rewrites the values of `PCIDEVICE_…` variables: lists of addresses. Without passed devices
    /// nothing is changed.
    ///
    /// # Errors
    /// An address that no device of the request has.
    pub(crate) fn rewrite(&self, env: &mut [String]) -> Result<(), Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        for variable in env {
            let Some((name, value)) = variable.split_once('=') else {
                continue;
            };
            // …_INFO is a document about the device, not a list.
            if !name.starts_with("PCIDEVICE_") || name.ends_with("_INFO") {
                continue;
            }
            let here = |address: &str| {
                let known = self.0.iter().find(|(outside, _)| outside == address);
                known.map(|(_, here)| here.clone()).ok_or_else(|| {
                    let why = format!("no device of the request has the address {address:?}");
                    Error::invalid(format!("environment variable {name}"), why)
                })
            };
            let list: Vec<_> = value.split(',').map(here).collect::<Result<_, _>>()?;
            *variable = format!("{name}={}", list.join(","));
        }
        Ok(())
    }
}

/// Reads `options`: `address=path`, one a function.
pub(super) fn functions(options: &[String]) -> Result<Vec<Function>, Error> {
    let function = |option: &String| {
        let (outside, path) = option.split_once('=').ok_or_else(|| {
            let why = "expected an address and a PCI path: 0000:1a:01.0=02/03";
            Error::invalid(format!("device option {option:?}"), why)
        })?;
        Ok(Function {
            outside: outside.to_owned(),
            path: pci::Path::parse(path)?,
        })
    };
    if options.is_empty() {
        let why = "options name no PCI device";
        return Err(Error::invalid("device of type vfio-pci", why));
    }
    options.iter().map(function).collect()
}

/// Awaits the functions and notes their addresses.
pub(super) fn await_all(
    machine: &Machine,
    functions: &[Function],
    addresses: &mut Addresses,
) -> Result<Vec<PathBuf>, Error> {
    let mut dirs = Vec::with_capacity(functions.len());
    for function in functions {
        let dir = uevent::wait(
            format!("a device at PCI path {}", function.path),
            machine.hotplug_timeout,
            || Ok(function.path.find(&machine.sys)),
        )?;
        let address = String::from_utf8_lossy(name(&dir)).into_owned();
        addresses.0.push((function.outside.clone(), address));
        dirs.push(dir);
    }
    Ok(dirs)
}

/// Gives the functions, all of one IOMMU group, to vfio-pci; returns the group's node.
pub(super) fn take(
    machine: &Machine,
    functions: &[Function],
    addresses: &mut Addresses,
) -> Result<Node, Error> {
    let dirs = await_all(machine, functions, addresses)?;
    let mut group: Option<String> = None;
    for dir in &dirs {
        bind(machine, dir)?;
        let link = std::fs::read_link(dir.join("iommu_group"));
        let link = link.map_err(|e| {
            Error::io(
                "find the IOMMU group of",
                String::from_utf8_lossy(name(dir)),
                e,
            )
        })?;
        let number = String::from_utf8_lossy(name(&link)).into_owned();
        if group.as_ref().is_some_and(|g| *g != number) {
            let why = "its functions are not all in one IOMMU group";
            return Err(Error::invalid("device of type vfio-pci", why));
        }
        group = Some(number);
    }
    let group = group.unwrap_or_default();
    find::by_path(machine, &machine.dev.join("vfio").join(group))
}

/// Gives one function to vfio-pci, taking it from the driver that has it.
fn bind(machine: &Machine, dir: &FilePath) -> Result<(), Error> {
    let driver = std::fs::read_link(dir.join("driver")).ok();
    if driver.as_deref().map(name) == Some(DRIVER.as_bytes()) {
        return Ok(());
    }
    let address = name(dir);
    let shown = String::from_utf8_lossy(address);
    let write = |act, path: PathBuf, value: &[u8]| {
        std::fs::write(&path, value).map_err(|e| Error::io(act, &shown, e))
    };
    write(
        "choose a driver for PCI device",
        dir.join("driver_override"),
        DRIVER.as_bytes(),
    )?;
    if driver.is_some() {
        write(
            "take its driver from PCI device",
            dir.join("driver/unbind"),
            address,
        )?;
    }
    write(
        "give to vfio-pci PCI device",
        machine.sys.join("bus/pci/drivers_probe"),
        address,
    )
}

fn name(path: &FilePath) -> &[u8] {
    path.file_name().map_or(b"", |n| n.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn addresses_of_the_environment_are_those_of_this_machine() {
        let addresses = Addresses(vec![
            ("0000:1a:01.0".into(), "0000:01:03.0".into()),
            ("0000:1a:01.1".into(), "0000:01:04.0".into()),
        ]);
        let mut env = [
            "PATH=/bin",
            "PCIDEVICE_NIC=0000:1a:01.1,0000:1a:01.0",
            "PCIDEVICE_NIC_INFO={}",
        ]
        .map(str::to_owned);
        addresses.rewrite(&mut env).unwrap();
        assert_eq!(env[1], "PCIDEVICE_NIC=0000:01:04.0,0000:01:03.0");
        assert_eq!(env[2], "PCIDEVICE_NIC_INFO={}");
        let mut unknown = ["PCIDEVICE_X=0000:ff:00.0".to_owned()];
        assert!(addresses.rewrite(&mut unknown).is_err());
        Addresses::default().rewrite(&mut unknown).unwrap();
    }

    #[test]
    fn a_group_is_taken_whole() {
        let temp = tempfile::tempdir().unwrap();
        let machine = Machine {
            own: true,
            sys: temp.path().join("sys"),
            dev: temp.path().join("dev"),
            hotplug_timeout: std::time::Duration::from_millis(1),
            node_network: None,
        };
        let root = machine.sys.join("devices/pci0000:00");
        fs::create_dir_all(machine.sys.join("bus/pci")).unwrap();
        fs::create_dir_all(machine.dev.join("vfio")).unwrap();
        symlink("/dev/null", machine.dev.join("vfio/7")).unwrap();
        for (slot, group) in [("03", "7"), ("04", "7"), ("05", "8")] {
            let dir = root.join(format!("0000:00:{slot}.0"));
            fs::create_dir_all(&dir).unwrap();
            symlink(
                format!("../../kernel/iommu_groups/{group}"),
                dir.join("iommu_group"),
            )
            .unwrap();
        }
        let driver = machine.sys.join("bus/pci/drivers/e1000");
        fs::create_dir_all(&driver).unwrap();
        symlink(&driver, root.join("0000:00:03.0/driver")).unwrap();
        let parse = |list: &[&str]| {
            let list: Vec<_> = list.iter().map(|o| (*o).to_owned()).collect();
            functions(&list)
        };
        let mut addresses = Addresses::default();
        let both = parse(&["0000:1a:00.0=03", "0000:1a:00.1=04"]).unwrap();
        let node = take(&machine, &both, &mut addresses).unwrap();
        assert_eq!(node.path, machine.dev.join("vfio/7"));
        assert_eq!(
            addresses.0[1],
            ("0000:1a:00.1".into(), "0000:00:04.0".into())
        );
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!(read(root.join("0000:00:03.0/driver_override")), "vfio-pci");
        assert_eq!(read(driver.join("unbind")), "0000:00:03.0");
        assert_eq!(
            read(machine.sys.join("bus/pci/drivers_probe")),
            "0000:00:04.0"
        );
        let mixed = parse(&["a=04", "b=05"]).unwrap();
        let error = take(&machine, &mixed, &mut addresses).unwrap_err();
        assert!(error.to_string().contains("one IOMMU group"), "{error}");
        assert!(parse(&[]).is_err() && parse(&["x"]).is_err());
    }
}
