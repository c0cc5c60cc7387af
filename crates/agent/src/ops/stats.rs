//! StatsContainer and PodStats. Cgroup files are read on the blocking pool and without any lock: a read
//! that hangs delays its own caller only. Few are begun for one container at a time, so that callers
//! who ask again and again leave the pool to others.

use std::sync::Arc;

use container::cgroup::{Cgroup, Stats};
use tokio::sync::Semaphore;

use crate::agent::Agent;
use crate::clock;
use crate::container::{Container, READS};
use crate::error::Error;

/// Figures and when they were read.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) id: String,
    pub(crate) at_ns: i64,
    pub(crate) stats: Stats,
}

/// Reads one container's figures.
pub(crate) async fn container(agent: &Arc<Agent>, id: &str) -> Result<Reading, Error> {
    let container = agent.table.get(id)?;
    of(&container).await
}

async fn of(container: &Container) -> Result<Reading, Error> {
    read(&container.id, &container.cgroup, &container.reads).await
}

/// Reads the pod's figures and those of the named containers, or of all.
pub(crate) async fn pod(
    agent: &Arc<Agent>,
    ids: &[String],
) -> Result<(Option<Reading>, Vec<Reading>), Error> {
    let pod = agent.pod();
    let of_pod = match pod.as_ref().and_then(|p| p.cgroup.as_ref().map(|c| (p, c))) {
        Some((pod, cgroup)) => Some(read(&pod.id, cgroup, &pod.reads).await?),
        None => None,
    };
    let wanted = if ids.is_empty() {
        agent.table.all()
    } else {
        ids.iter()
            .map(|id| agent.table.get(id))
            .collect::<Result<_, _>>()?
    };
    let mut containers = Vec::with_capacity(wanted.len());
    for container in wanted {
        match of(&container).await {
            Ok(reading) => containers.push(reading),
            // Removed in between: it has no figures any more.
            Err(_) if ids.is_empty() && agent.table.get(&container.id).is_err() => {}
            Err(e) => return Err(e),
        }
    }
    Ok((of_pod, containers))
}

/// The permit goes when the reading has ended, whoever still waits for it.
async fn read(id: &str, cgroup: &Cgroup, reads: &Arc<Semaphore>) -> Result<Reading, Error> {
    let permit = Arc::clone(reads).try_acquire_owned();
    let permit = permit.map_err(|_| Error::Hanging(READS))?;
    let (cgroup, id) = (cgroup.clone(), id.to_owned());
    Agent::blocking(move || {
        let at_ns = clock::now_ns();
        let stats = cgroup.stats();
        drop(permit);
        match stats {
            Ok(stats) => Ok(Reading { id, at_ns, stats }),
            Err(e) => Err(Error::cgroup("read the figures of", &id, e)),
        }
    })
    .await
}
