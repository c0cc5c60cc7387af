//! DestroySandbox: everything goes, then the agent.
//!
//! ```text
//!  no new containers -> all containers removed, side by side -> shared pid namespace ended
//!                    -> storages unmounted, cgroup removed -> OOM waiters answered -> agent exits
//! ```
//! Exit records stay when the daemon named the directory: it may not have read them yet.

use std::sync::Arc;

use crate::agent::Agent;
use crate::error::Error;
use crate::ops::remove::{self, Record};
use crate::ops::resolver;
use crate::ops::sandbox::remove_cgroup;
use crate::pod_reaper::PodReaper;

/// Seconds for processes to end after SIGKILL.
const LIMIT: u32 = 30;

/// Destroys the sandbox.
///
/// # Errors
/// A container cannot be removed: the agent stays, and the call may be made again.
pub(crate) async fn run(agent: &Arc<Agent>) -> Result<(), Error> {
    sys::failpoint!("agent.destroy.before");
    agent.table.close();
    let removals: Vec<_> = agent
        .table
        .ids()
        .into_iter()
        .map(|id| {
            let agent = Arc::clone(agent);
            tokio::spawn(async move { remove::run(&agent, &id, LIMIT, Record::Keep).await })
        })
        .collect();
    let mut failed = None;
    for removal in removals {
        let removed = removal.await;
        let removed = removed
            .unwrap_or_else(|e| Err(Error::Internal(format!("a removal was cut short: {e}"))));
        if let Err(e) = removed {
            failed.get_or_insert(e);
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    sys::failpoint!("agent.destroy.pod.before");
    if let Some(pod) = agent.take_pod() {
        if let Some(reaper) = &pod.reaper {
            drop(reaper.process.signal(libc::SIGKILL));
            reaper.process.wait().await;
        }
        let work = {
            let agent = Arc::clone(agent);
            move |_: &crate::reaper::Busy| {
                pod.reaper.as_ref().map_or(Ok(()), PodReaper::remove)?;
                agent.mounts.release(&pod.storages);
                resolver::forget(pod.resolver.as_deref());
                remove_cgroup(pod.cgroup.as_ref());
                Ok(())
            }
        };
        agent.core(work).await?;
    }
    {
        let mounts = Arc::clone(&agent.mounts);
        Agent::blocking(move || {
            mounts.release_kept();
            Ok(())
        })
        .await?;
    }
    if agent.state.own {
        drop(std::fs::remove_dir(&agent.state.dir));
    }
    sys::failpoint!("agent.destroy.after");
    agent.oom.close();
    log::info!("sandbox destroyed");
    agent.done.notify_one();
    Ok(())
}
