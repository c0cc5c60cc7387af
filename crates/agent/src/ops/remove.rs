//! RemoveContainer: kills what runs, waits for its end, and takes everything away. Safe to call again,
//! and for what never was; two calls at once wait for one another.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::Agent;
use crate::container::Container;
use crate::error::Error;
use crate::exit_record;

/// Whether the record of the exit goes too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// The caller has it.
    Remove,
    /// Nobody may have read it yet.
    Keep,
}

/// Removes a container. `seconds` limits the wait for its processes; 0: no limit.
///
/// # Errors
/// Processes are still there at the limit; calling again goes on where this call stopped.
pub(crate) async fn run(
    agent: &Arc<Agent>,
    id: &str,
    seconds: u32,
    record: Record,
) -> Result<(), Error> {
    let work = async {
        match agent.table.settled(id).await {
            Some(container) => remove(agent, &container, record).await,
            None => Ok(()),
        }
    };
    if seconds == 0 {
        return work.await;
    }
    let limit = Duration::from_secs(u64::from(seconds));
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let left = match agent.table.get(id) {
            Err(_) => "its creation",
            Ok(container) if container.init.exited().is_none() => "its first process",
            Ok(_) => "a process or a hook of it",
        };
        Err(Error::Stuck {
            id: id.to_owned(),
            left,
            seconds,
        })
    })
}

async fn remove(
    agent: &Arc<Agent>,
    container: &Arc<Container>,
    record: Record,
) -> Result<(), Error> {
    let mut op = container.op.lock().await;
    if op.removed {
        // The call before this one did it.
        return Ok(());
    }
    sys::failpoint!("agent.remove.kill.before");
    // Through the pidfd first: it works even where the cgroup does not.
    if container.init.exited().is_none() {
        drop(container.init.signal(libc::SIGKILL));
    }
    let (cgroup, id) = (container.cgroup.clone(), container.id.clone());
    Agent::blocking(move || {
        if let Err(e) = cgroup.signal_all(libc::SIGKILL) {
            log::warn!(
                "container {id}: killing its cgroup: {}",
                crate::logging::chain(&e)
            );
        }
        Ok(())
    })
    .await?;
    container.init.wait().await;
    for (_, process) in container.exec_processes() {
        process.wait().await;
    }
    let work = {
        let (agent, container) = (Arc::clone(agent), Arc::clone(container));
        move |_: &crate::reaper::Busy| {
            sys::failpoint!("agent.remove.core.before");
            let destroyed = container.with_core(::container::destroy)?;
            destroyed.map_err(|e| Error::core("remove it", &container.id, e))?;
            agent.remove_parents(&container.cgroup);
            agent.mounts.release(&container.storages);
            forget_files(&agent, &container.id, record);
            Ok(())
        }
    };
    op.core = None;
    agent.core(work).await?;
    op.removed = true;
    sys::failpoint!("agent.remove.after");
    agent.table.remove(&container.id);
    log::info!("container {} removed", container.id);
    Ok(())
}

/// Removes the record; the directory goes if nothing of others is in it.
fn forget_files(agent: &Agent, id: &str, record: Record) {
    let dir = agent.state.dir.join(id);
    if record == Record::Remove || agent.state.own {
        drop(std::fs::remove_file(dir.join(exit_record::FILE)));
    }
    drop(std::fs::remove_dir(&dir));
}
