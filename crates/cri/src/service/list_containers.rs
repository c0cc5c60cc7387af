//! ListContainers.

use std::sync::Arc;

use super::Service;
use crate::{
    domain::{ContainerFilter, labels_match},
    error::Error,
    state::Container,
};

impl Service {
    /// The containers that fit, the newest first.
    ///
    /// # Errors
    /// [`Error::Ambiguous`].
    pub(crate) fn list_containers(
        &self,
        filter: &ContainerFilter,
    ) -> Result<Vec<Arc<Container>>, Error> {
        let mut containers = if filter.id.is_empty() {
            self.containers.all()
        } else {
            self.containers.find(&filter.id)?.into_iter().collect()
        };
        if !filter.pod.is_empty() {
            let Some(pod) = self.pods.find(&filter.pod)? else {
                return Ok(Vec::new());
            };
            containers.retain(|container| container.facts().pod == *pod.id());
        }
        containers.retain(|container| {
            filter
                .phase
                .is_none_or(|phase| container.state().phase() == phase)
                && labels_match(&container.facts().config.labels, &filter.labels)
        });
        containers.sort_by_key(|container| std::cmp::Reverse(container.facts().created_at_ns));
        Ok(containers)
    }
}
