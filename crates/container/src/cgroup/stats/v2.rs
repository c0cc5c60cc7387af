//! The cgroup2 files, brought into the form of [`Stats`].

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::super::error::Error;
use super::super::file::{self, number, read_optional, value_of};
use super::{BlkioEntry, BlkioStats, CpuStats, MemoryStats, PidsStats, Stats, Usage};

pub(super) fn read(dir: &Path) -> Result<Stats, Error> {
    Ok(Stats {
        cpu: cpu(dir)?,
        memory: memory(dir)?,
        pids: pids(dir)?,
        blkio: blkio(dir)?,
        hugetlb: hugetlb(dir)?,
        rdma: rdma(dir)?,
        ..Stats::default()
    })
}

fn optional_number(dir: &Path, name: &str) -> Result<Option<u64>, Error> {
    let path = dir.join(name);
    read_optional(&path)?.map(|t| number(&path, &t)).transpose()
}

/// cpu.stat is there without the controller too, then without throttling.
fn cpu(dir: &Path) -> Result<Option<CpuStats>, Error> {
    let Some(text) = read_optional(&dir.join("cpu.stat"))? else {
        return Ok(None);
    };
    let count = |key: &str| value_of(&text, key).unwrap_or(0);
    let ns = |key: &str| count(key).saturating_mul(1000);
    Ok(Some(CpuStats {
        total_ns: ns("usage_usec"),
        user_ns: ns("user_usec"),
        system_ns: ns("system_usec"),
        percpu_ns: Vec::new(),
        periods: count("nr_periods"),
        throttled_periods: count("nr_throttled"),
        throttled_ns: ns("throttled_usec"),
        bursts: count("nr_bursts"),
        burst_ns: ns("burst_usec"),
    }))
}

fn memory(dir: &Path) -> Result<Option<MemoryStats>, Error> {
    let Some(current) = optional_number(dir, "memory.current")? else {
        return Ok(None);
    };
    let text = file::read(&dir.join("memory.stat"))?;
    let stat: BTreeMap<String, u64> = file::pairs(&text).map(|(k, v)| (k.to_owned(), v)).collect();
    let of = |key: &str| stat.get(key).copied().unwrap_or(0);
    let events = read_optional(&dir.join("memory.events"))?.unwrap_or_default();
    let usage = Usage {
        usage: current,
        max_usage: optional_number(dir, "memory.peak")?.unwrap_or(0),
        limit: optional_number(dir, "memory.max")?.unwrap_or(u64::MAX),
        failcnt: value_of(&events, "max").unwrap_or(0),
    };
    let swap_only = optional_number(dir, "memory.swap.current")?;
    let swap = match swap_only {
        Some(swap) => Some(Usage {
            usage: current.saturating_add(swap),
            max_usage: 0,
            limit: usage
                .limit
                .saturating_add(optional_number(dir, "memory.swap.max")?.unwrap_or(u64::MAX)),
            failcnt: read_optional(&dir.join("memory.swap.events"))?
                .and_then(|t| value_of(&t, "max"))
                .unwrap_or(0),
        }),
        None => None,
    };
    // "kernel" came with 5.18; its parts were there before.
    let kernel = stat.get("kernel").copied().unwrap_or_else(|| {
        of("slab") + of("kernel_stack") + of("pagetables") + of("percpu") + of("sock")
    });
    Ok(Some(MemoryStats {
        usage,
        swap,
        swap_only,
        kernel: Some(Usage {
            usage: kernel,
            limit: u64::MAX,
            ..Usage::default()
        }),
        kernel_tcp: None,
        cache: of("file"),
        rss: of("anon"),
        mapped_file: of("file_mapped"),
        working_set: current.saturating_sub(of("inactive_file")),
        page_faults: of("pgfault"),
        major_page_faults: of("pgmajfault"),
        oom_kills: value_of(&events, "oom_kill").unwrap_or(0),
        stat,
    }))
}

fn pids(dir: &Path) -> Result<Option<PidsStats>, Error> {
    let Some(current) = optional_number(dir, "pids.current")? else {
        return Ok(None);
    };
    let limit = optional_number(dir, "pids.max")?.unwrap_or(u64::MAX);
    Ok(Some(PidsStats { current, limit }))
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6`
fn blkio(dir: &Path) -> Result<Option<BlkioStats>, Error> {
    let Some(text) = read_optional(&dir.join("io.stat"))? else {
        return Ok(None);
    };
    let mut stats = BlkioStats::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let device = words.next().and_then(|d| d.split_once(':'));
        let Some((Ok(major), Ok(minor))) = device.map(|(a, b)| (a.parse(), b.parse())) else {
            continue;
        };
        for (key, value) in words.filter_map(|w| w.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            let (list, op) = match key {
                "rbytes" => (&mut stats.service_bytes, "Read"),
                "wbytes" => (&mut stats.service_bytes, "Write"),
                "dbytes" => (&mut stats.service_bytes, "Discard"),
                "rios" => (&mut stats.serviced, "Read"),
                "wios" => (&mut stats.serviced, "Write"),
                "dios" => (&mut stats.serviced, "Discard"),
                _ => continue,
            };
            list.push(BlkioEntry {
                major,
                minor,
                op: op.to_owned(),
                value,
            });
        }
    }
    Ok(Some(stats))
}

pub(super) fn hugetlb(dir: &Path) -> Result<BTreeMap<String, Usage>, Error> {
    let mut out = BTreeMap::new();
    for size in hugepage_sizes(dir, ".current")? {
        let one = |what: &str| optional_number(dir, &format!("hugetlb.{size}.{what}"));
        let events = read_optional(&dir.join(format!("hugetlb.{size}.events")))?;
        let usage = Usage {
            usage: one("current")?.unwrap_or(0),
            max_usage: 0,
            limit: one("max")?.unwrap_or(u64::MAX),
            failcnt: events.and_then(|t| value_of(&t, "max")).unwrap_or(0),
        };
        out.insert(size, usage);
    }
    Ok(out)
}

/// The page sizes that have a file `hugetlb.<size><suffix>`.
pub(super) fn hugepage_sizes(dir: &Path, suffix: &str) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(dir).map_err(|e| Error::file("list", dir, e))?;
    let mut sizes = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| Error::file("list", dir, e))?.file_name();
        let size = name
            .to_str()
            .and_then(|n| n.strip_prefix("hugetlb.")?.strip_suffix(suffix));
        // `hugetlb.2MB.rsvd.current` is another counter.
        sizes.extend(size.filter(|s| !s.contains('.')).map(str::to_owned));
    }
    sizes.sort();
    Ok(sizes)
}

/// `mlx4_0 hca_handle=2 hca_object=2000`, the same in both versions.
pub(super) fn rdma(dir: &Path) -> Result<BTreeMap<String, BTreeMap<String, u64>>, Error> {
    let text = read_optional(&dir.join("rdma.current"))?.unwrap_or_default();
    let mut out = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some(device) = words.next() else { continue };
        let counts = words.filter_map(|w| {
            let (name, value) = w.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        out.insert(device.to_owned(), counts.collect());
    }
    Ok(out)
}
