//! The v1 files. Each controller is optional; a controller that is there but unreadable is an error.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::error::Error;
use super::super::file::{self, number, read_optional, value_of};
use super::super::group::Cgroup;
use super::{BlkioEntry, BlkioStats, CpuStats, MemoryStats, PidsStats, Stats, Usage};

pub(super) fn read_number(path: &Path) -> Result<u64, Error> {
    number(path, &file::read(path)?)
}

fn optional_number(path: &Path) -> Result<Option<u64>, Error> {
    read_optional(path)?.map(|t| number(path, &t)).transpose()
}

pub(super) fn read(cgroup: &Cgroup) -> Result<Stats, Error> {
    let dir = |controller: &str| cgroup.dir_of(controller).map(|d| d.path.as_path());
    let hugetlb = match (dir("hugetlb"), cgroup.unified()) {
        (Some(v1), _) => hugetlb(v1)?,
        (None, Some(v2)) => super::v2::hugetlb(&v2.path)?,
        (None, None) => BTreeMap::new(),
    };
    Ok(Stats {
        cpu: cpu(dir("cpuacct"), dir("cpu"))?,
        memory: dir("memory").map(memory).transpose()?,
        pids: dir("pids").map(pids).transpose()?,
        blkio: dir("blkio").map(blkio).transpose()?,
        hugetlb,
        rdma: dir("rdma")
            .map(super::v2::rdma)
            .transpose()?
            .unwrap_or_default(),
        ..Stats::default()
    })
}

fn cpu(cpuacct: Option<&Path>, cpu: Option<&Path>) -> Result<Option<CpuStats>, Error> {
    if cpuacct.is_none() && cpu.is_none() {
        return Ok(None);
    }
    let mut stats = CpuStats::default();
    if let Some(dir) = cpuacct {
        stats.total_ns = read_number(&dir.join("cpuacct.usage"))?;
        stats.user_ns = optional_number(&dir.join("cpuacct.usage_user"))?.unwrap_or(0);
        stats.system_ns = optional_number(&dir.join("cpuacct.usage_sys"))?.unwrap_or(0);
        let percpu = read_optional(&dir.join("cpuacct.usage_percpu"))?.unwrap_or_default();
        stats.percpu_ns = percpu
            .split_whitespace()
            .filter_map(|n| n.parse().ok())
            .collect();
    }
    if let Some(dir) = cpu {
        let text = read_optional(&dir.join("cpu.stat"))?.unwrap_or_default();
        stats.periods = value_of(&text, "nr_periods").unwrap_or(0);
        stats.throttled_periods = value_of(&text, "nr_throttled").unwrap_or(0);
        stats.throttled_ns = value_of(&text, "throttled_time").unwrap_or(0);
        stats.bursts = value_of(&text, "nr_bursts").unwrap_or(0);
        stats.burst_ns = value_of(&text, "burst_time").unwrap_or(0);
    }
    Ok(Some(stats))
}

fn memory(dir: &Path) -> Result<MemoryStats, Error> {
    let text = file::read(&dir.join("memory.stat"))?;
    let stat: BTreeMap<String, u64> = file::pairs(&text).map(|(k, v)| (k.to_owned(), v)).collect();
    // total_*: with the cgroups below, as usage_in_bytes counts.
    let of = |key: &str| {
        let total = stat.get(&format!("total_{key}"));
        total.or_else(|| stat.get(key)).copied().unwrap_or(0)
    };
    let usage = usage(dir, "memory.")?.unwrap_or_default();
    let swap = self::usage(dir, "memory.memsw.")?;
    let oom = read_optional(&dir.join("memory.oom_control"))?.unwrap_or_default();
    Ok(MemoryStats {
        usage,
        swap,
        swap_only: swap.map(|_| of("swap")),
        kernel: self::usage(dir, "memory.kmem.")?,
        kernel_tcp: self::usage(dir, "memory.kmem.tcp.")?,
        cache: of("cache"),
        rss: of("rss"),
        mapped_file: of("mapped_file"),
        working_set: usage.usage.saturating_sub(of("inactive_file")),
        page_faults: of("pgfault"),
        major_page_faults: of("pgmajfault"),
        oom_kills: value_of(&oom, "oom_kill").unwrap_or(0),
        stat,
    })
}

/// The four files of a counter; None where the kernel has no such counter.
fn usage(dir: &Path, prefix: &str) -> Result<Option<Usage>, Error> {
    let one = |name: &str| optional_number(&dir.join(format!("{prefix}{name}")));
    let Some(usage) = one("usage_in_bytes")? else {
        return Ok(None);
    };
    Ok(Some(Usage {
        usage,
        max_usage: one("max_usage_in_bytes")?.unwrap_or(0),
        limit: one("limit_in_bytes")?.unwrap_or(u64::MAX),
        failcnt: one("failcnt")?.unwrap_or(0),
    }))
}

fn pids(dir: &Path) -> Result<PidsStats, Error> {
    let current = read_number(&dir.join("pids.current"))?;
    let limit = read_number(&dir.join("pids.max"))?;
    Ok(PidsStats { current, limit })
}

fn blkio(dir: &Path) -> Result<BlkioStats, Error> {
    // BFQ counts only where it is the scheduler; the throttling layer counts always. Before 4.20
    // without BFQ the names have no infix.
    let one = |what: &str| -> Result<Vec<BlkioEntry>, Error> {
        for infix in ["bfq.", "throttle.", ""] {
            let path = dir.join(format!("blkio.{infix}{what}_recursive"));
            let entries = read_optional(&path)?
                .map(|t| blkio_lines(&t))
                .unwrap_or_default();
            if !entries.is_empty() {
                return Ok(entries);
            }
        }
        Ok(Vec::new())
    };
    Ok(BlkioStats {
        service_bytes: one("io_service_bytes")?,
        serviced: one("io_serviced")?,
    })
}

/// `8:0 Read 4096`; the last line, `Total 4096`, has no device and is left out.
fn blkio_lines(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        Some(BlkioEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: words.next()?.to_owned(),
            value: words.next()?.parse().ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}

fn hugetlb(dir: &Path) -> Result<BTreeMap<String, Usage>, Error> {
    let mut out = BTreeMap::new();
    for size in super::v2::hugepage_sizes(dir, ".usage_in_bytes")? {
        if let Some(usage) = usage(dir, &format!("hugetlb.{size}."))? {
            out.insert(size, usage);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blkio_lines_name_device_and_operation() {
        let entries = blkio_lines("8:0 Read 4096\n8:0 Total 4096\nTotal 4096\n");
        assert_eq!(entries.len(), 2);
        assert_eq!(
            (entries[0].major, entries[0].minor, entries[0].value),
            (8, 0, 4096)
        );
        assert_eq!(entries[0].op, "Read");
    }
}
