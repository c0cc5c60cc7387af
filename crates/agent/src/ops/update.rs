//! UpdateContainer: new cgroup limits for a container. What is unset stays as it is.

use std::sync::Arc;

use container::cgroup::container_device_rules;
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
    let Some(mut resources) = resources else {
        return Ok(());
    };
    // Rules given anew stand over the same defaults as at the start, or the container would lose
    // its /dev/null.
    if !resources.devices.is_empty() {
        let linux = container.spec.linux.as_ref();
        let devices = linux.map(|l| l.devices.as_slice()).unwrap_or_default();
        resources.devices = container_device_rules(&resources.devices, devices);
    }
    let _op = container.op.lock().await;
    let (cgroup, id) = (container.cgroup.clone(), id.to_owned());
    Agent::blocking(move || {
        cgroup
            .apply(&resources)
            .map_err(|e| Error::cgroup("set the limits of", &id, e))
    })
    .await
}
