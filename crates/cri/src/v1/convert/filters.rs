//! Which objects a list is to have.

use cri_api::v1 as wire;

use crate::{
    checks::unknown,
    domain::{ContainerFilter, ContainerPhase, PodFilter, PodPhase},
    error::Error,
};

/// `filter` of ListPodSandbox.
pub(in crate::v1) fn pod_filter(
    filter: Option<wire::PodSandboxFilter>,
) -> Result<PodFilter, Error> {
    let wire::PodSandboxFilter {
        id,
        state,
        label_selector,
    } = filter.unwrap_or_default();
    let phase = match state.map(|state| state.state) {
        None => None,
        Some(value) => Some(match wire::PodSandboxState::try_from(value) {
            Ok(wire::PodSandboxState::SandboxReady) => PodPhase::Ready,
            Ok(wire::PodSandboxState::SandboxNotready) => PodPhase::NotReady,
            Err(_) => return Err(unknown("filter.state", value)),
        }),
    };
    Ok(PodFilter {
        id,
        phase,
        labels: label_selector,
    })
}

/// `filter` of ListContainers.
pub(in crate::v1) fn container_filter(
    filter: Option<wire::ContainerFilter>,
) -> Result<ContainerFilter, Error> {
    let wire::ContainerFilter {
        id,
        state,
        pod_sandbox_id,
        label_selector,
    } = filter.unwrap_or_default();
    let phase = match state.map(|state| state.state) {
        None => None,
        Some(value) => Some(match wire::ContainerState::try_from(value) {
            Ok(wire::ContainerState::ContainerCreated) => ContainerPhase::Created,
            Ok(wire::ContainerState::ContainerRunning) => ContainerPhase::Running,
            Ok(wire::ContainerState::ContainerExited) => ContainerPhase::Exited,
            Ok(wire::ContainerState::ContainerUnknown) => ContainerPhase::Unknown,
            Err(_) => return Err(unknown("filter.state", value)),
        }),
    };
    Ok(ContainerFilter {
        id,
        pod: pod_sandbox_id,
        phase,
        labels: label_selector,
    })
}

/// `filter` of ListPodSandboxStats.
pub(in crate::v1) fn pod_stats_filter(filter: Option<wire::PodSandboxStatsFilter>) -> PodFilter {
    let wire::PodSandboxStatsFilter { id, label_selector } = filter.unwrap_or_default();
    PodFilter {
        id,
        phase: None,
        labels: label_selector,
    }
}

/// `filter` of ListImages: a name, or empty for all.
pub(in crate::v1) fn image_filter(filter: Option<wire::ImageFilter>) -> Result<String, Error> {
    match filter.and_then(|filter| filter.image) {
        None => Ok(String::new()),
        Some(spec) if spec.image.is_empty() => Ok(String::new()),
        Some(spec) => super::image_spec("filter.image", Some(spec)).map(|spec| spec.image),
    }
}

/// `filter` of ListContainerStats.
pub(in crate::v1) fn stats_filter(filter: Option<wire::ContainerStatsFilter>) -> ContainerFilter {
    let wire::ContainerStatsFilter {
        id,
        pod_sandbox_id,
        label_selector,
    } = filter.unwrap_or_default();
    ContainerFilter {
        id,
        pod: pod_sandbox_id,
        phase: None,
        labels: label_selector,
    }
}
