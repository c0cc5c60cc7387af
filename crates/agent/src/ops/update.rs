//! UpdateContainer: new cgroup limits for a container. What is unset stays as it is.

use std::sync::Arc;

use oci::runtime::LinuxResources;

use crate::agent::Agent;
use crate::error::Error;

/// Applies the limits.
pub(crate) async fn run(
    agent: &Arc<Agent>,
    id: &str,
    resources: Option<LinuxResources>,
) -> Result<(), Error> {
    let container = agent.table.get(id)?;
    let Some(resources) = resources else {
        return Ok(());
    };
    let _op = container.op.lock().await;
    let (cgroup, id) = (container.cgroup.clone(), id.to_owned());
    Agent::blocking(move || {
        cgroup
            .apply(&resources)
            .map_err(|e| Error::cgroup("set the limits of", &id, e))
    })
    .await
}
