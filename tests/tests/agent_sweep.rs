//! The agent dies at every failpoint that it passes in a pod's life; the daemon, which lives on, ends
//! what is left, keeps what was told, and lets everything be removed.
//!
//! ```text
//! trace: run, create, start, update, exec, stop, remove, and what only the published service has
//!        (pause, signals for all, storages, files, the network)  ─► names of the agent's failpoints
//! for each of them:  agents with that one armed ─► the same calls, as far as they go
//!                    ─► I2 no process is left, I5 ends are as they were told, I3 nothing after removal
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use agent_api::grpc::{self, AgentServiceClient};
use agent_api::ttrpc;
use agent_api::ttrpc::context::with_duration;
use agent_api::types;
use cri_api::v1;
use system_tests::{Client, Node, configs, procs};
use tonic::Status;

/// Ends by itself with 7 once it is told to by a file, by SIGTERM with 9.
const SCRIPT: &str = "trap 'exit 9' TERM; echo started; \
                      while [ ! -e /tmp/end ]; do sleep 0.05; done; exit 7";

/// What a client has learnt before a call failed.
#[derive(Debug, Default)]
struct Learnt {
    pod: Option<String>,
    container: Option<String>,
    /// The end of the container as it was told.
    exit: Option<v1::ContainerStatus>,
}

/// A pod's life, as far as it goes.
async fn life(
    node: &Node,
    client: &Client,
    pod: &v1::PodSandboxConfig,
    image: &str,
    learnt: &mut Learnt,
) -> Result<(), Status> {
    let config = configs::shell("main", image, SCRIPT);
    let id = client.run_pod(pod).await?;
    learnt.pod = Some(id.clone());
    let container = client.create(&id, pod, &config).await?;
    learnt.container = Some(container.clone());
    client.start(&container).await?;
    let limits = v1::UpdateContainerResourcesRequest {
        container_id: container.clone(),
        linux: Some(v1::LinuxContainerResources {
            cpu_shares: 512,
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut runtime = client.runtime.clone();
    runtime.update_container_resources(limits).await?;
    let lost = |error: ttrpc::Error| Status::unavailable(error.to_string());
    let agent = agent_of(node, &id).await.map_err(lost)?;
    let files = node.state().join("pods").join(&id).join("containers/files");
    published(&agent, &files, &container).await.map_err(lost)?;
    client.exec(&container, &["/bin/touch", "/tmp/end"]).await?;
    let exit = client.wait(&container).await?;
    learnt.exit = Some(exit);
    // Not before: the first end that is recorded is that of ours.
    with_storage(&agent, node, &id).await.map_err(lost)?;
    client.stop(&container, 1).await?;
    client.remove(&container).await?;
    learnt.container = None;
    client.stop_pod(&id).await?;
    client.remove_pod(&id).await?;
    learnt.pod = None;
    Ok(())
}

/// The agent's own socket, which is there for any client.
async fn agent_of(node: &Node, pod: &str) -> Result<AgentServiceClient, ttrpc::Error> {
    let socket = node.state().join("pods").join(pod).join("agent.sock");
    let agent = agent_api::connect(&socket).await;
    let agent = agent.map_err(|error| ttrpc::Error::Others(error.to_string()))?;
    Ok(AgentServiceClient::new(agent))
}

/// What the daemon does not call.
async fn published(
    agent: &AgentServiceClient,
    files: &Path,
    container: &str,
) -> Result<(), ttrpc::Error> {
    let soon = || with_duration(Duration::from_secs(20));
    let id = || container.to_owned();

    let pause = grpc::PauseContainerRequest { container_id: id() };
    agent.pause_container(soon(), &pause).await?;
    let resume = grpc::ResumeContainerRequest { container_id: id() };
    agent.resume_container(soon(), &resume).await?;
    let asked = grpc::SignalProcessRequest {
        container_id: id(),
        signal: 0,
        ..Default::default()
    };
    agent.signal_process(soon(), &asked).await?;

    let file = grpc::CopyFileRequest {
        path: text(&files.join("copied")),
        file_size: 5,
        file_mode: 0o100_640,
        dir_mode: 0o755,
        data: b"hello".to_vec(),
        ..Default::default()
    };
    agent.copy_file(soon(), &file).await?;

    let interfaces = agent.list_interfaces(soon(), &grpc::ListInterfacesRequest {});
    let interfaces = interfaces.await?.interfaces;
    let first = interfaces.into_iter().find(|i| i.name == "eth0").unwrap();
    for name in ["eth9", "eth0"] {
        let request = grpc::UpdateInterfaceRequest {
            interface: Some(types::Interface {
                name: name.to_owned(),
                hw_addr: first.hw_addr.clone(),
                mtu: first.mtu,
                ..Default::default()
            }),
        };
        agent.update_interface(soon(), &request).await?;
    }
    let route = types::Route {
        dest: "192.0.2.0/24".to_owned(),
        device: "eth0".to_owned(),
        scope: 253,
        ..Default::default()
    };
    let routes = grpc::UpdateRoutesRequest {
        routes: Some(grpc::Routes {
            routes: vec![route],
        }),
    };
    agent.update_routes(soon(), &routes).await?;
    let neighbour = types::ArpNeighbor {
        to_ip_address: Some(types::IpAddress {
            address: "192.0.2.7".to_owned(),
            ..Default::default()
        }),
        device: "eth0".to_owned(),
        lladdr: "02:00:00:00:00:07".to_owned(),
        ..Default::default()
    };
    let neighbours = grpc::AddArpNeighborsRequest {
        neighbors: Some(grpc::ArpNeighbors {
            arp_neighbors: vec![neighbour],
        }),
    };
    agent.add_arp_neighbors(soon(), &neighbours).await?;

    let exec = grpc::ExecProcessRequest {
        container_id: id(),
        exec_id: "true".to_owned(),
        process: Some(grpc::Process {
            args: vec!["/bin/true".to_owned()],
            cwd: "/".to_owned(),
            user: Some(grpc::User::default()),
            ..Default::default()
        }),
        ..Default::default()
    };
    agent.exec_process(soon(), &exec).await?;
    let wait = grpc::WaitProcessRequest {
        container_id: id(),
        exec_id: "true".to_owned(),
    };
    assert_eq!(agent.wait_process(soon(), &wait).await?.status, 0);
    Ok(())
}

/// A container that the daemon knows nothing of, on a storage.
async fn with_storage(
    agent: &AgentServiceClient,
    node: &Node,
    pod: &str,
) -> Result<(), ttrpc::Error> {
    let soon = || with_duration(Duration::from_secs(20));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let volume = text(&node.base.join("volume"));
    let mount = |kind: &str, source: &str, destination: &str| grpc::Mount {
        destination: destination.to_owned(),
        source: source.to_owned(),
        r#type: kind.to_owned(),
        options: words(if kind == "bind" { &["rbind"] } else { &[] }),
    };
    let spec = grpc::Spec {
        version: "1.0.2".to_owned(),
        process: Some(grpc::Process {
            args: words(&["/bin/sleep", "1000"]),
            cwd: "/".to_owned(),
            user: Some(grpc::User::default()),
            ..Default::default()
        }),
        root: Some(grpc::Root {
            path: text(&node.base.join("rootfs")),
            readonly: false,
        }),
        mounts: vec![
            mount("proc", "proc", "/proc"),
            mount("bind", &volume, "/tmp"),
        ],
        linux: Some(grpc::Linux {
            namespaces: vec![grpc::LinuxNamespace {
                r#type: "mount".to_owned(),
                path: String::new(),
            }],
            cgroups_path: format!("/{}/{pod}/unknown", node.cgroup_root),
            ..Default::default()
        }),
        ..Default::default()
    };
    let create = grpc::CreateContainerRequest {
        container_id: "unknown".to_owned(),
        oci: Some(spec),
        storages: vec![grpc::Storage {
            driver: "ephemeral".to_owned(),
            source: "tmpfs".to_owned(),
            fstype: "tmpfs".to_owned(),
            mount_point: volume,
            ..Default::default()
        }],
        ..Default::default()
    };
    agent.create_container(soon(), &create).await?;
    let remove = grpc::RemoveContainerRequest {
        container_id: "unknown".to_owned(),
        timeout: 10,
    };
    agent.remove_container(soon(), &remove).await.map(drop)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The agent's failpoints in a trace file.
fn trace(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let agents = text.lines().filter(|name| name.starts_with("agent."));
    agents.map(str::to_owned).collect()
}

/// All failpoints that the agent has.
fn of_the_source() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut dirs = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/agent/src")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let calls = text.split("failpoint!(\"").skip(1);
            names.extend(calls.map(|call| call.split('"').next().unwrap_or_default().to_owned()));
        }
    }
    names
}

/// Waits until no process of any pod is left, agents included if `agents`.
async fn assert_no_processes(node: &Node, agents: bool, place: &str) {
    let mut parts = vec![format!("/{}/", node.cgroup_root)];
    if agents {
        parts.push(format!("/{}-agents/", node.cgroup_root));
    }
    for part in parts {
        for tries in 0.. {
            let left = procs::in_cgroup(&part);
            if left.is_empty() {
                break;
            }
            assert!(
                tries < 500,
                "I2 after {place}: {left:?}\n{}",
                node.daemon_log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn the_agent_may_die_anywhere() {
    let (mut node, image) = Node::with_image().await;
    node.terminate();
    testing::rootfs::busybox(&node.base.join("rootfs")).unwrap();
    let file = node.base.join("trace");
    let traced = file.display().to_string();
    let tracing = [("COFFER_FAILPOINT_TRACE", traced.as_str())];
    node.start_with(&tracing).await;
    let pod = configs::pod("trace", &node.logs());
    let client = node.client().await;
    life(&node, &client, &pod, &image, &mut Learnt::default())
        .await
        .unwrap();
    node.terminate();
    let places = trace(&file);
    let missed: Vec<_> = of_the_source().difference(&places).cloned().collect();
    assert!(missed.is_empty(), "not in this life: {missed:?}");
    let mut slowest = Duration::ZERO;

    for (number, place) in places.iter().enumerate() {
        fs::write(&file, "").unwrap();
        let armed = format!("{place}=1*kill");
        node.start_with(&[tracing[0], ("COFFER_FAILPOINTS", &armed)])
            .await;
        let client = node.client().await;
        let pod = configs::pod(&format!("sweep{number}"), &node.logs());
        let mut learnt = Learnt::default();
        let ended = life(&node, &client, &pod, &image, &mut learnt).await;
        let lost = Instant::now();
        assert!(trace(&file).contains(place), "{place} was not reached");
        let seen = assert_told(&client, &learnt, place, &node).await;
        slowest = slowest.max(lost.elapsed());
        // Whoever is told of an end may find its agent still on its way out.
        assert_no_processes(&node, true, place).await;
        // A daemon that starts now sees the same.
        node.kill();
        node.start().await;
        let client = node.client().await;
        let again = assert_told(&client, &learnt, place, &node).await;
        assert_eq!(seen, again, "I5 after {place}: {ended:?}");
        for pod in client.pods().await.unwrap() {
            client.stop_pod(&pod.id).await.unwrap();
            client.remove_pod(&pod.id).await.unwrap();
        }
        assert!(client.containers().await.unwrap().is_empty(), "{place}");
        assert_no_processes(&node, true, place).await;
        node.assert_no_pod_files();
        node.terminate();
        node.assert_clean();
    }
    node.finish().await;
    let count = places.len();
    println!(
        "{count} places, {slowest:?} at most until the end of a lost agent's containers was told"
    );
}

/// What was told is still so; what nobody could tell is an end by force. Answers code and reason.
async fn assert_told(
    client: &Client,
    learnt: &Learnt,
    place: &str,
    node: &Node,
) -> Option<(i32, String)> {
    let context = || format!("after {place}:\n{}", node.daemon_log());
    if let Some(pod) = &learnt.pod {
        for tries in 0.. {
            let status = client.pod_status(pod).await.unwrap();
            if status.state() == v1::PodSandboxState::SandboxNotready {
                break;
            }
            assert!(tries < 500, "the pod without agent is ready {}", context());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let container = learnt.container.as_ref()?;
    let status = match client.status(container).await {
        Ok(status) => status,
        // Its removal was under way.
        Err(status) if place.starts_with("agent.remove.") => {
            assert_eq!(status.code(), tonic::Code::NotFound, "{}", context());
            return None;
        }
        Err(status) => panic!("{status:?} {}", context()),
    };
    assert_eq!(
        status.state(),
        v1::ContainerState::ContainerExited,
        "{}",
        context()
    );
    let told = (status.exit_code, status.reason.clone());
    match &learnt.exit {
        Some(exit) => assert_eq!(
            told,
            (exit.exit_code, exit.reason.clone()),
            "I5 {}",
            context()
        ),
        // Its end was on the disk before the agent died.
        None if place == "agent.exit.record.after" => {
            assert_eq!(told, (7, "Error".to_owned()), "I5 {}", context());
        }
        None => assert_eq!(told, (137, "AgentLost".to_owned()), "I5 {}", context()),
    }
    Some(told)
}
