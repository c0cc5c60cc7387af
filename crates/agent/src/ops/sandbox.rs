//! CreateSandbox: the pod's namespaces, its cgroup, its storages and, for a shared pid namespace, the
//! process that is first in it.

use std::sync::Arc;

use container::cgroup::Cgroup;
use tokio::sync::Semaphore;

use crate::agent::{Agent, Pod};
use crate::container::READS;
use crate::error::Error;
use crate::guest_hooks::GuestHooks;
use crate::namespaces::{self, Wanted};
use crate::ops::machine::{self, Module};
use crate::ops::{resolver, supervise};
use crate::pod_reaper;
use crate::storage::Storage;

/// A sandbox to create; both services convert to this.
#[derive(Debug)]
pub(crate) struct CreateSandbox {
    pub(crate) id: String,
    pub(crate) namespaces: Wanted,
    /// A pid namespace for all containers.
    pub(crate) shared_pid: bool,
    pub(crate) cgroup_parent: Option<String>,
    pub(crate) storages: Vec<Storage>,
    /// Lines of a resolv.conf.
    pub(crate) dns: Vec<String>,
    /// Directory of the machine's own hooks; empty: none.
    pub(crate) hooks: String,
    pub(crate) modules: Vec<Module>,
}

/// Makes the sandbox; returns the pid of the shared pid namespace's first process, if there is one.
pub(crate) async fn run(agent: &Arc<Agent>, create: CreateSandbox) -> Result<Option<i32>, Error> {
    let reserved = agent.reserve_pod()?;
    sys::failpoint!("agent.sandbox.before");
    let work = {
        let agent = Arc::clone(agent);
        move |busy: &crate::reaper::Busy| {
            let id = create.id.clone();
            machine::load_modules(&agent, busy, &create.modules)?;
            let namespaces = namespaces::make(create.namespaces)?;
            sys::failpoint!("agent.sandbox.storages.before");
            let storages = agent.mounts.hold(&agent.machine, &create.storages)?;
            let hooks = GuestHooks::scan(&create.hooks)?;
            let resolver = resolver::write(&agent, &create.dns)?;
            let cgroup = create
                .cgroup_parent
                .as_deref()
                .map(|path| Cgroup::create(agent.engine.hierarchy(), path))
                .transpose()
                .map_err(|e| Error::cgroup("make", &id, e))?;
            let parent = create.cgroup_parent.unwrap_or_else(|| format!("/{id}"));
            sys::failpoint!("agent.sandbox.reaper.before");
            let reaper = create
                .shared_pid
                .then(|| pod_reaper::start(&agent, busy, &namespaces, &parent))
                .transpose()
                .inspect_err(|_| remove_cgroup(cgroup.as_ref()))?;
            Ok(Pod {
                id,
                namespaces,
                reaper,
                cgroup,
                reads: Arc::new(Semaphore::new(READS)),
                storages: storages.keep(),
                hooks,
                resolver,
            })
        }
    };
    let pod = agent.core(work).await?;
    if let Some(reaper) = &pod.reaper {
        supervise::process(agent, Arc::clone(&reaper.process));
    }
    let pid = pod.reaper.as_ref().map(|r| r.process.pid);
    log::info!("sandbox {:?} created", pod.id);
    sys::failpoint!("agent.sandbox.reply.before");
    reserved.assign(pod);
    Ok(pid)
}

/// Removes the pod's cgroup if nothing of others is in it.
pub(crate) fn remove_cgroup(cgroup: Option<&Cgroup>) {
    if let Some(cgroup) = cgroup.filter(|c| !c.was_joined())
        && let Err(e) = cgroup.remove()
    {
        log::warn!(
            "cannot remove cgroup {}: {}",
            cgroup.path(),
            crate::logging::chain(&e)
        );
    }
}
