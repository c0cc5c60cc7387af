//! Figures of a cgroup in the published, v1-shaped message, and in ours with what that cannot say.

use agent_api::{grpc, sandbox};
use container::cgroup::{BlkioEntry, Pressure, PressureLine, Stats, Usage};

use crate::net::statistics::Counters;

/// The published message.
pub(crate) fn cgroup_stats(stats: &Stats) -> grpc::CgroupStats {
    grpc::CgroupStats {
        cpu_stats: stats.cpu.as_ref().map(|c| grpc::CpuStats {
            cpu_usage: Some(grpc::CpuUsage {
                total_usage: c.total_ns,
                percpu_usage: c.percpu_ns.clone(),
                usage_in_kernelmode: c.system_ns,
                usage_in_usermode: c.user_ns,
            }),
            throttling_data: Some(grpc::ThrottlingData {
                periods: c.periods,
                throttled_periods: c.throttled_periods,
                throttled_time: c.throttled_ns,
            }),
        }),
        memory_stats: stats.memory.as_ref().map(|m| grpc::MemoryStats {
            cache: m.cache,
            usage: Some(memory(&m.usage)),
            swap_usage: m.swap.as_ref().map(memory),
            kernel_usage: m.kernel.as_ref().map(memory),
            use_hierarchy: true,
            stats: m.stat.iter().map(|(k, v)| (k.clone(), *v)).collect(),
        }),
        pids_stats: stats.pids.map(|p| grpc::PidsStats {
            current: p.current,
            limit: no_limit_is_zero(p.limit),
        }),
        blkio_stats: stats.blkio.as_ref().map(|b| grpc::BlkioStats {
            io_service_bytes_recursive: b.service_bytes.iter().map(blkio).collect(),
            io_serviced_recursive: b.serviced.iter().map(blkio).collect(),
            ..Default::default()
        }),
        hugetlb_stats: stats
            .hugetlb
            .iter()
            .map(|(size, u)| {
                let page = grpc::HugetlbStats {
                    usage: u.usage,
                    max_usage: u.max_usage,
                    failcnt: u.failcnt,
                };
                (size.clone(), page)
            })
            .collect(),
    }
}

/// Our message.
pub(crate) fn stats(id: &str, at_ns: i64, stats: &Stats) -> sandbox::Stats {
    sandbox::Stats {
        id: id.to_owned(),
        at_ns,
        cgroup: Some(cgroup_stats(stats)),
        working_set_bytes: stats.memory.as_ref().map_or(0, |m| m.working_set),
        cpu_pressure: stats.pressure.cpu.as_ref().map(pressure),
        memory_pressure: stats.pressure.memory.as_ref().map(pressure),
        io_pressure: stats.pressure.io.as_ref().map(pressure),
        oom_kills: stats.memory.as_ref().map_or(0, |m| m.oom_kills),
    }
}

/// What an interface has sent and received.
pub(crate) fn network_stats((name, counters): &(String, Counters)) -> grpc::NetworkStats {
    let Counters {
        packets,
        bytes,
        errors,
        dropped,
    } = *counters;
    grpc::NetworkStats {
        name: name.clone(),
        rx_bytes: bytes[0],
        rx_packets: packets[0],
        rx_errors: errors[0],
        rx_dropped: dropped[0],
        tx_bytes: bytes[1],
        tx_packets: packets[1],
        tx_errors: errors[1],
        tx_dropped: dropped[1],
    }
}

fn memory(usage: &Usage) -> grpc::MemoryData {
    grpc::MemoryData {
        usage: usage.usage,
        max_usage: usage.max_usage,
        failcnt: usage.failcnt,
        limit: usage.limit,
    }
}

/// The published message has said "unlimited" as 0 for pids from the first release on.
fn no_limit_is_zero(limit: u64) -> u64 {
    if limit == u64::MAX { 0 } else { limit }
}

fn blkio(entry: &BlkioEntry) -> grpc::BlkioStatsEntry {
    grpc::BlkioStatsEntry {
        major: entry.major,
        minor: entry.minor,
        op: entry.op.clone(),
        value: entry.value,
    }
}

fn pressure(pressure: &Pressure) -> sandbox::Pressure {
    let line = |l: PressureLine| sandbox::PressureLine {
        avg10: l.avg10,
        avg60: l.avg60,
        avg300: l.avg300,
        total_us: l.total_ns / 1_000,
    };
    sandbox::Pressure {
        some: Some(line(pressure.some)),
        full: Some(line(pressure.full)),
    }
}
