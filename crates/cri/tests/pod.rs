//! A pod's whole life through the socket, with the real agent.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here fails the test"
)]

mod common;

use std::{fs, path::Path, time::Duration};

use common::{Daemon, Place, container_config, pod_config, until};
use cri_api::v1::{self, runtime_service_client::RuntimeServiceClient};
use testing::leaks::Snapshot;
use tonic::{Code, Status, transport::Channel};

type Runtime = RuntimeServiceClient<Channel>;

const IMAGE: &str = testing::image::BUSYBOX_NAME;
const FOREVER: &str = "trap 'exit 9' TERM; echo started; while :; do sleep 0.05; done";

async fn with_image(place: &Place) -> Daemon {
    let daemon = Daemon::start(place).await;
    let archive = place.dir.path().join("busybox.tar");
    testing::image::busybox_archive(&archive, testing::image::Compression::Gzip).unwrap();
    let images = daemon.import(&archive, "").await.unwrap();
    assert_eq!(images[0].names, [IMAGE]);
    daemon
}

async fn run_pod(runtime: &mut Runtime, config: v1::PodSandboxConfig) -> Result<String, Status> {
    let request = v1::RunPodSandboxRequest {
        config: Some(config),
        runtime_handler: String::new(),
    };
    Ok(runtime
        .run_pod_sandbox(request)
        .await?
        .into_inner()
        .pod_sandbox_id)
}

async fn create(
    runtime: &mut Runtime,
    pod: &str,
    config: v1::ContainerConfig,
) -> Result<String, Status> {
    let request = v1::CreateContainerRequest {
        pod_sandbox_id: pod.to_owned(),
        config: Some(config),
        sandbox_config: None,
    };
    Ok(runtime
        .create_container(request)
        .await?
        .into_inner()
        .container_id)
}

async fn start(runtime: &mut Runtime, id: &str) -> Result<(), Status> {
    let request = v1::StartContainerRequest {
        container_id: id.to_owned(),
    };
    runtime.start_container(request).await.map(drop)
}

async fn status(runtime: &mut Runtime, id: &str) -> v1::ContainerStatus {
    let request = v1::ContainerStatusRequest {
        container_id: id.to_owned(),
        verbose: false,
    };
    runtime
        .container_status(request)
        .await
        .unwrap()
        .into_inner()
        .status
        .unwrap()
}

async fn exec(
    runtime: &mut Runtime,
    id: &str,
    script: &str,
    timeout: i64,
) -> Result<v1::ExecSyncResponse, Status> {
    let cmd = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let request = v1::ExecSyncRequest {
        container_id: id.to_owned(),
        cmd,
        timeout,
    };
    Ok(runtime.exec_sync(request).await?.into_inner())
}

async fn exited(runtime: &mut Runtime, id: &str) -> v1::ContainerStatus {
    until("the container's end", || {
        let (mut runtime, id) = (runtime.clone(), id.to_owned());
        async move {
            let status = status(&mut runtime, &id).await;
            (status.state() == v1::ContainerState::ContainerExited).then_some(status)
        }
    })
    .await
}

async fn remove_pod(runtime: &mut Runtime, pod: &str) {
    let request = v1::RemovePodSandboxRequest {
        pod_sandbox_id: pod.to_owned(),
    };
    runtime.remove_pod_sandbox(request).await.unwrap();
}

fn snapshot(place: &Place) -> Snapshot {
    Snapshot::take(&[place.dir.path().to_str().unwrap(), &place.cgroup_root])
}

fn host_network(mut config: v1::PodSandboxConfig) -> v1::PodSandboxConfig {
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.namespace_options.get_or_insert_default().network = v1::NamespaceMode::Node.into();
    config
}

fn agent_pid(place: &Place, pod: &str) -> rustix::process::Pid {
    let record = place.state().join("pods").join(pod).join("agent.json");
    let record: serde_json::Value = serde_json::from_slice(&fs::read(record).unwrap()).unwrap();
    let pid = i32::try_from(record["pid"].as_i64().unwrap()).unwrap();
    rustix::process::Pid::from_raw(pid).unwrap()
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_lives_and_leaves_nothing() {
    let place = Place::new();
    let before = snapshot(&place);
    let daemon = with_image(&place).await;
    let mut runtime = daemon.runtime().await;
    let logs = place.dir.path().join("logs");

    let pod = run_pod(&mut runtime, pod_config("web", &logs))
        .await
        .unwrap();
    let request = v1::PodSandboxStatusRequest {
        pod_sandbox_id: pod.clone(),
        verbose: true,
    };
    let answer = runtime
        .pod_sandbox_status(request)
        .await
        .unwrap()
        .into_inner();
    let told = answer.status.unwrap();
    assert_eq!(told.state(), v1::PodSandboxState::SandboxReady);
    assert!(told.created_at > 0 && told.metadata.unwrap().name == "web");
    assert_eq!(told.annotations["note"], "verbatim");
    assert!(answer.info["info"].contains("\"netns\""));

    let container = create(&mut runtime, &pod, container_config("main", IMAGE, FOREVER)).await;
    let container = container.unwrap();
    assert_eq!(
        status(&mut runtime, &container).await.state(),
        v1::ContainerState::ContainerCreated
    );
    start(&mut runtime, &container).await.unwrap();
    let told = status(&mut runtime, &container).await;
    assert_eq!(told.state(), v1::ContainerState::ContainerRunning);
    assert!(told.started_at >= told.created_at);
    assert_eq!(told.image.unwrap().image, IMAGE);
    assert!(told.image_id.starts_with("sha256:") && !told.image_ref.is_empty());
    assert_eq!(told.user.unwrap().linux.unwrap().uid, 1000);

    let log = logs.join("main/0.log");
    assert_eq!(Path::new(&told.log_path), log);
    until("a line in the log", || async {
        fs::read_to_string(&log)
            .is_ok_and(|text| text.contains(" stdout F started\n"))
            .then_some(())
    })
    .await;

    let result = exec(
        &mut runtime,
        &container,
        "echo out; echo err >&2; exit 3",
        5,
    )
    .await
    .unwrap();
    assert_eq!(
        (result.stdout, result.stderr),
        (b"out\n".to_vec(), b"err\n".to_vec())
    );
    assert_eq!(result.exit_code, 3);
    let error = exec(&mut runtime, &container, "sleep 60", 1)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    let links = exec(&mut runtime, &container, "ls /sys/class/net; hostname", 5)
        .await
        .unwrap();
    assert_eq!(String::from_utf8(links.stdout).unwrap(), "lo\nweb\n");

    let filter = v1::ContainerStatsFilter::default();
    let request = v1::ListContainerStatsRequest {
        filter: Some(filter),
    };
    let stats = runtime
        .list_container_stats(request)
        .await
        .unwrap()
        .into_inner()
        .stats;
    let stats = &stats[0];
    assert!(
        stats
            .cpu
            .as_ref()
            .unwrap()
            .usage_core_nano_seconds
            .unwrap()
            .value
            > 0
    );
    assert!(
        stats
            .memory
            .as_ref()
            .unwrap()
            .working_set_bytes
            .unwrap()
            .value
            > 0
    );
    assert!(stats.writable_layer.as_ref().unwrap().fs_id.is_some());

    let request = v1::StopContainerRequest {
        container_id: container.clone(),
        timeout: 5,
    };
    runtime.stop_container(request).await.unwrap();
    let told = status(&mut runtime, &container).await;
    assert_eq!(
        (told.state(), told.exit_code, told.reason.as_str()),
        (v1::ContainerState::ContainerExited, 9, "Error")
    );
    assert!(told.finished_at >= told.started_at);

    let request = v1::StopPodSandboxRequest {
        pod_sandbox_id: pod.clone(),
    };
    runtime.stop_pod_sandbox(request.clone()).await.unwrap();
    runtime.stop_pod_sandbox(request).await.unwrap();
    assert_eq!(status(&mut runtime, &container).await.exit_code, 9);
    before.assert_clean();
    let request = v1::RemoveContainerRequest {
        container_id: container.clone(),
    };
    runtime.remove_container(request).await.unwrap();
    remove_pod(&mut runtime, &pod).await;
    remove_pod(&mut runtime, &pod).await;
    assert!(is_empty(&place.state().join("pods")) && is_empty(&place.root().join("containers")));
    assert!(log.exists(), "the log file belongs to the client");
    daemon.stop().await;
    before.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_outlive_the_daemon() {
    let place = Place::new();
    let before = snapshot(&place);
    let daemon = with_image(&place).await;
    let mut runtime = daemon.runtime().await;
    let logs = place.dir.path().join("logs");
    let pod = run_pod(&mut runtime, host_network(pod_config("live", &logs)))
        .await
        .unwrap();
    let short = container_config("short", IMAGE, "sleep 0.5; exit 4");
    let short = create(&mut runtime, &pod, short).await.unwrap();
    let long = create(&mut runtime, &pod, container_config("long", IMAGE, FOREVER))
        .await
        .unwrap();
    start(&mut runtime, &short).await.unwrap();
    start(&mut runtime, &long).await.unwrap();
    drop(runtime);
    daemon.stop().await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let daemon = Daemon::start(&place).await;
    let mut runtime = daemon.runtime().await;
    let told = status(&mut runtime, &short).await;
    assert_eq!(
        (told.state(), told.exit_code),
        (v1::ContainerState::ContainerExited, 4)
    );
    let told = status(&mut runtime, &long).await;
    assert_eq!(told.state(), v1::ContainerState::ContainerRunning);
    assert_eq!(
        exec(&mut runtime, &long, "exit 0", 5)
            .await
            .unwrap()
            .exit_code,
        0
    );
    assert_eq!(
        run_pod(&mut runtime, host_network(pod_config("live", &logs)))
            .await
            .unwrap(),
        pod
    );
    let agent = agent_pid(&place, &pod);
    remove_pod(&mut runtime, &pod).await;
    daemon.stop().await;
    // The first daemon's threads are gone, but it was this process: init would reap its agents.
    rustix::process::waitpid(Some(agent), rustix::process::WaitOptions::empty()).unwrap();
    before.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_agent_takes_its_containers_with_it_and_the_pod_can_be_removed() {
    let place = Place::new();
    let before = snapshot(&place);
    let daemon = with_image(&place).await;
    let mut runtime = daemon.runtime().await;
    let logs = place.dir.path().join("logs");
    let pod = run_pod(&mut runtime, pod_config("orphan", &logs))
        .await
        .unwrap();
    let done = container_config("done", IMAGE, "exit 5");
    let done = create(&mut runtime, &pod, done).await.unwrap();
    start(&mut runtime, &done).await.unwrap();
    exited(&mut runtime, &done).await;
    let long = create(&mut runtime, &pod, container_config("long", IMAGE, FOREVER))
        .await
        .unwrap();
    start(&mut runtime, &long).await.unwrap();

    let pid = agent_pid(&place, &pod);
    let killed = std::time::Instant::now();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let told = exited(&mut runtime, &long).await;
    assert!(
        killed.elapsed() < Duration::from_secs(1),
        "{:?}",
        killed.elapsed()
    );
    assert_eq!((told.exit_code, told.reason.as_str()), (137, "AgentLost"));
    assert_eq!(status(&mut runtime, &done).await.exit_code, 5);
    let request = v1::PodSandboxStatusRequest {
        pod_sandbox_id: pod.clone(),
        verbose: false,
    };
    let answer = runtime
        .pod_sandbox_status(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        answer.status.unwrap().state(),
        v1::PodSandboxState::SandboxNotready
    );
    remove_pod(&mut runtime, &pod).await;
    assert!(is_empty(&place.state().join("pods")));
    daemon.stop().await;
    before.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_created_leaves_nothing() {
    let place = Place::new();
    let before = snapshot(&place);
    let daemon = with_image(&place).await;
    let mut runtime = daemon.runtime().await;
    let logs = place.dir.path().join("logs");
    let pod = run_pod(&mut runtime, pod_config("bad", &logs))
        .await
        .unwrap();
    let containers = place.state().join("pods").join(&pod).join("containers");

    let missing = container_config("c", "no/such/image:1", "true");
    let error = create(&mut runtime, &pod, missing).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().contains("no/such/image:1"), "{error}");

    let mut config = container_config("c", IMAGE, "true");
    config.command = vec!["no-such-program".into()];
    let error = create(&mut runtime, &pod, config).await.unwrap_err();
    assert!(
        error.message().contains("executable file not found"),
        "{error}"
    );

    let mut config = container_config("c", IMAGE, "true");
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.run_as_username = "nobody-here".into();
    let error = create(&mut runtime, &pod, config).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("nobody-here"), "{error}");

    assert!(is_empty(&containers) && is_empty(&place.root().join("containers")));
    assert!(!logs.join("c").exists());
    // The name is free: nothing is reserved.
    create(&mut runtime, &pod, container_config("c", IMAGE, "true"))
        .await
        .unwrap();
    remove_pod(&mut runtime, &pod).await;
    daemon.stop().await;
    before.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_calls_join_and_other_configurations_are_refused() {
    let place = Place::new();
    let daemon = with_image(&place).await;
    let mut runtime = daemon.runtime().await;
    let logs = place.dir.path().join("logs");
    let config = || pod_config("again", &logs);
    let (mut one, mut two) = (runtime.clone(), runtime.clone());
    let (a, b) = tokio::join!(run_pod(&mut one, config()), run_pod(&mut two, config()));
    let pod = a.unwrap();
    assert_eq!(b.unwrap(), pod);
    let other = v1::PodSandboxConfig {
        hostname: "other".into(),
        ..config()
    };
    let error = run_pod(&mut runtime, other).await.unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert!(error.message().contains("hostname"), "{error}");

    // A client that hangs up in the middle, and comes back.
    let container = || container_config("c", IMAGE, FOREVER);
    let hung_up = create(&mut runtime, &pod, container());
    let _ = tokio::time::timeout(Duration::from_millis(2), hung_up).await;
    let id = create(&mut runtime, &pod, container()).await.unwrap();
    let request = v1::ListContainersRequest::default();
    let all = runtime
        .list_containers(request)
        .await
        .unwrap()
        .into_inner()
        .containers;
    assert_eq!(
        all.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(),
        [id.as_str()]
    );
    let hung_up = start(&mut runtime, &id);
    let _ = tokio::time::timeout(Duration::from_millis(2), hung_up).await;
    start(&mut runtime, &id).await.unwrap();
    start(&mut runtime, &id[..12]).await.unwrap();
    remove_pod(&mut runtime, &pod[..12]).await;
    assert!(is_empty(&place.state().join("pods")));
    daemon.stop().await;
}

/// R7: a pod whose agent hangs is slow itself, and no other is.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_agent_delays_no_other_pod() {
    let place = Place::new();
    let before = snapshot(&place);
    let daemon = with_image(&place).await;
    let mut runtime = daemon.runtime().await;
    let logs = place.dir.path().join("logs");
    let mut pods = Vec::new();
    for name in ["hangs", "works"] {
        let pod = run_pod(&mut runtime, pod_config(name, &logs))
            .await
            .unwrap();
        let config = container_config(name, IMAGE, FOREVER);
        let container = create(&mut runtime, &pod, config).await.unwrap();
        start(&mut runtime, &container).await.unwrap();
        pods.push((pod, container));
    }
    let [(hangs, hung), (works, working)] = [pods[0].clone(), pods[1].clone()];
    let agent = agent_pid(&place, &hangs);
    rustix::process::kill_process(agent, rustix::process::Signal::STOP).unwrap();

    // Calls that hang, and stay hanging.
    let mut stuck = runtime.clone();
    let id = hung.clone();
    let stuck = tokio::spawn(async move { exec(&mut stuck, &id, "true", 5).await });
    let began = std::time::Instant::now();
    for _ in 0..10 {
        assert_eq!(
            exec(&mut runtime, &working, "exit 0", 5)
                .await
                .unwrap()
                .exit_code,
            0
        );
        let list = v1::ListContainersRequest::default();
        let all = runtime
            .list_containers(list)
            .await
            .unwrap()
            .into_inner()
            .containers;
        assert_eq!(all.len(), 2);
    }
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    let request = v1::ListContainerStatsRequest::default();
    let stats = runtime
        .list_container_stats(request)
        .await
        .unwrap()
        .into_inner()
        .stats;
    let of = |id: &str| {
        stats
            .iter()
            .find(|stats| stats.attributes.as_ref().unwrap().id == id)
            .unwrap()
    };
    assert!(of(&working).cpu.is_some() && of(&hung).cpu.is_none());

    // The stop goes from asking to killing.
    let began = std::time::Instant::now();
    let request = v1::StopPodSandboxRequest {
        pod_sandbox_id: hangs.clone(),
    };
    runtime.stop_pod_sandbox(request).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    let told = status(&mut runtime, &hung).await;
    assert_eq!(
        (told.state(), told.exit_code),
        (v1::ContainerState::ContainerExited, 137)
    );
    assert!(stuck.await.unwrap().is_err());
    remove_pod(&mut runtime, &hangs).await;
    remove_pod(&mut runtime, &works).await;
    daemon.stop().await;
    before.assert_clean();
}

/// A daemon that starts while an agent hangs serves at once and takes the pod over later.
#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_agent_does_not_delay_the_start() {
    let place = Place::new();
    let before = snapshot(&place);
    let daemon = with_image(&place).await;
    let mut runtime = daemon.runtime().await;
    let logs = place.dir.path().join("logs");
    let pod = run_pod(&mut runtime, pod_config("slow", &logs))
        .await
        .unwrap();
    let config = container_config("slow", IMAGE, FOREVER);
    let container = create(&mut runtime, &pod, config).await.unwrap();
    start(&mut runtime, &container).await.unwrap();
    let agent = agent_pid(&place, &pod);
    daemon.stop().await;
    rustix::process::kill_process(agent, rustix::process::Signal::STOP).unwrap();

    let began = std::time::Instant::now();
    let daemon = Daemon::start(&place).await;
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    let mut runtime = daemon.runtime().await;
    let told = status(&mut runtime, &container).await;
    assert_eq!(told.state(), v1::ContainerState::ContainerRunning);
    rustix::process::kill_process(agent, rustix::process::Signal::CONT).unwrap();
    // Waits for the agent by itself.
    assert_eq!(
        exec(&mut runtime, &container, "exit 7", 5)
            .await
            .unwrap()
            .exit_code,
        7
    );
    remove_pod(&mut runtime, &pod).await;
    daemon.stop().await;
    rustix::process::waitpid(Some(agent), rustix::process::WaitOptions::empty()).unwrap();
    before.assert_clean();
}
