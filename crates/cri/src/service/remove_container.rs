//! RemoveContainer: a container that runs is ended by force first. Its log file stays: it belongs to
//! the client.

use std::{fs, io, sync::Arc, time::Duration};

use super::{Service, stop_container::SIGNAL};
use crate::{
    error::Error,
    layout,
    state::{Agent, Container, ContainerState, Pod, record},
    task::blocking,
};

/// How long the agent may take to end what is left and to clean up.
pub(super) const REMOVAL: Duration = Duration::from_secs(10);

impl Service {
    /// Removes a container; one that is unknown is success.
    ///
    /// # Errors
    /// [`Error::Ambiguous`]; what could not be ended or removed: the call can be repeated.
    pub(crate) async fn remove_container(&self, id: &str) -> Result<(), Error> {
        let Some(container) = self.containers.find(id)? else {
            return Ok(());
        };
        let service = self.clone();
        self.detached(async move {
            let pod = service.pods.get(&container.facts().pod);
            let doing = service
                .journal
                .begin_on(pod.as_deref(), &container, "RemoveContainer");
            let result = service.remove_container_now(&container).await;
            sys::failpoint!("remove_container.reply.before");
            service.journal.end(&doing, result)
        })
        .await
    }

    /// Removes this container.
    ///
    /// # Errors
    /// As [`Service::remove_container`].
    pub(crate) async fn remove_container_now(
        &self,
        container: &Arc<Container>,
    ) -> Result<(), Error> {
        // Before the turn is taken: whoever records the end needs it.
        self.end_container(container, Duration::ZERO).await?;
        let turn = container.turn().await;
        if self.containers.get(container.id()).is_none() {
            return Ok(());
        }
        let exit = container.state().exit().cloned();
        turn.advance(ContainerState::Removing { exit }).await?;
        self.journal
            .step(container.id(), "the agent, which cleans up");
        sys::failpoint!("remove_container.agent.before");
        self.remove_from_agent(container).await?;
        sys::failpoint!("remove_container.layer.before");
        let layer = self.layout.layer(container.id());
        blocking(move || remove_tree(&layer)).await?;
        sys::failpoint!("remove_container.dir.before");
        let dir = container.dir().to_owned();
        blocking(move || layout::remove_dir(&dir, record::CONTAINER)).await?;
        sys::failpoint!("remove_container.dir.after");
        self.containers.remove(container.id());
        self.journal.forget(container.id());
        self.drop_layers(container.id());
        for image in container.facts().images() {
            self.collect_behind(&image.id);
        }
        Ok(())
    }

    /// Removes layers that only the container that has just gone stood on: those of an image that
    /// was removed before it. Nobody waits for that.
    pub(super) fn collect_behind(&self, image: &str) {
        let (service, image) = (self.clone(), image.to_owned());
        tokio::spawn(async move {
            if matches!(service.image_status(&image).await, Ok(None))
                && let Err(error) = service.collect_layers().await
            {
                tracing::warn!(error = error.chain(), "layers that nobody needs stay");
            }
        });
    }

    async fn remove_from_agent(&self, container: &Container) -> Result<(), Error> {
        let Some(pod) = self.pods.get(&container.facts().pod) else {
            return Ok(());
        };
        if matches!(pod.agent(), Agent::Gone) {
            return Ok(());
        }
        match self.ask_to_remove(&pod, container).await {
            Err(error) => self.clear_by_force(&pod, container, &error).await,
            Ok(()) => Ok(()),
        }
    }

    async fn ask_to_remove(&self, pod: &Arc<Pod>, container: &Container) -> Result<(), Error> {
        let sandbox = match pod.sandbox_within(SIGNAL).await {
            Ok(sandbox) => sandbox,
            Err(Error::State { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let removed = sandbox.remove_container(container.id().as_str(), REMOVAL);
        match tokio::time::timeout(REMOVAL + SIGNAL, removed).await {
            Ok(Err(error)) if !error.is_not_found() && !error.is_agent_gone() => Err(error.into()),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Deadline {
                what: format!("the removal of container {} by its agent", container.id()),
                limit: REMOVAL + SIGNAL,
            }),
        }
    }
}

/// Removes a tree; nothing there is success. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(super) fn remove_tree(path: &std::path::Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(e)),
        _ => Ok(()),
    }
}
