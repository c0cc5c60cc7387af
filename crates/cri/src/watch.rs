//! Who sees what happens without being asked: containers that end, agents that die.
//!
//! ```text
//! per container   WaitContainer ────────► Exited, from the agent's words
//! per pod         the agent's process ──► if the pod was not being stopped: the agent is lost
//!                                         kill what is left ─► exit.json, else 137/AgentLost
//!                                         ─► pod Stopped{AgentLost}
//! ```
//! The same path serves recovery: an agent that is gone at the daemon's start is lost, too.

use std::{path::Path, sync::Arc, time::Duration};

use sandbox::Sandbox;

use crate::{
    error::Error,
    service::Service,
    state::{
        Agent, Container, ContainerState, Exit, ExitReason, Pod, PodState, StopReason, now_ns,
    },
    task::blocking,
};

/// Pause after an agent's answer that makes no sense.
const AGAIN: Duration = Duration::from_millis(500);
/// Exit code of what was killed.
const KILLED: i32 = 137;

impl Service {
    /// Records the container's end when it comes.
    pub(crate) fn watch_container(&self, container: &Arc<Container>, sandbox: &Sandbox) {
        let (container, sandbox) = (Arc::clone(container), sandbox.clone());
        tokio::spawn(async move {
            loop {
                match sandbox.wait_container(container.id().as_str()).await {
                    Ok(state) => return record_end(&container, state).await,
                    // The agent's own watcher sees to it.
                    Err(error) if error.is_agent_gone() => return,
                    // It was removed meanwhile.
                    Err(error) if error.is_not_found() => return,
                    Err(error) => {
                        tracing::warn!(container = %container.id(), %error,
                            "waiting for the container's end");
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                if !container.state().is_live() {
                    return;
                }
            }
        });
    }

    /// Cleans up when the pod's agent dies.
    pub(crate) fn watch_agent(&self, pod: &Arc<Pod>, sandbox: &Sandbox) {
        let (service, pod, closed) = (self.clone(), Arc::clone(pod), sandbox.closed());
        tokio::spawn(async move {
            closed.await;
            service.agent_lost(&pod).await;
        });
    }

    /// Ends what an agent has left behind, unless the pod is stopped or being stopped.
    pub(crate) async fn agent_lost(&self, pod: &Arc<Pod>) {
        let turn = pod.turn().await;
        if pod.state() != PodState::Ready {
            return;
        }
        tracing::error!(pod = %pod.id(), "the pod's agent is lost: ending what it left behind");
        pod.set_agent(Agent::Gone);
        let doing = self.journal.begin_pod(pod, "watch");
        self.journal.failed(&doing, "the pod's agent died");
        doing.step("ending what the agent has left behind");
        if let Err(error) = self.kill_pod(pod).await {
            // StopPodSandbox tries again.
            self.journal.failed(&doing, &error.chain());
            tracing::error!(pod = %pod.id(), error = error.chain(), "could not end all of it");
        }
        for container in self.containers_of(pod.id()) {
            self.record_lost(&container, "its agent died").await;
        }
        let stopped = PodState::Stopped {
            reason: StopReason::AgentLost,
            at_ns: now_ns(),
        };
        if let Err(error) = turn.advance_anyway(stopped).await {
            tracing::error!(pod = %pod.id(), error = error.chain(), "could not be recorded");
        }
    }

    /// Records the end of a container whose agent can't tell it any more: what the agent has written
    /// down, else that it was killed.
    pub(crate) async fn record_lost(&self, container: &Arc<Container>, message: &str) {
        let turn = container.turn().await;
        let state = container.state();
        if !state.is_live() {
            return;
        }
        let dir = container.dir().to_owned();
        let written = blocking(move || Ok::<_, Error>(agents_record(&dir))).await;
        let started_at_ns = state.started_at_ns();
        let exit = match written {
            Ok(Some(exit)) => Exit {
                started_at_ns,
                ..exit
            },
            _ => Exit {
                started_at_ns,
                finished_at_ns: now_ns(),
                code: KILLED,
                reason: ExitReason::AgentLost,
                message: message.to_owned(),
            },
        };
        if let Err(error) = turn.advance_anyway(ContainerState::Exited(exit)).await {
            tracing::error!(container = %container.id(), error = error.chain(), "its end");
        }
    }
}

/// Records an end as the agent tells it.
pub(crate) async fn record_end(container: &Arc<Container>, told: sandbox::ContainerState) {
    let turn = container.turn().await;
    if !container.state().is_live() {
        return;
    }
    let exit = Exit {
        started_at_ns: match told.started_at_ns {
            0 => container.state().started_at_ns(),
            at => at,
        },
        finished_at_ns: told.finished_at_ns,
        code: told.exit_code,
        reason: reason(&told.reason, told.oom_killed, told.exit_code),
        message: String::new(),
    };
    tracing::info!(container = %container.id(), code = exit.code, reason = exit.reason.word(),
        "container has ended");
    if let Err(error) = turn.advance_anyway(ContainerState::Exited(exit)).await {
        tracing::error!(container = %container.id(), error = error.chain(), "its end");
    }
}

fn reason(word: &str, oom_killed: bool, code: i32) -> ExitReason {
    match (word, oom_killed, code) {
        ("OOMKilled", _, _) | (_, true, _) => ExitReason::OOMKilled,
        ("Completed", _, _) | (_, _, 0) => ExitReason::Completed,
        _ => ExitReason::Error,
    }
}

/// `exit.json`, which the agent writes before it tells anyone. Blocks.
pub(crate) fn agents_record(dir: &Path) -> Option<Exit> {
    #[derive(serde::Deserialize)]
    struct Record {
        version: u32,
        exit_code: i32,
        finished_at_ns: i64,
        oom_killed: bool,
        reason: String,
    }
    let path = dir.join("exit.json");
    let bytes = std::fs::read(&path).ok()?;
    let record = match serde_json::from_slice::<Record>(&bytes) {
        Ok(record) if record.version == 1 => record,
        Ok(record) => {
            tracing::error!(path = %path.display(), version = record.version, "unknown version");
            return None;
        }
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the agent's record is damaged");
            return None;
        }
    };
    Some(Exit {
        started_at_ns: 0,
        finished_at_ns: record.finished_at_ns,
        code: record.exit_code,
        reason: reason(&record.reason, record.oom_killed, record.exit_code),
        message: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_record_is_believed_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(agents_record(dir.path()), None);
        let path = dir.path().join("exit.json");
        let text = r#"{"version":1,"exit_code":3,"finished_at_ns":7,"oom_killed":false,
            "reason":"Error"}"#;
        std::fs::write(&path, text).unwrap();
        let exit = agents_record(dir.path()).unwrap();
        assert_eq!(
            (exit.code, exit.finished_at_ns, exit.reason),
            (3, 7, ExitReason::Error)
        );
        for bad in [
            &text[..20],
            "",
            &text.replace("\"version\":1", "\"version\":2"),
        ] {
            std::fs::write(&path, bad).unwrap();
            assert_eq!(agents_record(dir.path()), None, "{bad}");
        }
    }

    #[test]
    fn reasons() {
        assert_eq!(reason("OOMKilled", true, 137), ExitReason::OOMKilled);
        assert_eq!(reason("Completed", false, 0), ExitReason::Completed);
        assert_eq!(reason("Error", false, 1), ExitReason::Error);
        assert_eq!(reason("", false, 0), ExitReason::Completed);
    }
}
