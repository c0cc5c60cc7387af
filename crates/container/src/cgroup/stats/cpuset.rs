//! What the cpuset controller of v1 says, with the keys that clients of an OCI runtime read.
//!
//! cgroup2 has two of these files; what it lacks is 0 or empty, as runc tells it.

use std::path::Path;

use serde::Serialize;

use super::super::error::Error;
use super::super::file::{number, read_optional};
use super::super::group::Cgroup;

/// The cpuset of a cgroup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CpusetStats {
    /// CPU numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    /// No sibling may have these CPUs too.
    pub cpu_exclusive: u64,
    /// Memory nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    /// Kernel memory stays within the nodes too.
    pub mem_hardwall: u64,
    /// No sibling may have these nodes too.
    pub mem_exclusive: u64,
    /// Pages move with a change of nodes.
    pub memory_migrate: u64,
    /// Page cache is spread.
    pub memory_spread_page: u64,
    /// Slab is spread.
    pub memory_spread_slab: u64,
    /// How fast memory is reclaimed.
    pub memory_pressure: u64,
    /// The scheduler balances within the CPUs.
    pub sched_load_balance: u64,
    /// How far it searches.
    pub sched_relax_domain_level: i64,
}

impl Cgroup {
    /// Reads the cpuset controller; all empty where there is none.
    pub fn cpuset_stats(&self) -> Result<CpusetStats, Error> {
        let Some(dir) = self.dir_of("cpuset").map(|dir| dir.path.as_path()) else {
            return Ok(CpusetStats::default());
        };
        let count = |name: &str| -> Result<u64, Error> {
            let path = dir.join(name);
            read_optional(&path)?.map_or(Ok(0), |text| number(&path, &text))
        };
        let level = read_optional(&dir.join("cpuset.sched_relax_domain_level"))?;
        Ok(CpusetStats {
            cpus: list(dir, "cpuset.cpus")?,
            cpu_exclusive: count("cpuset.cpu_exclusive")?,
            mems: list(dir, "cpuset.mems")?,
            mem_hardwall: count("cpuset.mem_hardwall")?,
            mem_exclusive: count("cpuset.mem_exclusive")?,
            memory_migrate: count("cpuset.memory_migrate")?,
            memory_spread_page: count("cpuset.memory_spread_page")?,
            memory_spread_slab: count("cpuset.memory_spread_slab")?,
            memory_pressure: count("cpuset.memory_pressure")?,
            sched_load_balance: count("cpuset.sched_load_balance")?,
            sched_relax_domain_level: level.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
        })
    }
}

/// `0-3,7` as numbers.
fn list(dir: &Path, name: &str) -> Result<Vec<u16>, Error> {
    let text = read_optional(&dir.join(name))?.unwrap_or_default();
    let mut numbers = Vec::new();
    for part in text.trim().split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(from), Ok(to)) = (from.parse::<u16>(), to.parse::<u16>()) {
            numbers.extend(from..=to);
        }
    }
    Ok(numbers)
}
