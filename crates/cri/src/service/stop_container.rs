//! StopContainer: the stop signal, a grace period, SIGKILL to everything in it.
//!
//! ```text
//! agent: stop signal ─grace─► agent: SIGKILL to all ─10 s─► its cgroup is killed past the agent
//!    └── no answer in 5 s ─────────┴── no answer in 5 s ────────┘   and the end recorded from /proc
//! ```
//! No turn is taken: signals can be sent by several callers, and a second call with a shorter grace
//! period must not wait for the first one's.

use std::{sync::Arc, time::Duration};

use sandbox::Sandbox;

use super::Service;
use crate::{
    error::Error,
    state::{Container, ContainerState, Pod},
};

/// How long an agent may take to pass on a signal.
pub(super) const SIGNAL: Duration = Duration::from_secs(5);
/// How long the death by SIGKILL may take to be reported.
const DEATH: Duration = Duration::from_secs(10);
const SIGKILL: i32 = 9;

impl Service {
    /// Stops a container within `grace` and the time that SIGKILL takes; one that is unknown or has
    /// ended is success.
    ///
    /// # Errors
    /// [`Error::Ambiguous`]; [`Error::Deadline`] when it outlives even SIGKILL.
    pub(crate) async fn stop_container(&self, id: &str, grace: i64) -> Result<(), Error> {
        let grace = u64::try_from(grace).map_err(|_| Error::InvalidField {
            field: "timeout".to_owned(),
            why: format!("is {grace}: a number of seconds, 0 or more, is needed"),
        })?;
        let Some(container) = self.containers.find(id)? else {
            return Ok(());
        };
        let service = self.clone();
        self.detached(async move {
            let pod = service.pods.get(&container.facts().pod);
            let doing = service
                .journal
                .begin_on(pod.as_deref(), &container, "StopContainer");
            let result = service
                .end_container(&container, Duration::from_secs(grace))
                .await;
            service.journal.end(&doing, result)
        })
        .await
    }

    /// Ends a container: with its stop signal and within `grace`, or at once when that is zero.
    ///
    /// # Errors
    /// As [`Service::stop_container`].
    pub(crate) async fn end_container(
        &self,
        container: &Arc<Container>,
        grace: Duration,
    ) -> Result<(), Error> {
        let Some(pod) = self.pods.get(&container.facts().pod) else {
            return Ok(());
        };
        let ended = self.end_through_agent(&pod, container, grace).await;
        match ended {
            Err(error) if container.state().is_live() => {
                self.end_by_force(&pod, container, &error).await
            }
            _ => Ok(()),
        }
    }

    async fn end_through_agent(
        &self,
        pod: &Arc<Pod>,
        container: &Arc<Container>,
        grace: Duration,
    ) -> Result<(), Error> {
        let state = container.state();
        if !state.is_live() {
            return Ok(());
        }
        self.journal.step(container.id(), "the pod's agent");
        let sandbox = match pod.sandbox_within(SIGNAL).await {
            Ok(sandbox) => sandbox,
            // The agent is gone: its watcher ends the container.
            Err(Error::State { .. }) => return ended(container, DEATH).await,
            Err(error) => return Err(error),
        };
        sys::failpoint!("stop_container.signal.before");
        // One that was never started has no handlers: it can only be killed.
        if !grace.is_zero() && matches!(state, ContainerState::Running { .. }) {
            let signal = container.facts().stop_signal;
            let step = format!("its end by signal {signal}; SIGKILL after {grace:?}");
            self.journal.step(container.id(), step);
            send(&sandbox, container, signal, false).await?;
            if container.ended_within(grace).await {
                return Ok(());
            }
        }
        self.journal.step(container.id(), "its end by SIGKILL");
        sys::failpoint!("stop_container.kill.before");
        send(&sandbox, container, SIGKILL, true).await?;
        ended(container, DEATH).await
    }
}

/// Sends a signal; to one that has just ended it is success.
pub(super) async fn send(
    sandbox: &Sandbox,
    container: &Container,
    signal: i32,
    all: bool,
) -> Result<(), Error> {
    let number = signal.unsigned_abs();
    let sent = sandbox.signal(container.id().as_str(), number, all);
    match tokio::time::timeout(SIGNAL, sent).await {
        Ok(Ok(())) => Ok(()),
        // It has just ended, or its agent has: the watcher will say so.
        Ok(Err(error)) if error.is_not_found() || error.is_agent_gone() => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Error::Deadline {
            what: format!("sending signal {signal} to container {}", container.id()),
            limit: SIGNAL,
        }),
    }
}

async fn ended(container: &Container, limit: Duration) -> Result<(), Error> {
    if container.ended_within(limit).await {
        return Ok(());
    }
    Err(Error::Deadline {
        what: format!("container {}", container.id()),
        limit,
    })
}
