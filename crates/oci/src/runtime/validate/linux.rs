//! Rules of the Linux part.

use super::{Report, absolute, has, mounts, resources, sysctl, text};
use crate::runtime::{Linux, LinuxDeviceType, LinuxSeccomp, NamespaceType, Spec};

const PROPAGATIONS: [&str; 8] = [
    "private",
    "rprivate",
    "slave",
    "rslave",
    "shared",
    "rshared",
    "unbindable",
    "runbindable",
];

pub(super) fn check(spec: &Spec, report: &mut Report) {
    let Some(linux) = &spec.linux else { return };
    namespaces(linux, report);
    user_namespace(linux, report);
    sysctl::check(spec, report);
    if let Some(limits) = &linux.resources {
        resources::check(limits, report);
    }
    if let Some(path) = &linux.cgroups_path {
        text("linux.cgroupsPath", path, report);
        report.require(
            !path.split('/').any(|part| part == ".."),
            || "linux.cgroupsPath".into(),
            || format!("must not hold \"..\": {path:?}"),
        );
    }
    devices(linux, report);
    if let Some(propagation) = linux
        .rootfs_propagation
        .as_deref()
        .filter(|word| !word.is_empty())
    {
        report.require(
            PROPAGATIONS.contains(&propagation),
            || "linux.rootfsPropagation".into(),
            || {
                format!(
                    "unknown propagation {propagation:?}; known: {}",
                    PROPAGATIONS.join(", ")
                )
            },
        );
    }
    paths(spec, linux, report);
    time_offsets(linux, report);
    if let Some(seccomp) = &linux.seccomp {
        filter(seccomp, report);
    }
    for (name, device) in &linux.net_devices {
        let at = format!("linux.netDevices[{name:?}]");
        report.require(
            has(spec, NamespaceType::Network),
            || at.clone(),
            || "needs a network namespace of the container's own".into(),
        );
        for name in std::iter::once(name).chain(&device.name) {
            let fine = (1..=15).contains(&name.len())
                && name != "."
                && name != ".."
                && !name
                    .chars()
                    .any(|c| c == '/' || c == ':' || c.is_whitespace() || c == '\0');
            report.require(
                fine,
                || at.clone(),
                || format!("{name:?} is not an interface name"),
            );
        }
    }
    if let Some(personality) = &linux.personality {
        report.require(
            personality.flags.is_empty(),
            || "linux.personality.flags".into(),
            || "the specification defines no flags".into(),
        );
    }
}

fn namespaces(linux: &Linux, report: &mut Report) {
    for (index, namespace) in linux.namespaces.iter().enumerate() {
        let at = format!("linux.namespaces[{index}]");
        let first = linux
            .namespaces
            .iter()
            .position(|other| other.type_ == namespace.type_);
        report.require(
            first == Some(index),
            || at.clone(),
            || format!("a second {} namespace", namespace.type_),
        );
        if let Some(path) = namespace.join_path() {
            absolute(&format!("{at}.path"), path, report);
        }
    }
    if linux.namespace(NamespaceType::Mount).is_none() {
        report.add(
            "linux.namespaces",
            "a container needs a mount namespace of its own",
        );
    }
}

fn user_namespace(linux: &Linux, report: &mut Report) {
    let mapped = !linux.uid_mappings.is_empty() || !linux.gid_mappings.is_empty();
    match linux.namespace(NamespaceType::User) {
        None if mapped => {
            report.add("linux.uidMappings", "id mappings need a user namespace");
        }
        Some(user) if user.join_path().is_none() => {
            for (key, extents) in [
                ("uidMappings", &linux.uid_mappings),
                ("gidMappings", &linux.gid_mappings),
            ] {
                report.require(
                    !extents.is_empty(),
                    || format!("linux.{key}"),
                    || "a new user namespace needs them".into(),
                );
            }
        }
        _ => {}
    }
    mounts::mappings("linux.uidMappings", &linux.uid_mappings, report);
    mounts::mappings("linux.gidMappings", &linux.gid_mappings, report);
}

fn devices(linux: &Linux, report: &mut Report) {
    for (index, device) in linux.devices.iter().enumerate() {
        let at = |field: &str| format!("linux.devices[{index}].{field}");
        absolute(&at("path"), &device.path, report);
        report.require(
            device.type_ != LinuxDeviceType::A,
            || at("type"),
            || "\"a\" is for rules; a device is b, c, u or p".into(),
        );
        // 12 and 20 bits: what the kernel's dev_t holds.
        for (key, value, most) in [
            ("major", device.major, 0xfff),
            ("minor", device.minor, 0xf_ffff),
        ] {
            report.require(
                device.type_ == LinuxDeviceType::P || (0..=most).contains(&value),
                || at(key),
                || format!("must be between 0 and {most}, not {value}"),
            );
        }
    }
}

fn paths(spec: &Spec, linux: &Linux, report: &mut Report) {
    for (key, list) in [
        ("maskedPaths", &linux.masked_paths),
        ("readonlyPaths", &linux.readonly_paths),
    ] {
        for (index, path) in list.iter().enumerate() {
            absolute(&format!("linux.{key}[{index}]"), path, report);
        }
        report.require(
            list.is_empty() || has(spec, NamespaceType::Mount),
            || format!("linux.{key}"),
            || "needs a mount namespace of the container's own".into(),
        );
    }
}

fn time_offsets(linux: &Linux, report: &mut Report) {
    if linux.time_offsets.is_empty() {
        return;
    }
    let new = linux
        .namespace(NamespaceType::Time)
        .is_some_and(|time| time.join_path().is_none());
    report.require(
        new,
        || "linux.timeOffsets".into(),
        || "needs a new time namespace".into(),
    );
    for (clock, offset) in &linux.time_offsets {
        let at = format!("linux.timeOffsets.{clock}");
        report.require(
            clock == "monotonic" || clock == "boottime",
            || at.clone(),
            || "unknown clock; known: monotonic, boottime".into(),
        );
        report.require(
            offset.nanosecs < 1_000_000_000,
            || format!("{at}.nanosecs"),
            || "must be below 1000000000".into(),
        );
    }
}

fn filter(seccomp: &LinuxSeccomp, report: &mut Report) {
    for (index, rule) in seccomp.syscalls.iter().enumerate() {
        let at = format!("linux.seccomp.syscalls[{index}]");
        report.require(
            rule.names.iter().any(|name| !name.is_empty()),
            || format!("{at}.names"),
            || "must name a system call".into(),
        );
        for (arg, condition) in rule.args.iter().enumerate() {
            report.require(
                condition.index <= 5,
                || format!("{at}.args[{arg}].index"),
                || {
                    format!(
                        "a system call has arguments 0 to 5, not {}",
                        condition.index
                    )
                },
            );
        }
    }
    report.require(
        seccomp
            .listener_metadata
            .as_deref()
            .unwrap_or_default()
            .is_empty()
            || seccomp.listener_path.is_some(),
        || "linux.seccomp.listenerMetadata".into(),
        || "needs listenerPath".into(),
    );
}
