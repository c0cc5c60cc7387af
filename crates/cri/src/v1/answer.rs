//! What the service tells, in `runtime.v1`'s messages.

use std::collections::BTreeMap;

use cri_api::v1 as wire;
use image::Image;
use sandbox::{ContainerStats, Pressure};
use serde_json::json;

use super::{convert::to_wire, signal};
use crate::{
    domain::Mount,
    events::{Change, Moment},
    service::{ContainerView, FsUsage, PodView, StatsView, StatusView},
    state::{Container, ContainerFacts, Pod},
};

/// The version of the kubelet's side of CRI: clients compare it with exactly this.
const KUBELET_API: &str = "0.1.0";
/// The version of CRI that is spoken here; the contract wants a semantic version.
const API: &str = "1.0.0";

pub(super) fn version() -> wire::VersionResponse {
    wire::VersionResponse {
        version: KUBELET_API.to_owned(),
        runtime_name: "coffer".to_owned(),
        runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
        runtime_api_version: API.to_owned(),
    }
}

pub(super) fn runtime_config() -> wire::RuntimeConfigResponse {
    wire::RuntimeConfigResponse {
        linux: Some(wire::LinuxRuntimeConfiguration {
            cgroup_driver: wire::CgroupDriver::Cgroupfs.into(),
        }),
    }
}

pub(super) fn status(view: StatusView) -> wire::StatusResponse {
    wire::StatusResponse {
        status: Some(wire::RuntimeStatus {
            conditions: view
                .conditions
                .into_iter()
                .map(|condition| wire::RuntimeCondition {
                    r#type: condition.kind.to_owned(),
                    status: condition.holds,
                    reason: condition.reason.to_owned(),
                    message: condition.message,
                })
                .collect(),
        }),
        info: match view.info {
            Some(info) => {
                let text = |key: &str| info[key].as_str().unwrap_or_default().to_owned();
                let mut map = to_wire::info(Some(info.clone()));
                map.insert("stateDir".to_owned(), text("stateDir"));
                map.insert("rootDir".to_owned(), text("rootDir"));
                // What suites and tools that know containerd's look for.
                let config = json!({
                    "stateDir": info["stateDir"],
                    "rootDir": info["rootDir"],
                    "maxContainerLogLineSize": info["maxContainerLogLineSize"],
                });
                map.insert("config".to_owned(), config.to_string());
                map
            }
            None => BTreeMap::new(),
        },
        runtime_handlers: vec![wire::RuntimeHandler {
            name: String::new(),
            features: Some(wire::RuntimeHandlerFeatures {
                recursive_read_only_mounts: true,
                user_namespaces: false,
            }),
        }],
        features: Some(wire::RuntimeFeatures {
            supplemental_groups_policy: true,
            user_namespaces_host_network: false,
            mount_options: false,
        }),
    }
}

pub(super) fn pod(pod: &Pod) -> wire::PodSandbox {
    let facts = pod.facts();
    wire::PodSandbox {
        id: facts.id.to_string(),
        metadata: Some(to_wire::pod_metadata(&facts.config.metadata)),
        state: to_wire::pod_phase(pod.phase()),
        created_at: facts.created_at_ns,
        labels: facts.config.labels.clone(),
        annotations: facts.config.annotations.clone(),
        runtime_handler: facts.config.runtime_handler.clone(),
    }
}

pub(super) fn pod_status(view: PodView) -> wire::PodSandboxStatusResponse {
    wire::PodSandboxStatusResponse {
        status: Some(pod_sandbox_status(&view)),
        info: to_wire::info(view.info),
        containers_statuses: view.containers.iter().map(container_status).collect(),
        timestamp: view.at_ns,
    }
}

fn pod_sandbox_status(view: &PodView) -> wire::PodSandboxStatus {
    let facts = view.pod.facts();
    wire::PodSandboxStatus {
        id: facts.id.to_string(),
        metadata: Some(to_wire::pod_metadata(&facts.config.metadata)),
        state: to_wire::pod_phase(view.phase),
        created_at: facts.created_at_ns,
        network: network(view),
        linux: Some(wire::LinuxPodSandboxStatus {
            namespaces: Some(wire::Namespace {
                options: Some(to_wire::namespaces(&facts.config.security.namespaces)),
            }),
        }),
        labels: facts.config.labels.clone(),
        annotations: facts.config.annotations.clone(),
        runtime_handler: facts.config.runtime_handler.clone(),
    }
}

fn network(view: &PodView) -> Option<wire::PodSandboxNetworkStatus> {
    let addresses = view.addresses()?.into_iter();
    let mut addresses = addresses.map(|ip| ip.to_string());
    Some(wire::PodSandboxNetworkStatus {
        ip: addresses.next().unwrap_or_default(),
        additional_ips: addresses.map(|ip| wire::PodIp { ip }).collect(),
    })
}

/// A change as CRI's subscribers hear it.
pub(super) fn event(change: &Change) -> wire::ContainerEventResponse {
    let kind = match change.moment {
        Moment::Created => wire::ContainerEventType::ContainerCreatedEvent,
        Moment::Started => wire::ContainerEventType::ContainerStartedEvent,
        Moment::Stopped => wire::ContainerEventType::ContainerStoppedEvent,
        Moment::Deleted => wire::ContainerEventType::ContainerDeletedEvent,
    };
    let containers = change.view.containers.iter();
    wire::ContainerEventResponse {
        container_id: change.id.to_string(),
        container_event_type: kind.into(),
        created_at: change.view.at_ns,
        pod_sandbox_status: Some(pod_sandbox_status(&change.view)),
        containers_statuses: containers.map(container_status).collect(),
    }
}

pub(super) fn container(container: &Container) -> wire::Container {
    let facts = container.facts();
    wire::Container {
        id: facts.id.to_string(),
        pod_sandbox_id: facts.pod.to_string(),
        metadata: Some(to_wire::container_metadata(&facts.config.metadata)),
        image: Some(image_spec(facts)),
        image_ref: facts.image.reference.clone(),
        state: to_wire::container_phase(container.state().phase()),
        created_at: facts.created_at_ns,
        labels: facts.config.labels.clone(),
        annotations: facts.config.annotations.clone(),
        image_id: facts.image.id.clone(),
    }
}

/// The image as it was asked for, by the name that people know.
fn image_spec(facts: &ContainerFacts) -> wire::ImageSpec {
    wire::ImageSpec {
        image: facts.image.name.clone(),
        ..to_wire::image_spec(&facts.config.image)
    }
}

pub(super) fn container_status_response(view: ContainerView) -> wire::ContainerStatusResponse {
    wire::ContainerStatusResponse {
        status: Some(container_status(&view)),
        info: to_wire::info(view.info),
    }
}

fn container_status(view: &ContainerView) -> wire::ContainerStatus {
    let facts = view.container.facts();
    let exit = view.state.exit();
    let groups = facts
        .user
        .groups
        .iter()
        .map(|gid| i64::from(*gid))
        .collect();
    wire::ContainerStatus {
        id: facts.id.to_string(),
        metadata: Some(to_wire::container_metadata(&facts.config.metadata)),
        state: to_wire::container_phase(view.state.phase()),
        created_at: facts.created_at_ns,
        started_at: view.state.started_at_ns(),
        finished_at: exit.map_or(0, |exit| exit.finished_at_ns),
        exit_code: exit.map_or(0, |exit| exit.code),
        image: Some(image_spec(facts)),
        image_ref: facts.image.reference.clone(),
        reason: exit
            .map(|exit| exit.reason.word().to_owned())
            .unwrap_or_default(),
        message: exit.map(|exit| exit.message.clone()).unwrap_or_default(),
        labels: facts.config.labels.clone(),
        annotations: facts.config.annotations.clone(),
        mounts: mounts(facts),
        log_path: facts.log_path.to_string_lossy().into_owned(),
        resources: view
            .container
            .resources()
            .map(|resources| wire::ContainerResources {
                linux: Some(to_wire::resources(&resources)),
                windows: None,
            }),
        image_id: facts.image.id.clone(),
        user: Some(wire::ContainerUser {
            linux: Some(wire::LinuxContainerUser {
                uid: facts.user.uid.into(),
                gid: facts.user.gid.into(),
                supplemental_groups: groups,
            }),
        }),
        stop_signal: signal::name(facts.stop_signal).into(),
    }
}

/// The mounts as they were asked for, those of images with what they have come to.
fn mounts(facts: &ContainerFacts) -> Vec<wire::Mount> {
    let mut volumes = facts.volumes.iter();
    let told = |mount: &Mount| {
        let volume = mount.image.as_ref().and_then(|_| volumes.next());
        to_wire::mount(mount, volume.map(|image| image.id.as_str()))
    };
    facts.config.mounts.iter().map(told).collect()
}

pub(super) fn stats(view: &StatsView) -> wire::ContainerStats {
    let facts = view.container.facts();
    let figures = view.figures.as_ref();
    wire::ContainerStats {
        attributes: Some(wire::ContainerAttributes {
            id: facts.id.to_string(),
            metadata: Some(to_wire::container_metadata(&facts.config.metadata)),
            labels: facts.config.labels.clone(),
            annotations: facts.config.annotations.clone(),
        }),
        cpu: figures.map(|f| cpu(f, view.nano_cores)),
        memory: figures.map(memory),
        writable_layer: Some(fs_usage(&view.layer)),
        swap: figures.map(|f| wire::SwapUsage {
            timestamp: f.timestamp_ns,
            swap_available_bytes: None,
            swap_usage_bytes: value(f.memory.swap),
        }),
        io: figures.and_then(io),
    }
}

pub(super) fn cpu(figures: &ContainerStats, nano_cores: Option<u64>) -> wire::CpuUsage {
    wire::CpuUsage {
        timestamp: figures.timestamp_ns,
        usage_core_nano_seconds: value(figures.cpu.usage_ns),
        usage_nano_cores: nano_cores.and_then(value),
        psi: figures.cpu.pressure.as_ref().map(psi),
    }
}

pub(super) fn memory(figures: &ContainerStats) -> wire::MemoryUsage {
    let memory = &figures.memory;
    let free = |limit: u64| limit.saturating_sub(memory.working_set);
    wire::MemoryUsage {
        timestamp: figures.timestamp_ns,
        working_set_bytes: value(memory.working_set),
        available_bytes: memory.limit.map(free).and_then(value),
        usage_bytes: value(memory.usage),
        rss_bytes: value(memory.rss),
        page_faults: value(memory.page_faults),
        major_page_faults: value(memory.major_page_faults),
        psi: memory.pressure.as_ref().map(psi),
    }
}

/// Pressure on the disks; absent where the kernel does not tell it.
pub(super) fn io(figures: &ContainerStats) -> Option<wire::IoUsage> {
    let pressure = figures.io_pressure.as_ref()?;
    Some(wire::IoUsage {
        timestamp: figures.timestamp_ns,
        psi: Some(psi(pressure)),
    })
}

#[expect(clippy::unnecessary_wraps, reason = "the wire's fields are optional")]
pub(super) fn value(value: u64) -> Option<wire::UInt64Value> {
    Some(wire::UInt64Value { value })
}

fn psi(pressure: &Pressure) -> wire::PsiStats {
    let data = |averages: [f64; 3], total_us: u64| wire::PsiData {
        // CRI's unit is the nanosecond, the kernel's the microsecond.
        total: total_us.saturating_mul(1000),
        avg10: averages[0],
        avg60: averages[1],
        avg300: averages[2],
    };
    wire::PsiStats {
        full: Some(data(pressure.full, pressure.full_total_us)),
        some: Some(data(pressure.some, pressure.some_total_us)),
    }
}

pub(super) fn fs_usage(usage: &FsUsage) -> wire::FilesystemUsage {
    wire::FilesystemUsage {
        timestamp: usage.at_ns,
        fs_id: Some(wire::FilesystemIdentifier {
            mountpoint: usage.mountpoint.to_string_lossy().into_owned(),
        }),
        used_bytes: value(usage.used_bytes),
        inodes_used: value(usage.inodes_used),
    }
}

pub(super) fn image(image: &Image) -> wire::Image {
    wire::Image {
        id: image.id.clone(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        size: image.size,
        uid: image
            .uid()
            .map(|uid| wire::Int64Value { value: uid.into() }),
        username: image.username().to_owned(),
        spec: Some(wire::ImageSpec {
            image: image.id.clone(),
            ..wire::ImageSpec::default()
        }),
        pinned: image.pinned,
    }
}

pub(super) fn image_status(found: Option<&Image>, verbose: bool) -> wire::ImageStatusResponse {
    let info = found.filter(|_| verbose).map(|image| {
        json!({
            "manifest": image.manifest,
            "os": image.os,
            "architecture": image.architecture,
            "layers": image.layers,
            "config": {
                "user": image.config.user,
                "env": image.config.env,
                "entrypoint": image.config.entrypoint,
                "cmd": image.config.cmd,
                "workingDir": image.config.working_dir,
                "stopSignal": image.config.stop_signal,
                "labels": image.config.labels,
                "volumes": image.config.volumes,
                "exposedPorts": image.config.exposed_ports,
            },
        })
    });
    wire::ImageStatusResponse {
        image: found.map(image),
        info: to_wire::info(info),
    }
}
