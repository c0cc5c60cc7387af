//! The figures of a container with the keys that callers of `runc events` read.

use std::collections::BTreeMap;

use container::cgroup::{self, CpusetStats, Pressure, Stats};
use serde::Serialize;

/// `data` of a `stats` event.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures {
    cpu: Cpu,
    cpuset: CpusetStats,
    memory: Memory,
    pids: Pids,
    blkio: Blkio,
    hugetlb: BTreeMap<String, Hugetlb>,
    /// resctrl figures are not read.
    intel_rdt: BTreeMap<String, u64>,
    /// The network is its namespace's.
    network_interfaces: Option<()>,
}

#[derive(Debug, Default, Serialize)]
struct Cpu {
    usage: CpuUsage,
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

#[derive(Debug, Default, Serialize)]
struct CpuUsage {
    total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    kernel: u64,
    user: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    periods: u64,
    throttled_periods: u64,
    throttled_time: u64,
    burst_periods: u64,
    burst_time: u64,
}

#[derive(Debug, Default, Serialize)]
struct Memory {
    cache: u64,
    usage: Entry,
    swap: Entry,
    kernel: Entry,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: Entry,
    raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

#[derive(Debug, Default, Serialize)]
struct Entry {
    limit: u64,
    usage: u64,
    max: u64,
    failcnt: u64,
}

impl From<cgroup::Usage> for Entry {
    fn from(usage: cgroup::Usage) -> Self {
        Self {
            limit: usage.limit,
            usage: usage.usage,
            max: usage.max_usage,
            failcnt: usage.failcnt,
        }
    }
}

#[derive(Debug, Default, Serialize)]
struct Pids {
    current: u64,
    /// 0 without a limit.
    limit: u64,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Blkio {
    io_service_bytes_recursive: Vec<BlkioEntry>,
    io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Psi>,
}

#[derive(Debug, Serialize)]
struct BlkioEntry {
    major: u64,
    minor: u64,
    op: String,
    value: u64,
}

impl From<cgroup::BlkioEntry> for BlkioEntry {
    fn from(entry: cgroup::BlkioEntry) -> Self {
        Self {
            major: entry.major,
            minor: entry.minor,
            op: entry.op,
            value: entry.value,
        }
    }
}

#[derive(Debug, Serialize)]
struct Hugetlb {
    usage: u64,
    max: u64,
    failcnt: u64,
}

#[derive(Debug, Serialize)]
struct Psi {
    some: PsiLine,
    full: PsiLine,
}

#[derive(Debug, Serialize)]
struct PsiLine {
    avg10: f64,
    avg60: f64,
    avg300: f64,
    /// Microseconds.
    total: u64,
}

impl From<Pressure> for Psi {
    fn from(pressure: Pressure) -> Self {
        let line = |line: cgroup::PressureLine| PsiLine {
            avg10: line.avg10,
            avg60: line.avg60,
            avg300: line.avg300,
            total: line.total_ns / 1000,
        };
        Self {
            some: line(pressure.some),
            full: line(pressure.full),
        }
    }
}

impl Figures {
    pub(super) fn new(stats: Stats, cpuset: CpusetStats) -> Self {
        let pressure = stats.pressure;
        let cpu = stats.cpu.unwrap_or_default();
        let memory = stats.memory.unwrap_or_default();
        let pids = stats.pids.unwrap_or_default();
        let blkio = stats.blkio.unwrap_or_default();
        let entry = |usage: Option<cgroup::Usage>| usage.map(Entry::from).unwrap_or_default();
        let huge = |usage: cgroup::Usage| Hugetlb {
            usage: usage.usage,
            max: usage.max_usage,
            failcnt: usage.failcnt,
        };
        Self {
            cpu: Cpu {
                usage: CpuUsage {
                    total: cpu.total_ns,
                    percpu: cpu.percpu_ns,
                    kernel: cpu.system_ns,
                    user: cpu.user_ns,
                },
                throttling: Throttling {
                    periods: cpu.periods,
                    throttled_periods: cpu.throttled_periods,
                    throttled_time: cpu.throttled_ns,
                    burst_periods: cpu.bursts,
                    burst_time: cpu.burst_ns,
                },
                psi: pressure.cpu.map(Psi::from),
            },
            cpuset,
            memory: Memory {
                cache: memory.cache,
                usage: memory.usage.into(),
                swap: entry(memory.swap),
                kernel: entry(memory.kernel),
                kernel_tcp: entry(memory.kernel_tcp),
                raw: memory.stat,
                psi: pressure.memory.map(Psi::from),
            },
            pids: Pids {
                current: pids.current,
                limit: if pids.limit == u64::MAX {
                    0
                } else {
                    pids.limit
                },
            },
            blkio: Blkio {
                io_service_bytes_recursive: blkio
                    .service_bytes
                    .into_iter()
                    .map(Into::into)
                    .collect(),
                io_serviced_recursive: blkio.serviced.into_iter().map(Into::into).collect(),
                psi: pressure.io.map(Psi::from),
            },
            hugetlb: stats
                .hugetlb
                .into_iter()
                .map(|(size, usage)| (size, huge(usage)))
                .collect(),
            intel_rdt: BTreeMap::new(),
            network_interfaces: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_runc() {
        let stats = Stats {
            memory: Some(cgroup::MemoryStats {
                usage: cgroup::Usage {
                    usage: 1,
                    max_usage: 2,
                    limit: 3,
                    failcnt: 4,
                },
                ..Default::default()
            }),
            pids: Some(cgroup::PidsStats {
                current: 5,
                limit: u64::MAX,
            }),
            ..Stats::default()
        };
        let json = serde_json::to_value(Figures::new(stats, CpusetStats::default())).expect("JSON");
        let table = [
            ("/memory/usage/usage", "1"),
            ("/memory/usage/max", "2"),
            ("/memory/usage/limit", "3"),
            ("/memory/usage/failcnt", "4"),
            ("/memory/kernelTCP/limit", "0"),
            ("/pids/current", "5"),
            ("/pids/limit", "0"),
            ("/cpu/usage/total", "0"),
            ("/cpu/throttling/throttledTime", "0"),
            ("/cpuset/sched_load_balance", "0"),
            ("/blkio/ioServiceBytesRecursive", "[]"),
            ("/hugetlb", "{}"),
            ("/intel_rdt", "{}"),
            ("/network_interfaces", "null"),
        ];
        for (pointer, wanted) in table {
            let found = json.pointer(pointer).map(ToString::to_string);
            assert_eq!(found.as_deref(), Some(wanted), "{pointer}");
        }
    }
}
