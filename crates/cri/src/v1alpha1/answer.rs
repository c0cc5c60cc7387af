//! What the service tells, in `runtime`'s messages.

use cri_api::v1alpha1 as wire;
use image::Image;

use super::convert::to_wire;
use crate::{
    domain::PodPhase,
    service::{ContainerView, PodView, StatusView},
    state::{Agent, Container, ContainerFacts, Pod},
};

/// The version of the kubelet's side of CRI: clients compare it with exactly this.
const KUBELET_API: &str = "0.1.0";
/// The version of CRI that is spoken here; the contract wants a semantic version.
const API: &str = "0.1.0";

pub(super) fn version() -> wire::VersionResponse {
    wire::VersionResponse {
        version: Some(KUBELET_API.to_owned()),
        runtime_name: Some("coffer".to_owned()),
        runtime_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        runtime_api_version: Some(API.to_owned()),
    }
}

pub(super) fn status(view: StatusView) -> wire::StatusResponse {
    wire::StatusResponse {
        status: Some(wire::RuntimeStatus {
            conditions: view
                .conditions
                .into_iter()
                .map(|condition| wire::RuntimeCondition {
                    r#type: Some(condition.kind.to_owned()),
                    status: Some(condition.holds),
                    reason: Some(condition.reason.to_owned()),
                    message: Some(condition.message),
                })
                .collect(),
        }),
    }
}

pub(super) fn pod(pod: &Pod) -> wire::PodSandbox {
    let facts = pod.facts();
    wire::PodSandbox {
        id: Some(facts.id.to_string()),
        metadata: Some(to_wire::pod_metadata(&facts.config.metadata)),
        state: Some(to_wire::pod_phase(pod.phase())),
        created_at: Some(facts.created_at_ns),
        labels: facts.config.labels.clone(),
        annotations: facts.config.annotations.clone(),
    }
}

pub(super) fn pod_status(view: &PodView) -> wire::PodSandboxStatusResponse {
    let facts = view.pod.facts();
    let namespaces = &facts.config.security.namespaces;
    wire::PodSandboxStatusResponse {
        status: Some(wire::PodSandboxStatus {
            id: Some(facts.id.to_string()),
            metadata: Some(to_wire::pod_metadata(&facts.config.metadata)),
            state: Some(to_wire::pod_phase(view.phase)),
            created_at: Some(facts.created_at_ns),
            network: network(view),
            linux: Some(wire::LinuxPodSandboxStatus {
                namespaces: Some(wire::Namespace {
                    network: netns(view),
                    options: Some(to_wire::namespaces(namespaces)),
                }),
            }),
            labels: facts.config.labels.clone(),
            annotations: facts.config.annotations.clone(),
        }),
    }
}

/// The first address: this version knows one.
fn network(view: &PodView) -> Option<wire::PodSandboxNetworkStatus> {
    let ip = view.addresses()?.first().map(ToString::to_string);
    Some(wire::PodSandboxNetworkStatus { ip })
}

/// The file that is the pod's network namespace, while there is one: the pin of its own, or the
/// host's as the pod's agent has it.
fn netns(view: &PodView) -> Option<String> {
    if view.phase != PodPhase::Ready {
        return None;
    }
    if !view.pod.facts().host_network() {
        return Some(view.pod.netns_path().to_string_lossy().into_owned());
    }
    match view.pod.agent() {
        Agent::Here(sandbox) => Some(format!("/proc/{}/ns/net", sandbox.record().pid)),
        Agent::Unknown | Agent::Gone => None,
    }
}

pub(super) fn container(container: &Container) -> wire::Container {
    let facts = container.facts();
    wire::Container {
        id: Some(facts.id.to_string()),
        pod_sandbox_id: Some(facts.pod.to_string()),
        metadata: Some(to_wire::container_metadata(&facts.config.metadata)),
        image: Some(image_spec(facts)),
        image_ref: Some(facts.image.reference.clone()),
        state: Some(to_wire::container_phase(container.state().phase())),
        created_at: Some(facts.created_at_ns),
        labels: facts.config.labels.clone(),
        annotations: facts.config.annotations.clone(),
    }
}

/// The image as it was asked for, by the name that people know.
fn image_spec(facts: &ContainerFacts) -> wire::ImageSpec {
    wire::ImageSpec {
        image: Some(facts.image.name.clone()),
    }
}

pub(super) fn container_status(view: &ContainerView) -> wire::ContainerStatusResponse {
    let facts = view.container.facts();
    let exit = view.state.exit();
    let mounts = facts.config.mounts.iter();
    wire::ContainerStatusResponse {
        status: Some(wire::ContainerStatus {
            id: Some(facts.id.to_string()),
            metadata: Some(to_wire::container_metadata(&facts.config.metadata)),
            state: Some(to_wire::container_phase(view.state.phase())),
            created_at: Some(facts.created_at_ns),
            started_at: Some(view.state.started_at_ns()),
            finished_at: Some(exit.map_or(0, |exit| exit.finished_at_ns)),
            exit_code: Some(exit.map_or(0, |exit| exit.code)),
            image: Some(image_spec(facts)),
            image_ref: Some(facts.image.reference.clone()),
            reason: exit.map(|exit| exit.reason.word().to_owned()),
            message: exit.map(|exit| exit.message.clone()),
            labels: facts.config.labels.clone(),
            annotations: facts.config.annotations.clone(),
            mounts: mounts.map(to_wire::mount).collect(),
        }),
    }
}

pub(super) fn image(image: &Image) -> wire::Image {
    wire::Image {
        id: Some(image.id.clone()),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        size: Some(image.size),
        uid: image.uid().map(i64::from),
        username: Some(image.username().to_owned()),
    }
}
