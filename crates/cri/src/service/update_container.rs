//! UpdateContainerResources: other limits for a container that is there.
//!
//! ```text
//! plan      what it changes, and what holds after it: checked whole before anything is done
//! agent     the cgroup's files
//! record    what holds now: told by ContainerStatus, kept over the daemon's life
//! ```
//! A crash between the last two leaves the old limits on record: the client sees that its update has
//! not arrived and sends it again, and setting limits twice changes nothing.

use std::sync::Arc;

use super::Service;
use crate::{domain::Resources, error::Error, spec, state::Container};

impl Service {
    /// Changes the limits that `said` says; the others stay.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::State`] when it has ended; the field that makes no sense; the
    /// kernel's answer.
    pub(crate) async fn update_container_resources(
        &self,
        id: &str,
        said: Resources,
    ) -> Result<(), Error> {
        let container = self.containers.resolve(id)?;
        let service = self.clone();
        self.detached(async move { service.update_now(&container, &said).await })
            .await
    }

    async fn update_now(&self, container: &Arc<Container>, said: &Resources) -> Result<(), Error> {
        let pod = self
            .pods
            .get(&container.facts().pod)
            .ok_or_else(|| container.not("belongs to a pod that is gone"))?;
        let turn = container.turn().await;
        let state = container.state();
        if !state.is_live() {
            let why = format!("is {}: it has no limits to change any more", state.name());
            return Err(container.not(why));
        }
        let now = container.resources().unwrap_or_default();
        let (document, after) = spec::update(&now, said, &self.facts)?;
        let json = serde_json::to_vec(&document).map_err(|e| Error::Internal {
            what: format!("the limits of {}: {e}", container.id()),
        })?;
        let sandbox = pod.sandbox().await?;
        sys::failpoint!("update_container.agent.before");
        sandbox
            .update_container(container.id().as_str(), &json)
            .await?;
        sys::failpoint!("update_container.agent.after");
        turn.note_resources(after).await?;
        tracing::info!(container = %container.id(), "its limits are changed");
        Ok(())
    }
}
