//! PodSandboxStats and ListPodSandboxStats.
//!
//! One question to each pod's agent, all at once and each with a limit, and one look at the counters
//! of all pods' interfaces. Where a pod has no cgroup of its own its figures are the sum of its
//! containers'.

use std::{path::PathBuf, sync::Arc};

use futures::future::join_all;
use network::InterfaceStats;
use sandbox::{ContainerStats, DiskStats, HugePageStats, PodStats};

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
    // The most of one moment is not the sum of the most of several.
    sum.memory.max_usage = 0;
    for one in others {
        sum.timestamp_ns = sum.timestamp_ns.max(one.timestamp_ns);
        for (sum, one) in [
            (&mut sum.cpu.usage_ns, one.cpu.usage_ns),
            (&mut sum.memory.usage, one.memory.usage),
            (&mut sum.memory.working_set, one.memory.working_set),
            (&mut sum.memory.rss, one.memory.rss),
            (&mut sum.memory.cache, one.memory.cache),
            (&mut sum.memory.mapped_file, one.memory.mapped_file),
            (&mut sum.memory.kernel, one.memory.kernel),
            (&mut sum.memory.limit_hits, one.memory.limit_hits),
            (&mut sum.memory.oom_kills, one.memory.oom_kills),
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
        add_disks(&mut sum.disks, &one.disks);
        add_huge_pages(&mut sum.huge_pages, &one.huge_pages);
    }
    Some(sum)
}

fn add_disks(sum: &mut Vec<DiskStats>, more: &[DiskStats]) {
    for disk in more {
        let key = (disk.major, disk.minor);
        match sum
            .iter_mut()
            .find(|known| (known.major, known.minor) == key)
        {
            Some(known) => {
                known.read_bytes += disk.read_bytes;
                known.write_bytes += disk.write_bytes;
                known.reads += disk.reads;
                known.writes += disk.writes;
            }
            None => sum.push(disk.clone()),
        }
    }
}

fn add_huge_pages(sum: &mut Vec<HugePageStats>, more: &[HugePageStats]) {
    for pages in more {
        match sum.iter_mut().find(|known| known.size == pages.size) {
            Some(known) => {
                known.usage += pages.usage;
                known.max_usage = 0;
            }
            None => sum.push(pages.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_figures_are_its_containers_together() {
        let container = |n: u64| ContainerStats {
            memory: sandbox::MemoryStats {
                usage: n,
                max_usage: n,
                oom_kills: n,
                ..Default::default()
            },
            disks: vec![DiskStats {
                major: n,
                read_bytes: n,
                ..Default::default()
            }],
            huge_pages: vec![HugePageStats {
                size: "2MB".to_owned(),
                usage: n,
                max_usage: n,
            }],
            ..Default::default()
        };
        let sum = sum(&[container(1), container(2), container(2)]).unwrap();
        assert_eq!((sum.memory.usage, sum.memory.oom_kills), (5, 5));
        assert_eq!(sum.memory.max_usage, 0);
        let disks: Vec<_> = sum.disks.iter().map(|d| (d.major, d.read_bytes)).collect();
        assert_eq!(disks, [(1, 1), (2, 4)]);
        let pages = &sum.huge_pages[0];
        assert_eq!((pages.usage, pages.max_usage), (5, 0));
        assert_eq!(super::sum(&[]), None);
    }
}
