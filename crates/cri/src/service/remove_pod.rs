//! RemovePodSandbox: stops a pod that runs, removes its containers, then its directory.

use std::sync::Arc;

use super::Service;
use crate::{
    error::Error,
    layout,
    state::{Pod, PodState, record},
    task::blocking,
};

impl Service {
    /// Removes a pod with all its containers; one that is unknown is success.
    ///
    /// # Errors
    /// [`Error::Ambiguous`]; what could not be ended or removed: the call can be repeated.
    pub(crate) async fn remove_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let Some(pod) = self.pods.find(id)? else {
            return Ok(());
        };
        let service = self.clone();
        self.detached(async move {
            let doing = service.journal.begin_pod(&pod, "RemovePodSandbox");
            let result = service.remove_pod_now(&pod).await;
            sys::failpoint!("remove_pod.reply.before");
            service.journal.end(&doing, result)
        })
        .await
    }

    /// Removes this pod.
    ///
    /// # Errors
    /// As [`Service::remove_pod_sandbox`].
    pub(crate) async fn remove_pod_now(&self, pod: &Arc<Pod>) -> Result<(), Error> {
        let turn = pod.turn().await;
        if self.pods.get(pod.id()).is_none() {
            return Ok(());
        }
        self.stop_pod_in_turn(pod, &turn).await?;
        turn.advance(PodState::Removing).await?;
        self.journal.step(pod.id(), "its containers");
        sys::failpoint!("remove_pod.containers.before");
        for container in self.containers_of(pod.id()) {
            self.remove_container_now(&container).await?;
        }
        self.journal.step(pod.id(), "its files");
        sys::failpoint!("remove_pod.dir.before");
        let dir = pod.dir().to_owned();
        blocking(move || layout::remove_dir(&dir, record::POD)).await?;
        sys::failpoint!("remove_pod.dir.after");
        self.pods.remove(pod.id());
        self.journal.forget(pod.id());
        tracing::info!(pod = %pod.id(), "pod is removed");
        Ok(())
    }
}
