//! From the domain types to `runtime.v1`'s: cannot fail.

use std::collections::BTreeMap;

use cri_api::v1 as wire;

use crate::domain::{
    ContainerMetadata, ContainerPhase, ImageSpec, Mount, NamespaceMode, Namespaces, PodMetadata,
    PodPhase, Propagation, Resources,
};

pub(in crate::v1) fn pod_metadata(metadata: &PodMetadata) -> wire::PodSandboxMetadata {
    wire::PodSandboxMetadata {
        name: metadata.name.clone(),
        uid: metadata.uid.clone(),
        namespace: metadata.namespace.clone(),
        attempt: metadata.attempt,
    }
}

pub(in crate::v1) fn pod_phase(phase: PodPhase) -> i32 {
    i32::from(match phase {
        PodPhase::Ready => wire::PodSandboxState::SandboxReady,
        PodPhase::NotReady => wire::PodSandboxState::SandboxNotready,
    })
}

pub(in crate::v1) fn namespaces(namespaces: &Namespaces) -> wire::NamespaceOption {
    let mode = |mode| {
        i32::from(match mode {
            NamespaceMode::Pod => wire::NamespaceMode::Pod,
            NamespaceMode::Container => wire::NamespaceMode::Container,
            NamespaceMode::Node => wire::NamespaceMode::Node,
            NamespaceMode::Target => wire::NamespaceMode::Target,
        })
    };
    wire::NamespaceOption {
        network: mode(namespaces.network),
        pid: mode(namespaces.pid),
        ipc: mode(namespaces.ipc),
        target_id: namespaces.target_id.clone(),
        userns_options: None,
    }
}

pub(in crate::v1) fn container_metadata(metadata: &ContainerMetadata) -> wire::ContainerMetadata {
    wire::ContainerMetadata {
        name: metadata.name.clone(),
        attempt: metadata.attempt,
    }
}

pub(in crate::v1) fn container_phase(phase: ContainerPhase) -> i32 {
    i32::from(match phase {
        ContainerPhase::Created => wire::ContainerState::ContainerCreated,
        ContainerPhase::Running => wire::ContainerState::ContainerRunning,
        ContainerPhase::Exited => wire::ContainerState::ContainerExited,
        ContainerPhase::Unknown => wire::ContainerState::ContainerUnknown,
    })
}

pub(in crate::v1) fn image_spec(spec: &ImageSpec) -> wire::ImageSpec {
    wire::ImageSpec {
        image: spec.image.clone(),
        annotations: spec.annotations.clone(),
        user_specified_image: spec.user_specified_image.clone(),
        runtime_handler: spec.runtime_handler.clone(),
        image_ref: spec.image_ref.clone(),
    }
}

/// A mount; `image` is the id of the image that it shows.
pub(in crate::v1) fn mount(mount: &Mount, image: Option<&str>) -> wire::Mount {
    wire::Mount {
        container_path: mount.container_path.clone(),
        host_path: mount.host_path.clone(),
        readonly: mount.readonly,
        recursive_read_only: mount.recursive_read_only,
        selinux_relabel: mount.selinux_relabel,
        propagation: i32::from(match mount.propagation {
            Propagation::Private => wire::MountPropagation::PropagationPrivate,
            Propagation::HostToContainer => wire::MountPropagation::PropagationHostToContainer,
            Propagation::Bidirectional => wire::MountPropagation::PropagationBidirectional,
        }),
        image: mount.image.as_ref().map(|said| wire::ImageSpec {
            image_ref: image.unwrap_or_default().to_owned(),
            ..image_spec(said)
        }),
        image_sub_path: mount.image_sub_path.clone(),
        ..wire::Mount::default()
    }
}

pub(in crate::v1) fn resources(resources: &Resources) -> wire::LinuxContainerResources {
    wire::LinuxContainerResources {
        cpu_period: resources.cpu_period,
        cpu_quota: resources.cpu_quota,
        cpu_shares: resources.cpu_shares,
        memory_limit_in_bytes: resources.memory_limit_in_bytes,
        memory_swap_limit_in_bytes: resources.memory_swap_limit_in_bytes,
        oom_score_adj: resources.oom_score_adj,
        cpuset_cpus: resources.cpuset_cpus.clone(),
        cpuset_mems: resources.cpuset_mems.clone(),
        hugepage_limits: resources
            .hugepage_limits
            .iter()
            .map(|limit| wire::HugepageLimit {
                page_size: limit.page_size.clone(),
                limit: limit.limit,
            })
            .collect(),
        unified: resources.unified.clone(),
    }
}

/// Verbose information: one JSON document under "info", as other runtimes do.
pub(in crate::v1) fn info(document: Option<serde_json::Value>) -> BTreeMap<String, String> {
    document
        .map(|json| ("info".to_owned(), json.to_string()))
        .into_iter()
        .collect()
}
