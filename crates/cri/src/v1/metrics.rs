//! Figures under the names that dashboards know (cAdvisor's), for a kubelet that passes them on.
//!
//! One table says what there is; the descriptors and the metrics both come from it, so that each
//! metric has as many label values as its descriptor has keys.

use cri_api::v1 as wire;
use network::InterfaceStats;
use sandbox::{ContainerStats, Pressure, ProcessFigures};

use super::answer::value;
use crate::{
    domain::Resources,
    service::{Filesystem, MetricsView, PodStatsView, StatsView},
};

/// Labels of every metric.
const LABELS: [&str; 6] = ["id", "name", "image", "container", "pod", "namespace"];

const COUNTER: wire::MetricType = wire::MetricType::Counter;
const GAUGE: wire::MetricType = wire::MetricType::Gauge;

/// Where values come from.
enum Read<T> {
    /// One value; `None` where it is not known.
    One(fn(&T) -> Option<u64>),
    /// As many as there are, each with the values of these labels.
    Each(&'static [&'static str], fn(&T) -> Vec<Labelled>),
}

/// Values of the labels that a metric has beside those of all, and its value.
type Labelled = (Vec<String>, u64);

/// A metric: its name, its kind, a sentence, and where its values come from.
type Row<T> = (&'static str, wire::MetricType, &'static str, Read<T>);

const NS: u64 = 1_000_000_000;
const US: u64 = 1_000_000;

/// Of a cgroup: a pod's and each container's.
const CGROUP: &[Row<ContainerStats>] = &[
    (
        "container_cpu_usage_seconds_total",
        COUNTER,
        "Processor time, whole seconds.",
        Read::One(|s| Some(s.cpu.usage_ns / NS)),
    ),
    (
        "container_cpu_user_seconds_total",
        COUNTER,
        "Processor time in user mode, whole seconds.",
        Read::One(|s| Some(s.cpu.user_ns / NS)),
    ),
    (
        "container_cpu_system_seconds_total",
        COUNTER,
        "Processor time in the kernel, whole seconds.",
        Read::One(|s| Some(s.cpu.system_ns / NS)),
    ),
    (
        "container_cpu_cfs_periods_total",
        COUNTER,
        "Periods of the processor limit that have passed.",
        Read::One(|s| Some(s.cpu.periods)),
    ),
    (
        "container_cpu_cfs_throttled_periods_total",
        COUNTER,
        "Periods in which the processor limit was hit.",
        Read::One(|s| Some(s.cpu.throttled_periods)),
    ),
    (
        "container_cpu_cfs_throttled_seconds_total",
        COUNTER,
        "Time spent throttled, whole seconds.",
        Read::One(|s| Some(s.cpu.throttled_ns / NS)),
    ),
    (
        "container_memory_usage_bytes",
        GAUGE,
        "Memory that is charged, page cache included.",
        Read::One(|s| Some(s.memory.usage)),
    ),
    (
        "container_memory_max_usage_bytes",
        GAUGE,
        "The most memory that ever was charged; 0 where the kernel does not keep it.",
        Read::One(|s| Some(s.memory.max_usage)),
    ),
    (
        "container_memory_working_set_bytes",
        GAUGE,
        "Memory without the page cache that is easy to reclaim.",
        Read::One(|s| Some(s.memory.working_set)),
    ),
    (
        "container_memory_rss",
        GAUGE,
        "Anonymous memory, bytes.",
        Read::One(|s| Some(s.memory.rss)),
    ),
    (
        "container_memory_cache",
        GAUGE,
        "Page cache, bytes.",
        Read::One(|s| Some(s.memory.cache)),
    ),
    (
        "container_memory_mapped_file",
        GAUGE,
        "Files that are mapped, bytes.",
        Read::One(|s| Some(s.memory.mapped_file)),
    ),
    (
        "container_memory_kernel_usage",
        GAUGE,
        "Memory of the kernel's own, bytes.",
        Read::One(|s| Some(s.memory.kernel)),
    ),
    (
        "container_memory_swap",
        GAUGE,
        "Swap in use, bytes.",
        Read::One(|s| Some(s.memory.swap)),
    ),
    (
        "container_memory_failcnt",
        COUNTER,
        "How often the memory limit was hit.",
        Read::One(|s| Some(s.memory.limit_hits)),
    ),
    (
        "container_memory_failures_total",
        COUNTER,
        "Page faults, those that needed the disk told apart.",
        Read::Each(&["failure_type", "scope"], |s| {
            let fault = |kind: &str, count| (vec![kind.to_owned(), "hierarchy".to_owned()], count);
            vec![
                fault("pgfault", s.memory.page_faults),
                fault("pgmajfault", s.memory.major_page_faults),
            ]
        }),
    ),
    (
        "container_oom_events_total",
        COUNTER,
        "Processes that were killed for want of memory.",
        Read::One(|s| Some(s.memory.oom_kills)),
    ),
    (
        "container_spec_memory_limit_bytes",
        GAUGE,
        "Memory limit; 0 for none.",
        Read::One(|s| Some(s.memory.limit.unwrap_or(0))),
    ),
    (
        "container_threads",
        GAUGE,
        "Tasks now.",
        Read::One(|s| Some(s.pids.current)),
    ),
    (
        "container_threads_max",
        GAUGE,
        "Limit of tasks; 0 for none.",
        Read::One(|s| Some(s.pids.limit.unwrap_or(0))),
    ),
    (
        "container_hugetlb_usage_bytes",
        GAUGE,
        "Huge pages in use.",
        Read::Each(&["pagesize"], |s| {
            let pages = s.huge_pages.iter();
            pages.map(|p| (vec![p.size.clone()], p.usage)).collect()
        }),
    ),
    (
        "container_hugetlb_max_usage_bytes",
        GAUGE,
        "The most of huge pages that ever was in use; 0 where the kernel does not keep it.",
        Read::Each(&["pagesize"], |s| {
            let pages = s.huge_pages.iter();
            pages.map(|p| (vec![p.size.clone()], p.max_usage)).collect()
        }),
    ),
    (
        "container_blkio_device_usage_total",
        COUNTER,
        "Bytes read from and written to a device.",
        Read::Each(&["device", "major", "minor", "operation"], |s| {
            let of = |d: &sandbox::DiskStats, operation: &str, bytes| {
                let (major, minor) = (d.major.to_string(), d.minor.to_string());
                (vec![device(d), major, minor, operation.to_owned()], bytes)
            };
            let both = |d| [of(d, "Read", d.read_bytes), of(d, "Write", d.write_bytes)];
            s.disks.iter().flat_map(both).collect()
        }),
    ),
    (
        "container_fs_reads_bytes_total",
        COUNTER,
        "Bytes read from a device.",
        Read::Each(&["device"], |s| by_disk(s, |d| d.read_bytes)),
    ),
    (
        "container_fs_reads_total",
        COUNTER,
        "Reads from a device.",
        Read::Each(&["device"], |s| by_disk(s, |d| d.reads)),
    ),
    (
        "container_fs_writes_bytes_total",
        COUNTER,
        "Bytes written to a device.",
        Read::Each(&["device"], |s| by_disk(s, |d| d.write_bytes)),
    ),
    (
        "container_fs_writes_total",
        COUNTER,
        "Writes to a device.",
        Read::Each(&["device"], |s| by_disk(s, |d| d.writes)),
    ),
    (
        "container_pressure_cpu_waiting_seconds_total",
        COUNTER,
        "Time in which some tasks waited for a processor, whole seconds.",
        Read::One(|s| waiting(s.cpu.pressure.as_ref())),
    ),
    (
        "container_pressure_cpu_stalled_seconds_total",
        COUNTER,
        "Time in which all tasks waited for a processor, whole seconds.",
        Read::One(|s| stalled(s.cpu.pressure.as_ref())),
    ),
    (
        "container_pressure_memory_waiting_seconds_total",
        COUNTER,
        "Time in which some tasks waited for memory, whole seconds.",
        Read::One(|s| waiting(s.memory.pressure.as_ref())),
    ),
    (
        "container_pressure_memory_stalled_seconds_total",
        COUNTER,
        "Time in which all tasks waited for memory, whole seconds.",
        Read::One(|s| stalled(s.memory.pressure.as_ref())),
    ),
    (
        "container_pressure_io_waiting_seconds_total",
        COUNTER,
        "Time in which some tasks waited for a disk, whole seconds.",
        Read::One(|s| waiting(s.io_pressure.as_ref())),
    ),
    (
        "container_pressure_io_stalled_seconds_total",
        COUNTER,
        "Time in which all tasks waited for a disk, whole seconds.",
        Read::One(|s| stalled(s.io_pressure.as_ref())),
    ),
];

/// A container's writable layer, where it is, and when the container was started.
struct Layer {
    used_bytes: u64,
    at_ns: i64,
    started_at_ns: i64,
    filesystem: Option<Filesystem>,
}

/// Of a container alone.
const CONTAINER: &[Row<Layer>] = &[
    (
        "container_fs_usage_bytes",
        GAUGE,
        "Bytes of the writable layer.",
        Read::Each(&["device"], |l| on(l, |_| l.used_bytes)),
    ),
    (
        "container_fs_limit_bytes",
        GAUGE,
        "Bytes of the filesystem that the writable layer is on.",
        Read::Each(&["device"], |l| on(l, |fs| fs.bytes)),
    ),
    (
        "container_fs_inodes_total",
        GAUGE,
        "Inodes of the filesystem that the writable layer is on.",
        Read::Each(&["device"], |l| on(l, |fs| fs.inodes)),
    ),
    (
        "container_fs_inodes_free",
        GAUGE,
        "Free inodes of the filesystem that the writable layer is on.",
        Read::Each(&["device"], |l| on(l, |fs| fs.inodes_free)),
    ),
    (
        "container_start_time_seconds",
        GAUGE,
        "When it was started, seconds since the epoch.",
        Read::One(|l| said(l.started_at_ns).map(|ns| ns / NS)),
    ),
    (
        "container_last_seen",
        GAUGE,
        "When these figures were read, seconds since the epoch.",
        Read::One(|l| said(l.at_ns).map(|ns| ns / NS)),
    ),
];

/// Limits that a container was given.
const SPEC: &[Row<Resources>] = &[
    (
        "container_spec_cpu_period",
        GAUGE,
        "Length of a period of the processor limit, microseconds; the kernel's own where none was given.",
        Read::One(|r| Some(said(r.cpu_period).unwrap_or(100_000))),
    ),
    (
        "container_spec_cpu_quota",
        GAUGE,
        "Processor time in a period, microseconds; 0 for no limit.",
        Read::One(|r| Some(said(r.cpu_quota).unwrap_or(0))),
    ),
    (
        "container_spec_cpu_shares",
        GAUGE,
        "Relative weight; the kernel's own where none was given.",
        Read::One(|r| Some(said(r.cpu_shares).unwrap_or(1024))),
    ),
    (
        "container_spec_memory_reservation_limit_bytes",
        GAUGE,
        "Memory that is reclaimed last (memory.low); 0 for none.",
        Read::One(|r| {
            let low = r.unified.get("memory.low");
            Some(low.and_then(|low| low.parse().ok()).unwrap_or(0))
        }),
    ),
    (
        "container_spec_memory_swap_limit_bytes",
        GAUGE,
        "Limit of memory and swap together; 0 for none.",
        Read::One(|r| Some(said(r.memory_swap_limit_in_bytes).unwrap_or(0))),
    ),
];

/// Of a container's processes.
const PROCESSES: &[Row<ProcessFigures>] = &[
    (
        "container_processes",
        GAUGE,
        "Processes now.",
        Read::One(|p| Some(p.processes)),
    ),
    (
        "container_file_descriptors",
        GAUGE,
        "Open file descriptors of all processes.",
        Read::One(|p| Some(p.file_descriptors)),
    ),
    (
        "container_sockets",
        GAUGE,
        "Open sockets of all processes.",
        Read::One(|p| Some(p.sockets)),
    ),
    (
        "container_ulimits_soft",
        GAUGE,
        "Soft limits of the first process.",
        Read::Each(&["ulimit"], |p| {
            let files = p
                .open_files_limit
                .map(|n| (vec!["max_open_files".to_owned()], n));
            files.into_iter().collect()
        }),
    ),
];

/// Of a pod's interface.
const NETWORK: &[Row<InterfaceStats>] = &[
    (
        "container_network_receive_bytes_total",
        COUNTER,
        "Bytes received.",
        Read::Each(&["interface"], |i| by_name(i, i.rx_bytes)),
    ),
    (
        "container_network_receive_packets_total",
        COUNTER,
        "Packets received.",
        Read::Each(&["interface"], |i| by_name(i, i.rx_packets)),
    ),
    (
        "container_network_receive_packets_dropped_total",
        COUNTER,
        "Packets that were received and dropped.",
        Read::Each(&["interface"], |i| by_name(i, i.rx_dropped)),
    ),
    (
        "container_network_receive_errors_total",
        COUNTER,
        "Packets that were received broken.",
        Read::Each(&["interface"], |i| by_name(i, i.rx_errors)),
    ),
    (
        "container_network_transmit_bytes_total",
        COUNTER,
        "Bytes sent.",
        Read::Each(&["interface"], |i| by_name(i, i.tx_bytes)),
    ),
    (
        "container_network_transmit_packets_total",
        COUNTER,
        "Packets sent.",
        Read::Each(&["interface"], |i| by_name(i, i.tx_packets)),
    ),
    (
        "container_network_transmit_packets_dropped_total",
        COUNTER,
        "Packets that were dropped instead of being sent.",
        Read::Each(&["interface"], |i| by_name(i, i.tx_dropped)),
    ),
    (
        "container_network_transmit_errors_total",
        COUNTER,
        "Packets that could not be sent.",
        Read::Each(&["interface"], |i| by_name(i, i.tx_errors)),
    ),
];

fn by_name(interface: &InterfaceStats, value: u64) -> Vec<Labelled> {
    vec![(vec![interface.name.clone()], value)]
}

fn by_disk(stats: &ContainerStats, read: fn(&sandbox::DiskStats) -> u64) -> Vec<Labelled> {
    let disks = stats.disks.iter();
    disks.map(|disk| (vec![device(disk)], read(disk))).collect()
}

/// The kernel's name of a disk's number, as a link in sysfs tells it; else the number.
fn device(disk: &sandbox::DiskStats) -> String {
    let number = format!("{}:{}", disk.major, disk.minor);
    let link = std::fs::read_link(format!("/sys/dev/block/{number}"));
    let name = link.ok().and_then(|to| {
        let name = to.file_name()?.to_str()?;
        Some(format!("/dev/{name}"))
    });
    name.unwrap_or(number)
}

fn on(layer: &Layer, read: impl Fn(&Filesystem) -> u64) -> Vec<Labelled> {
    let of = |fs: &Filesystem| (vec![fs.device.clone()], read(fs));
    layer.filesystem.as_ref().map(of).into_iter().collect()
}

fn waiting(pressure: Option<&Pressure>) -> Option<u64> {
    pressure.map(|p| p.some_total_us / US)
}

fn stalled(pressure: Option<&Pressure>) -> Option<u64> {
    pressure.map(|p| p.full_total_us / US)
}

/// A number of which 0 and less say nothing: a limit that a client gave, a time.
fn said(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number != 0)
}

fn layer(view: &StatsView, filesystem: Option<&Filesystem>) -> Layer {
    Layer {
        used_bytes: view.layer.used_bytes,
        at_ns: view.layer.at_ns,
        started_at_ns: view.container.state().started_at_ns(),
        filesystem: filesystem.cloned(),
    }
}

/// All metrics that there are.
pub(super) fn descriptors() -> Vec<wire::MetricDescriptor> {
    fn of<T>(rows: &[Row<T>]) -> impl Iterator<Item = wire::MetricDescriptor> {
        rows.iter().map(|(name, _, help, read)| {
            let more: &[&str] = match read {
                Read::One(_) => &[],
                Read::Each(keys, _) => keys,
            };
            let keys = LABELS.iter().chain(more);
            wire::MetricDescriptor {
                name: (*name).to_owned(),
                help: (*help).to_owned(),
                label_keys: keys.map(|key| (*key).to_owned()).collect(),
            }
        })
    }
    of(CGROUP)
        .chain(of(CONTAINER))
        .chain(of(SPEC))
        .chain(of(PROCESSES))
        .chain(of(NETWORK))
        .collect()
}

/// The metrics of all pods and their containers.
pub(super) fn of(view: &MetricsView) -> Vec<wire::PodSandboxMetrics> {
    view.pods.iter().map(|pod| of_pod(view, pod)).collect()
}

fn of_pod(all: &MetricsView, view: &PodStatsView) -> wire::PodSandboxMetrics {
    let metadata = &view.pod.facts().config.metadata;
    let labels = |id: &str, name: &str, image: &str, container: &str| {
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
    let of_pod = labels(view.pod.id().as_str(), "", "", "");
    let mut metrics = Vec::new();
    if let Some(figures) = &view.figures {
        read(&mut metrics, CGROUP, figures, figures.timestamp_ns, &of_pod);
    }
    for interface in view.network.iter().flatten() {
        read(&mut metrics, NETWORK, interface, view.at_ns, &of_pod);
    }
    let containers = view.containers.iter().map(|one| {
        let facts = one.container.facts();
        let (id, name) = (facts.id.as_str(), facts.config.metadata.name.as_str());
        let labels = labels(id, id, &facts.image.name, name);
        let mut metrics = Vec::new();
        let layer = layer(one, all.filesystem.as_ref());
        read(&mut metrics, CONTAINER, &layer, layer.at_ns, &labels);
        if let Some(figures) = &one.figures {
            read(&mut metrics, CGROUP, figures, figures.timestamp_ns, &labels);
        }
        let resources = one.container.resources().unwrap_or_default();
        read(&mut metrics, SPEC, &resources, all.at_ns, &labels);
        if let Some(processes) = all.processes.get(&facts.id) {
            read(&mut metrics, PROCESSES, processes, all.at_ns, &labels);
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

fn read<T>(
    into: &mut Vec<wire::Metric>,
    rows: &[Row<T>],
    from: &T,
    at_ns: i64,
    labels: &[String; 6],
) {
    for (name, kind, _, read) in rows {
        let values = match read {
            Read::One(read) => read(from).map(|v| (Vec::new(), v)).into_iter().collect(),
            Read::Each(_, read) => read(from),
        };
        into.extend(values.into_iter().map(|(more, number)| wire::Metric {
            name: (*name).to_owned(),
            timestamp: at_ns,
            metric_type: i32::from(*kind),
            label_values: labels.iter().cloned().chain(more).collect(),
            value: value(number),
        }));
    }
}
