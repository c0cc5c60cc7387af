//! Rules of cgroup limits.

use super::{Report, text};
use crate::runtime::{LinuxBlockIo, LinuxCpu, LinuxDeviceType, LinuxResources};

pub(super) fn check(limits: &LinuxResources, report: &mut Report) {
    for (index, rule) in limits.devices.iter().enumerate() {
        let at = |field: &str| format!("linux.resources.devices[{index}].{field}");
        report.require(
            rule.type_ != Some(LinuxDeviceType::P),
            || at("type"),
            || "a rule is for a, b or c".into(),
        );
        let access = rule.access.as_deref().unwrap_or_default();
        report.require(
            // Some write an a for "all" behind what they mean; alone it would say nothing.
            access.chars().all(|c| "rwma".contains(c)) && access != "a",
            || at("access"),
            || format!("must be letters of r, w and m, not {access:?}"),
        );
        for (key, number) in [("major", rule.major), ("minor", rule.minor)] {
            report.require(
                number.is_none_or(|number| (-1..=i64::from(u32::MAX)).contains(&number)),
                || at(key),
                || "must be a device number, or -1 for any".into(),
            );
        }
    }
    if let Some(memory) = &limits.memory {
        let at = |field: &str| format!("linux.resources.memory.{field}");
        for (key, value) in [
            ("limit", memory.limit),
            ("reservation", memory.reservation),
            ("swap", memory.swap),
            ("kernel", memory.kernel),
            ("kernelTCP", memory.kernel_tcp),
        ] {
            report.require(
                value.is_none_or(|bytes| bytes >= -1),
                || at(key),
                || "must be a number of bytes, or -1 for no limit".into(),
            );
        }
        report.require(
            memory.swappiness.is_none_or(|value| value <= 100),
            || at("swappiness"),
            || "must be between 0 and 100".into(),
        );
        if let (Some(limit @ 1..), Some(swap @ 1..)) = (memory.limit, memory.swap) {
            report.require(
                swap >= limit,
                || at("swap"),
                || format!("is memory and swap together: {swap} is below the limit {limit}"),
            );
        }
    }
    if let Some(cpu) = &limits.cpu {
        processor(cpu, report);
    }
    if let Some(network) = &limits.network {
        for (index, priority) in network.priorities.iter().enumerate() {
            report.require(
                !priority.name.is_empty() && !priority.name.contains(['/', '\n', ' ', '\0']),
                || format!("linux.resources.network.priorities[{index}].name"),
                || format!("{:?} is not an interface name", priority.name),
            );
        }
    }
    if let Some(block_io) = &limits.block_io {
        block(block_io, report);
    }
    for (index, limit) in limits.hugepage_limits.iter().enumerate() {
        let digits = limit
            .page_size
            .trim_start_matches(|c: char| c.is_ascii_digit());
        report.require(
            digits.len() < limit.page_size.len() && ["B", "KB", "MB", "GB"].contains(&digits),
            || format!("linux.resources.hugepageLimits[{index}].pageSize"),
            || format!("must be like 64KB, 2MB or 1GB, not {:?}", limit.page_size),
        );
    }
    for (name, value) in &limits.unified {
        let at = format!("linux.resources.unified[{name:?}]");
        let fine = name.contains('.')
            && !name.starts_with('.')
            && !name.contains(['/', '\0'])
            // cgroup.procs, cgroup.kill … are the runtime's.
            && !name.starts_with("cgroup.");
        report.require(
            fine,
            || at.clone(),
            || match name.contains('.') {
                true => "must be a controller's file name".into(),
                // In the words that callers of crun know.
                false => format!("the specified key has not the form CONTROLLER.VALUE `{name}`"),
            },
        );
        text(format_args!("{at}"), value, report);
    }
}

fn processor(cpu: &LinuxCpu, report: &mut Report) {
    for (key, list) in [("cpus", &cpu.cpus), ("mems", &cpu.mems)] {
        if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
            id_list(&format!("linux.resources.cpu.{key}"), list, report);
        }
    }
    report.require(
        cpu.idle.is_none_or(|idle| (0..=1).contains(&idle)),
        || "linux.resources.cpu.idle".into(),
        || "must be 0 or 1".into(),
    );
}

fn block(block_io: &LinuxBlockIo, report: &mut Report) {
    let mut weight = |at: &str, value: Option<u16>| {
        // Zero is how Go writers say "unset".
        report.require(
            value.is_none_or(|weight| weight == 0 || (10..=1000).contains(&weight)),
            || format!("linux.resources.blockIO.{at}"),
            || "must be between 10 and 1000".into(),
        );
    };
    weight("weight", block_io.weight);
    weight("leafWeight", block_io.leaf_weight);
    for (index, device) in block_io.weight_device.iter().enumerate() {
        weight(&format!("weightDevice[{index}].weight"), device.weight);
        weight(
            &format!("weightDevice[{index}].leafWeight"),
            device.leaf_weight,
        );
    }
}

/// A list such as `0-3,7`.
pub(super) fn id_list(at: &str, list: &str, report: &mut Report) {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            (Ok(first), Ok(last)) => first <= last,
            _ => false,
        }
    };
    report.require(
        list.split(',').all(range),
        || at.into(),
        || format!("must be a list such as 0-3,7, not {list:?}"),
    );
}
