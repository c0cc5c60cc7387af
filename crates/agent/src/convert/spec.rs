//! The wire form of the OCI spec to a `config.json` document, which is then read like any other: one
//! parser, one set of checks.
//!
//! The wire has no presence. What an absent field looks like means absent: 0 for limits, weights,
//! periods and modes, "" for names. A number that is a value in its own right (an id, oom_score_adj,
//! a device number) is always passed on. Device rules: -1 and 0 are both a wildcard, "" is type `a`.

use agent_api::grpc;
use serde_json::{Map, Value, json};

use crate::error::Error;

/// The document of a container.
pub(super) fn spec(wire: grpc::Spec) -> Result<Value, Error> {
    let mounts = wire
        .mounts
        .into_iter()
        .map(mount)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(object([
        (
            "ociVersion",
            text(if wire.version.is_empty() {
                "1.0.2".into()
            } else {
                wire.version
            }),
        ),
        ("process", wire.process.map(process)),
        (
            "root",
            wire.root
                .map(|r| json!({"path": r.path, "readonly": r.readonly})),
        ),
        ("hostname", text(wire.hostname)),
        ("mounts", Some(Value::Array(mounts))),
        ("hooks", wire.hooks.map(hooks)),
        ("annotations", Some(json!(wire.annotations))),
        ("linux", wire.linux.map(linux)),
    ]))
}

/// The document of a process.
pub(super) fn process(wire: grpc::Process) -> Value {
    let user = wire.user.map(|u| {
        object([
            ("uid", Some(json!(u.uid))),
            ("gid", Some(json!(u.gid))),
            ("additionalGids", list(u.additional_gids)),
            ("username", text(u.username)),
        ])
    });
    let size = wire.console_size.filter(|s| s.height > 0 && s.width > 0);
    let rlimit = |r: grpc::PosixRlimit| json!({"type": r.r#type, "hard": r.hard, "soft": r.soft});
    object([
        ("terminal", Some(json!(wire.terminal))),
        (
            "consoleSize",
            size.map(|s| json!({"height": s.height, "width": s.width})),
        ),
        ("user", user),
        ("args", list(wire.args)),
        ("env", list(wire.env)),
        (
            "cwd",
            text(if wire.cwd.is_empty() {
                "/".into()
            } else {
                wire.cwd
            }),
        ),
        ("capabilities", wire.capabilities.map(capabilities)),
        (
            "rlimits",
            list(wire.rlimits.into_iter().map(rlimit).collect()),
        ),
        ("noNewPrivileges", Some(json!(wire.no_new_privileges))),
        ("apparmorProfile", text(wire.apparmor_profile)),
        ("oomScoreAdj", Some(json!(wire.oom_score_adj))),
        ("selinuxLabel", text(wire.selinux_label)),
    ])
}

fn capabilities(wire: grpc::LinuxCapabilities) -> Value {
    json!({
        "bounding": wire.bounding,
        "effective": wire.effective,
        "inheritable": wire.inheritable,
        "permitted": wire.permitted,
        "ambient": wire.ambient,
    })
}

/// `vm:/dev/…` is the agent's own /dev; scratch space (`tmp:/`) and the shared filesystem
/// (`vm:/dev/hostfs`) are found by `ops::scratch`.
fn mount(wire: grpc::Mount) -> Result<Value, Error> {
    let source = match wire.source.strip_prefix("vm:") {
        Some("/dev/hostfs") => wire.source,
        Some(path) if path.starts_with("/dev/hostfs/") => wire.source,
        Some(path) if path.starts_with("/dev/") => path.to_owned(),
        Some(_) => {
            return Err(Error::invalid(
                format!("mount {:?}", wire.source),
                "not below /dev",
            ));
        }
        None => wire.source,
    };
    Ok(object([
        ("destination", Some(json!(wire.destination))),
        ("source", text(source)),
        ("type", text(wire.r#type)),
        ("options", list(wire.options)),
    ]))
}

fn hooks(wire: grpc::Hooks) -> Value {
    let hook = |h: grpc::Hook| {
        object([
            ("path", Some(json!(h.path))),
            ("args", list(h.args)),
            ("env", list(h.env)),
            ("timeout", set(h.timeout)),
        ])
    };
    let kind = |hooks: Vec<grpc::Hook>| list(hooks.into_iter().map(hook).collect());
    object([
        ("prestart", kind(wire.prestart)),
        ("createRuntime", kind(wire.create_runtime)),
        ("createContainer", kind(wire.create_container)),
        ("startContainer", kind(wire.start_container)),
        ("poststart", kind(wire.poststart)),
        ("poststop", kind(wire.poststop)),
    ])
}

fn linux(wire: grpc::Linux) -> Value {
    let mapping = |m: grpc::LinuxIdMapping| json!({"hostID": m.host_id, "containerID": m.container_id, "size": m.size});
    let namespace =
        |n: grpc::LinuxNamespace| object([("type", Some(json!(n.r#type))), ("path", text(n.path))]);
    let rdt = wire.intel_rdt.filter(|r| !r.l3_cache_schema.is_empty());
    object([
        (
            "uidMappings",
            list(wire.uid_mappings.into_iter().map(mapping).collect()),
        ),
        (
            "gidMappings",
            list(wire.gid_mappings.into_iter().map(mapping).collect()),
        ),
        ("sysctl", Some(json!(wire.sysctl))),
        ("resources", wire.resources.map(resources)),
        ("cgroupsPath", text(wire.cgroups_path)),
        (
            "namespaces",
            list(wire.namespaces.into_iter().map(namespace).collect()),
        ),
        (
            "devices",
            list(wire.devices.into_iter().map(device).collect()),
        ),
        ("seccomp", wire.seccomp.map(seccomp)),
        ("rootfsPropagation", text(wire.rootfs_propagation)),
        ("maskedPaths", list(wire.masked_paths)),
        ("readonlyPaths", list(wire.readonly_paths)),
        ("mountLabel", text(wire.mount_label)),
        (
            "intelRdt",
            rdt.map(|r| json!({"l3CacheSchema": r.l3_cache_schema})),
        ),
    ])
}

fn device(wire: grpc::LinuxDevice) -> Value {
    object([
        ("path", Some(json!(wire.path))),
        ("type", Some(json!(wire.r#type))),
        ("major", Some(json!(wire.major))),
        ("minor", Some(json!(wire.minor))),
        ("fileMode", set(wire.file_mode)),
        ("uid", Some(json!(wire.uid))),
        ("gid", Some(json!(wire.gid))),
    ])
}

fn seccomp(wire: grpc::LinuxSeccomp) -> Value {
    let argument = |a: grpc::LinuxSeccompArg| json!({"index": a.index, "value": a.value, "valueTwo": a.value_two, "op": a.op});
    let syscall = |s: grpc::LinuxSyscall| {
        // A oneof: an errno of 0 is a value and not the absence of one.
        let errno = s
            .errno_ret
            .map(|grpc::linux_syscall::ErrnoRet::Errnoret(n)| json!(n));
        object([
            ("names", Some(json!(s.names))),
            ("action", Some(json!(s.action))),
            ("errnoRet", errno),
            ("args", list(s.args.into_iter().map(argument).collect())),
        ])
    };
    object([
        ("defaultAction", Some(json!(wire.default_action))),
        ("architectures", list(wire.architectures)),
        ("flags", list(wire.flags)),
        (
            "syscalls",
            list(wire.syscalls.into_iter().map(syscall).collect()),
        ),
    ])
}

/// The document of cgroup limits.
pub(super) fn resources(wire: grpc::LinuxResources) -> Value {
    let number = |n: i64| (n > 0).then(|| json!(n));
    let rule = |d: grpc::LinuxDeviceCgroup| {
        object([
            ("allow", Some(json!(d.allow))),
            (
                "type",
                Some(json!(if d.r#type.is_empty() { "a" } else { &d.r#type })),
            ),
            ("major", number(d.major)),
            ("minor", number(d.minor)),
            ("access", text(d.access)),
        ])
    };
    let page = |h: grpc::LinuxHugepageLimit| json!({"pageSize": h.pagesize, "limit": h.limit});
    object([
        (
            "devices",
            list(wire.devices.into_iter().map(rule).collect()),
        ),
        ("memory", wire.memory.map(memory)),
        ("cpu", wire.cpu.map(cpu)),
        (
            "pids",
            wire.pids
                .filter(|p| p.limit != 0)
                .map(|p| json!({"limit": p.limit})),
        ),
        ("blockIO", wire.block_io.map(block_io)),
        (
            "hugepageLimits",
            list(wire.hugepage_limits.into_iter().map(page).collect()),
        ),
        ("network", wire.network.map(network)),
    ])
}

fn memory(wire: grpc::LinuxMemory) -> Value {
    object([
        ("limit", set(wire.limit)),
        ("reservation", set(wire.reservation)),
        ("swap", set(wire.swap)),
        ("kernel", set(wire.kernel)),
        ("kernelTCP", set(wire.kernel_tcp)),
        ("swappiness", set(wire.swappiness)),
        (
            "disableOOMKiller",
            wire.disable_oom_killer.then_some(json!(true)),
        ),
    ])
}

fn cpu(wire: grpc::LinuxCpu) -> Value {
    object([
        ("shares", set(wire.shares)),
        ("quota", set(wire.quota)),
        ("period", set(wire.period)),
        ("realtimeRuntime", set(wire.realtime_runtime)),
        ("realtimePeriod", set(wire.realtime_period)),
        ("cpus", text(wire.cpus)),
        ("mems", text(wire.mems)),
    ])
}

fn block_io(wire: grpc::LinuxBlockIo) -> Value {
    let weight = |w: grpc::LinuxWeightDevice| {
        object([
            ("major", Some(json!(w.major))),
            ("minor", Some(json!(w.minor))),
            ("weight", set(w.weight)),
            ("leafWeight", set(w.leaf_weight)),
        ])
    };
    let throttle = |all: Vec<grpc::LinuxThrottleDevice>| {
        let one = |t: grpc::LinuxThrottleDevice| json!({"major": t.major, "minor": t.minor, "rate": t.rate});
        list(all.into_iter().map(one).collect())
    };
    object([
        ("weight", set(wire.weight)),
        ("leafWeight", set(wire.leaf_weight)),
        (
            "weightDevice",
            list(wire.weight_device.into_iter().map(weight).collect()),
        ),
        (
            "throttleReadBpsDevice",
            throttle(wire.throttle_read_bps_device),
        ),
        (
            "throttleWriteBpsDevice",
            throttle(wire.throttle_write_bps_device),
        ),
        (
            "throttleReadIOPSDevice",
            throttle(wire.throttle_read_iops_device),
        ),
        (
            "throttleWriteIOPSDevice",
            throttle(wire.throttle_write_iops_device),
        ),
    ])
}

fn network(wire: grpc::LinuxNetwork) -> Value {
    let priority =
        |p: grpc::LinuxInterfacePriority| json!({"name": p.name, "priority": p.priority});
    object([
        ("classID", set(wire.class_id)),
        (
            "priorities",
            list(wire.priorities.into_iter().map(priority).collect()),
        ),
    ])
}

/// An object of the fields that are there.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let there = fields
        .into_iter()
        .filter_map(|(k, v)| v.map(|v| (k.to_owned(), v)));
    Value::Object(there.collect::<Map<_, _>>())
}

/// "" is absent.
fn text(value: String) -> Option<Value> {
    (!value.is_empty()).then_some(Value::String(value))
}

/// 0 is absent.
fn set<T: Default + PartialEq + Into<Value>>(value: T) -> Option<Value> {
    (value != T::default()).then(|| value.into())
}

/// No entries are absent.
fn list<T: Into<Value>>(values: Vec<T>) -> Option<Value> {
    (!values.is_empty()).then(|| Value::Array(values.into_iter().map(Into::into).collect()))
}
