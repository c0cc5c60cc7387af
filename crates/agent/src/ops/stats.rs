//! StatsContainer and PodStats. Cgroup files are read on the blocking pool and without any lock: a read
//! that hangs delays its own caller only.

use std::sync::Arc;

use container::cgroup::{Cgroup, Stats};

use crate::agent::Agent;
use crate::clock;
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
    read(id, &container.cgroup).await
}

/// Reads the pod's figures and those of the named containers, or of all.
pub(crate) async fn pod(
    agent: &Arc<Agent>,
    ids: &[String],
) -> Result<(Option<Reading>, Vec<Reading>), Error> {
    let pod = agent.pod();
    let of_pod = match pod
        .as_ref()
        .and_then(|p| p.cgroup.as_ref().map(|c| (&p.id, c)))
    {
        Some((id, cgroup)) => Some(read(id, cgroup).await?),
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
        match read(&container.id, &container.cgroup).await {
            Ok(reading) => containers.push(reading),
            // Removed in between: it has no figures any more.
            Err(_) if ids.is_empty() && agent.table.get(&container.id).is_err() => {}
            Err(e) => return Err(e),
        }
    }
    Ok((of_pod, containers))
}

async fn read(id: &str, cgroup: &Cgroup) -> Result<Reading, Error> {
    let (cgroup, id) = (cgroup.clone(), id.to_owned());
    Agent::blocking(move || {
        let at_ns = clock::now_ns();
        match cgroup.stats() {
            Ok(stats) => Ok(Reading { id, at_ns, stats }),
            Err(e) => Err(Error::cgroup("read the figures of", &id, e)),
        }
    })
    .await
}
