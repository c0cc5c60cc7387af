//! What a cgroup uses, in one form for both versions: nanoseconds, bytes, counts.
//!
//! A part is `None` where its controller is not mounted or not enabled; a number is `u64::MAX` where
//! the kernel says "no limit". The read takes no lock and may be run on a thread of its own: on a
//! cgroup whose memory is under heavy pressure reading `memory.stat` can take long.

mod cpuset;
mod pressure;
mod v1;
mod v2;

use std::collections::BTreeMap;

pub use cpuset::CpusetStats;
pub use pressure::{Pressure, PressureLine};

use super::error::Error;
use super::group::Cgroup;

/// One reading of everything.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// CPU time and throttling.
    pub cpu: Option<CpuStats>,
    /// Memory, swap and kernel memory.
    pub memory: Option<MemoryStats>,
    /// Tasks (threads, as the pids controller counts).
    pub pids: Option<PidsStats>,
    /// Block I/O.
    pub blkio: Option<BlkioStats>,
    /// By page size as in the file name: `2MB`, `1GB`.
    pub hugetlb: BTreeMap<String, Usage>,
    /// Current use by RDMA device: resource name and count.
    pub rdma: BTreeMap<String, BTreeMap<String, u64>>,
    /// Pressure stall information, where the kernel has it for cgroups.
    pub pressure: PressureStats,
}

/// CPU time in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// All CPU time used.
    pub total_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In kernel mode.
    pub system_ns: u64,
    /// By CPU; empty on cgroup2, which does not count so.
    pub percpu_ns: Vec<u64>,
    /// Enforcement periods that passed.
    pub periods: u64,
    /// Of them, those in which the quota ran out.
    pub throttled_periods: u64,
    /// Time that tasks waited for quota.
    pub throttled_ns: u64,
    /// Periods in which a burst was used.
    pub bursts: u64,
    /// Time above the quota, taken from the burst.
    pub burst_ns: u64,
}

/// A counter with its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Now.
    pub usage: u64,
    /// The most ever; 0 where the kernel does not keep it.
    pub max_usage: u64,
    /// `u64::MAX` without a limit.
    pub limit: u64,
    /// How often the limit was hit.
    pub failcnt: u64,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Memory without swap.
    pub usage: Usage,
    /// Memory and swap together: v1's memsw, its sum on cgroup2. None without swap accounting.
    pub swap: Option<Usage>,
    /// Swap alone, None without swap accounting.
    pub swap_only: Option<u64>,
    /// Kernel memory.
    pub kernel: Option<Usage>,
    /// TCP buffers of the kernel; v1 only.
    pub kernel_tcp: Option<Usage>,
    /// Page cache.
    pub cache: u64,
    /// Anonymous memory (rss).
    pub rss: u64,
    /// Mapped files.
    pub mapped_file: u64,
    /// Usage without the inactive page cache: what the kubelet evicts by.
    pub working_set: u64,
    /// Page faults.
    pub page_faults: u64,
    /// Page faults that needed I/O.
    pub major_page_faults: u64,
    /// Processes that the OOM killer took, in this cgroup; on cgroup2 its subtree too.
    pub oom_kills: u64,
    /// memory.stat as it is.
    pub stat: BTreeMap<String, u64>,
}

/// Tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Now.
    pub current: u64,
    /// `u64::MAX` without a limit.
    pub limit: u64,
}

/// Block I/O, one entry per device and operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlkioStats {
    /// Bytes moved, with all cgroups below.
    pub service_bytes: Vec<BlkioEntry>,
    /// Operations, with all cgroups below.
    pub serviced: Vec<BlkioEntry>,
}

/// One line of block I/O.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlkioEntry {
    /// Device number, major.
    pub major: u64,
    /// Device number, minor.
    pub minor: u64,
    /// `Read`, `Write`, `Discard`, on v1 also `Sync`, `Async`, `Total`.
    pub op: String,
    /// Bytes or operations.
    pub value: u64,
}

/// Pressure by resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PressureStats {
    /// `cpu.pressure`
    pub cpu: Option<Pressure>,
    /// `memory.pressure`
    pub memory: Option<Pressure>,
    /// `io.pressure`
    pub io: Option<Pressure>,
}

impl Cgroup {
    /// Reads all figures.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut stats = if self.is_v2() {
            match self.unified() {
                Some(dir) => v2::read(&dir.path)?,
                None => Stats::default(),
            }
        } else {
            v1::read(self)?
        };
        if let Some(dir) = self.unified() {
            stats.pressure = pressure::read(&dir.path)?;
        }
        Ok(stats)
    }
}
