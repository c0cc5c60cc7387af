//! The writes of cgroup v1.

use oci::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources};

use super::super::error::Error;
use super::convert::{self, line};
use super::{Group, Strict, Write};

/// Everything but devices. `hugetlb_in_v2`: a hybrid machine keeps hugetlb in its cgroup2.
pub(super) fn plan(r: &LinuxResources, hugetlb_in_v2: bool) -> Result<Vec<Group>, Error> {
    if let Some(key) = r.unified.keys().next() {
        return Err(Error::Unsupported {
            setting: format!("unified.{key}"),
            reason: "invalid configuration: this machine has cgroup v1 (or hybrid); unified is for cgroup v2".to_owned(),
        });
    }
    let mut groups = Vec::new();
    if let Some(m) = &r.memory {
        memory(m, &mut groups)?;
    }
    if let Some(c) = &r.cpu {
        cpu(c, &mut groups)?;
    }
    groups.extend(super::v2::pids(r));
    if let Some(b) = &r.block_io {
        block_io(b, &mut groups)?;
    }
    if hugetlb_in_v2 {
        groups.extend(super::v2::hugetlb(r)?);
    } else {
        hugetlb(r, &mut groups)?;
    }
    if let Some(n) = &r.network {
        network(n, &mut groups)?;
    }
    groups.extend(super::v2::rdma(r)?);
    Ok(groups)
}

fn size(limit: Option<u64>) -> String {
    limit.map_or_else(|| "-1".to_owned(), |n| n.to_string())
}

fn memory(m: &LinuxMemory, groups: &mut Vec<Group>) -> Result<(), Error> {
    const C: &str = "memory";
    let limit = convert::bytes("memory.limit", m.limit)?;
    let swap = convert::bytes("memory.swap", m.swap)?;
    convert::check_swap(limit, swap)?;
    if let Some(on) = m.use_hierarchy {
        // Always on since 5.11, where only 1 is accepted.
        let file = "memory.use_hierarchy";
        groups.push(vec![Write::new(
            "memory.useHierarchy",
            C,
            file,
            u8::from(on),
        )]);
    }
    let mut pair = Vec::new();
    if let Some(limit) = limit {
        pair.push(Write::new(
            "memory.limit",
            C,
            "memory.limit_in_bytes",
            size(limit),
        ));
    }
    if let Some(swap) = swap {
        pair.push(Write::new(
            "memory.swap",
            C,
            "memory.memsw.limit_in_bytes",
            size(swap),
        ));
    } else if limit == Some(None) {
        // Lifting the memory limit lifts the one that contains it.
        let write = Write::new("memory.swap", C, "memory.memsw.limit_in_bytes", "-1");
        pair.insert(0, write.strict(Strict::IfThere));
    }
    groups.push(pair);
    if let Some(n) = convert::bytes("memory.reservation", m.reservation)? {
        let file = "memory.soft_limit_in_bytes";
        groups.push(vec![Write::new("memory.reservation", C, file, size(n))]);
    }
    for (setting, value, file) in [
        ("memory.kernel", m.kernel, "memory.kmem.limit_in_bytes"),
        (
            "memory.kernelTCP",
            m.kernel_tcp,
            "memory.kmem.tcp.limit_in_bytes",
        ),
    ] {
        if let Some(n) = convert::bytes(setting, value)? {
            let strict = if n.is_some() {
                Strict::MustKeep
            } else {
                Strict::IfThere
            };
            groups.push(vec![Write::new(setting, C, file, size(n)).strict(strict)]);
        }
    }
    if let Some(n) = convert::swappiness(m.swappiness)? {
        groups.push(vec![Write::new(
            "memory.swappiness",
            C,
            "memory.swappiness",
            n,
        )]);
    }
    if let Some(off) = m.disable_oom_killer {
        let strict = if off {
            Strict::MustKeep
        } else {
            Strict::IfThere
        };
        let write = Write::new(
            "memory.disableOOMKiller",
            C,
            "memory.oom_control",
            u8::from(off),
        );
        groups.push(vec![write.strict(strict)]);
    }
    Ok(())
}

fn cpu(c: &LinuxCpu, groups: &mut Vec<Group>) -> Result<(), Error> {
    let mut weight = Vec::new();
    if let Some(n) = convert::shares(c.shares)? {
        weight.push(Write::new("cpu.shares", "cpu", "cpu.shares", n));
    }
    if let Some(n) = convert::idle(c.idle)? {
        // 0 is what a kernel before 5.15 does anyway.
        let strict = if n == 0 {
            Strict::IfThere
        } else {
            Strict::Must
        };
        weight.push(Write::new("cpu.idle", "cpu", "cpu.idle", n).strict(strict));
    }
    groups.push(weight);

    let mut bandwidth = Vec::new();
    if let Some(n) = c.period.filter(|&n| n != 0) {
        bandwidth.push(Write::new("cpu.period", "cpu", "cpu.cfs_period_us", n));
    }
    if let Some(n) = c.quota.filter(|&n| n != 0) {
        bandwidth.push(Write::new(
            "cpu.quota",
            "cpu",
            "cpu.cfs_quota_us",
            n.max(-1),
        ));
    }
    if let Some(n) = c.burst {
        let strict = if n == 0 {
            Strict::IfThere
        } else {
            Strict::Must
        };
        bandwidth.push(Write::new("cpu.burst", "cpu", "cpu.cfs_burst_us", n).strict(strict));
    }
    groups.push(bandwidth);

    let mut realtime = Vec::new();
    if let Some(n) = c.realtime_period.filter(|&n| n != 0) {
        realtime.push(Write::new(
            "cpu.realtimePeriod",
            "cpu",
            "cpu.rt_period_us",
            n,
        ));
    }
    if let Some(n) = c.realtime_runtime.filter(|&n| n != 0) {
        realtime.push(Write::new(
            "cpu.realtimeRuntime",
            "cpu",
            "cpu.rt_runtime_us",
            n,
        ));
    }
    groups.push(realtime);
    groups.extend(super::v2::cpuset(c)?);
    Ok(())
}

fn block_io(b: &LinuxBlockIo, groups: &mut Vec<Group>) -> Result<(), Error> {
    const C: &str = "blkio";
    if let Some(w) = convert::block_weight("blockIO.weight", b.weight)? {
        let write = Write::new("blockIO.weight", C, "blkio.bfq.weight", w).or("blkio.weight", w);
        groups.push(vec![write]);
    }
    if let Some(w) = convert::block_weight("blockIO.leafWeight", b.leaf_weight)? {
        groups.push(vec![Write::new(
            "blockIO.leafWeight",
            C,
            "blkio.leaf_weight",
            w,
        )]);
    }
    for d in &b.weight_device {
        let at = format!("{}:{}", d.major, d.minor);
        if let Some(w) = convert::block_weight("blockIO.weightDevice.weight", d.weight)? {
            let value = format!("{at} {w}");
            let setting = "blockIO.weightDevice.weight";
            let write = Write::new(setting, C, "blkio.bfq.weight_device", &value)
                .or("blkio.weight_device", &value);
            groups.push(vec![write]);
        }
        if let Some(w) = convert::block_weight("blockIO.weightDevice.leafWeight", d.leaf_weight)? {
            let setting = "blockIO.weightDevice.leafWeight";
            let write = Write::new(setting, C, "blkio.leaf_weight_device", format!("{at} {w}"));
            groups.push(vec![write]);
        }
    }
    for (setting, list, file) in [
        (
            "blockIO.throttleReadBpsDevice",
            &b.throttle_read_bps_device,
            "read_bps",
        ),
        (
            "blockIO.throttleWriteBpsDevice",
            &b.throttle_write_bps_device,
            "write_bps",
        ),
        (
            "blockIO.throttleReadIOPSDevice",
            &b.throttle_read_iops_device,
            "read_iops",
        ),
        (
            "blockIO.throttleWriteIOPSDevice",
            &b.throttle_write_iops_device,
            "write_iops",
        ),
    ] {
        for d in list {
            let file = format!("blkio.throttle.{file}_device");
            let value = format!("{}:{} {}", d.major, d.minor, d.rate);
            groups.push(vec![Write::new(setting, C, file, value)]);
        }
    }
    Ok(())
}

fn hugetlb(r: &LinuxResources, groups: &mut Vec<Group>) -> Result<(), Error> {
    for h in &r.hugepage_limits {
        let size = super::v2::page_size(&h.page_size)?;
        let strict = if h.limit == 0 {
            Strict::IfThere
        } else {
            Strict::Must
        };
        let file = format!("hugetlb.{size}.limit_in_bytes");
        let write = Write::new("hugepageLimits", "hugetlb", file, h.limit);
        groups.push(vec![write.strict(strict)]);
        // Reservations of shared mappings; kernels since 5.7 have it.
        let file = format!("hugetlb.{size}.rsvd.limit_in_bytes");
        let write = Write::new("hugepageLimits", "hugetlb", file, h.limit);
        groups.push(vec![write.strict(Strict::IfThere)]);
    }
    Ok(())
}

fn network(n: &LinuxNetwork, groups: &mut Vec<Group>) -> Result<(), Error> {
    if let Some(id) = n.class_id.filter(|&id| id != 0) {
        groups.push(vec![Write::new(
            "network.classID",
            "net_cls",
            "net_cls.classid",
            id,
        )]);
    }
    for p in &n.priorities {
        let value = line("network.priorities", &format!("{} {}", p.name, p.priority))?;
        groups.push(vec![Write::new(
            "network.priorities",
            "net_prio",
            "net_prio.ifpriomap",
            value,
        )]);
    }
    Ok(())
}
