//! Limits as systemd's properties (systemd.resource-control(5)); pure. What it has no property for, such
//! as huge pages, is written to the files alone.

use std::collections::BTreeMap;

use oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources,
    LinuxThrottleDevice,
};

use super::super::error::Error;
use super::super::limits::{cpu_weight, tasks};
use super::name::ScopeName;
use crate::dbus::Value;

/// Name and value.
pub(crate) type Property = (String, Value);

/// Annotations that are properties.
const ANNOTATION: &str = "org.systemd.property.";

fn property(name: &str, value: Value) -> Property {
    (name.to_owned(), value)
}

/// What every scope has.
pub(super) fn scope(name: &ScopeName, id: &str, sleeper: i32, v2: bool) -> Vec<Property> {
    let on = || Value::Bool(true);
    let pid = Value::U32(u32::try_from(sleeper).unwrap_or(0));
    vec![
        property("Description", Value::text(format!("container {id}"))),
        property("Slice", Value::text(&name.slice)),
        property("Delegate", on()),
        property("PIDs", Value::Array("u".to_owned(), vec![pid])),
        property("DefaultDependencies", Value::Bool(false)),
        property("MemoryAccounting", on()),
        property("CPUAccounting", on()),
        property("TasksAccounting", on()),
        property(
            if v2 {
                "IOAccounting"
            } else {
                "BlockIOAccounting"
            },
            on(),
        ),
    ]
}

/// What a change of limits means.
pub(in super::super) fn limits(r: &LinuxResources, v2: bool) -> Vec<Property> {
    let mut out = Vec::new();
    if let Some(m) = &r.memory {
        memory(m, v2, &mut out);
    }
    if let Some(c) = &r.cpu {
        cpu(c, v2, &mut out);
    }
    if let Some(limit) = tasks(r) {
        out.push(property("TasksMax", count(limit)));
    }
    if let Some(b) = &r.block_io {
        block_io(b, v2, &mut out);
    }
    if !r.devices.is_empty() {
        devices(&r.devices, &mut out);
    }
    if v2 {
        for (key, value) in &r.unified {
            unified(key, value.trim(), &mut out);
        }
    }
    out
}

/// A number, or no limit for a negative one.
fn count(n: i64) -> Value {
    Value::U64(u64::try_from(n).unwrap_or(u64::MAX))
}

fn memory(m: &LinuxMemory, v2: bool, out: &mut Vec<Property>) {
    let given = |n: Option<i64>| n.filter(|&n| n != 0);
    if let Some(limit) = given(m.limit) {
        out.push(property(
            if v2 { "MemoryMax" } else { "MemoryLimit" },
            count(limit),
        ));
    }
    if !v2 {
        return;
    }
    if let Some(n) = given(m.reservation) {
        out.push(property("MemoryLow", count(n)));
    }
    match (given(m.swap), given(m.limit)) {
        (Some(swap), Some(limit)) if swap > 0 && limit > 0 => {
            out.push(property("MemorySwapMax", count((swap - limit).max(0))));
        }
        (Some(swap), _) if swap < 0 => out.push(property("MemorySwapMax", count(-1))),
        _ => {}
    }
}

fn cpu(c: &LinuxCpu, v2: bool, out: &mut Vec<Property>) {
    let weight = if v2 { "CPUWeight" } else { "CPUShares" };
    if v2 && c.idle == Some(1) {
        // systemd 252: weight 0 is SCHED_IDLE.
        out.push(property(weight, Value::U64(0)));
    } else if let Some(shares) = c.shares.filter(|&n| n != 0) {
        let value = if v2 { cpu_weight(shares) } else { shares };
        out.push(property(weight, Value::U64(value)));
    }
    quota(c.quota, c.period, out);
    if v2 {
        for (name, list) in [("AllowedCPUs", &c.cpus), ("AllowedMemoryNodes", &c.mems)] {
            if let Some(bits) = list.as_deref().and_then(bits) {
                out.push(property(name, Value::bytes(&bits)));
            }
        }
    }
}

fn quota(quota: Option<i64>, period: Option<u64>, out: &mut Vec<Property>) {
    const SECOND: u64 = 1_000_000;
    /// systemd counts whole percents of a CPU.
    const PERCENT: u64 = 10_000;
    let period = period.filter(|&n| n != 0);
    if let Some(period) = period {
        out.push(property("CPUQuotaPeriodUSec", Value::U64(period)));
    }
    let Some(quota) = quota.filter(|&n| n != 0) else {
        return;
    };
    let per_second = match u64::try_from(quota) {
        Ok(quota) => {
            let exact =
                u128::from(quota) * u128::from(SECOND) / u128::from(period.unwrap_or(100_000));
            let exact = u64::try_from(exact).unwrap_or(u64::MAX - PERCENT);
            exact.next_multiple_of(PERCENT)
        }
        Err(_) => u64::MAX,
    };
    out.push(property("CPUQuotaPerSecUSec", Value::U64(per_second)));
}

/// `0-3,8` as bytes, the first CPU in the lowest bit; `None` for what the files will refuse anyway.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for part in list.split(',').filter(|p| !p.trim().is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().ok()?;
        let last: usize = last.trim().parse().ok().filter(|&n| n < 8192)?;
        for bit in first..=last {
            if out.len() <= bit / 8 {
                out.resize(bit / 8 + 1, 0);
            }
            *out.get_mut(bit / 8)? |= 1 << (bit % 8);
        }
    }
    (!out.is_empty()).then_some(out)
}

fn block_io(b: &LinuxBlockIo, v2: bool, out: &mut Vec<Property>) {
    let name = |v2_name: &'static str, v1_name: &'static str| if v2 { v2_name } else { v1_name };
    let device = |major: i64, minor: i64, value: u64| {
        let path = Value::text(format!("/dev/block/{major}:{minor}"));
        Value::Struct(vec![path, Value::U64(value)])
    };
    let array = |list: Vec<Value>| Value::Array("(st)".to_owned(), list);
    if let Some(weight) = b.weight.filter(|&w| w != 0) {
        out.push(property(
            name("IOWeight", "BlockIOWeight"),
            Value::U64(weight.into()),
        ));
    }
    let weights: Vec<Value> = b
        .weight_device
        .iter()
        .filter_map(|d| {
            Some(device(
                d.major,
                d.minor,
                d.weight.filter(|&w| w != 0)?.into(),
            ))
        })
        .collect();
    if !weights.is_empty() {
        out.push(property(
            name("IODeviceWeight", "BlockIODeviceWeight"),
            array(weights),
        ));
    }
    let mut rates = |name: &str, list: &[LinuxThrottleDevice]| {
        let rate = |rate: u64| if rate == 0 { u64::MAX } else { rate };
        let list: Vec<Value> = list
            .iter()
            .map(|d| device(d.major, d.minor, rate(d.rate)))
            .collect();
        if !list.is_empty() {
            out.push(property(name, array(list)));
        }
    };
    rates(
        name("IOReadBandwidthMax", "BlockIOReadBandwidth"),
        &b.throttle_read_bps_device,
    );
    rates(
        name("IOWriteBandwidthMax", "BlockIOWriteBandwidth"),
        &b.throttle_write_bps_device,
    );
    if v2 {
        rates("IOReadIOPSMax", &b.throttle_read_iops_device);
        rates("IOWriteIOPSMax", &b.throttle_write_iops_device);
    }
}

/// What systemd would allow at a reload. It knows no order of rules: a rule that takes a part back is left
/// to the program that we attach, which holds beside systemd's.
fn devices(rules: &[LinuxDeviceCgroup], out: &mut Vec<Property>) {
    let everything = |r: &LinuxDeviceCgroup| matches!(r.type_, None | Some(LinuxDeviceType::A));
    let mut allowed: Vec<Value> = Vec::new();
    let mut all = false;
    for rule in rules {
        if everything(rule) {
            all = rule.allow;
            allowed.clear();
            continue;
        }
        if !rule.allow || all {
            continue;
        }
        let number = |n: Option<i64>| n.filter(|&n| n >= 0);
        let block = rule.type_ == Some(LinuxDeviceType::B);
        let kind = if block { "block" } else { "char" };
        let node = match (number(rule.major), number(rule.minor)) {
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (Some(major), None) => format!("{kind}-{major}"),
            (None, _) => format!("{kind}-*"),
        };
        let access = rule.access.as_deref().filter(|a| !a.is_empty());
        let access = Value::text(access.unwrap_or("rwm"));
        allowed.push(Value::Struct(vec![Value::text(node), access]));
    }
    let policy = if all { "auto" } else { "strict" };
    out.push(property("DevicePolicy", Value::text(policy)));
    out.push(property(
        "DeviceAllow",
        Value::Array("(ss)".to_owned(), allowed),
    ));
}

/// Keys of `unified` that systemd has a property for.
fn unified(key: &str, value: &str, out: &mut Vec<Property>) {
    let number = || match value {
        "max" => Some(Value::U64(u64::MAX)),
        text => text.parse().ok().map(Value::U64),
    };
    let name = match key {
        "memory.max" => "MemoryMax",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        "cpu.weight" => "CPUWeight",
        "cpuset.cpus" | "cpuset.mems" => {
            let name = if key.ends_with("cpus") {
                "AllowedCPUs"
            } else {
                "AllowedMemoryNodes"
            };
            out.extend(bits(value).map(|bits| property(name, Value::bytes(&bits))));
            return;
        }
        "cpu.max" => {
            let mut words = value.split_whitespace();
            let limit = words
                .next()
                .map(|w| if w == "max" { Some(-1) } else { w.parse().ok() });
            let period = words.next().and_then(|w| w.parse().ok());
            quota(limit.flatten(), period, out);
            return;
        }
        _ => return,
    };
    out.extend(number().map(|value| property(name, value)));
}

/// Properties that the document names itself: `org.systemd.property.TimeoutStopUSec: "uint64 5"`.
pub(super) fn annotated(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>, Error> {
    let mut out = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(ANNOTATION) else {
            continue;
        };
        let letters = name.len() > 3 && name.chars().all(|c| c.is_ascii_alphabetic());
        let value = variant(text.trim()).filter(|_| letters);
        let value = value.ok_or_else(|| Error::Value {
            setting: "annotation org.systemd.property",
            value: format!("{name} = {text:?}"),
            rule: "a name of letters, and true, false, a number (with int32, int64, uint32 or \
                   uint64 before it), 'text', or ['text', …]",
        })?;
        out.push(property(name, value));
    }
    Ok(out)
}

/// The text form of a value (gvariant-text(7)), as far as properties need it.
fn variant(text: &str) -> Option<Value> {
    let quoted = |text: &str| {
        let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains(['\'', '"', '\\', '\0'])).then(|| Value::text(inner))
    };
    if let Some(list) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        let elements: Option<Vec<Value>> = list.split(',').map(|e| quoted(e.trim())).collect();
        return elements.map(|e| Value::Array("s".to_owned(), e));
    }
    match text.split_once(' ') {
        Some(("uint64", n)) => return n.trim().parse().ok().map(Value::U64),
        Some(("uint32", n)) => return n.trim().parse().ok().map(Value::U32),
        Some(("int64", n)) => return n.trim().parse().ok().map(Value::I64),
        Some(("int32", n)) => return n.trim().parse().ok().map(Value::I32),
        _ => {}
    }
    match text {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ => text.parse().ok().map(Value::I32).or_else(|| quoted(text)),
    }
}

#[cfg(test)]
mod tests;
