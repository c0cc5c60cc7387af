//! Rules of the Linux part.

use super::{Report, absolute, has, mounts, resources, sysctl, text};
use crate::runtime::{
    Linux, LinuxDeviceType, LinuxMemoryPolicy, LinuxSeccomp, LinuxSyscall, MemoryPolicyFlag,
    MemoryPolicyMode, NamespaceType, SeccompAction, Spec,
};

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
        text(format_args!("linux.cgroupsPath"), path, report);
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
            || "unable to move network devices without a NET namespace of the container's".into(),
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
    if let Some(policy) = &linux.memory_policy {
        memory_policy(policy, report);
    }
    if let Some(clos) = linux
        .intel_rdt
        .as_ref()
        .and_then(|rdt| rdt.clos_id.as_deref())
    {
        report.require(
            clos == "/" || !(clos.contains(['/', '\0', '\n']) || clos == "." || clos == ".."),
            || "linux.intelRdt.closID".into(),
            || format!("must be the name of a group, or \"/\" for the root's, not {clos:?}"),
        );
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
            absolute(format_args!("{at}.path"), path, report);
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
        // Without any it gets those of its caller.
        Some(user) if mapped && user.join_path().is_none() => {
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
    mounts::mappings(
        format_args!("linux.uidMappings"),
        &linux.uid_mappings,
        report,
    );
    mounts::mappings(
        format_args!("linux.gidMappings"),
        &linux.gid_mappings,
        report,
    );
}

fn devices(linux: &Linux, report: &mut Report) {
    for (index, device) in linux.devices.iter().enumerate() {
        let at = |field: &str| format!("linux.devices[{index}].{field}");
        absolute(format_args!("{}", at("path")), &device.path, report);
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

/// A number for the action: which actions take one, and how large it may be.
fn errno(prefix: &str, action: SeccompAction, number: Option<u32>, report: &mut Report) {
    let Some(number) = number else { return };
    let key = if prefix.ends_with('.') {
        "errnoRet"
    } else {
        "ErrnoRet"
    };
    let most = match action {
        SeccompAction::Errno => 4094,
        SeccompAction::Trace => 65535,
        _ => {
            let rule = format!("is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE, not for {action}");
            return report.add(format!("{prefix}{key}"), rule);
        }
    };
    report.require(
        number <= most,
        || format!("{prefix}{key}"),
        || format!("must be at most {most} for {action}, not {number}"),
    );
}

/// Notifications and who takes them.
fn listener(seccomp: &LinuxSeccomp, report: &mut Report) {
    let path = seccomp.listener_path.as_deref().unwrap_or_default();
    if !path.is_empty() {
        absolute(format_args!("linux.seccomp.listenerPath"), path, report);
    }
    report.require(
        seccomp.default_action != SeccompAction::Notify,
        || "linux.seccomp.defaultAction".into(),
        || "SCMP_ACT_NOTIFY is for rules: the calls of the launch itself would wait".into(),
    );
    let notifies = |rule: &LinuxSyscall| rule.action == SeccompAction::Notify;
    let first = seccomp.syscalls.iter().position(notifies);
    if let Some(index) = first.filter(|_| path.is_empty()) {
        report.add(
            format!("linux.seccomp.syscalls[{index}].action"),
            "SCMP_ACT_NOTIFY needs listenerPath",
        );
    }
}

fn paths(spec: &Spec, linux: &Linux, report: &mut Report) {
    for (key, list) in [
        ("maskedPaths", &linux.masked_paths),
        ("readonlyPaths", &linux.readonly_paths),
    ] {
        for (index, path) in list.iter().enumerate() {
            absolute(format_args!("linux.{key}[{index}]"), path, report);
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

fn memory_policy(policy: &LinuxMemoryPolicy, report: &mut Report) {
    use MemoryPolicyMode::{Bind, Default, Interleave, Local, PreferredMany, WeightedInterleave};
    let at = |field: &str| format!("linux.memoryPolicy.{field}");
    let nodes = policy.nodes.as_deref().unwrap_or_default();
    if !nodes.is_empty() {
        let at = format!("{}: invalid memory policy node", at("nodes"));
        resources::id_list(&at, nodes, report);
    }
    let Some(mode) = policy.mode else {
        return report.require(
            nodes.is_empty() && policy.flags.is_empty(),
            || at("mode"),
            || "invalid memory policy mode: it is missing".into(),
        );
    };
    let needs = matches!(mode, Bind | Interleave | PreferredMany | WeightedInterleave);
    report.require(
        !needs || !nodes.is_empty(),
        || at("nodes"),
        || format!("{mode} needs nodes"),
    );
    report.require(
        !matches!(mode, Default | Local) || nodes.is_empty(),
        || at("nodes"),
        || format!("{mode} takes no nodes (to set_mempolicy they are an invalid argument)"),
    );
    let has = |flag| policy.flags.contains(&flag);
    report.require(
        !(has(MemoryPolicyFlag::RelativeNodes) && has(MemoryPolicyFlag::StaticNodes)),
        || at("flags"),
        || "nodes are relative or static, not both".into(),
    );
}

fn filter(seccomp: &LinuxSeccomp, report: &mut Report) {
    errno(
        "linux.seccomp.default",
        seccomp.default_action,
        seccomp.default_errno_ret,
        report,
    );
    listener(seccomp, report);
    for (index, rule) in seccomp.syscalls.iter().enumerate() {
        let at = format!("linux.seccomp.syscalls[{index}]");
        errno(&format!("{at}."), rule.action, rule.errno_ret, report);
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
