//! GetGuestDetails: what the machine under the agent can do.

use agent_api::grpc::{AgentDetails, GuestDetailsRequest, GuestDetailsResponse};

use crate::device;
use crate::error::Error;
use crate::storage;

const BLOCK_SIZE: &str = "/sys/devices/system/memory/block_size_bytes";
const PROBE: &str = "/sys/devices/system/memory/probe";

/// Looks.
pub(crate) fn run(request: &GuestDetailsRequest) -> Result<GuestDetailsResponse, Error> {
    let mem_block_size_bytes = match request.mem_block_size {
        true => block_size()?,
        false => 0,
    };
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    Ok(GuestDetailsResponse {
        mem_block_size_bytes,
        support_mem_hotplug_probe: request.mem_hotplug_probe
            && std::path::Path::new(PROBE).exists(),
        agent_details: Some(AgentDetails {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            init_daemon: std::process::id() == 1,
            device_handlers: device::TYPES.iter().map(|t| (*t).to_owned()).collect(),
            storage_handlers: storage::DRIVERS.iter().map(|d| (*d).to_owned()).collect(),
            supports_seccomp: actions.is_ok(),
            extra_features: Vec::new(),
        }),
    })
}

/// 0 where memory cannot be plugged.
fn block_size() -> Result<u64, Error> {
    let text = match std::fs::read_to_string(BLOCK_SIZE) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(Error::io("read", BLOCK_SIZE, e)),
    };
    u64::from_str_radix(text.trim(), 16)
        .map_err(|e| Error::Internal(format!("{BLOCK_SIZE} says {:?}: {e}", text.trim())))
}

/// Our pid and start time (clock ticks since boot): together they name this process for ever.
pub(crate) fn own_process() -> Result<(i32, u64), Error> {
    let stat = std::fs::read_to_string("/proc/self/stat");
    let stat = stat.map_err(|e| Error::io("read", "/proc/self/stat", e))?;
    // The second field, the name in parentheses, may hold anything.
    let fields: Vec<_> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .collect();
    let ticks = fields.get(19).and_then(|f| f.parse().ok());
    let pid = rustix::process::getpid().as_raw_nonzero().get();
    Ok((
        pid,
        ticks.ok_or_else(|| Error::Internal(format!("/proc/self/stat says {stat:?}")))?,
    ))
}
