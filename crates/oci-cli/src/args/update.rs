//! The options of `update` as limits.

use std::path::PathBuf;

use oci::runtime::{LinuxBlockIo, LinuxCpu, LinuxIntelRdt, LinuxMemory, LinuxPids, LinuxResources};

use super::said::Said;
use crate::error::Error;

/// Where the limits come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Limits {
    /// A JSON document: a file, or stdin.
    File(PathBuf),
    /// The options.
    Given(Box<LinuxResources>),
}

impl Eq for Limits {}

/// `update`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Update {
    pub(crate) id: String,
    pub(crate) limits: Limits,
    /// Lines for the container's resctrl group; also beside a document.
    pub(crate) rdt: Option<Box<LinuxIntelRdt>>,
}

impl Eq for Update {}

pub(super) fn parse(said: &mut Said) -> Result<Update, Error> {
    let id = said.id()?;
    // runc has it so: the document stands for all options.
    let limits = match said.path("resources") {
        Some(path) => Limits::File(path),
        None => Limits::Given(Box::new(given(said)?)),
    };
    let rdt = LinuxIntelRdt {
        l3_cache_schema: said.text("l3-cache-schema")?,
        mem_bw_schema: said.text("mem-bw-schema")?,
        ..LinuxIntelRdt::default()
    };
    let rdt = (rdt != LinuxIntelRdt::default()).then(|| Box::new(rdt));
    Ok(Update { id, limits, rdt })
}

fn given(said: &Said) -> Result<LinuxResources, Error> {
    let memory = LinuxMemory {
        limit: bytes(said, "memory")?,
        reservation: bytes(said, "memory-reservation")?,
        swap: bytes(said, "memory-swap")?,
        kernel: bytes(said, "kernel-memory")?,
        kernel_tcp: bytes(said, "kernel-memory-tcp")?,
        ..LinuxMemory::default()
    };
    let shares = said.number("cpu-share")?;
    let cpu = LinuxCpu {
        shares: shares.or(said.number("cpu-shares")?),
        quota: said.number("cpu-quota")?,
        period: said.number("cpu-period")?,
        burst: said.number("cpu-burst")?,
        realtime_runtime: said.number("cpu-rt-runtime")?,
        realtime_period: said.number("cpu-rt-period")?,
        cpus: said.text("cpuset-cpus")?,
        mems: said.text("cpuset-mems")?,
        idle: said.number("cpu-idle")?,
    };
    let block_io = LinuxBlockIo {
        weight: said.number("blkio-weight")?,
        ..LinuxBlockIo::default()
    };
    let limit = said.number("pids-limit")?;
    let pids = limit.map(|limit| LinuxPids { limit: Some(limit) });
    let some = |memory: LinuxMemory| (memory != LinuxMemory::default()).then_some(memory);
    Ok(LinuxResources {
        memory: some(memory),
        cpu: (cpu != LinuxCpu::default()).then_some(cpu),
        pids,
        block_io: (block_io != LinuxBlockIo::default()).then_some(block_io),
        ..LinuxResources::default()
    })
}

/// Bytes, with a unit (powers of 1024) or without; -1 is "no limit".
fn bytes(said: &Said, long: &str) -> Result<Option<i64>, Error> {
    let Some(text) = said.text(long)? else {
        return Ok(None);
    };
    amount(&text).map(Some).ok_or_else(|| {
        Error::Usage(format!(
            "--{long} takes bytes such as 67108864, 64m or -1, not {text:?}"
        ))
    })
}

fn amount(text: &str) -> Option<i64> {
    if text == "-1" {
        return Some(-1);
    }
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &lower[digits.len()..] {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = plain.then(|| digits.parse().ok()).flatten()?;
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_of_memory() {
        let table = [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("67108864", Some(64 << 20)),
            ("64m", Some(64 << 20)),
            ("64MB", Some(64 << 20)),
            ("64MiB", Some(64 << 20)),
            ("2G", Some(2 << 30)),
            ("1b", Some(1)),
            ("-2", None),
            ("m", None),
            ("", None),
            ("1.5g", None),
            ("64x", None),
            ("9223372036854775807k", None),
        ];
        for (text, wanted) in table {
            assert_eq!(amount(text), wanted, "{text:?}");
        }
    }
}
