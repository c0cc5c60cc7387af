//! ReopenContainerLog, after a rotation by the client.

use super::Service;
use crate::{error::Error, state::ContainerState};

impl Service {
    /// Has the log file opened anew.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::State`] unless it runs; the agent's answer.
    pub(crate) async fn reopen_container_log(&self, id: &str) -> Result<(), Error> {
        let container = self.containers.resolve(id)?;
        if !matches!(container.state(), ContainerState::Running { .. }) {
            return Err(container.not("is not running"));
        }
        let pod = self
            .pods
            .get(&container.facts().pod)
            .ok_or_else(|| container.not("belongs to a pod that is gone"))?;
        pod.sandbox()
            .await?
            .reopen_log(container.id().as_str())
            .await?;
        Ok(())
    }
}
