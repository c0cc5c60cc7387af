//! Device nodes of a container and the rules of its device cgroup.

use std::path::{Component, Path};

use oci::runtime::{FileMode, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use super::{Host, SpecError, host::HostDevice};
use crate::domain::{ContainerConfig, Device};

/// Nodes and rules. The nodes that every container has (`/dev/null` …) are the runtime's to make.
pub(super) fn devices(
    config: &ContainerConfig,
    host: &dyn Host,
) -> Result<(Vec<LinuxDevice>, Vec<LinuxDeviceCgroup>), SpecError> {
    let privileged = config.security.privileged;
    let mut nodes = Vec::new();
    let mut rules = if privileged {
        vec![rule(true, None, None, None, "rwm")]
    } else {
        allowed()
    };
    if privileged {
        let dev = Path::new("/dev");
        let field = "linux.security_context.privileged".to_owned();
        let all = host.devices(dev).map_err(|source| SpecError::Host {
            field,
            act: "list the devices below",
            path: dev.to_owned(),
            source,
        })?;
        nodes.extend(
            all.iter()
                .map(|device| node(device, device.path.to_string_lossy().into())),
        );
    }
    for (index, said) in config.devices.iter().enumerate() {
        let access = check(index, said)?;
        for (device, path) in found(index, said, host)? {
            // A device of the request replaces one of the same path.
            nodes.retain(|known: &LinuxDevice| known.path != path);
            if !privileged {
                let kind = if device.block {
                    LinuxDeviceType::B
                } else {
                    LinuxDeviceType::C
                };
                let (major, minor) = (i64::from(device.major), i64::from(device.minor));
                rules.push(rule(true, Some(kind), Some(major), Some(minor), &access));
            }
            nodes.push(node(&device, path));
        }
    }
    Ok((nodes, rules))
}

/// Everything denied, then what every container may use: making nodes, the harmless devices,
/// terminals.
fn allowed() -> Vec<LinuxDeviceCgroup> {
    let c = Some(LinuxDeviceType::C);
    let mut rules = vec![
        rule(false, None, None, None, "rwm"),
        rule(true, c, None, None, "m"),
        rule(true, Some(LinuxDeviceType::B), None, None, "m"),
    ];
    // null, zero, full, random, urandom, tty, console, ptmx.
    for (major, minor) in [
        (1, 3),
        (1, 5),
        (1, 7),
        (1, 8),
        (1, 9),
        (5, 0),
        (5, 1),
        (5, 2),
    ] {
        rules.push(rule(true, c, Some(major), Some(minor), "rwm"));
    }
    // The terminals of devpts.
    rules.push(rule(true, c, Some(136), None, "rwm"));
    rules
}

fn rule(
    allow: bool,
    type_: Option<LinuxDeviceType>,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    LinuxDeviceCgroup {
        allow,
        type_,
        major,
        minor,
        access: Some(access.to_owned()),
    }
}

fn node(device: &HostDevice, path: String) -> LinuxDevice {
    LinuxDevice {
        path,
        type_: if device.block {
            LinuxDeviceType::B
        } else {
            LinuxDeviceType::C
        },
        major: i64::from(device.major),
        minor: i64::from(device.minor),
        file_mode: Some(FileMode::new(device.mode)),
        uid: Some(device.uid),
        gid: Some(device.gid),
    }
}

/// Checks the words of a request; answers its permissions in the order r, w, m.
fn check(index: usize, said: &Device) -> Result<String, SpecError> {
    let field = |name: &str| format!("devices[{index}].{name}");
    let known = said
        .permissions
        .chars()
        .all(|letter| "rwm".contains(letter));
    if said.permissions.is_empty() || !known {
        let what = format!("{:?} is not made of r, w and m", said.permissions);
        return Err(SpecError::invalid(field("permissions"), what));
    }
    for (name, path) in [
        ("host_path", &said.host_path),
        ("container_path", &said.container_path),
    ] {
        let path = Path::new(path);
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            let what = format!("{} is not an absolute path without \"..\"", path.display());
            return Err(SpecError::invalid(field(name), what));
        }
    }
    Ok(['r', 'w', 'm']
        .into_iter()
        .filter(|letter| said.permissions.contains(*letter))
        .collect())
}

/// The devices that a request means, with their paths in the container: one, or all below a
/// directory.
fn found(
    index: usize,
    said: &Device,
    host: &dyn Host,
) -> Result<Vec<(HostDevice, String)>, SpecError> {
    let root = Path::new(&said.host_path);
    let failed = |source| SpecError::Host {
        field: format!("devices[{index}].host_path"),
        act: "use as a device",
        path: root.to_owned(),
        source,
    };
    let devices = host.devices(root).map_err(failed)?;
    let place = |device: &HostDevice| match device.path.strip_prefix(root) {
        Ok(below) if !below.as_os_str().is_empty() => Path::new(&said.container_path)
            .join(below)
            .to_string_lossy()
            .into_owned(),
        _ => said.container_path.clone(),
    };
    Ok(devices
        .into_iter()
        .map(|device| (place(&device), device))
        .map(|(p, d)| (d, p))
        .collect())
}
