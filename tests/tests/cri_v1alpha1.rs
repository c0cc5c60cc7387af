//! The whole life of a pod by a client that knows v1alpha1 alone, and what proto2 says that proto3
//! can't, byte by byte.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{fs, path::Path, time::Duration};

use cri_api::v1alpha1::{
    self as wire, image_service_client::ImageServiceClient,
    runtime_service_client::RuntimeServiceClient,
};
use system_tests::{
    Node, Stream, configs,
    raw::{self, Value},
    stream::V5,
};
use tonic::{Code, transport::Channel};

async fn clients(node: &Node) -> (RuntimeServiceClient<Channel>, ImageServiceClient<Channel>) {
    let channel = system_tests::Client::channel(&node.socket()).await.unwrap();
    (
        RuntimeServiceClient::new(channel.clone()),
        ImageServiceClient::new(channel),
    )
}

fn pod(name: &str, logs: &Path) -> wire::PodSandboxConfig {
    wire::PodSandboxConfig {
        metadata: Some(wire::PodSandboxMetadata {
            name: Some(name.into()),
            uid: Some(format!("uid-{name}")),
            namespace: Some("test".into()),
            attempt: None,
        }),
        hostname: Some(name.into()),
        log_directory: Some(logs.join(name).display().to_string()),
        labels: [("app".to_owned(), name.to_owned())].into(),
        ..Default::default()
    }
}

fn shell(name: &str, image: &str, script: &str) -> wire::ContainerConfig {
    wire::ContainerConfig {
        metadata: Some(wire::ContainerMetadata {
            name: Some(name.into()),
            attempt: None,
        }),
        image: Some(wire::ImageSpec {
            image: Some(image.into()),
        }),
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        log_path: Some(format!("{name}.log")),
        envs: vec![wire::KeyValue {
            key: Some("GREETING".into()),
            value: Some("grüß dich".into()),
        }],
        ..Default::default()
    }
}

/// Pod and container, running: their ids.
async fn run(
    runtime: &mut RuntimeServiceClient<Channel>,
    pod: &wire::PodSandboxConfig,
    container: &wire::ContainerConfig,
) -> (String, String) {
    let request = wire::RunPodSandboxRequest {
        config: Some(pod.clone()),
    };
    let answer = runtime.run_pod_sandbox(request).await.unwrap().into_inner();
    let pod_id = answer.pod_sandbox_id.unwrap();
    let request = wire::CreateContainerRequest {
        pod_sandbox_id: Some(pod_id.clone()),
        config: Some(container.clone()),
        sandbox_config: Some(pod.clone()),
    };
    let answer = runtime.create_container(request).await.unwrap();
    let id = answer.into_inner().container_id.unwrap();
    let request = wire::StartContainerRequest {
        container_id: Some(id.clone()),
    };
    runtime.start_container(request).await.unwrap();
    (pod_id, id)
}

async fn status(runtime: &mut RuntimeServiceClient<Channel>, id: &str) -> wire::ContainerStatus {
    let request = wire::ContainerStatusRequest {
        container_id: Some(id.into()),
    };
    let answer = runtime.container_status(request).await.unwrap();
    answer.into_inner().status.unwrap()
}

async fn exec(
    runtime: &mut RuntimeServiceClient<Channel>,
    id: &str,
    script: &str,
) -> (i32, String) {
    let request = wire::ExecSyncRequest {
        container_id: Some(id.into()),
        cmd: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        timeout: Some(30),
    };
    let answer = runtime.exec_sync(request).await.unwrap().into_inner();
    let said = String::from_utf8(answer.stdout.unwrap()).unwrap();
    (answer.exit_code.unwrap(), said)
}

#[tokio::test]
async fn a_pod_lives_its_whole_life() {
    let (node, image) = Node::with_image().await;
    let (mut runtime, mut images) = clients(&node).await;

    let version = wire::VersionRequest {
        version: Some("0.1.0".into()),
    };
    let version = runtime.version(version).await.unwrap().into_inner();
    assert_eq!(version.version(), "0.1.0");
    assert_eq!(version.runtime_name(), "coffer");
    let state = runtime.status(wire::StatusRequest {}).await.unwrap();
    let conditions = state.into_inner().status.unwrap().conditions;
    let kinds: Vec<_> = conditions
        .iter()
        .map(|c| (c.r#type(), c.status()))
        .collect();
    assert_eq!(kinds, [("RuntimeReady", true), ("NetworkReady", true)]);

    let spec = wire::ImageSpec {
        image: Some(image.clone()),
    };
    let request = wire::ImageStatusRequest {
        image: Some(spec.clone()),
    };
    let found = images.image_status(request).await.unwrap().into_inner();
    let found = found.image.unwrap();
    assert_eq!(found.id(), image);
    assert!(found.size() > 0);
    assert_eq!((found.uid, found.username()), (None, "user"));
    let all = images.list_images(wire::ListImagesRequest::default()).await;
    assert_eq!(all.unwrap().into_inner().images, [found]);

    let config = pod("first", &node.logs());
    let script = format!("echo $GREETING; {}", configs::FOREVER);
    let container = shell("main", &image, &script);
    let (pod_id, id) = run(&mut runtime, &config, &container).await;

    let request = wire::PodSandboxStatusRequest {
        pod_sandbox_id: Some(pod_id.clone()),
    };
    let told = runtime.pod_sandbox_status(request).await.unwrap();
    let told = told.into_inner().status.unwrap();
    assert_eq!(told.state(), wire::PodSandboxState::SandboxReady);
    assert!(told.created_at() > 0);
    assert_eq!(told.labels, config.labels);
    let (metadata, created_at) = (told.metadata.clone(), told.created_at);
    // This version knows one address: the first that v1 tells.
    let newer = node.client().await.pod_status(&pod_id).await.unwrap();
    let ip = told.network.unwrap().ip.unwrap();
    assert!(ip.parse::<std::net::IpAddr>().is_ok(), "{ip:?}");
    assert_eq!(ip, newer.network.unwrap().ip);
    let namespaces = told.linux.unwrap().namespaces.unwrap();
    let options = namespaces.options.as_ref().unwrap();
    assert_eq!(
        (options.host_network, options.host_pid, options.host_ipc),
        (Some(false), Some(false), Some(false))
    );
    // The path is the namespace that the container's processes are in.
    let (code, inside) = exec(&mut runtime, &id, "readlink /proc/self/ns/net").await;
    assert_eq!(code, 0);
    let pin = fs::metadata(namespaces.network()).unwrap();
    let inode = std::os::unix::fs::MetadataExt::ino(&pin);
    assert_eq!(inside.trim(), format!("net:[{inode}]"));

    let told = status(&mut runtime, &id).await;
    assert_eq!(told.state(), wire::ContainerState::ContainerRunning);
    assert!(told.started_at() >= told.created_at() && told.created_at() > 0);
    let log = node.logs().join("first/main.log");
    wait_for(&log, " stdout F grüß dich").await;
    let (code, user) = exec(&mut runtime, &id, "id -un; exit 7").await;
    assert_eq!((code, user.as_str()), (7, "user\n"));

    let listed = runtime.list_pod_sandbox(wire::ListPodSandboxRequest::default());
    let listed = listed.await.unwrap().into_inner().items;
    let expected = wire::PodSandbox {
        id: Some(pod_id.clone()),
        metadata,
        state: Some(wire::PodSandboxState::SandboxReady.into()),
        created_at,
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
    };
    assert_eq!(listed, [expected]);
    for (filter, found) in [
        (by_id(&pod_id[..12]), 1),
        (by_id("nobody"), 0),
        (by_label("app", "first"), 1),
        (by_label("app", "second"), 0),
        (by_state(wire::PodSandboxState::SandboxReady), 1),
        (by_state(wire::PodSandboxState::SandboxNotready), 0),
    ] {
        let request = wire::ListPodSandboxRequest {
            filter: Some(filter.clone()),
        };
        let listed = runtime
            .list_pod_sandbox(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(listed.items.len(), found, "{filter:?}");
    }

    let listed = runtime.list_containers(wire::ListContainersRequest::default());
    let listed = listed.await.unwrap().into_inner().containers;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].id(), listed[0].pod_sandbox_id()),
        (id.as_str(), pod_id.as_str())
    );
    // One service stands behind both versions.
    let newer = node.client().await.status(&id).await.unwrap();
    assert_eq!(newer.created_at, told.created_at());

    let request = wire::StopContainerRequest {
        container_id: Some(id.clone()),
        timeout: Some(10),
    };
    runtime.stop_container(request.clone()).await.unwrap();
    runtime.stop_container(request).await.unwrap();
    let told = status(&mut runtime, &id).await;
    assert_eq!(told.state(), wire::ContainerState::ContainerExited);
    assert_eq!((told.exit_code(), told.reason()), (0, "Completed"));
    let request = wire::RemoveContainerRequest {
        container_id: Some(id),
    };
    runtime.remove_container(request.clone()).await.unwrap();
    runtime.remove_container(request).await.unwrap();
    let request = wire::StopPodSandboxRequest {
        pod_sandbox_id: Some(pod_id.clone()),
    };
    runtime.stop_pod_sandbox(request.clone()).await.unwrap();
    runtime.stop_pod_sandbox(request).await.unwrap();
    let request = wire::PodSandboxStatusRequest {
        pod_sandbox_id: Some(pod_id.clone()),
    };
    let told = runtime.pod_sandbox_status(request.clone()).await.unwrap();
    let told = told.into_inner().status.unwrap();
    assert_eq!(told.state(), wire::PodSandboxState::SandboxNotready);
    assert_eq!(told.network.unwrap().ip, None);
    assert_eq!(told.linux.unwrap().namespaces.unwrap().network, None);
    let remove = wire::RemovePodSandboxRequest {
        pod_sandbox_id: Some(pod_id),
    };
    runtime.remove_pod_sandbox(remove.clone()).await.unwrap();
    runtime.remove_pod_sandbox(remove).await.unwrap();
    let gone = runtime.pod_sandbox_status(request).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    let request = wire::RemoveImageRequest { image: Some(spec) };
    images.remove_image(request.clone()).await.unwrap();
    images.remove_image(request).await.unwrap();
    let all = images.list_images(wire::ListImagesRequest::default()).await;
    assert_eq!(all.unwrap().into_inner().images, []);
    node.finish().await;
}

fn by_id(id: &str) -> wire::PodSandboxFilter {
    wire::PodSandboxFilter {
        id: Some(id.into()),
        ..Default::default()
    }
}

fn by_label(key: &str, value: &str) -> wire::PodSandboxFilter {
    wire::PodSandboxFilter {
        label_selector: [(key.to_owned(), value.to_owned())].into(),
        ..Default::default()
    }
}

fn by_state(state: wire::PodSandboxState) -> wire::PodSandboxFilter {
    wire::PodSandboxFilter {
        state: Some(state.into()),
        ..Default::default()
    }
}

async fn wait_for(path: &Path, text: &str) {
    for _ in 0..400 {
        if fs::read_to_string(path).is_ok_and(|said| said.contains(text)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "{text:?} is not in {}: {:?}",
        path.display(),
        fs::read_to_string(path)
    );
}

#[tokio::test]
async fn what_is_absent_is_not_zero() {
    let (node, image) = Node::with_image().await;
    let (mut runtime, _) = clients(&node).await;
    let config = pod("presence", &node.logs());
    // No user said: the image's. User 0 said: root.
    let (pod_id, as_image) =
        run(&mut runtime, &config, &shell("a", &image, configs::FOREVER)).await;
    let (_, user) = exec(&mut runtime, &as_image, "id -un").await;
    assert_eq!(user, "user\n");
    let mut root = shell("b", &image, configs::FOREVER);
    root.linux = Some(wire::LinuxContainerConfig {
        resources: None,
        security_context: Some(wire::LinuxContainerSecurityContext {
            run_as_user: Some(0),
            ..Default::default()
        }),
    });
    let request = wire::CreateContainerRequest {
        pod_sandbox_id: Some(pod_id.clone()),
        config: Some(root),
        sandbox_config: Some(config.clone()),
    };
    let created = runtime
        .create_container(request)
        .await
        .unwrap()
        .into_inner();
    let as_root = created.container_id.unwrap();
    let states = |filter: Option<wire::ContainerFilter>| {
        let mut runtime = runtime.clone();
        async move {
            let request = wire::ListContainersRequest { filter };
            let found = runtime.list_containers(request).await.unwrap().into_inner();
            let mut states: Vec<_> = found.containers.iter().map(|c| c.state()).collect();
            states.sort_unstable();
            states
        }
    };
    use wire::ContainerState::{ContainerCreated as Created, ContainerRunning as Running};
    // No state said: all. State 0 said: the created ones.
    assert_eq!(states(None).await, [Created, Running]);
    assert_eq!(
        states(Some(wire::ContainerFilter::default())).await,
        [Created, Running]
    );
    let created = wire::ContainerFilter {
        state: Some(Created.into()),
        ..Default::default()
    };
    assert_eq!(states(Some(created)).await, [Created]);
    let request = wire::StartContainerRequest {
        container_id: Some(as_root.clone()),
    };
    runtime.start_container(request).await.unwrap();
    let (_, user) = exec(&mut runtime, &as_root, "id -u").await;
    assert_eq!(user, "0\n");
    node.finish().await;
}

#[tokio::test]
async fn the_hosts_namespaces_are_booleans() {
    let (node, image) = Node::with_image().await;
    let (mut runtime, _) = clients(&node).await;
    let host = wire::NamespaceOption {
        host_network: Some(true),
        host_pid: Some(true),
        host_ipc: Some(false),
    };
    let mut config = pod("host", &node.logs());
    config.hostname = None;
    config.linux = Some(wire::LinuxPodSandboxConfig {
        cgroup_parent: None,
        security_context: Some(wire::LinuxSandboxSecurityContext {
            namespace_options: Some(host),
            ..Default::default()
        }),
    });
    let mut container = shell("main", &image, configs::FOREVER);
    container.linux = Some(wire::LinuxContainerConfig {
        resources: None,
        security_context: Some(wire::LinuxContainerSecurityContext {
            namespace_options: Some(host),
            ..Default::default()
        }),
    });
    let (pod_id, id) = run(&mut runtime, &config, &container).await;
    let (_, pid) = exec(
        &mut runtime,
        &id,
        "readlink /proc/self/ns/pid; readlink /proc/self/ns/net",
    )
    .await;
    // The daemon's: a test's node may have a network of its own.
    let of_daemon = |kind: &str| {
        let link = fs::read_link(format!("/proc/{}/ns/{kind}", node.pid())).unwrap();
        link.display().to_string()
    };
    assert_eq!(pid, format!("{}\n{}\n", of_daemon("pid"), of_daemon("net")));
    let request = wire::PodSandboxStatusRequest {
        pod_sandbox_id: Some(pod_id),
    };
    let told = runtime.pod_sandbox_status(request).await.unwrap();
    let namespaces = told
        .into_inner()
        .status
        .unwrap()
        .linux
        .unwrap()
        .namespaces
        .unwrap();
    assert_eq!(namespaces.options, Some(host));
    let link = fs::read_link(namespaces.network()).unwrap();
    assert_eq!(link.display().to_string(), of_daemon("net"));
    node.finish().await;
}

/// Repeated integers come packed from some clients and one by one from others; fields of a later
/// version are passed over.
#[tokio::test]
async fn integers_arrive_packed_and_unpacked() {
    let (node, image) = Node::with_image().await;
    let (mut runtime, _) = clients(&node).await;
    let one_by_one = [raw::number(8, 4001), raw::number(8, 4002)].concat();
    let packed = raw::bytes(8, &[raw::varint(4001), raw::varint(4002)].concat());
    for (name, groups) in [("unpacked", one_by_one), ("packed", packed)] {
        let metadata = [
            raw::bytes(1, name.as_bytes()),
            raw::bytes(2, b"uid"),
            raw::bytes(3, b"test"),
        ]
        .concat();
        // Field 900: of no version.
        let config = [raw::bytes(1, &metadata), raw::bytes(900, b"later")].concat();
        let request = raw::bytes(1, &config);
        let path = "/runtime.RuntimeService/RunPodSandbox";
        let answer = raw::call(&node.socket(), path, request).await.unwrap();
        let pod_id = raw::message(&answer, 1);
        let context = [raw::number(5, 0), groups].concat();
        let container = [
            raw::bytes(1, &raw::bytes(1, b"main")),
            raw::bytes(2, &raw::bytes(1, image.as_bytes())),
            raw::bytes(3, b"/bin/sh"),
            raw::bytes(3, b"-c"),
            raw::bytes(3, configs::FOREVER.as_bytes()),
            raw::bytes(15, &raw::bytes(2, &context)),
        ]
        .concat();
        let request = [
            raw::bytes(1, &pod_id),
            raw::bytes(2, &container),
            raw::bytes(3, &config),
        ]
        .concat();
        let path = "/runtime.RuntimeService/CreateContainer";
        let answer = raw::call(&node.socket(), path, request).await.unwrap();
        let id = String::from_utf8(raw::message(&answer, 1)).unwrap();
        let request = wire::StartContainerRequest {
            container_id: Some(id.clone()),
        };
        runtime.start_container(request).await.unwrap();
        let (_, groups) = exec(&mut runtime, &id, "id -G").await;
        for group in ["4001", "4002"] {
            assert!(
                groups.split_whitespace().any(|g| g == group),
                "{name}: {groups}"
            );
        }
    }
    node.finish().await;
}

/// The ten fields that v1 has in another form, as they are on the wire.
#[tokio::test]
async fn answers_have_the_first_forms_types() {
    let (node, image) = Node::with_image().await;
    let (mut runtime, _) = clients(&node).await;
    let (pod_id, _) = run(
        &mut runtime,
        &pod("bytes", &node.logs()),
        &shell("main", &image, configs::FOREVER),
    )
    .await;
    let request = raw::bytes(1, pod_id.as_bytes());
    let path = "/runtime.RuntimeService/PodSandboxStatus";
    let answer = raw::call(&node.socket(), path, request.clone())
        .await
        .unwrap();
    let told = raw::message(&answer, 1);
    // A zero is said, not left out: proto2's clients look for presence.
    assert_eq!(raw::field(&told, 3), Some(Value::Number(0)), "state READY");
    let namespaces = raw::message(&raw::message(&told, 6), 1);
    let network = String::from_utf8(raw::message(&namespaces, 1)).unwrap();
    assert!(network.ends_with("/ns/net"), "{network}");
    let options = raw::message(&namespaces, 2);
    for field in 1..=3 {
        assert_eq!(raw::field(&options, field), Some(Value::Number(0)));
    }
    // The same question in v1: no path, and three modes, of which only CONTAINER is not 0.
    let path = "/runtime.v1.RuntimeService/PodSandboxStatus";
    let answer = raw::call(&node.socket(), path, request).await.unwrap();
    let namespaces = raw::message(&raw::message(&raw::message(&answer, 1), 6), 1);
    assert_eq!(raw::field(&namespaces, 1), None);
    assert_eq!(raw::message(&namespaces, 2), raw::number(2, 1));
    // A missing image: OK, and nothing said.
    let spec = raw::bytes(1, &raw::bytes(1, b"nothing:like-it"));
    let path = "/runtime.ImageService/ImageStatus";
    let answer = raw::call(&node.socket(), path, spec).await.unwrap();
    assert!(answer.is_empty(), "{answer:?}");
    node.finish().await;
}

#[tokio::test]
async fn bad_requests_are_refused_by_name() {
    let (node, _) = Node::with_image().await;
    let (mut runtime, mut images) = clients(&node).await;
    let nothing = runtime.run_pod_sandbox(wire::RunPodSandboxRequest { config: None });
    let error = nothing.await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::InvalidArgument, "config is missing")
    );
    let error = runtime.stop_container(wire::StopContainerRequest {
        container_id: Some("x".into()),
        timeout: Some(-1),
    });
    let error = error.await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().starts_with("timeout is -1"), "{error:?}");
    let error = runtime.container_status(wire::ContainerStatusRequest { container_id: None });
    assert_eq!(error.await.unwrap_err().code(), Code::InvalidArgument);
    // Both versions say of a pull what they say, in the same words.
    let pull = wire::PullImageRequest::default();
    let first = images.pull_image(pull).await.unwrap_err();
    let pull = cri_api::v1::PullImageRequest::default();
    let newer = node
        .client()
        .await
        .images
        .clone()
        .pull_image(pull)
        .await
        .unwrap_err();
    assert_eq!(first.code(), newer.code());
    assert_eq!(first.message(), newer.message());
    let cidr = |text: Option<&str>| wire::UpdateRuntimeConfigRequest {
        runtime_config: Some(wire::RuntimeConfig {
            network_config: Some(wire::NetworkConfig {
                pod_cidr: text.map(str::to_owned),
            }),
        }),
    };
    // Absent and empty say nothing; what is no subnet is refused.
    for nothing in [None, Some("")] {
        runtime.update_runtime_config(cidr(nothing)).await.unwrap();
    }
    let error = runtime
        .update_runtime_config(cidr(Some("10.1.2.3/99")))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    // No bytes of a message.
    let path = "/runtime.RuntimeService/RunPodSandbox";
    let torn = raw::call(&node.socket(), path, vec![0x0a, 0xff])
        .await
        .unwrap_err();
    assert!(
        matches!(torn.code(), Code::Internal | Code::InvalidArgument),
        "{torn:?}"
    );
    node.finish().await;
}

/// Exec and Attach have no fields for output: it is on, and standard error too unless there is a
/// terminal.
#[tokio::test]
async fn streams_carry_output_without_being_asked() {
    let (node, image) = Node::with_image().await;
    let (mut runtime, _) = clients(&node).await;
    let mut container = shell("main", &image, configs::FOREVER);
    container.tty = Some(true);
    container.stdin = Some(true);
    let (pod_id, id) = run(&mut runtime, &pod("streams", &node.logs()), &container).await;
    for (tty, expected) in [(false, ("out\n", "err\n")), (true, ("out\r\nerr\r\n", ""))] {
        let request = wire::ExecRequest {
            container_id: Some(id.clone()),
            cmd: ["/bin/sh", "-c", "echo out; echo err >&2; exit 4"]
                .map(str::to_owned)
                .to_vec(),
            tty: Some(tty),
            stdin: None,
        };
        let url = runtime
            .exec(request)
            .await
            .unwrap()
            .into_inner()
            .url
            .unwrap();
        let mut stream = Stream::open(&node, &url, &[V5]).await.unwrap();
        while stream.next().await {}
        assert_eq!(
            (stream.got.text(1).as_str(), stream.got.text(2).as_str()),
            expected
        );
        assert_eq!(stream.got.exit_code(), Some(4));
    }
    // The terminal that Attach speaks of must be the container's.
    let attach = |tty| wire::AttachRequest {
        container_id: Some(id.clone()),
        stdin: Some(true),
        tty: Some(tty),
    };
    let error = runtime.attach(attach(false)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let url = runtime.attach(attach(true)).await.unwrap().into_inner().url;
    assert!(url.unwrap().contains("/attach/"));
    let request = wire::PortForwardRequest {
        pod_sandbox_id: Some(pod_id),
        port: vec![80],
    };
    let url = runtime
        .port_forward(request)
        .await
        .unwrap()
        .into_inner()
        .url;
    assert!(url.unwrap().contains("/portforward/"));
    node.finish().await;
}

/// What later became fields are annotations of the pod.
#[tokio::test]
async fn annotations_set_seccomp_and_sysctls() {
    let (node, image) = Node::with_image().await;
    let (mut runtime, _) = clients(&node).await;
    let mut config = pod("annotated", &node.logs());
    config.annotations = [
        (
            "security.alpha.kubernetes.io/sysctls",
            "kernel.shm_rmid_forced=1",
        ),
        (
            "security.alpha.kubernetes.io/unsafe-sysctls",
            "net.core.somaxconn=321",
        ),
        (
            "security.alpha.kubernetes.io/seccomp/pod",
            "runtime/default",
        ),
        (
            "security.alpha.kubernetes.io/seccomp/container/free",
            "unconfined",
        ),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let container = shell("main", &image, configs::FOREVER);
    let (pod_id, id) = run(&mut runtime, &config, &container).await;
    let script = "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/core/somaxconn; \
                  grep Seccomp: /proc/self/status";
    let (_, said) = exec(&mut runtime, &id, script).await;
    assert_eq!(said, "1\n321\nSeccomp:\t2\n");
    let request = wire::CreateContainerRequest {
        pod_sandbox_id: Some(pod_id),
        config: Some(shell("free", &image, configs::FOREVER)),
        sandbox_config: Some(config.clone()),
    };
    let created = runtime
        .create_container(request)
        .await
        .unwrap()
        .into_inner();
    let request = wire::StartContainerRequest {
        container_id: created.container_id.clone(),
    };
    runtime.start_container(request).await.unwrap();
    let free = created.container_id.unwrap();
    let (_, said) = exec(&mut runtime, &free, "grep Seccomp: /proc/self/status").await;
    assert_eq!(said, "Seccomp:\t0\n");
    let mut wrong = pod("wrong", &node.logs());
    wrong.annotations = [(
        "security.alpha.kubernetes.io/sysctls".to_owned(),
        "kernel.hostname".to_owned(),
    )]
    .into();
    let request = wire::RunPodSandboxRequest {
        config: Some(wrong),
    };
    let error = runtime.run_pod_sandbox(request).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(
        error.message().contains("alpha.kubernetes.io/sysctls"),
        "{error:?}"
    );
    node.finish().await;
}
