//! CRI's wire types to and from [`crate::view`]. They go no further than this file and `client.rs`.

use std::collections::BTreeMap;

use cri_api::v1;

use crate::{
    error::CallKind,
    view::{
        Condition, Container, Event, Image, Pod, PodState, PodStatus, Propagation, State, Stats,
        Status, Time, Volume,
    },
};

pub(crate) fn call_kind(code: tonic::Code) -> CallKind {
    match code {
        tonic::Code::NotFound => CallKind::NotFound,
        tonic::Code::AlreadyExists => CallKind::AlreadyExists,
        tonic::Code::InvalidArgument => CallKind::Invalid,
        tonic::Code::Unimplemented => CallKind::Unimplemented,
        tonic::Code::Unavailable => CallKind::Unavailable,
        tonic::Code::DeadlineExceeded => CallKind::Deadline,
        _ => CallKind::Other,
    }
}

pub(crate) fn pod(wire: v1::PodSandbox) -> Pod {
    let state = pod_state(wire.state());
    let metadata = wire.metadata.unwrap_or_default();
    Pod {
        id: wire.id,
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        attempt: metadata.attempt,
        state,
        created_at: Time(wire.created_at),
        labels: wire.labels,
        annotations: wire.annotations,
    }
}

fn pod_state(wire: v1::PodSandboxState) -> PodState {
    match wire {
        v1::PodSandboxState::SandboxReady => PodState::Ready,
        v1::PodSandboxState::SandboxNotready => PodState::NotReady,
    }
}

pub(crate) fn pod_status(wire: v1::PodSandboxStatus, info: BTreeMap<String, String>) -> PodStatus {
    let state = pod_state(wire.state());
    let metadata = wire.metadata.unwrap_or_default();
    let options = wire
        .linux
        .and_then(|linux| linux.namespaces)
        .and_then(|names| names.options);
    let options = options.unwrap_or_default();
    let word = |mode: v1::NamespaceMode| match mode {
        v1::NamespaceMode::Node => "host",
        v1::NamespaceMode::Container => "container",
        _ => "pod",
    };
    let addresses = wire.network.unwrap_or_default();
    PodStatus {
        pod: Pod {
            id: wire.id,
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            attempt: metadata.attempt,
            state,
            created_at: Time(wire.created_at),
            labels: wire.labels,
            annotations: wire.annotations,
        },
        ip: addresses.ip,
        additional_ips: addresses
            .additional_ips
            .into_iter()
            .map(|ip| ip.ip)
            .collect(),
        network: word(options.network()).to_owned(),
        ipc: word(options.ipc()).to_owned(),
        pid: word(options.pid()).to_owned(),
        info: parsed(info),
    }
}

pub(crate) fn container(wire: v1::Container, pod_name: String) -> Container {
    let state = state(wire.state());
    let metadata = wire.metadata.unwrap_or_default();
    let image_id = if wire.image_id.is_empty() {
        wire.image_ref
    } else {
        wire.image_id
    };
    Container {
        id: wire.id,
        name: metadata.name,
        attempt: metadata.attempt,
        pod_id: wire.pod_sandbox_id,
        pod_name,
        image: image_name(wire.image, &image_id),
        image_id,
        state,
        created_at: Time(wire.created_at),
        labels: wire.labels,
    }
}

pub(crate) fn state(wire: v1::ContainerState) -> State {
    match wire {
        v1::ContainerState::ContainerCreated => State::Created,
        v1::ContainerState::ContainerRunning => State::Running,
        v1::ContainerState::ContainerExited => State::Exited,
        v1::ContainerState::ContainerUnknown => State::Unknown,
    }
}

/// What a pod or container is doing.
pub(crate) fn explanation(wire: cri_api::node::Explanation) -> crate::view::Explanation {
    crate::view::Explanation {
        kind: wire.kind,
        id: wire.id,
        name: wire.name,
        namespace: wire.namespace,
        stage: wire.stage,
        since: Time(wire.since_ns),
        waiting_on: wire.waiting_on,
        last_error: wire.last_error,
        last_error_at: Time(wire.last_error_at_ns),
        next_try: wire.next_try,
        containers: wire.containers.into_iter().map(explanation).collect(),
    }
}

/// The name that the user gave, else what the image was asked by.
fn image_name(spec: Option<v1::ImageSpec>, id: &str) -> String {
    let spec = spec.unwrap_or_default();
    [spec.user_specified_image, spec.image]
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_else(|| id.to_owned())
}

pub(crate) fn status(wire: v1::ContainerStatus, info: BTreeMap<String, String>) -> Status {
    let state = state(wire.state());
    let metadata = wire.metadata.unwrap_or_default();
    let image_id = if wire.image_id.is_empty() {
        wire.image_ref
    } else {
        wire.image_id
    };
    let info = parsed(info);
    let pid = info.get("info").and_then(|info| info.get("pid"));
    Status {
        id: wire.id,
        name: metadata.name,
        attempt: metadata.attempt,
        state,
        pid: pid.and_then(serde_json::Value::as_i64),
        created_at: Time(wire.created_at),
        started_at: Time(wire.started_at),
        finished_at: Time(wire.finished_at),
        exit_code: wire.exit_code,
        reason: wire.reason,
        message: wire.message,
        image: image_name(wire.image, &image_id),
        image_id,
        log_path: wire.log_path,
        mounts: wire.mounts.into_iter().map(volume).collect(),
        labels: wire.labels,
        annotations: wire.annotations,
        info,
    }
}

/// Verbose answers are a map of texts, most of them JSON.
pub(crate) fn parsed(info: BTreeMap<String, String>) -> BTreeMap<String, serde_json::Value> {
    info.into_iter()
        .map(|(key, text)| {
            let value = serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
            (key, value)
        })
        .collect()
}

fn volume(wire: v1::Mount) -> Volume {
    let propagation = match wire.propagation() {
        v1::MountPropagation::PropagationPrivate => Propagation::Private,
        v1::MountPropagation::PropagationHostToContainer => Propagation::HostToContainer,
        v1::MountPropagation::PropagationBidirectional => Propagation::Bidirectional,
    };
    Volume {
        host_path: wire.host_path,
        container_path: wire.container_path,
        read_only: wire.readonly,
        propagation,
    }
}

pub(crate) fn wire_mount(volume: &Volume) -> v1::Mount {
    let propagation = match volume.propagation {
        Propagation::Private => v1::MountPropagation::PropagationPrivate,
        Propagation::HostToContainer => v1::MountPropagation::PropagationHostToContainer,
        Propagation::Bidirectional => v1::MountPropagation::PropagationBidirectional,
    };
    v1::Mount {
        host_path: volume.host_path.clone(),
        container_path: volume.container_path.clone(),
        readonly: volume.read_only,
        propagation: propagation.into(),
        ..Default::default()
    }
}

pub(crate) fn image(wire: v1::Image) -> Image {
    let user = match wire.uid {
        Some(uid) => uid.value.to_string(),
        None => wire.username,
    };
    Image {
        id: wire.id,
        names: wire.repo_tags,
        digests: wire.repo_digests,
        size: wire.size,
        user,
        pinned: wire.pinned,
    }
}

pub(crate) fn event(wire: cri_api::node::Event) -> Event {
    Event {
        seq: wire.seq,
        time: Time(wire.at_ns),
        kind: wire.kind,
        action: wire.action,
        id: wire.id,
        name: wire.name,
        pod_id: wire.pod_id,
        pod_name: wire.pod_name,
        attributes: wire.attributes.into_iter().collect(),
    }
}

pub(crate) fn condition(wire: v1::RuntimeCondition) -> Condition {
    Condition {
        name: wire.r#type,
        status: wire.status,
        reason: wire.reason,
        message: wire.message,
    }
}

pub(crate) fn stats(wire: v1::ContainerStats) -> Stats {
    let attributes = wire.attributes.unwrap_or_default();
    let cpu = wire.cpu.unwrap_or_default();
    let memory = wire.memory.unwrap_or_default();
    let value = |wrapped: Option<v1::UInt64Value>| wrapped.unwrap_or_default().value;
    Stats {
        id: attributes.id,
        name: attributes.metadata.unwrap_or_default().name,
        pod_name: String::new(),
        cpu_ns: value(cpu.usage_core_nano_seconds),
        read_at_ns: cpu.timestamp,
        cpu_percent: None,
        memory_working_set: value(memory.working_set_bytes),
        memory_usage: value(memory.usage_bytes),
        memory_rss: value(memory.rss_bytes),
        disk: value(wire.writable_layer.unwrap_or_default().used_bytes),
    }
}

/// What CreateContainer repeats of the pod, from what the pod itself says.
pub(crate) fn pod_reference(pod: &Pod, log_directory: &str) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            namespace: pod.namespace.clone(),
            attempt: pod.attempt,
        }),
        log_directory: log_directory.to_owned(),
        labels: pod.labels.clone(),
        annotations: pod.annotations.clone(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_survive_the_wire() {
        for propagation in [
            Propagation::Private,
            Propagation::HostToContainer,
            Propagation::Bidirectional,
        ] {
            let original = Volume {
                host_path: "/a".into(),
                container_path: "/b".into(),
                read_only: true,
                propagation,
            };
            assert_eq!(volume(wire_mount(&original)), original);
        }
    }

    #[test]
    fn verbose_info_is_json_where_it_can_be() {
        let info = BTreeMap::from([
            ("info".to_owned(), "{\"pid\":7}".to_owned()),
            ("note".to_owned(), "plain words".to_owned()),
        ]);
        let parsed = parsed(info);
        assert_eq!(parsed["info"]["pid"], 7);
        assert_eq!(parsed["note"], "plain words");
    }
}
