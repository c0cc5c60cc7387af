//! Figures of a pod.

use cri_api::v1 as wire;
use network::InterfaceStats;

use super::{
    answer::{self, value},
    convert::to_wire,
};
use crate::service::PodStatsView;

/// The interface that has the pod's address.
const MAIN: &str = "eth0";

pub(super) fn stats(view: &PodStatsView) -> wire::PodSandboxStats {
    let facts = view.pod.facts();
    let figures = view.figures.as_ref();
    let network = view.network.as_ref().map(|interfaces| wire::NetworkUsage {
        timestamp: view.at_ns,
        default_interface: interfaces
            .iter()
            .find(|one| one.name == MAIN)
            .map(interface),
        interfaces: interfaces
            .iter()
            .filter(|one| one.name != MAIN)
            .map(interface)
            .collect(),
    });
    wire::PodSandboxStats {
        attributes: Some(wire::PodSandboxAttributes {
            id: facts.id.to_string(),
            metadata: Some(to_wire::pod_metadata(&facts.config.metadata)),
            labels: facts.config.labels.clone(),
            annotations: facts.config.annotations.clone(),
        }),
        linux: Some(wire::LinuxPodSandboxStats {
            cpu: figures.map(|f| answer::cpu(f, view.nano_cores)),
            memory: figures.map(answer::memory),
            network,
            process: figures.map(|f| wire::ProcessUsage {
                timestamp: f.timestamp_ns,
                process_count: value(f.pids.current),
            }),
            containers: view.containers.iter().map(answer::stats).collect(),
            io: figures.and_then(answer::io),
        }),
        windows: None,
    }
}

fn interface(stats: &InterfaceStats) -> wire::NetworkInterfaceUsage {
    wire::NetworkInterfaceUsage {
        name: stats.name.clone(),
        rx_bytes: value(stats.rx_bytes),
        rx_errors: value(stats.rx_errors),
        tx_bytes: value(stats.tx_bytes),
        tx_errors: value(stats.tx_errors),
    }
}
