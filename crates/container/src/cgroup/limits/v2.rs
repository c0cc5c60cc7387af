//! The writes of cgroup2, and those that both versions share.

use oci::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::super::error::Error;
use super::convert::{self, line};
use super::{Group, Strict, Write};

/// Everything but devices. `read` gives the present content of a file, for the two settings that
/// cgroup2 keeps in one file (cpu.max).
pub(super) fn plan(
    r: &LinuxResources,
    read: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Group>, Error> {
    let mut groups = Vec::new();
    if let Some(m) = &r.memory {
        memory(m, &mut groups)?;
    }
    if let Some(c) = &r.cpu {
        cpu(c, read("cpu.max"), &mut groups)?;
        groups.extend(cpuset(c)?);
    }
    groups.extend(pids(r));
    if let Some(b) = &r.block_io {
        block_io(b, &mut groups)?;
    }
    groups.extend(hugetlb(r)?);
    if let Some(n) = &r.network {
        if n.class_id.is_some_and(|id| id != 0) {
            return Err(no_form(
                "network.classID",
                "net_cls does not exist in cgroup v2",
            ));
        }
        if !n.priorities.is_empty() {
            return Err(no_form(
                "network.priorities",
                "net_prio does not exist in cgroup v2",
            ));
        }
    }
    groups.extend(rdma(r)?);
    // Last: who knows the file names wins over the general words.
    for (key, value) in &r.unified {
        unified(key, value, &mut groups)?;
    }
    Ok(groups)
}

fn no_form(setting: &str, reason: &str) -> Error {
    Error::Unsupported {
        setting: setting.to_owned(),
        reason: reason.to_owned(),
    }
}

fn size(limit: Option<u64>) -> String {
    limit.map_or_else(|| "max".to_owned(), |n| n.to_string())
}

fn memory(m: &LinuxMemory, groups: &mut Vec<Group>) -> Result<(), Error> {
    const C: &str = "memory";
    let limit = convert::bytes("memory.limit", m.limit)?;
    let swap = convert::bytes("memory.swap", m.swap)?;
    convert::check_swap(limit, swap)?;
    // Here swap is counted by itself.
    let swap = match (swap, limit) {
        (Some(Some(swap)), Some(Some(limit))) => Some(Some(swap - limit)),
        (Some(Some(swap)), _) => {
            return Err(Error::Value {
                setting: "memory.swap",
                value: swap.to_string(),
                rule: "cgroup v2 counts swap by itself: memory.limit must be given with it",
            });
        }
        (None, Some(None)) => Some(None),
        (other, _) => other,
    };
    if let Some(swap) = swap {
        // Without swap accounting there is no file; no limit is then what holds. Nothing to
        // swap to at all (limit 0) is not.
        let strict = if swap.is_none() {
            Strict::IfThere
        } else {
            Strict::Must
        };
        let write = Write::new("memory.swap", C, "memory.swap.max", size(swap));
        groups.push(vec![write.strict(strict)]);
    }
    if let Some(limit) = limit {
        groups.push(vec![Write::new(
            "memory.limit",
            C,
            "memory.max",
            size(limit),
        )]);
    }
    if let Some(n) = convert::bytes("memory.reservation", m.reservation)? {
        groups.push(vec![Write::new(
            "memory.reservation",
            C,
            "memory.low",
            size(n),
        )]);
    }
    if convert::bytes("memory.kernel", m.kernel)?.is_some_and(|n| n.is_some()) {
        return Err(no_form(
            "memory.kernel",
            "cgroup v2 counts kernel memory in memory.limit",
        ));
    }
    if convert::bytes("memory.kernelTCP", m.kernel_tcp)?.is_some_and(|n| n.is_some()) {
        return Err(no_form(
            "memory.kernelTCP",
            "cgroup v2 counts TCP memory in memory.limit",
        ));
    }
    if convert::swappiness(m.swappiness)?.is_some() {
        return Err(no_form(
            "memory.swappiness",
            "cgroup v2 has no swappiness per cgroup",
        ));
    }
    if m.disable_oom_killer == Some(true) {
        return Err(no_form(
            "memory.disableOOMKiller",
            "cgroup v2 can't switch it off",
        ));
    }
    if m.use_hierarchy == Some(false) {
        return Err(no_form(
            "memory.useHierarchy",
            "cgroup v2 is always hierarchical",
        ));
    }
    Ok(())
}

fn cpu(c: &LinuxCpu, current_max: Option<String>, groups: &mut Vec<Group>) -> Result<(), Error> {
    let mut weight = Vec::new();
    if let Some(n) = convert::shares(c.shares)? {
        weight.push(Write::new(
            "cpu.shares",
            "cpu",
            "cpu.weight",
            convert::cpu_weight(n),
        ));
    }
    if let Some(n) = convert::idle(c.idle)? {
        let strict = if n == 0 {
            Strict::IfThere
        } else {
            Strict::Must
        };
        weight.push(Write::new("cpu.idle", "cpu", "cpu.idle", n).strict(strict));
    }
    groups.push(weight);

    let mut bandwidth = Vec::new();
    let quota = c.quota.filter(|&n| n != 0);
    let period = c.period.filter(|&n| n != 0);
    if quota.is_some() || period.is_some() {
        let current = current_max.unwrap_or_default();
        let current = current.split_whitespace().next().unwrap_or("max");
        let quota = match quota {
            Some(n) if n < 0 => "max".to_owned(),
            Some(n) => n.to_string(),
            None => current.to_owned(),
        };
        // Without a period the kernel keeps its own.
        let value = period.map_or_else(|| quota.clone(), |p| format!("{quota} {p}"));
        let setting = if c.quota.is_some() {
            "cpu.quota"
        } else {
            "cpu.period"
        };
        bandwidth.push(Write::new(setting, "cpu", "cpu.max", value));
    }
    if let Some(n) = c.burst {
        let strict = if n == 0 {
            Strict::IfThere
        } else {
            Strict::Must
        };
        bandwidth.push(Write::new("cpu.burst", "cpu", "cpu.max.burst", n).strict(strict));
    }
    groups.push(bandwidth);
    if c.realtime_runtime.is_some_and(|n| n != 0) {
        return Err(no_form(
            "cpu.realtimeRuntime",
            "cgroup v2 has no realtime budget",
        ));
    }
    if c.realtime_period.is_some_and(|n| n != 0) {
        return Err(no_form(
            "cpu.realtimePeriod",
            "cgroup v2 has no realtime budget",
        ));
    }
    Ok(())
}

/// Both versions name these files alike.
pub(super) fn cpuset(c: &LinuxCpu) -> Result<Vec<Group>, Error> {
    let mut groups = Vec::new();
    for (setting, value, file) in [
        ("cpu.cpus", c.cpus.as_deref(), "cpuset.cpus"),
        ("cpu.mems", c.mems.as_deref(), "cpuset.mems"),
    ] {
        if let Some(list) = value.filter(|v| !v.is_empty()) {
            groups.push(vec![Write::new(
                setting,
                "cpuset",
                file,
                line(setting, list)?,
            )]);
        }
    }
    Ok(groups)
}

/// How many tasks there may be; below 0: as many as they want. A limit of 0 is one (specification 1.3),
/// and is 1, as with runc: systemd takes no 0, and the process that is there already is one.
pub(in super::super) fn tasks(r: &LinuxResources) -> Option<i64> {
    let limit = r.pids.as_ref()?.limit?;
    Some(if limit == 0 { 1 } else { limit })
}

/// Both versions name this file alike.
pub(super) fn pids(r: &LinuxResources) -> Option<Group> {
    let value = match tasks(r)? {
        n if n < 0 => "max".to_owned(),
        n => n.to_string(),
    };
    Some(vec![Write::new("pids.limit", "pids", "pids.max", value)])
}

fn block_io(b: &LinuxBlockIo, groups: &mut Vec<Group>) -> Result<(), Error> {
    const C: &str = "io";
    if let Some(w) = convert::block_weight("blockIO.weight", b.weight)? {
        let write = Write::new("blockIO.weight", C, "io.bfq.weight", w)
            .or("io.weight", convert::io_weight(w));
        groups.push(vec![write]);
    }
    let leaf = "cgroup v2 has no leaf weight";
    if convert::block_weight("blockIO.leafWeight", b.leaf_weight)?.is_some() {
        return Err(no_form("blockIO.leafWeight", leaf));
    }
    for d in &b.weight_device {
        let at = format!("{}:{}", d.major, d.minor);
        if let Some(w) = convert::block_weight("blockIO.weightDevice.weight", d.weight)? {
            let setting = "blockIO.weightDevice.weight";
            let write = Write::new(setting, C, "io.bfq.weight", format!("{at} {w}"))
                .or("io.weight", format!("{at} {}", convert::io_weight(w)));
            groups.push(vec![write]);
        }
        let setting = "blockIO.weightDevice.leafWeight";
        if convert::block_weight(setting, d.leaf_weight)?.is_some() {
            return Err(no_form(setting, leaf));
        }
    }
    for (setting, list, key) in [
        (
            "blockIO.throttleReadBpsDevice",
            &b.throttle_read_bps_device,
            "rbps",
        ),
        (
            "blockIO.throttleWriteBpsDevice",
            &b.throttle_write_bps_device,
            "wbps",
        ),
        (
            "blockIO.throttleReadIOPSDevice",
            &b.throttle_read_iops_device,
            "riops",
        ),
        (
            "blockIO.throttleWriteIOPSDevice",
            &b.throttle_write_iops_device,
            "wiops",
        ),
    ] {
        for d in list {
            // 0 lifts a limit in v1's words.
            let rate = if d.rate == 0 {
                "max".to_owned()
            } else {
                d.rate.to_string()
            };
            let value = format!("{}:{} {key}={rate}", d.major, d.minor);
            groups.push(vec![Write::new(setting, C, "io.max", value)]);
        }
    }
    Ok(())
}

pub(super) fn hugetlb(r: &LinuxResources) -> Result<Vec<Group>, Error> {
    let mut groups = Vec::new();
    for h in &r.hugepage_limits {
        let size = page_size(&h.page_size)?;
        // A limit of 0 on a page size that this machine lacks is met without writing it.
        let strict = if h.limit == 0 {
            Strict::IfThere
        } else {
            Strict::Must
        };
        let file = format!("hugetlb.{size}.max");
        let write = Write::new("hugepageLimits", "hugetlb", file, h.limit);
        groups.push(vec![write.strict(strict)]);
        let file = format!("hugetlb.{size}.rsvd.max");
        let write = Write::new("hugepageLimits", "hugetlb", file, h.limit);
        groups.push(vec![write.strict(Strict::IfThere)]);
    }
    Ok(groups)
}

/// `2MB`, `1GB`, `64KB`: part of a file name, so nothing else.
pub(super) fn page_size(size: &str) -> Result<&str, Error> {
    let unit = size.trim_start_matches(|c: char| c.is_ascii_digit());
    if unit.len() < size.len() && ["KB", "MB", "GB"].contains(&unit) {
        return Ok(size);
    }
    Err(Error::Value {
        setting: "hugepageLimits.pageSize",
        value: format!("{size:?}"),
        rule: "a number with KB, MB or GB, such as 2MB",
    })
}

/// Both versions name this file alike.
pub(super) fn rdma(r: &LinuxResources) -> Result<Vec<Group>, Error> {
    let mut groups = Vec::new();
    for (device, limit) in &r.rdma {
        let mut value = line("rdma", device)?;
        if let Some(n) = limit.hca_handles {
            value.push_str(&format!(" hca_handle={n}"));
        }
        if let Some(n) = limit.hca_objects {
            value.push_str(&format!(" hca_object={n}"));
        }
        groups.push(vec![Write::new("rdma", "rdma", "rdma.max", value)]);
    }
    Ok(groups)
}

/// `unified` names files directly, so the name must be one: `controller.file`, not a way out.
fn unified(key: &str, value: &str, groups: &mut Vec<Group>) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-';
    let form = key.split_once('.').filter(|(name, _)| !name.is_empty());
    // cgroup.procs, cgroup.kill … are ours.
    let ours = form.is_some_and(|(name, _)| name == "cgroup");
    if form.is_none() || ours || !key.chars().all(plain) {
        return Err(Error::Value {
            setting: "unified",
            // In the words that callers of crun know.
            value: match form {
                None => format!("the specified key has not the form CONTROLLER.VALUE `{key}`"),
                Some(_) => format!("{key:?}"),
            },
            rule: "the name of a controller's file, such as memory.high",
        });
    }
    // io.max and others take a line per device.
    for line in value.split('\n').filter(|l| !l.is_empty()) {
        groups.push(vec![Write::new("unified", "unified", key, line)]);
    }
    Ok(())
}
