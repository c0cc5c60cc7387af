//! RemoveStaleVirtiofsShareMounts: looks at every mount below the shared directory, so that the shared
//! filesystem forgets what its host has removed. Where nothing is shared there is nothing to do.

use std::sync::Arc;

use crate::agent::Agent;
use crate::error::Error;

/// Where the host's filesystem is mounted.
pub(crate) const SHARES: &str = "/run/kata-containers/shared/containers/";

/// Looks at them. Never fails for one of them.
pub(crate) async fn run(agent: &Arc<Agent>) -> Result<(), Error> {
    if !agent.machine.own {
        return Ok(());
    }
    agent
        .slow(|| {
            let mounts = std::fs::read_to_string("/proc/self/mountinfo")
                .map_err(|e| Error::io("read", "/proc/self/mountinfo", e))?;
            for point in mounts.lines().filter_map(|line| line.split(' ').nth(4)) {
                if point.starts_with(SHARES)
                    && let Err(e) = std::fs::metadata(point)
                {
                    log::debug!("{point}: {e}");
                }
            }
            Ok(())
        })
        .await
}
