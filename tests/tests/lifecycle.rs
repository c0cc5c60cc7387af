//! A pod's life through the socket: made, seen, entered, stopped, removed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{fs, time::Duration};

use cri_api::v1;
use serde_json::Value;
use system_tests::{Node, configs, procs};
use tonic::Code;

#[tokio::test]
async fn a_pod_lives_and_leaves_nothing_behind() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("one", &node.logs());
    let script = "echo to stdout; echo to stderr >&2; exec sleep 1000";
    let config = configs::shell("main", &image, script);
    let (pod, container) = client.run(&pod_config, &config).await.unwrap();

    let pod_status = client.pod_status(&pod).await.unwrap();
    assert_eq!(pod_status.state(), v1::PodSandboxState::SandboxReady);
    assert!(pod_status.created_at > 0);
    assert_eq!(pod_status.metadata, pod_config.metadata);
    let status = client.status(&container).await.unwrap();
    assert_eq!(status.state(), v1::ContainerState::ContainerRunning);
    assert!(status.created_at > 0 && status.started_at >= status.created_at);
    assert_eq!(status.image_id, image);
    assert_eq!(procs::in_cgroup(&container).len(), 1);

    let (code, said) = client
        .exec(&container, &["/bin/sh", "-c", "id -un; pwd; exit 3"])
        .await
        .unwrap();
    assert_eq!((code, said.as_str()), (3, "user\n/www\n"));

    let log = fs::read_to_string(&status.log_path).unwrap();
    assert!(
        log.lines()
            .any(|line| line.ends_with(" stdout F to stdout")),
        "{log}"
    );
    assert!(
        log.lines()
            .any(|line| line.ends_with(" stderr F to stderr")),
        "{log}"
    );

    let stats = client
        .runtime
        .clone()
        .container_stats(v1::ContainerStatsRequest {
            container_id: container.clone(),
        })
        .await
        .unwrap()
        .into_inner()
        .stats
        .unwrap();
    assert_eq!(stats.attributes.unwrap().id, container);
    assert!(stats.memory.unwrap().usage_bytes.unwrap().value > 0);
    assert!(stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value > 0);

    client.stop(&container, 5).await.unwrap();
    let ended = client.status(&container).await.unwrap();
    assert_eq!(ended.state(), v1::ContainerState::ContainerExited);
    assert_ne!(ended.exit_code, 0, "sleep ends by a signal");
    assert!(ended.finished_at >= ended.started_at);
    client.remove(&container).await.unwrap();
    assert_eq!(
        client.status(&container).await.unwrap_err().code(),
        Code::NotFound
    );
    client.stop_pod(&pod).await.unwrap();
    let stopped = client.pod_status(&pod).await.unwrap();
    assert_eq!(stopped.state(), v1::PodSandboxState::SandboxNotready);
    client.remove_pod(&pod).await.unwrap();
    assert_eq!(
        client.pod_status(&pod).await.unwrap_err().code(),
        Code::NotFound
    );
    node.finish().await;
}

#[tokio::test]
async fn stop_and_remove_can_come_again_and_for_what_never_was() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::shell("main", &image, configs::FOREVER);
    let (pod, container) = client
        .run(&configs::pod("again", &node.logs()), &config)
        .await
        .unwrap();
    for _ in 0..3 {
        client.stop(&container, 5).await.unwrap();
    }
    for _ in 0..3 {
        client.remove(&container).await.unwrap();
        client.stop(&container, 5).await.unwrap();
    }
    for _ in 0..3 {
        client.stop_pod(&pod).await.unwrap();
    }
    for _ in 0..3 {
        client.remove_pod(&pod).await.unwrap();
        client.stop_pod(&pod).await.unwrap();
    }
    let never = "0123456789".repeat(6);
    client.stop(&never, 1).await.unwrap();
    client.remove(&never).await.unwrap();
    client.stop_pod(&never).await.unwrap();
    client.remove_pod(&never).await.unwrap();
    node.finish().await;
}

#[tokio::test]
async fn removing_a_running_pod_ends_all_that_is_in_it() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("force", &node.logs());
    let pod = client.run_pod(&pod_config).await.unwrap();
    for name in ["first", "second"] {
        let config = configs::shell(name, &image, configs::FOREVER);
        let id = client.create(&pod, &pod_config, &config).await.unwrap();
        client.start(&id).await.unwrap();
    }
    client.remove_pod(&pod).await.unwrap();
    assert!(client.containers().await.unwrap().is_empty());
    node.assert_no_pod_files();
    node.finish().await;
}

#[tokio::test]
async fn two_containers_share_the_network_of_their_pod() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("two", &node.logs());
    let pod = client.run_pod(&pod_config).await.unwrap();
    let web = configs::command(
        "web",
        &image,
        &["httpd", "-f", "-p", "127.0.0.1:8080", "-h", "/www"],
    );
    let web = client.create(&pod, &pod_config, &web).await.unwrap();
    client.start(&web).await.unwrap();
    let script = "i=0; until wget -qO- http://127.0.0.1:8080/; do i=$((i+1)); [ $i -gt 50 ] && \
                  exit 1; sleep 0.1; done; hostname";
    let guest = configs::shell("client", &image, script);
    let guest = client.create(&pod, &pod_config, &guest).await.unwrap();
    client.start(&guest).await.unwrap();
    let ended = client.wait(&guest).await.unwrap();
    let log = fs::read_to_string(&ended.log_path).unwrap();
    assert_eq!(ended.exit_code, 0, "{log}");
    assert_eq!(ended.reason, "Completed");
    assert!(log.contains("It works"), "the page is in the log: {log}");
    assert!(
        log.lines().any(|line| line.ends_with(" stdout F two")),
        "the hostname too: {log}"
    );
    node.finish().await;
}

#[tokio::test]
async fn a_host_network_pod_sees_the_hosts_interfaces() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let mut config = configs::shell(
        "main",
        &image,
        "cat /proc/net/dev; readlink /proc/self/ns/net",
    );
    let context = config
        .linux
        .as_mut()
        .unwrap()
        .security_context
        .as_mut()
        .unwrap();
    context.namespace_options = Some(configs::namespaces(v1::NamespaceMode::Node));
    let (pod, container) = client
        .run(&configs::host_pod("host", &node.logs()), &config)
        .await
        .unwrap();
    let ended = client.wait(&container).await.unwrap();
    let log = fs::read_to_string(&ended.log_path).unwrap();
    let hosts = fs::read_link(format!("/proc/{}/ns/net", node.pid())).unwrap();
    assert!(log.contains(&hosts.display().to_string()), "{log}");
    let status = client.pod_status(&pod).await.unwrap();
    let options = status.linux.unwrap().namespaces.unwrap().options.unwrap();
    assert_eq!(options.network(), v1::NamespaceMode::Node);
    // Told, and empty: a kubelet warns of a pod without.
    assert_eq!(status.network, Some(v1::PodSandboxNetworkStatus::default()));
    node.finish().await;
}

#[tokio::test]
async fn exit_codes_and_reasons_are_kept() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("codes", &node.logs());
    let pod = client.run_pod(&pod_config).await.unwrap();
    let table = [
        ("zero", "exit 0", 0, "Completed"),
        ("seven", "exit 7", 7, "Error"),
    ];
    for (name, script, code, reason) in table {
        let config = configs::shell(name, &image, script);
        let id = client.create(&pod, &pod_config, &config).await.unwrap();
        client.start(&id).await.unwrap();
        let ended = client.wait(&id).await.unwrap();
        assert_eq!(
            (ended.exit_code, ended.reason.as_str()),
            (code, reason),
            "{name}"
        );
    }
    // Who does not listen is ended by force.
    let config = configs::shell("deaf", &image, "trap '' TERM; while :; do sleep 1; done");
    let id = client.create(&pod, &pod_config, &config).await.unwrap();
    client.start(&id).await.unwrap();
    client.stop(&id, 1).await.unwrap();
    let ended = client.wait(&id).await.unwrap();
    assert_eq!((ended.exit_code, ended.reason.as_str()), (137, "Error"));
    node.finish().await;
}

#[tokio::test]
async fn calls_join_and_answers_repeat() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("joined", &node.logs());
    let (a, b, c) = tokio::join!(
        client.run_pod(&pod_config),
        client.run_pod(&pod_config),
        client.run_pod(&pod_config)
    );
    let pod = a.unwrap();
    assert_eq!((&b.unwrap(), &c.unwrap()), (&pod, &pod));
    assert_eq!(
        client.run_pod(&pod_config).await.unwrap(),
        pod,
        "and once more afterwards"
    );
    let config = configs::shell("main", &image, configs::FOREVER);
    let (a, b) = tokio::join!(
        client.create(&pod, &pod_config, &config),
        client.create(&pod, &pod_config, &config)
    );
    let container = a.unwrap();
    assert_eq!(b.unwrap(), container);
    let (a, b) = tokio::join!(client.start(&container), client.start(&container));
    assert!(a.is_ok() || b.is_ok(), "{a:?} {b:?}");
    assert_eq!(client.pods().await.unwrap().len(), 1);
    assert_eq!(client.containers().await.unwrap().len(), 1);
    assert_eq!(procs::first_in_cgroup(&container).len(), 1);
    node.finish().await;
}

#[tokio::test]
async fn the_same_name_with_another_configuration_is_refused_naming_the_field() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("conflict", &node.logs());
    let pod = client.run_pod(&pod_config).await.unwrap();
    let mut other = pod_config.clone();
    other.hostname = "elsewhere".to_owned();
    let status = client.run_pod(&other).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    assert!(
        status.message().contains("hostname"),
        "{}",
        status.message()
    );
    let config = configs::shell("main", &image, configs::FOREVER);
    let container = client.create(&pod, &pod_config, &config).await.unwrap();
    let mut other = config.clone();
    other.working_dir = "/tmp".to_owned();
    let status = client.create(&pod, &pod_config, &other).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    assert!(
        status.message().contains("working_dir"),
        "{}",
        status.message()
    );
    assert_eq!(
        client.create(&pod, &pod_config, &config).await.unwrap(),
        container
    );
    node.finish().await;
}

#[tokio::test]
async fn unique_prefixes_of_ids_do_and_shared_ones_do_not() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::shell("main", &image, configs::FOREVER);
    let (pod, container) = client
        .run(&configs::pod("prefix", &node.logs()), &config)
        .await
        .unwrap();
    assert_eq!(client.pod_status(&pod[..8]).await.unwrap().id, pod);
    assert_eq!(client.status(&container[..8]).await.unwrap().id, container);
    assert_eq!(
        client
            .exec(&container[..8], &["/bin/true"])
            .await
            .unwrap()
            .0,
        0
    );
    // With more containers than hexadecimal digits two of them share the first one.
    let pod_config = configs::pod("prefix", &node.logs());
    for number in 0..17 {
        let config = configs::shell(&format!("c{number}"), &image, "exit 0");
        client.create(&pod, &pod_config, &config).await.unwrap();
    }
    let all = client.containers().await.unwrap();
    let shared = all.iter().map(|one| &one.id[..1]).find(|first| {
        all.iter()
            .filter(|other| other.id.starts_with(*first))
            .count()
            > 1
    });
    let status = client.status(shared.unwrap()).await.unwrap_err();
    assert!(
        matches!(
            status.code(),
            Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition
        ),
        "{status:?}"
    );
    node.finish().await;
}

#[tokio::test]
async fn a_log_is_reopened_without_losing_a_line() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::shell("count", &image, configs::COUNT);
    let (_, container) = client
        .run(&configs::pod("rotate", &node.logs()), &config)
        .await
        .unwrap();
    let path = client.status(&container).await.unwrap().log_path;
    let old = format!("{path}.1");
    tokio::time::sleep(Duration::from_millis(500)).await;
    fs::rename(&path, &old).unwrap();
    let request = v1::ReopenContainerLogRequest {
        container_id: container.clone(),
    };
    client
        .runtime
        .clone()
        .reopen_container_log(request)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.stop(&container, 5).await.unwrap();
    let text = fs::read_to_string(&old).unwrap() + &fs::read_to_string(&path).unwrap();
    assert!(configs::assert_counted(&text) > 5, "{text}");
    node.finish().await;
}

#[tokio::test]
async fn exec_over_its_time_is_deadline_exceeded_and_its_processes_end() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::shell("main", &image, configs::FOREVER);
    let (_, container) = client
        .run(&configs::pod("late", &node.logs()), &config)
        .await
        .unwrap();
    let request = v1::ExecSyncRequest {
        container_id: container.clone(),
        cmd: ["sleep", "12345"].map(str::to_owned).to_vec(),
        timeout: 1,
    };
    let status = client.runtime.clone().exec_sync(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let left = procs::in_cgroup(&container);
    let sleeping = left.keys().any(|pid| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("12345"))
    });
    assert!(!sleeping, "{left:?}");
    node.finish().await;
}

#[tokio::test]
async fn what_is_not_there_yet_names_itself() {
    let node = Node::started().await;
    let client = node.client().await;
    let checkpoint = client
        .runtime
        .clone()
        .checkpoint_container(v1::CheckpointContainerRequest::default())
        .await
        .unwrap_err();
    let restore = client
        .runtime
        .clone()
        .restore_pod(v1::RestorePodRequest::default())
        .await
        .unwrap_err();
    for (status, name) in [(checkpoint, "CheckpointContainer"), (restore, "RestorePod")] {
        assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
        assert!(status.message().contains(name), "{}", status.message());
    }
    node.finish().await;
}

#[tokio::test]
async fn the_daemon_says_what_a_kubelet_asks_first() {
    let node = Node::started().await;
    let client = node.client().await;
    let version = client
        .runtime
        .clone()
        .version(v1::VersionRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (version.version.as_str(), version.runtime_name.as_str()),
        ("0.1.0", "coffer")
    );
    assert!(!version.runtime_version.is_empty() && !version.runtime_api_version.is_empty());
    let fs_info = client
        .images
        .clone()
        .image_fs_info(v1::ImageFsInfoRequest {})
        .await
        .unwrap();
    let usage = fs_info.into_inner().image_filesystems.remove(0);
    assert!(usage.used_bytes.is_some());
    let mountpoint = usage.fs_id.unwrap().mountpoint;
    assert!(std::path::Path::new(&mountpoint).exists(), "{mountpoint}");
    let runtime = client
        .runtime
        .clone()
        .runtime_config(v1::RuntimeConfigRequest {})
        .await
        .unwrap();
    let driver = runtime.into_inner().linux.unwrap().cgroup_driver();
    assert_eq!(driver, v1::CgroupDriver::Cgroupfs);
    let status = client
        .runtime
        .clone()
        .status(v1::StatusRequest { verbose: true })
        .await
        .unwrap();
    let status = status.into_inner();
    let conditions = status.status.unwrap().conditions;
    for name in ["RuntimeReady", "NetworkReady"] {
        let condition = conditions
            .iter()
            .find(|condition| condition.r#type == name)
            .unwrap();
        assert!(condition.status, "{condition:?}");
        let camel = condition.reason.starts_with(char::is_uppercase);
        assert!(camel && !condition.message.is_empty(), "{condition:?}");
    }
    // What a kubelet refuses by itself when it is not said here.
    let handlers = &status.runtime_handlers;
    let usual = handlers.iter().find(|handler| handler.name.is_empty());
    let features = usual.unwrap().features.unwrap();
    assert!(features.recursive_read_only_mounts && !features.user_namespaces);
    assert!(status.features.unwrap().supplemental_groups_policy);
    let state = node.state().display().to_string();
    assert!(
        status.info["stateDir"].contains(&state),
        "{:?}",
        status.info
    );
    let config: Value = serde_json::from_str(&status.info["config"]).unwrap();
    assert_eq!(config["stateDir"], state);
    assert_eq!(config["maxContainerLogLineSize"], 16384);
    node.finish().await;
}

#[tokio::test]
async fn verbose_status_has_what_tools_look_for_under_the_names_that_they_know() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let pod_config = configs::pod("looked-at", &node.logs());
    let config = configs::shell("main", &image, configs::FOREVER);
    let (pod, id) = client.run(&pod_config, &config).await.unwrap();
    let mut runtime = client.runtime.clone();
    let request = v1::ContainerStatusRequest {
        container_id: id.clone(),
        verbose: true,
    };
    let answer = runtime.container_status(request).await.unwrap();
    let info: Value = serde_json::from_str(&answer.into_inner().info["info"]).unwrap();
    assert!(info["pid"].as_i64().is_some_and(|pid| pid > 1), "{info}");
    assert_eq!(info["sandboxID"], pod);
    let document = &info["runtimeSpec"];
    assert_eq!(document["process"]["args"][0], "/bin/sh");
    let mounts = document["mounts"].as_array().unwrap();
    assert!(mounts.iter().any(|m| m["destination"] == "/etc/hosts"));
    let request = v1::PodSandboxStatusRequest {
        pod_sandbox_id: pod.clone(),
        verbose: true,
    };
    let answer = runtime.pod_sandbox_status(request).await.unwrap();
    let info: Value = serde_json::from_str(&answer.into_inner().info["info"]).unwrap();
    let network = &info["runtimeSpec"]["linux"]["namespaces"][0];
    assert_eq!(network["type"], "network");
    assert_eq!(network["path"], info["netns"]);
    node.finish().await;
}

#[tokio::test]
async fn images_are_listed_found_and_removed() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let by = |name: &str| v1::ImageStatusRequest {
        image: Some(v1::ImageSpec {
            image: name.to_owned(),
            ..Default::default()
        }),
        verbose: false,
    };
    let short = image.strip_prefix("sha256:").unwrap()[..12].to_owned();
    for name in [
        image.as_str(),
        "coffer-demo",
        "docker.io/library/coffer-demo:latest",
        &short,
    ] {
        let found = client
            .images
            .clone()
            .image_status(by(name))
            .await
            .unwrap()
            .into_inner()
            .image;
        assert_eq!(found.map(|found| found.id).as_ref(), Some(&image), "{name}");
    }
    let missing = client
        .images
        .clone()
        .image_status(by("nobody/nothing"))
        .await
        .unwrap();
    assert_eq!(missing.into_inner().image, None);
    // A container keeps its image.
    let config = configs::shell("main", &image, configs::FOREVER);
    let (pod, _) = client
        .run(&configs::pod("keeps", &node.logs()), &config)
        .await
        .unwrap();
    let remove = v1::RemoveImageRequest {
        image: Some(v1::ImageSpec {
            image: image.clone(),
            ..Default::default()
        }),
    };
    client.remove_pod(&pod).await.unwrap();
    for _ in 0..2 {
        client
            .images
            .clone()
            .remove_image(remove.clone())
            .await
            .unwrap();
    }
    let left = client
        .images
        .clone()
        .list_images(v1::ListImagesRequest::default())
        .await
        .unwrap();
    assert!(left.into_inner().images.is_empty());
    let layers = fs::read_dir(node.root().join("layers")).unwrap().count();
    assert_eq!(layers, 0, "layers without an image");
    node.finish().await;
}
