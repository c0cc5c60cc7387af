//! Devices that a request declares: awaited until they have appeared, then written into the spec with
//! the numbers that they have on this machine.
//!
//! ```text
//!  Device ──find──> Node /dev/vdb 254:16 ──rewrite──> linux.devices[/dev/data].major/minor
//!                                                     linux.resources.devices rules, PCIDEVICE_ names
//! ```
//! Nothing is created here: the launch makes the nodes, as the spec then says.

pub(crate) mod find;
pub(crate) mod pci;
mod rewrite;
mod uevent;
mod vfio;

use std::path::Path;

use oci::runtime::Spec;

use crate::error::Error;
use crate::machine::Machine;
use rewrite::Change;
pub(crate) use vfio::Addresses;

/// Types that work here, as GetGuestDetails lists them.
pub(crate) const TYPES: &[&str] = &[
    "blk",
    "mmioblk",
    "nvdimm",
    "scsi",
    "vfio-pci",
    "vfio-pci-gk",
];

/// How a device is known to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A disk at a PCI path.
    PciDisk(pci::Path),
    /// A block device whose node is known.
    Disk(String),
    /// `target:lun`.
    Scsi(String),
    /// PCI devices for a driver in the container; their addresses there and paths here.
    Vfio(Vec<vfio::Function>),
    /// PCI devices for this machine's own drivers.
    VfioKernel(Vec<vfio::Function>),
}

/// A declared device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) kind: Kind,
    /// The spec's entry that is this device; None: it is only awaited.
    pub(crate) container_path: Option<String>,
}

/// What a request says of a device.
#[derive(Debug)]
pub(crate) struct Said<'a> {
    pub(crate) kind: &'a str,
    pub(crate) id: &'a str,
    pub(crate) vm_path: &'a str,
    pub(crate) container_path: &'a str,
    pub(crate) options: &'a [String],
}

impl Device {
    /// What was said, understood.
    ///
    /// # Errors
    /// A type that is unknown, or what names the device is missing or of the wrong form.
    pub(crate) fn read(said: &Said<'_>) -> Result<Self, Error> {
        let wrong = |why: &str| {
            let name = [said.container_path, said.vm_path, said.id];
            let name = name.into_iter().find(|n| !n.is_empty()).unwrap_or("");
            Error::invalid(format!("device {name:?}"), why)
        };
        if said.id.is_empty() && said.vm_path.is_empty() {
            return Err(wrong("neither id nor vm_path says which it is"));
        }
        let known = |text: &str, what: &str| match text.is_empty() {
            true => Err(wrong(&format!("type {} needs {what}", said.kind))),
            false => Ok(text.to_owned()),
        };
        let kind = match said.kind {
            "blk" if said.id.is_empty() => Kind::Disk(said.vm_path.to_owned()),
            "blk" => Kind::PciDisk(pci::Path::parse(said.id)?),
            "mmioblk" | "nvdimm" => Kind::Disk(known(said.vm_path, "vm_path")?),
            "scsi" => Kind::Scsi(known(said.id, "an id target:lun")?),
            "vfio-pci" => Kind::Vfio(vfio::functions(said.options)?),
            "vfio-pci-gk" => Kind::VfioKernel(vfio::functions(said.options)?),
            "" => return Err(wrong("its type is missing")),
            other => {
                let known = TYPES.join(", ");
                let why = format!("type {other:?} is not supported here; known: {known}");
                return Err(wrong(&why));
            }
        };
        Ok(Self {
            kind,
            container_path: (!said.container_path.is_empty())
                .then(|| said.container_path.to_owned()),
        })
    }
}

/// Awaits the devices and writes them into `spec`; returns what PCI addresses mean here, for execs to
/// come. Blocks.
///
/// # Errors
/// One that does not appear in time, or has no entry in the spec, or two for one entry. The spec may
/// be changed in part then.
pub(crate) fn attach(
    machine: &Machine,
    devices: &[Device],
    spec: &mut Spec,
) -> Result<Addresses, Error> {
    let (mut changes, mut addresses) = (Vec::new(), Addresses::default());
    for device in devices {
        let (node, path) = match &device.kind {
            Kind::PciDisk(path) => (Some(find::pci_disk(machine, path)?), None),
            Kind::Disk(path) => (Some(find::block_by_path(machine, Path::new(path))?), None),
            Kind::Scsi(address) => (Some(find::scsi_disk(machine, address)?), None),
            Kind::VfioKernel(functions) => {
                vfio::await_all(machine, functions, &mut addresses)?;
                (None, None)
            }
            Kind::Vfio(functions) => {
                machine.may_change("giving a PCI device to a container's own driver")?;
                let node = vfio::take(machine, functions, &mut addresses)?;
                let path = node.path.display().to_string();
                (Some(node), Some(path))
            }
        };
        if let (Some(node), Some(container_path)) = (node, &device.container_path) {
            changes.push(Change {
                container_path: container_path.clone(),
                node,
                path,
            });
        }
    }
    rewrite::apply(spec, &changes)?;
    if let Some(process) = &mut spec.process {
        addresses.rewrite(&mut process.env)?;
    }
    Ok(addresses)
}
