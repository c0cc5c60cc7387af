//! PauseContainer and ResumeContainer: the cgroup freezer.

use std::sync::Arc;

use container::cgroup::{self, Cgroup};

use crate::agent::Agent;
use crate::container::State;
use crate::error::Error;

/// Freezes a container that runs or waits for its start.
pub(crate) async fn pause(agent: &Arc<Agent>, id: &str) -> Result<(), Error> {
    change(agent, id, "pause", Cgroup::freeze, |state| match state {
        State::Created | State::Running { .. } => Some(State::Paused {
            started_at_ns: state.started_at_ns(),
        }),
        State::Paused { .. } | State::Exited { .. } => None,
    })
    .await
}

/// Thaws a paused container: it is then what it was before.
pub(crate) async fn resume(agent: &Arc<Agent>, id: &str) -> Result<(), Error> {
    change(agent, id, "resume", Cgroup::thaw, |state| match state {
        State::Paused { started_at_ns: 0 } => Some(State::Created),
        State::Paused { started_at_ns } => Some(State::Running {
            started_at_ns: *started_at_ns,
        }),
        _ => None,
    })
    .await
}

async fn change(
    agent: &Arc<Agent>,
    id: &str,
    act: &'static str,
    run: impl FnOnce(&Cgroup) -> Result<(), cgroup::Error> + Send + 'static,
    next: impl Fn(&State) -> Option<State>,
) -> Result<(), Error> {
    let container = agent.table.get(id)?;
    let _op = container.op.lock().await;
    let now = container.state();
    if next(&now).is_none() {
        return Err(Error::State {
            act,
            id: id.to_owned(),
            is: now.name(),
        });
    }
    let (cgroup, name) = (container.cgroup.clone(), id.to_owned());
    sys::failpoint!("agent.freezer.before");
    Agent::blocking(move || run(&cgroup).map_err(|e| Error::cgroup(act, &name, e))).await?;
    sys::failpoint!("agent.freezer.after");
    container.transition(act, next)
}
