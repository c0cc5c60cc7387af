//! Limits that change, figures of pods, and lists too long for one answer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use cri_api::v1::{self, MetricType};
use system_tests::{Client, Node, configs};
use tonic::{Code, Status};

async fn update(
    client: &Client,
    id: &str,
    linux: v1::LinuxContainerResources,
) -> Result<(), Status> {
    let request = v1::UpdateContainerResourcesRequest {
        container_id: id.to_owned(),
        linux: Some(linux),
        ..Default::default()
    };
    let mut runtime = client.runtime.clone();
    runtime.update_container_resources(request).await.map(drop)
}

/// What the kernel has in a file of the container's cgroup, in either version of its hierarchy.
fn limit(id: &str, pid: i32, v1: (&str, &str), v2: &str) -> String {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let group = |controller: &str| {
        groups.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let controllers = parts.next()?;
            let path = parts.next()?;
            controllers
                .split(',')
                .any(|name| name == controller)
                .then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let path: PathBuf = match group(v1.0) {
        Some(path) => ["/sys/fs/cgroup", v1.0, &path, v1.1].iter().collect(),
        None => ["/sys/fs/cgroup", &group("").unwrap(), v2].iter().collect(),
    };
    assert!(
        path.display().to_string().contains(id),
        "{}",
        path.display()
    );
    fs::read_to_string(&path).unwrap().trim().to_owned()
}

async fn pid(client: &Client, id: &str) -> i32 {
    let request = v1::ContainerStatusRequest {
        container_id: id.to_owned(),
        verbose: true,
    };
    let mut runtime = client.runtime.clone();
    let answer = runtime
        .container_status(request)
        .await
        .unwrap()
        .into_inner();
    let info: serde_json::Value = serde_json::from_str(&answer.info["info"]).unwrap();
    i32::try_from(info["pid"].as_i64().unwrap()).unwrap()
}

async fn linux(client: &Client, id: &str) -> v1::LinuxContainerResources {
    let status = client.status(id).await.unwrap();
    status.resources.unwrap().linux.unwrap()
}

const MIB: i64 = 1 << 20;

#[tokio::test]
async fn limits_change_and_stay_changed() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let mut config = configs::shell("main", &image, configs::FOREVER);
    config.linux.as_mut().unwrap().resources = Some(v1::LinuxContainerResources {
        memory_limit_in_bytes: 64 * MIB,
        cpu_shares: 512,
        cpu_period: 100_000,
        cpu_quota: 50_000,
        ..Default::default()
    });
    let pod_config = configs::pod("resized", &node.logs());
    let (_, id) = client.run(&pod_config, &config).await.unwrap();
    let pid = pid(&client, &id).await;
    let memory = || limit(&id, pid, ("memory", "memory.limit_in_bytes"), "memory.max");
    let quota = || limit(&id, pid, ("cpu", "cpu.cfs_quota_us"), "cpu.max");
    assert_eq!(memory(), (64 * MIB).to_string());

    let more = v1::LinuxContainerResources {
        memory_limit_in_bytes: 96 * MIB,
        cpu_quota: 80_000,
        oom_score_adj: 500,
        ..Default::default()
    };
    update(&client, &id, more).await.unwrap();
    assert_eq!(memory(), (96 * MIB).to_string());
    assert!(quota().starts_with("80000"), "{}", quota());
    // What was not said stays, and the status tells what holds now.
    let told = linux(&client, &id).await;
    assert_eq!(
        (told.memory_limit_in_bytes, told.cpu_quota),
        (96 * MIB, 80_000)
    );
    assert_eq!((told.cpu_shares, told.cpu_period), (512, 100_000));
    let less = v1::LinuxContainerResources {
        memory_limit_in_bytes: 48 * MIB,
        ..Default::default()
    };
    update(&client, &id, less).await.unwrap();
    assert_eq!(memory(), (48 * MIB).to_string());

    // Over the daemon's life; and the request that made the container is still the same one.
    node.kill();
    node.start().await;
    let client = node.client().await;
    assert_eq!(linux(&client, &id).await.memory_limit_in_bytes, 48 * MIB);
    let pod = client.run_pod(&pod_config).await.unwrap();
    assert_eq!(client.create(&pod, &pod_config, &config).await.unwrap(), id);

    // Nothing changes when the request makes no sense.
    let wrong = v1::LinuxContainerResources {
        memory_limit_in_bytes: 100 * MIB,
        cpu_shares: -5,
        ..Default::default()
    };
    let error = update(&client, &id, wrong).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("cpu_shares"), "{error:?}");
    assert_eq!(memory(), (48 * MIB).to_string());
    let nothing = v1::UpdateContainerResourcesRequest {
        container_id: id.clone(),
        ..Default::default()
    };
    let mut runtime = client.runtime.clone();
    let error = runtime
        .update_container_resources(nothing)
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::InvalidArgument, "linux is missing")
    );
    let unknown = update(&client, "nobody", v1::LinuxContainerResources::default()).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    client.stop(&id, 0).await.unwrap();
    let late = update(&client, &id, v1::LinuxContainerResources::default()).await;
    assert_eq!(late.unwrap_err().code(), Code::FailedPrecondition);
    node.finish().await;
}

/// The daemon dies at each step of an update; the client repeats it, and all is as it said.
#[tokio::test]
async fn an_update_that_was_cut_off_can_be_repeated() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::shell("main", &image, configs::FOREVER);
    let pod_config = configs::pod("cut-off", &node.logs());
    let (_, id) = client.run(&pod_config, &config).await.unwrap();
    let before = pid(&client, &id).await;
    node.terminate();
    let places = [
        "update_container.agent.before",
        "update_container.agent.after",
        "container.record.before",
        "container.record.after",
    ];
    for (round, place) in (1..).zip(places) {
        node.start_with(&[("COFFER_FAILPOINTS", &format!("{place}=kill"))])
            .await;
        let client = node.client().await;
        let wanted = v1::LinuxContainerResources {
            memory_limit_in_bytes: (40 + round) * MIB,
            ..Default::default()
        };
        let cut_off = update(&client, &id, wanted.clone()).await.unwrap_err();
        // The connection's end, by whichever name the transport gives it.
        let broken = matches!(cut_off.code(), Code::Unavailable | Code::Unknown);
        assert!(broken, "{place}: {cut_off:?}");
        node.wait();
        node.start().await;
        let client = node.client().await;
        update(&client, &id, wanted).await.unwrap();
        let told = linux(&client, &id).await;
        assert_eq!(told.memory_limit_in_bytes, (40 + round) * MIB, "{place}");
        let memory = limit(
            &id,
            before,
            ("memory", "memory.limit_in_bytes"),
            "memory.max",
        );
        assert_eq!(memory, ((40 + round) * MIB).to_string(), "{place}");
        assert_eq!(pid(&client, &id).await, before, "{place}");
        node.terminate();
    }
    node.start().await;
    node.finish().await;
}

#[tokio::test]
async fn a_pods_figures_are_those_of_its_containers_and_its_network() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let mut runtime = client.runtime.clone();
    let pod_config = configs::pod("figures", &node.logs());
    let busy = "head -c 20000000 /dev/zero | md5sum >/dev/null; exec sleep 1000";
    let (pod, id) = client
        .run(&pod_config, &configs::shell("main", &image, busy))
        .await
        .unwrap();
    let host = client
        .run_pod(&configs::host_pod("host", &node.logs()))
        .await
        .unwrap();

    let request = v1::PodSandboxStatsRequest {
        pod_sandbox_id: pod.clone(),
    };
    let stats = runtime
        .pod_sandbox_stats(request)
        .await
        .unwrap()
        .into_inner()
        .stats
        .unwrap();
    let attributes = stats.attributes.as_ref().unwrap();
    assert_eq!(
        (&attributes.id, &attributes.metadata),
        (&pod, &pod_config.metadata)
    );
    let linux = stats.linux.unwrap();
    let cpu = linux.cpu.unwrap();
    assert!(cpu.timestamp > 0 && cpu.usage_core_nano_seconds.unwrap().value > 0);
    let memory = linux.memory.unwrap();
    assert!(memory.timestamp > 0 && memory.usage_bytes.unwrap().value > 0);
    assert!(linux.process.unwrap().process_count.unwrap().value >= 1);
    let [container] = linux.containers.as_slice() else {
        panic!("{:?}", linux.containers);
    };
    assert_eq!(container.attributes.as_ref().unwrap().id, id);
    let network = linux.network.unwrap();
    assert!(network.timestamp > 0);
    assert_eq!(network.default_interface.unwrap().name, "eth0");

    let list = runtime.list_pod_sandbox_stats(v1::ListPodSandboxStatsRequest::default());
    let list = list.await.unwrap().into_inner().stats;
    let mut ids: Vec<_> = list
        .iter()
        .map(|s| s.attributes.as_ref().unwrap().id.clone())
        .collect();
    ids.sort();
    let mut expected = vec![pod.clone(), host.clone()];
    expected.sort();
    assert_eq!(ids, expected);
    let on_host = list
        .iter()
        .find(|s| s.attributes.as_ref().unwrap().id == host)
        .unwrap();
    assert_eq!(on_host.linux.as_ref().unwrap().network, None);
    let filter = v1::PodSandboxStatsFilter {
        id: pod[..12].to_owned(),
        ..Default::default()
    };
    let list = runtime.list_pod_sandbox_stats(v1::ListPodSandboxStatsRequest {
        filter: Some(filter),
    });
    assert_eq!(list.await.unwrap().into_inner().stats.len(), 1);

    // A stopped pod has no figures any more: it is not in the list, and can be asked for.
    client.stop_pod(&pod).await.unwrap();
    let list = runtime.list_pod_sandbox_stats(v1::ListPodSandboxStatsRequest::default());
    assert_eq!(list.await.unwrap().into_inner().stats.len(), 1);
    let request = v1::PodSandboxStatsRequest {
        pod_sandbox_id: pod,
    };
    let stats = runtime
        .pod_sandbox_stats(request)
        .await
        .unwrap()
        .into_inner()
        .stats
        .unwrap();
    assert_eq!(stats.linux.unwrap().cpu, None);
    let unknown = v1::PodSandboxStatsRequest {
        pod_sandbox_id: "nobody".to_owned(),
    };
    let error = runtime.pod_sandbox_stats(unknown).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    node.finish().await;
}

#[tokio::test]
async fn every_metric_has_a_descriptor_that_fits() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let mut runtime = client.runtime.clone();
    let config = configs::shell("main", &image, configs::FOREVER);
    let (pod, id) = client
        .run(&configs::pod("measured", &node.logs()), &config)
        .await
        .unwrap();
    let known = runtime.list_metric_descriptors(v1::ListMetricDescriptorsRequest {});
    let known = known.await.unwrap().into_inner().descriptors;
    assert!(known.iter().all(|one| !one.help.is_empty()));
    let write = ["sh", "-c", "echo 1 > /file; sync"];
    let (code, _) = client.exec(&id, &write).await.unwrap();
    assert_eq!(code, 0);
    let keys: BTreeMap<_, _> = known
        .iter()
        .map(|d| (d.name.as_str(), &d.label_keys))
        .collect();
    assert_eq!(keys.len(), known.len(), "a name is there twice");
    let metrics = runtime.list_pod_sandbox_metrics(v1::ListPodSandboxMetricsRequest {});
    let mut metrics = metrics.await.unwrap().into_inner().pod_metrics;
    let of_pod = metrics.pop().unwrap();
    assert!(metrics.is_empty());
    assert_eq!(of_pod.pod_sandbox_id, pod);
    let [of_container] = of_pod.container_metrics.as_slice() else {
        panic!("{:?}", of_pod.container_metrics);
    };
    assert_eq!(of_container.container_id, id);
    for metric in of_pod.metrics.iter().chain(&of_container.metrics) {
        let keys = keys
            .get(metric.name.as_str())
            .unwrap_or_else(|| panic!("{}", metric.name));
        assert_eq!(keys.len(), metric.label_values.len(), "{}", metric.name);
        assert!(metric.timestamp > 0, "{}", metric.name);
        // Two names do not follow the rule of the others.
        let total = match metric.name.as_str() {
            "container_fs_inodes_total" => false,
            "container_memory_failcnt" => true,
            name => name.ends_with("_total"),
        };
        assert_eq!(
            metric.metric_type() == MetricType::Counter,
            total,
            "{}",
            metric.name
        );
    }
    // Whatever the kernel counts here: no pressure on cgroup v1, huge pages and disks where they are.
    let told = of_pod.metrics.iter().chain(&of_container.metrics);
    let told: BTreeSet<_> = told.map(|metric| metric.name.as_str()).collect();
    let may_lack = [
        "_pressure_",
        "_hugetlb_",
        "_blkio_",
        "_fs_reads_",
        "_fs_writes_",
    ];
    for name in keys.keys().filter(|name| !told.contains(*name)) {
        assert!(may_lack.iter().any(|part| name.contains(part)), "{name}");
    }
    let number = |name: &str| {
        let mut found = of_container.metrics.iter().filter(|m| m.name == name);
        found.next().unwrap().value.unwrap().value
    };
    assert_eq!(number("container_spec_cpu_shares"), 1024);
    assert!(number("container_processes") >= 1);
    assert!(number("container_file_descriptors") >= 3);
    assert!(number("container_ulimits_soft") >= 1024);
    assert!(number("container_fs_limit_bytes") > number("container_fs_usage_bytes"));
    assert!(number("container_last_seen") >= number("container_start_time_seconds"));
    let memory = |of: &[v1::Metric]| {
        let found = of.iter().find(|m| m.name == "container_memory_usage_bytes");
        let found = found.unwrap();
        let label = |key: &str| {
            let at = keys["container_memory_usage_bytes"]
                .iter()
                .position(|k| k == key);
            found.label_values[at.unwrap()].clone()
        };
        assert_eq!(
            (label("pod"), label("namespace")),
            ("measured".into(), "test".into())
        );
        (label("container"), found.value.unwrap().value)
    };
    let (name, bytes) = memory(&of_container.metrics);
    assert_eq!(name, "main");
    assert!(bytes > 0);
    assert_eq!(memory(&of_pod.metrics).0, "");
    node.finish().await;
}

/// All answers of a stream, as one list.
macro_rules! all {
    ($call:expr, $field:ident) => {{
        let mut stream = $call.await.unwrap().into_inner();
        let mut all = Vec::new();
        while let Some(answer) = stream.message().await.unwrap() {
            assert!(!answer.$field.is_empty(), "an answer without anything");
            all.extend(answer.$field);
        }
        all
    }};
}

#[tokio::test]
async fn streams_say_what_lists_say() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let mut runtime = client.runtime.clone();
    let none = runtime.stream_containers(v1::StreamContainersRequest::default());
    assert_eq!(all!(none, containers), []);
    let config = configs::shell("main", &image, configs::FOREVER);
    for name in ["a", "b"] {
        let mut pod = configs::pod(name, &node.logs());
        // Two of these do not fit in one answer.
        pod.annotations
            .insert("much".to_owned(), "x".repeat(600 << 10));
        client.run(&pod, &config).await.unwrap();
    }
    let pods = runtime.clone();
    let mut pods = pods.clone();
    let mut stream = pods
        .stream_pod_sandboxes(v1::StreamPodSandboxesRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut answers = Vec::new();
    while let Some(answer) = stream.message().await.unwrap() {
        answers.push(answer.pod_sandboxes);
    }
    assert_eq!(answers.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
    assert_eq!(answers.concat(), client.pods().await.unwrap());
    let streamed = runtime.stream_containers(v1::StreamContainersRequest::default());
    assert_eq!(
        all!(streamed, containers),
        client.containers().await.unwrap()
    );
    let images = client.images.clone();
    let mut images = images.clone();
    let listed = images.list_images(v1::ListImagesRequest::default()).await;
    let listed = listed.unwrap().into_inner().images;
    let streamed = images.stream_images(v1::StreamImagesRequest::default());
    assert_eq!(all!(streamed, images), listed);
    let streamed = runtime.stream_container_stats(v1::StreamContainerStatsRequest::default());
    assert_eq!(all!(streamed, container_stats).len(), 2);
    let streamed = runtime.stream_pod_sandbox_stats(v1::StreamPodSandboxStatsRequest::default());
    assert_eq!(all!(streamed, pod_sandbox_stats).len(), 2);
    let streamed = runtime.stream_pod_sandbox_metrics(v1::StreamPodSandboxMetricsRequest {});
    assert_eq!(all!(streamed, pod_sandbox_metrics).len(), 2);
    // A filter holds for a stream as for a list.
    let filter = v1::PodSandboxFilter {
        id: "nobody".to_owned(),
        ..Default::default()
    };
    let streamed = runtime.stream_pod_sandboxes(v1::StreamPodSandboxesRequest {
        filter: Some(filter),
    });
    assert_eq!(all!(streamed, pod_sandboxes), []);
    node.finish().await;
}

#[tokio::test]
async fn what_is_not_there_says_its_name() {
    let (node, _) = Node::with_image().await;
    let client = node.client().await;
    let mut runtime = client.runtime.clone();
    let answers = [
        (
            "CheckpointContainer",
            runtime
                .checkpoint_container(v1::CheckpointContainerRequest::default())
                .await
                .map(drop),
        ),
        (
            "CheckpointPod",
            runtime
                .checkpoint_pod(v1::CheckpointPodRequest::default())
                .await
                .map(drop),
        ),
        (
            "RestorePod",
            runtime
                .restore_pod(v1::RestorePodRequest::default())
                .await
                .map(drop),
        ),
    ];
    for (name, answer) in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.code(), Code::Unimplemented, "{name}");
        assert!(error.message().starts_with(name), "{error:?}");
    }
    // Accepted: the client's cgroup holds these limits. An unknown pod is told so.
    let request = v1::UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: "nobody".to_owned(),
        ..Default::default()
    };
    let error = runtime
        .update_pod_sandbox_resources(request)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let pod = client
        .run_pod(&configs::pod("r", &node.logs()))
        .await
        .unwrap();
    let request = v1::UpdatePodSandboxResourcesRequest {
        pod_sandbox_id: pod,
        ..Default::default()
    };
    runtime.update_pod_sandbox_resources(request).await.unwrap();
    node.finish().await;
}
