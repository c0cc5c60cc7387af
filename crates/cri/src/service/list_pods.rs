//! ListPodSandbox.

use std::sync::Arc;

use super::Service;
use crate::{
    domain::{PodFilter, labels_match},
    error::Error,
    state::Pod,
};

impl Service {
    /// The pods that fit, the newest first.
    ///
    /// # Errors
    /// [`Error::Ambiguous`].
    pub(crate) fn list_pod_sandboxes(&self, filter: &PodFilter) -> Result<Vec<Arc<Pod>>, Error> {
        let mut pods = if filter.id.is_empty() {
            self.pods.all()
        } else {
            self.pods.find(&filter.id)?.into_iter().collect()
        };
        pods.retain(|pod| {
            filter.phase.is_none_or(|phase| pod.phase() == phase)
                && labels_match(&pod.facts().config.labels, &filter.labels)
        });
        pods.sort_by_key(|pod| std::cmp::Reverse(pod.facts().created_at_ns));
        Ok(pods)
    }
}
