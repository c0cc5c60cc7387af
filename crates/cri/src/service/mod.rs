//! The service: what every adapter calls. One call, one file.
//!
//! All calls take and give domain types. Those that change something run in tasks of their own, so
//! that a client that hangs up cancels nothing ([`Service::detached`], [`crate::inflight`]).
//! Nothing here holds a lock of the whole: the two indexes are looked at, each pod and container
//! has its own gate.

mod attach;
mod chunks;
mod container_status;
mod copy;
mod create_container;
mod exec;
mod exec_sync;
mod explain;
mod filesystem;
mod force;
mod image_fs_info;
mod image_names;
mod image_status;
mod image_word;
mod import_image;
mod keep_images;
mod list_containers;
mod list_images;
mod list_pods;
mod metrics;
mod plan;
mod plan_network;
mod pod_stats;
mod pod_status;
mod port_forward;
mod pull_image;
mod push_image;
mod remove_container;
mod remove_image;
mod remove_pod;
mod reopen_log;
mod run_pod;
mod signal_container;
mod start_container;
mod stats;
mod status;
mod stop_container;
mod stop_pod;
mod update_container;
mod update_runtime_config;

use std::{
    collections::HashMap,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use image::LayerId;
use sandbox::LostPod;

pub(crate) use attach::Attach;
pub(crate) use container_status::ContainerView;
pub(crate) use exec::Exec;
pub(crate) use exec_sync::process as process_document;
pub(crate) use image_fs_info::FsUsage;
pub(crate) use import_image::ImportEvent;
pub(crate) use metrics::{Filesystem, MetricsView};
pub(crate) use pod_stats::PodStatsView;
pub(crate) use pod_status::PodView;
pub(crate) use pull_image::PullRequest;
pub(crate) use push_image::PushRequest;
pub(crate) use stats::StatsView;
pub(crate) use status::StatusView;

use crate::{
    domain::{ContainerConfig, ContainerKey, Id, PodConfig, PodKey},
    error::Error,
    events::Bus,
    explain::Journal,
    index::Index,
    inflight::Inflight,
    layout::{self, Layout},
    options::{NetworkOptions, Options},
    pod_network::pod_cidr,
    pulls::Pulls,
    spec::{HostFacts, NodeSettings},
    state::{Container, Pod},
    streaming::Streaming,
};

/// The daemon's one service; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    inner: Arc<Inner>,
}

/// What the calls share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) layout: Layout,
    pub(crate) settings: sandbox::Settings,
    pub(crate) node: NodeSettings,
    /// What a container's log may take.
    pub(crate) log_limits: sandbox::LogLimits,
    /// The file that the settings were read from.
    pub(crate) config: Option<PathBuf>,
    pub(crate) facts: HostFacts,
    /// The host's name: hostname of pods on its network.
    pub(crate) hostname: String,
    /// What happens to pods, containers and images is told here.
    pub(crate) events: Bus,
    pub(crate) pods: Index<Pod>,
    pub(crate) containers: Index<Container>,
    pub(crate) images: Arc<image::Store>,
    /// Asks image registries.
    pub(crate) registry: registry::Registry,
    /// What an image may cost.
    pub(crate) limits: image::Limits,
    /// The registry of names that say none; empty: such names are refused.
    pub(crate) default_registry: String,
    /// Images are held against their digests before a container is made from them.
    pub(crate) verify_images: bool,
    /// Pulls under way.
    pub(crate) pulls: Pulls,
    pub(crate) streaming: Streaming,
    /// The built-in network; `None`: pods of their own have loopback alone.
    pub(crate) network: Option<Arc<network::Network>>,
    pub(crate) running_pods: Inflight<PodKey, PodConfig, Id>,
    pub(crate) running_creates: Inflight<ContainerKey, ContainerConfig, Id>,
    /// What is done just now and what has failed.
    pub(crate) journal: Journal,
    /// Layers that containers stand on, those that are being created included.
    layer_uses: Mutex<HashMap<Id, Vec<Vec<LayerId>>>>,
    /// What writable layers weigh, and when that was looked at.
    layer_sizes: Mutex<HashMap<Id, stats::LayerSize>>,
}

impl std::ops::Deref for Service {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl Service {
    /// A service that knows no pods yet. Reads facts of the host: blocks for a moment.
    pub(crate) fn new(options: Options, images: image::Store, streaming: Streaming) -> Service {
        let mut settings = sandbox::Settings::new(options.agent);
        settings.cgroup_root = options.cgroup_root;
        settings.log_level = options.agent_log_level;
        settings.seccomp_cache = Some(options.state.join("seccomp"));
        let hostname = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let events = Bus::default();
        let network = match options.network {
            NetworkOptions::None => None,
            NetworkOptions::Bridge(settings) => {
                let owner = options.state.display().to_string();
                let network = network::Network::new(settings, owner);
                if let Some(kept) = pod_cidr::read(&options.root) {
                    network.set_subnets(kept.ipv4, kept.ipv6);
                }
                Some(Arc::new(network))
            }
        };
        Service {
            inner: Arc::new(Inner {
                journal: Journal::open(&options.state),
                layout: Layout {
                    root: options.root,
                    state: options.state,
                },
                settings,
                node: options.node,
                log_limits: options.log_limits,
                config: options.config,
                facts: HostFacts::probe(),
                hostname,
                pods: Index::new(events.clone()),
                containers: Index::new(events.clone()),
                events,
                images: Arc::new(images),
                registry: registry::Registry::new(options.registry),
                limits: options.limits,
                default_registry: options.default_registry,
                verify_images: options.verify_images,
                pulls: Pulls::default(),
                streaming,
                network,
                running_pods: Inflight::default(),
                running_creates: Inflight::default(),
                layer_uses: Mutex::default(),
                layer_sizes: Mutex::default(),
            }),
        }
    }

    /// Runs an operation to its end, whether or not the caller stays to hear of it.
    ///
    /// # Errors
    /// The operation's.
    pub(crate) async fn detached<T: Send + 'static>(
        &self,
        operation: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        tokio::spawn(operation)
            .await
            .unwrap_or_else(|e| Err(Error::panicked(&e)))
    }
}

impl Inner {
    /// The containers of a pod.
    pub(crate) fn containers_of(&self, pod: &Id) -> Vec<Arc<Container>> {
        let mut containers = self.containers.all();
        containers.retain(|container| container.facts().pod == *pod);
        containers
    }

    /// What is needed to end a pod by force. Blocks.
    ///
    /// # Errors
    /// [`Error::File`] when its directory can't be read.
    pub(crate) fn lost_pod(&self, pod: &Pod) -> Result<LostPod, Error> {
        Ok(LostPod {
            id: pod.id().to_string(),
            dir: pod.dir().to_owned(),
            cgroup_parent: pod.facts().cgroup_parent.clone(),
            containers: layout::ids_in(&pod.dir().join(layout::CONTAINERS))?
                .into_iter()
                .map(String::from)
                .collect(),
        })
    }

    /// Notes that a container stands on these stacks of layers.
    pub(crate) fn use_layers<'a>(
        &self,
        container: &Id,
        stacks: impl Iterator<Item = &'a [PathBuf]>,
    ) {
        let ids = |layers: &[PathBuf]| {
            let layers = layers.iter();
            layers.filter_map(|diff| LayerId::of_diff(diff)).collect()
        };
        let stacks = stacks.map(ids).collect();
        let mut uses = self
            .layer_uses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        uses.insert(container.clone(), stacks);
    }

    /// Forgets what [`Inner::use_layers`] noted.
    pub(crate) fn drop_layers(&self, container: &Id) {
        self.layer_uses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(container);
        self.layer_sizes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(container);
    }

    /// Whether a container stands on this layer.
    pub(crate) fn layer_in_use(&self, layer: &LayerId) -> bool {
        let uses = self
            .layer_uses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        uses.values().flatten().any(|used| used.contains(layer))
    }

    /// Whether a container stands on exactly these layers.
    pub(crate) fn layers_in_use(&self, layers: &[LayerId]) -> bool {
        let uses = self
            .layer_uses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        uses.values().flatten().any(|used| used == layers)
    }
}
