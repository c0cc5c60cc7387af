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
    let _op = container.op.lock().await;
    let (target, id) = (Arc::clone(&container), id.to_owned());
    Agent::blocking(move || {
        // Rules given anew stand over the same defaults as at the start, or the container would
        // lose its /dev/null.
        if !resources.devices.is_empty() {
            let rules = target.with_core(|core| {
                let linux = core.spec.linux.as_ref();
                let devices = linux.map(|l| l.devices.as_slice()).unwrap_or_default();
                Ok(container_device_rules(&resources.devices, devices))
            })?;
            resources.devices = rules.map_err(|e| Error::core("set the limits of it", &id, e))?;
        }
        sys::failpoint!("agent.update.before");
        let applied = target.cgroup.apply(&resources);
        applied.map_err(|e| Error::cgroup("set the limits of", &id, e))
    })
    .await
}
