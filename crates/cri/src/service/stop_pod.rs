//! StopPodSandbox: ends containers by force, ends the agent, gives the network back.
//!
//! ```text
//! record  Stopping       SIGKILL to all containers ─► their ends are recorded
//!                        DestroySandbox ─► the agent ends (or is killed, with its cgroups)
//!                        shared memory; rules, interfaces, addresses; network namespace
//! record  Stopped
//! ```
//! Each step has a limit and a next stronger one; each may find its work done.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use sandbox::Sandbox;

use super::Service;
use crate::{
    error::Error,
    shm,
    state::{Agent, Container, Pod, PodState, PodTurn, StopReason, now_ns},
    task::blocking,
};

/// How long containers may take to die of SIGKILL and be reported.
const DEATH: Duration = Duration::from_secs(3);
/// How long the agent may take to answer DestroySandbox.
const DESTROY: Duration = Duration::from_secs(3);
/// How long to wait for an agent that recovery has not reached yet.
const REACH: Duration = Duration::from_secs(1);

impl Service {
    /// Stops a pod; one that is unknown or stopped is success.
    ///
    /// # Errors
    /// [`Error::Ambiguous`]; what could not be ended or given back: the call can be repeated.
    pub(crate) async fn stop_pod_sandbox(&self, id: &str) -> Result<(), Error> {
        let Some(pod) = self.pods.find(id)? else {
            return Ok(());
        };
        let service = self.clone();
        self.detached(async move {
            let doing = service.journal.begin_pod(&pod, "StopPodSandbox");
            let turn = pod.turn().await;
            let result = service.stop_pod_in_turn(&pod, &turn).await;
            sys::failpoint!("stop_pod.reply.before");
            service.journal.end(&doing, result)
        })
        .await
    }

    /// As [`Service::stop_pod_sandbox`], for who has the pod's turn.
    ///
    /// # Errors
    /// As [`Service::stop_pod_sandbox`].
    pub(crate) async fn stop_pod_in_turn(
        &self,
        pod: &Arc<Pod>,
        turn: &PodTurn<'_>,
    ) -> Result<(), Error> {
        let reason = match pod.state() {
            PodState::Stopped {
                reason: StopReason::Requested,
                ..
            }
            | PodState::Removing => {
                return Ok(());
            }
            // Its network is still to be given back; why it ended is still worth knowing.
            PodState::Stopped { .. } | PodState::Stopping { .. } | PodState::Starting { .. } => {
                StopReason::Requested
            }
            PodState::Ready => StopReason::Requested,
        };
        turn.advance(PodState::Stopping { reason }).await?;

        self.journal.step(pod.id(), "its containers and its agent");
        sys::failpoint!("stop_pod.agent.before");
        self.end_agent(pod).await?;
        pod.set_agent(Agent::Gone);
        sys::failpoint!("stop_pod.agent.after");

        let (dir, pin) = (pod.dir().to_owned(), pod.netns_path());
        blocking(move || shm::unmount_at(&dir)).await?;
        self.journal.step(pod.id(), "its network");
        self.give_back_network(pod).await?;
        sys::failpoint!("stop_pod.netns.before");
        blocking(move || network::Netns::delete(&pin)).await?;
        sys::failpoint!("stop_pod.netns.after");
        turn.advance(PodState::Stopped {
            reason,
            at_ns: now_ns(),
        })
        .await?;
        tracing::info!(pod = %pod.id(), "pod is stopped");
        Ok(())
    }

    /// Ends all containers and the agent, in good order or by force.
    async fn end_agent(&self, pod: &Arc<Pod>) -> Result<(), Error> {
        let reached = tokio::time::timeout(REACH, pod.sandbox()).await;
        if let Ok(Ok(sandbox)) = reached {
            let containers = self.containers_of(pod.id());
            join_all(
                containers
                    .iter()
                    .map(|container| end_container(&sandbox, container)),
            )
            .await;
            let (service, of) = (self.clone(), Arc::clone(pod));
            let lost = blocking(move || service.lost_pod(&of)).await?;
            sandbox::destroy(&self.settings, &sandbox, &lost, DESTROY).await?;
        } else {
            self.kill_pod(pod).await?;
        }
        // Nothing runs any more: what nobody could tell the end of ended here.
        for container in self.containers_of(pod.id()) {
            self.record_lost(&container, "killed when its pod was stopped")
                .await;
        }
        Ok(())
    }
}

async fn end_container(sandbox: &Sandbox, container: &Container) {
    if !container.state().is_live() {
        return;
    }
    let id = container.id().as_str();
    let kill = sandbox.signal(id, 9, true);
    match tokio::time::timeout(DEATH, kill).await {
        Ok(Err(error)) if !error.is_not_found() && !error.is_agent_gone() => {
            tracing::warn!(container = id, %error, "the agent could not kill the container");
        }
        _ => {}
    }
    container.ended_within(DEATH).await;
}
