//! StartContainer.

use std::sync::Arc;

use super::Service;
use crate::{
    error::Error,
    state::{Container, ContainerState, Exit, ExitReason, now_ns},
};

/// Exit code of a container that could not be started, as other runtimes have it.
const START_ERROR: i32 = 128;

impl Service {
    /// Starts a created container. One that was started before is success, whether or not it still
    /// runs: the caller may be repeating a call whose answer it did not hear.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::State`]; the agent's answer, and then the container is
    /// exited with the reason StartError.
    pub(crate) async fn start_container(&self, id: &str) -> Result<(), Error> {
        let container = self.containers.resolve(id)?;
        let service = self.clone();
        self.detached(async move {
            let pod = service.pods.get(&container.facts().pod);
            let doing = service
                .journal
                .begin_on(pod.as_deref(), &container, "StartContainer");
            let result = service.start_now(&container).await;
            sys::failpoint!("start_container.reply.before");
            service.journal.end(&doing, result)
        })
        .await
    }

    async fn start_now(&self, container: &Arc<Container>) -> Result<(), Error> {
        let pod = self
            .pods
            .get(&container.facts().pod)
            .ok_or_else(|| container.not("belongs to a pod that is gone"))?;
        let turn = container.turn().await;
        let pid = match container.state() {
            ContainerState::Created { pid } => pid,
            ContainerState::Running { .. } => return Ok(()),
            ContainerState::Exited(exit) if exit.started_at_ns != 0 => return Ok(()),
            ContainerState::Exited(exit) => {
                let why = format!("has ended before it was started ({})", exit.reason.word());
                return Err(container.not(why));
            }
            other => return Err(container.not(format!("is {}", other.name()))),
        };
        self.journal.step(container.id(), "the pod's agent");
        let sandbox = pod.sandbox().await?;
        sys::failpoint!("start_container.agent.before");
        let started = sandbox.start_container(container.id().as_str()).await;
        sys::failpoint!("start_container.agent.after");
        match started {
            Ok(()) => {
                let running = ContainerState::Running {
                    pid,
                    started_at_ns: now_ns(),
                };
                if let Err(error) = turn.advance(running.clone()).await {
                    // It runs: that it could not be written down must not hide it.
                    tracing::error!(container = %container.id(), error = error.chain(),
                        "the container runs but that could not be recorded");
                    turn.advance_anyway(running).await?;
                }
                Ok(())
            }
            Err(error) if error.is_agent_gone() => Err(error.into()),
            Err(error) if matches!(error.kind(), sandbox::ErrorKind::Rpc(_)) => {
                let exit = Exit {
                    started_at_ns: 0,
                    finished_at_ns: now_ns(),
                    code: START_ERROR,
                    reason: ExitReason::StartError,
                    message: error.to_string(),
                };
                turn.advance_anyway(ContainerState::Exited(exit)).await?;
                Err(error.into())
            }
            // No answer in time: the agent may still be at it. The watcher sees what becomes of it.
            Err(error) => Err(error.into()),
        }
    }
}
