//! Containers whose agent does not answer: their processes are killed and their cgroup removed past it.
//!
//! The agent stays, for the pod's other containers; when it goes on, it finds its container ended, and
//! what it then says of the end changes nothing.

use std::sync::Arc;

use super::Service;
use crate::{
    error::Error,
    state::{Agent, Container, ContainerState, Exit, ExitReason, Pod, now_ns},
    task::blocking,
};

/// Exit code of what was killed.
const KILLED: i32 = 137;

impl Service {
    /// Kills a container's processes and records its end; `why` the agent could not do it.
    ///
    /// # Errors
    /// What could not be killed.
    pub(super) async fn end_by_force(
        &self,
        pod: &Arc<Pod>,
        container: &Arc<Container>,
        why: &Error,
    ) -> Result<(), Error> {
        tracing::error!(container = %container.id(), error = why.chain(),
            "the pod's agent does not end the container: killing its processes without it");
        self.journal.step(
            container.id(),
            "its end by force: the agent does not answer",
        );
        let state = container.state();
        let (ContainerState::Created { pid } | ContainerState::Running { pid, .. }) = state else {
            return Ok(());
        };
        let agent = match pod.agent() {
            Agent::Here(sandbox) => sandbox.record().pid,
            _ => 0,
        };
        let (service, of, id) = (self.clone(), Arc::clone(pod), container.id().clone());
        let code = blocking(move || {
            let pod = service.lost_pod(&of)?;
            Ok::<_, Error>(sandbox::kill_container(&pod, id.as_str(), pid, agent)?)
        })
        .await?;
        let turn = container.turn().await;
        // The agent may have come back meanwhile, and it knows better.
        if !container.state().is_live() {
            return Ok(());
        }
        let code = code.unwrap_or(KILLED);
        let exit = Exit {
            started_at_ns: state.started_at_ns(),
            finished_at_ns: now_ns(),
            code,
            reason: match code {
                0 => ExitReason::Completed,
                _ => ExitReason::Error,
            },
            message: format!("ended without the pod's agent: {}", why.chain()),
        };
        turn.advance_anyway(ContainerState::Exited(exit)).await
    }

    /// Removes the cgroup of a container that its agent does not remove; `why` not.
    ///
    /// # Errors
    /// What is left.
    pub(super) async fn clear_by_force(
        &self,
        pod: &Arc<Pod>,
        container: &Container,
        why: &Error,
    ) -> Result<(), Error> {
        tracing::error!(container = %container.id(), error = why.chain(),
            "the pod's agent does not remove the container: removing it without it");
        let (service, of, id) = (self.clone(), Arc::clone(pod), container.id().clone());
        blocking(move || {
            let pod = service.lost_pod(&of)?;
            Ok::<_, Error>(sandbox::clear_container(&pod, id.as_str())?)
        })
        .await
    }
}
