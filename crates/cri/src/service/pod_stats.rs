//! PodSandboxStats and ListPodSandboxStats.
//!
//! One question to each pod's agent, all at once and each with a limit, and one look at the counters
//! of all pods' interfaces. Where a pod has no cgroup of its own its figures are the sum of its
//! containers'.

use std::{path::PathBuf, sync::Arc};

use futures::future::join_all;
use network::InterfaceStats;
use sandbox::{ContainerStats, PodStats};

use super::{Service, StatsView};
use crate::{
    domain::{PodFilter, PodPhase},
    error::Error,
    state::{Pod, now_ns},
    task::blocking,
};

/// Figures of a pod, at a moment.
#[derive(Debug)]
pub(crate) struct PodStatsView {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Of all its containers together; `None` when nothing of it runs or its agent does not answer.
    pub figures: Option<ContainerStats>,
    /// Processor time per time, in billionths of a processor; `None` until there are two samples.
    pub nano_cores: Option<u64>,
    /// Its interfaces but loopback; `None` with the host's network, or when they can't be read.
    pub network: Option<Vec<InterfaceStats>>,
    /// When the interfaces were looked at, nanoseconds since the epoch.
    pub at_ns: i64,
    /// Its containers that run.
    pub containers: Vec<StatsView>,
}

impl Service {
    /// Figures of one pod.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`].
    pub(crate) async fn pod_sandbox_stats(&self, id: &str) -> Result<PodStatsView, Error> {
        let pod = self.pods.resolve(id)?;
        let mut views = self.pods_stats(vec![pod]).await?;
        views.pop().ok_or_else(|| Error::Internal {
            what: "no figures".to_owned(),
        })
    }

    /// Figures of the pods that fit and are ready.
    ///
    /// # Errors
    /// [`Error::Ambiguous`].
    pub(crate) async fn list_pod_sandbox_stats(
        &self,
        filter: &PodFilter,
    ) -> Result<Vec<PodStatsView>, Error> {
        let mut pods = self.list_pod_sandboxes(filter)?;
        pods.retain(|pod| pod.phase() == PodPhase::Ready);
        self.pods_stats(pods).await
    }

    async fn pods_stats(&self, pods: Vec<Arc<Pod>>) -> Result<Vec<PodStatsView>, Error> {
        let answers = join_all(pods.iter().map(|pod| self.ask(pod, &[]))).await;
        let pins = pods.iter().map(|pod| pin(pod)).collect();
        let (interfaces, at_ns) =
            blocking(move || Ok::<_, Error>((interfaces(pins), now_ns()))).await?;
        let mut views = Vec::with_capacity(pods.len());
        for ((pod, answer), network) in pods.into_iter().zip(answers).zip(interfaces) {
            views.push(self.pod_stats_view(pod, answer, network, at_ns).await?);
        }
        Ok(views)
    }

    async fn pod_stats_view(
        &self,
        pod: Arc<Pod>,
        answer: Option<PodStats>,
        network: Option<Vec<InterfaceStats>>,
        at_ns: i64,
    ) -> Result<PodStatsView, Error> {
        let answer = answer.unwrap_or(PodStats {
            pod: None,
            containers: Vec::new(),
        });
        let figures = answer.pod.or_else(|| sum(&answer.containers));
        let mut containers = self.containers_of(pod.id());
        containers.retain(|container| container.state().is_live());
        let containers = self.stats_views(containers, answer.containers).await?;
        Ok(PodStatsView {
            nano_cores: figures
                .as_ref()
                .and_then(|f| pod.cpu_rate(f.timestamp_ns, f.cpu.usage_ns)),
            figures,
            network,
            at_ns,
            containers,
            pod,
        })
    }
}

fn pin(pod: &Pod) -> Option<PathBuf> {
    let own = !pod.facts().host_network() && pod.phase() == PodPhase::Ready;
    own.then(|| pod.netns_path())
}

/// The counters of each namespace. Blocks for 50 µs each.
fn interfaces(pins: Vec<Option<PathBuf>>) -> Vec<Option<Vec<InterfaceStats>>> {
    let read = |pin: PathBuf| match network::stats(&pin) {
        Ok(stats) => Some(stats),
        Err(error) => {
            // A pod that is being stopped has none any more.
            tracing::debug!(pin = %pin.display(), %error, "its interfaces can't be read");
            None
        }
    };
    pins.into_iter().map(|pin| pin.and_then(read)).collect()
}

/// All containers together; `None` when there are none. Pressure can't be added up.
fn sum(containers: &[ContainerStats]) -> Option<ContainerStats> {
    let (first, others) = containers.split_first()?;
    let mut sum = first.clone();
    (sum.cpu.pressure, sum.memory.pressure, sum.io_pressure) = (None, None, None);
    sum.memory.limit = None;
    for one in others {
        sum.timestamp_ns = sum.timestamp_ns.max(one.timestamp_ns);
        for (sum, one) in [
            (&mut sum.cpu.usage_ns, one.cpu.usage_ns),
            (&mut sum.memory.usage, one.memory.usage),
            (&mut sum.memory.working_set, one.memory.working_set),
            (&mut sum.memory.rss, one.memory.rss),
            (&mut sum.memory.swap, one.memory.swap),
            (&mut sum.memory.page_faults, one.memory.page_faults),
            (
                &mut sum.memory.major_page_faults,
                one.memory.major_page_faults,
            ),
            (&mut sum.pids.current, one.pids.current),
        ] {
            *sum += one;
        }
    }
    Some(sum)
}
