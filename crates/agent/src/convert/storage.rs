//! Storages and devices.

use std::path::{Path, PathBuf};

use agent_api::{grpc, types};

use crate::device::{Device, Said, pci};
use crate::error::Error;
use crate::storage::{DRIVERS, Disk, Driver, FsGroup, Policy, Storage};

/// Option of a driver: a directory to be made before the mount.
const DIRECTORY: &str = "create_directory=";
/// Option of the driver for several layers: a further one, below those before it.
const LAYER: &str = "layer=";

pub(crate) fn all(wire: Vec<grpc::Storage>) -> Result<Vec<Storage>, Error> {
    wire.into_iter().map(storage).collect()
}

pub(crate) fn devices(wire: &[grpc::Device]) -> Result<Vec<Device>, Error> {
    let device = |wire: &grpc::Device| {
        Device::read(&Said {
            kind: &wire.r#type,
            id: &wire.id,
            vm_path: &wire.vm_path,
            container_path: &wire.container_path,
            options: &wire.options,
        })
    };
    wire.iter().map(device).collect()
}

fn storage(wire: grpc::Storage) -> Result<Storage, Error> {
    let what = format!("storage {:?}", wire.mount_point);
    let wrong = |why: &str| Error::invalid(what.clone(), why);
    let mount_point = canonical(&wire.mount_point)
        .ok_or_else(|| wrong("the mount point must be absolute and without .."))?;
    let mut further = Vec::new();
    let mut directories = Vec::new();
    for option in &wire.driver_options {
        if let Some((_, dir)) = option.split_once(DIRECTORY) {
            directories.push(canonical(dir).ok_or_else(|| wrong("create_directory is no path"))?);
        } else if let Some(layer) = option.strip_prefix(LAYER) {
            further.push(layer);
        } else {
            return Err(wrong(&format!(
                "driver option {option:?} is not known here"
            )));
        }
    }
    let driver = match wire.driver.as_str() {
        "bind" => Driver::Bind,
        "" if wire.fstype == "bind" => Driver::Bind,
        "ephemeral" => Driver::Ephemeral,
        "local" => Driver::Local,
        "overlayfs" => Driver::Overlay,
        "blk" => Driver::Disk(disk(&wire.source)?),
        "mmioblk" | "nvdimm" => Driver::Disk(Disk::Node(wire.source.clone().into())),
        "scsi" => Driver::Disk(Disk::Scsi(wire.source.clone())),
        "virtio-fs" => Driver::VirtioFs,
        "9p" => Driver::NineP,
        "watchable-bind" => Driver::Watchable,
        "erofs.multi-layer" => {
            let layers = [wire.source.as_str()].into_iter().chain(further.drain(..));
            let layers = layers.map(disk).collect::<Result<_, _>>()?;
            Driver::Erofs { layers }
        }
        other => {
            let known = DRIVERS.join(", ");
            return Err(wrong(&format!(
                "driver {other:?} is not supported here; known: {known}"
            )));
        }
    };
    if !further.is_empty() {
        return Err(wrong("only erofs.multi-layer has further layers"));
    }
    let fs_group = wire.fs_group.map(|group| {
        let policy = match types::FsGroupChangePolicy::try_from(group.group_change_policy) {
            Ok(types::FsGroupChangePolicy::Always) => Policy::Always,
            Ok(types::FsGroupChangePolicy::OnRootMismatch) => Policy::OnRootMismatch,
            Err(_) => return Err(wrong("the policy of its fs_group is unknown")),
        };
        Ok(FsGroup {
            id: group.group_id,
            policy,
        })
    });
    Ok(Storage {
        driver,
        source: wire.source,
        fstype: wire.fstype,
        options: wire.options,
        mount_point,
        directories,
        fs_group: fs_group.transpose()?,
        shared: wire.shared,
    })
}

/// A node's path, or a PCI path.
fn disk(source: &str) -> Result<Disk, Error> {
    match source.starts_with('/') {
        true => Ok(Disk::Node(source.into())),
        false => pci::Path::parse(source).map(Disk::Pci),
    }
}

fn canonical(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let up = path.components().any(|c| c.as_os_str() == "..");
    (path.is_absolute() && !up).then(|| path.to_owned())
}
