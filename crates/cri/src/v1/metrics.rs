//! Figures under the names that dashboards know (cAdvisor's), for a kubelet that passes them on.
//!
//! One table says what there is; the descriptors and the metrics both come from it, so that each
//! metric has as many label values as its descriptor has keys.

use cri_api::v1 as wire;
use network::InterfaceStats;
use sandbox::ContainerStats;

use super::answer::value;
use crate::service::{PodStatsView, StatsView};

/// Labels of every metric.
const LABELS: [&str; 6] = ["id", "name", "image", "container", "pod", "namespace"];
/// One more, of an interface's.
const INTERFACE: &str = "interface";

const COUNTER: wire::MetricType = wire::MetricType::Counter;
const GAUGE: wire::MetricType = wire::MetricType::Gauge;

/// A metric: its name, its kind, a sentence, and where its value comes from.
type Row<T> = (
    &'static str,
    wire::MetricType,
    &'static str,
    fn(&T) -> Option<u64>,
);

const NS: u64 = 1_000_000_000;

/// Of a cgroup: a pod's and each container's.
const CGROUP: &[Row<ContainerStats>] = &[
    (
        "container_cpu_usage_seconds_total",
        COUNTER,
        "Processor time, whole seconds.",
        |s| Some(s.cpu.usage_ns / NS),
    ),
    (
        "container_cpu_user_seconds_total",
        COUNTER,
        "Processor time in user mode, whole seconds.",
        |s| Some(s.cpu.user_ns / NS),
    ),
    (
        "container_cpu_system_seconds_total",
        COUNTER,
        "Processor time in the kernel, whole seconds.",
        |s| Some(s.cpu.system_ns / NS),
    ),
    (
        "container_cpu_cfs_periods_total",
        COUNTER,
        "Periods of the processor limit that have passed.",
        |s| Some(s.cpu.periods),
    ),
    (
        "container_cpu_cfs_throttled_periods_total",
        COUNTER,
        "Periods in which the processor limit was hit.",
        |s| Some(s.cpu.throttled_periods),
    ),
    (
        "container_cpu_cfs_throttled_seconds_total",
        COUNTER,
        "Time spent throttled, whole seconds.",
        |s| Some(s.cpu.throttled_ns / NS),
    ),
    (
        "container_memory_usage_bytes",
        GAUGE,
        "Memory that is charged, page cache included.",
        |s| Some(s.memory.usage),
    ),
    (
        "container_memory_working_set_bytes",
        GAUGE,
        "Memory without the page cache that is easy to reclaim.",
        |s| Some(s.memory.working_set),
    ),
    (
        "container_memory_rss",
        GAUGE,
        "Anonymous memory, bytes.",
        |s| Some(s.memory.rss),
    ),
    ("container_memory_swap", GAUGE, "Swap in use, bytes.", |s| {
        Some(s.memory.swap)
    }),
    (
        "container_spec_memory_limit_bytes",
        GAUGE,
        "Memory limit; 0 for none.",
        |s| Some(s.memory.limit.unwrap_or(0)),
    ),
    ("container_threads", GAUGE, "Tasks now.", |s| {
        Some(s.pids.current)
    }),
];

/// Of a container alone.
const CONTAINER: &[Row<StatsView>] = &[
    (
        "container_fs_usage_bytes",
        GAUGE,
        "Bytes of the writable layer.",
        |v| Some(v.layer.used_bytes),
    ),
    (
        "container_start_time_seconds",
        GAUGE,
        "When it was started, seconds since the epoch.",
        |v| {
            let started = v.container.state().started_at_ns();
            u64::try_from(started)
                .ok()
                .map(|ns| ns / NS)
                .filter(|at| *at != 0)
        },
    ),
];

/// Of a pod's interface.
const NETWORK: &[Row<InterfaceStats>] = &[
    (
        "container_network_receive_bytes_total",
        COUNTER,
        "Bytes received.",
        |i| Some(i.rx_bytes),
    ),
    (
        "container_network_receive_errors_total",
        COUNTER,
        "Packets that were received broken.",
        |i| Some(i.rx_errors),
    ),
    (
        "container_network_transmit_bytes_total",
        COUNTER,
        "Bytes sent.",
        |i| Some(i.tx_bytes),
    ),
    (
        "container_network_transmit_errors_total",
        COUNTER,
        "Packets that could not be sent.",
        |i| Some(i.tx_errors),
    ),
];

/// All metrics that there are.
pub(super) fn descriptors() -> Vec<wire::MetricDescriptor> {
    fn of<T>(rows: &[Row<T>], more: &[&str]) -> impl Iterator<Item = wire::MetricDescriptor> {
        let keys = LABELS.iter().chain(more).map(|key| (*key).to_owned());
        let label_keys: Vec<String> = keys.collect();
        rows.iter().map(move |row| wire::MetricDescriptor {
            name: row.0.to_owned(),
            help: row.2.to_owned(),
            label_keys: label_keys.clone(),
        })
    }
    of(CGROUP, &[])
        .chain(of(CONTAINER, &[]))
        .chain(of(NETWORK, &[INTERFACE]))
        .collect()
}

/// The metrics of a pod and its containers.
pub(super) fn of(view: &PodStatsView) -> wire::PodSandboxMetrics {
    let metadata = &view.pod.facts().config.metadata;
    let of_pod = |id: &str, name: &str, image: &str, container: &str| {
        [
            id,
            name,
            image,
            container,
            &metadata.name,
            &metadata.namespace,
        ]
        .map(str::to_owned)
    };
    let labels = of_pod(view.pod.id().as_str(), "", "", "");
    let mut metrics = Vec::new();
    if let Some(figures) = &view.figures {
        metrics.extend(read(CGROUP, figures, figures.timestamp_ns, &labels, None));
    }
    for interface in view.network.iter().flatten() {
        let name = Some(interface.name.as_str());
        metrics.extend(read(NETWORK, interface, view.at_ns, &labels, name));
    }
    let containers = view.containers.iter().map(|one| {
        let facts = one.container.facts();
        let (id, name) = (facts.id.as_str(), facts.config.metadata.name.as_str());
        let labels = of_pod(id, id, &facts.image.name, name);
        let mut metrics: Vec<_> = read(CONTAINER, one, one.layer.at_ns, &labels, None).collect();
        if let Some(figures) = &one.figures {
            metrics.extend(read(CGROUP, figures, figures.timestamp_ns, &labels, None));
        }
        wire::ContainerMetrics {
            container_id: id.to_owned(),
            metrics,
        }
    });
    wire::PodSandboxMetrics {
        pod_sandbox_id: view.pod.id().to_string(),
        container_metrics: containers.collect(),
        metrics,
    }
}

fn read<'a, T>(
    rows: &'static [Row<T>],
    from: &'a T,
    at_ns: i64,
    labels: &'a [String; 6],
    interface: Option<&'a str>,
) -> impl Iterator<Item = wire::Metric> + 'a {
    rows.iter().filter_map(move |(name, kind, _, read)| {
        let more = interface.map(str::to_owned);
        Some(wire::Metric {
            name: (*name).to_owned(),
            timestamp: at_ns,
            metric_type: i32::from(*kind),
            label_values: labels.iter().cloned().chain(more).collect(),
            value: value(read(from)?),
        })
    })
}
