//! UpdateEphemeralMounts: memory-backed volumes get new options, a larger size for example. One that is
//! not there yet is made, and stays until the sandbox ends.

use std::sync::Arc;

use crate::agent::Agent;
use crate::error::Error;
use crate::storage::{Driver, Storage};

/// Updates them all. Blocks.
///
/// # Errors
/// A storage that is not ephemeral: then none is changed; or the first that fails.
pub(crate) fn update(agent: &Arc<Agent>, storages: Vec<Storage>) -> Result<(), Error> {
    if let Some(other) = storages.iter().find(|s| s.driver != Driver::Ephemeral) {
        let what = format!("storage {}", other.mount_point.display());
        return Err(Error::invalid(what, "only the driver ephemeral is updated"));
    }
    // Without options there is nothing to say.
    for storage in storages.into_iter().filter(|s| !s.options.is_empty()) {
        agent.mounts.update(&agent.machine, storage)?;
    }
    Ok(())
}
