//! ContainerStats and ListContainerStats.
//!
//! One question to each pod's agent, all at once, each with a limit: a pod that does not answer is
//! told without figures and delays nobody.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use sandbox::{ContainerStats, PodStats};

use super::{FsUsage, Service, filesystem::mountpoint};
use crate::{
    domain::{ContainerFilter, Id},
    error::Error,
    state::{Agent, Container, Pod, now_ns},
    task::blocking,
};

/// How long a pod's agent may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How long the weight of a writable layer is told without looking again.
const LAYER_AGE: Duration = Duration::from_secs(10);

/// Figures of a container, at a moment.
#[derive(Debug)]
pub(crate) struct StatsView {
    /// The container.
    pub container: Arc<Container>,
    /// Its cgroup's figures; `None` when it does not run or its agent does not answer.
    pub figures: Option<ContainerStats>,
    /// Processor time per time, in billionths of a processor; `None` until there are two samples.
    pub nano_cores: Option<u64>,
    /// Its writable layer.
    pub layer: FsUsage,
}

/// What a writable layer weighs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerSize {
    /// Bytes.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
    looked: Instant,
}

impl Service {
    /// Figures of one container.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`].
    pub(crate) async fn container_stats(&self, id: &str) -> Result<StatsView, Error> {
        let container = self.containers.resolve(id)?;
        let mut views = self.stats_of(vec![container]).await?;
        views.pop().ok_or_else(|| Error::Internal {
            what: "no figures".to_owned(),
        })
    }

    /// Figures of the containers that fit.
    ///
    /// # Errors
    /// [`Error::Ambiguous`].
    pub(crate) async fn list_container_stats(
        &self,
        filter: &ContainerFilter,
    ) -> Result<Vec<StatsView>, Error> {
        self.stats_of(self.list_containers(filter)?).await
    }

    async fn stats_of(&self, containers: Vec<Arc<Container>>) -> Result<Vec<StatsView>, Error> {
        let mut by_pod: HashMap<Id, Vec<String>> = HashMap::new();
        for container in containers
            .iter()
            .filter(|container| container.state().is_live())
        {
            let ids = by_pod.entry(container.facts().pod.clone()).or_default();
            ids.push(container.id().to_string());
        }
        let asked = by_pod.iter().map(|(pod, ids)| async move {
            let pod = self.pods.get(pod)?;
            self.ask(&pod, ids).await
        });
        let answers = join_all(asked).await.into_iter().flatten();
        let figures = answers.flat_map(|stats| stats.containers).collect();
        self.stats_views(containers, figures).await
    }

    /// Containers with their figures, as far as there are any.
    ///
    /// # Errors
    /// None but a defect of ours.
    pub(super) async fn stats_views(
        &self,
        containers: Vec<Arc<Container>>,
        figures: Vec<ContainerStats>,
    ) -> Result<Vec<StatsView>, Error> {
        let by_id = |stats: ContainerStats| (stats.id.clone(), stats);
        let mut figures: HashMap<String, ContainerStats> = figures.into_iter().map(by_id).collect();
        let layers = self.layout.layers();
        let filesystem = blocking(move || Ok::<_, Error>(mountpoint(&layers))).await?;
        let mut views = Vec::with_capacity(containers.len());
        for container in containers {
            let size = self.layer_size(container.id()).await?;
            let figures = figures.remove(container.id().as_str());
            views.push(StatsView {
                nano_cores: figures
                    .as_ref()
                    .and_then(|f| container.cpu_rate(f.timestamp_ns, f.cpu.usage_ns)),
                figures,
                layer: FsUsage {
                    at_ns: now_ns(),
                    mountpoint: filesystem.clone(),
                    used_bytes: size.bytes,
                    inodes_used: size.inodes,
                },
                container,
            });
        }
        Ok(views)
    }

    /// Asks a pod's agent for figures of these containers (all when `ids` is empty) and of the pod.
    pub(super) async fn ask(&self, pod: &Pod, ids: &[String]) -> Option<PodStats> {
        let Agent::Here(sandbox) = pod.agent() else {
            return None;
        };
        match tokio::time::timeout(ANSWER, sandbox.pod_stats(ids)).await {
            Ok(Ok(stats)) => Some(stats),
            Ok(Err(error)) => {
                tracing::warn!(pod = %pod.id(), %error, "no figures");
                None
            }
            Err(_) => {
                tracing::warn!(pod = %pod.id(), "no figures within {ANSWER:?}");
                None
            }
        }
    }

    /// What a container's writable layer weighs, looked at no more often than every ten seconds.
    ///
    /// # Errors
    /// None but a defect of ours.
    pub(crate) async fn layer_size(&self, container: &Id) -> Result<LayerSize, Error> {
        let known = {
            let sizes = self
                .layer_sizes
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            sizes.get(container).copied()
        };
        if let Some(size) = known
            && size.looked.elapsed() < LAYER_AGE
        {
            return Ok(size);
        }
        let upper = self.layout.layer(container).join("upper");
        let size = blocking(move || Ok::<_, Error>(weigh(&upper))).await?;
        let mut sizes = self
            .layer_sizes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        sizes.insert(container.clone(), size);
        Ok(size)
    }
}

/// Counts a tree without following links; what disappears meanwhile counts nothing. Blocks.
fn weigh(dir: &Path) -> LayerSize {
    let mut size = LayerSize {
        bytes: 0,
        inodes: 0,
        looked: Instant::now(),
    };
    let mut todo = vec![dir.to_owned()];
    if let Ok(meta) = fs::symlink_metadata(dir) {
        size.bytes += meta.blocks() * 512;
        size.inodes += 1;
    }
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            size.bytes += meta.blocks() * 512;
            size.inodes += 1;
            if meta.is_dir() {
                todo.push(entry.path());
            }
        }
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_weighed_without_following_links() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/file"), vec![1; 10_000]).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("root")).unwrap();
        let size = weigh(dir.path());
        assert_eq!(size.inodes, 4);
        assert!((10_000..1_000_000).contains(&size.bytes), "{}", size.bytes);
        assert_eq!(weigh(&dir.path().join("missing")).inodes, 0);
    }
}
