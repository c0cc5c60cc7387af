//! What the containers of a pod share, what it costs, and how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failure fails the test; the figures are the point"
)]

mod common;

use std::fs;

use agent_api::grpc;
use agent_api::sandbox::{self, NamespaceMode, PidMode};
use agent_api::ttrpc::Code;
use common::{Pod, soon, status, text};
use serde_json::json;

fn ns(pid: i32, kind: &str) -> String {
    text(&fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap())
}

#[tokio::test]
async fn health_answers_before_any_sandbox() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let check = grpc::CheckRequest {
        service: "x".into(),
    };
    let health = calls.health.check(soon(), &check).await.unwrap();
    assert_eq!(
        health.status(),
        grpc::health_check_response::ServingStatus::Serving
    );
    let version = calls.health.version(soon(), &check).await.unwrap();
    assert_eq!(version.grpc_version, "0.0.1");
    let hello = sandbox::HandshakeRequest {
        protocol: 1,
        client_version: "t".into(),
    };
    let answer = calls.own.handshake(soon(), &hello).await.unwrap();
    assert_eq!(
        (answer.protocol, answer.pid, answer.sandbox_id.as_str()),
        (1, pod.pid(), "")
    );
    assert!(answer.start_ticks > 0);
    let hello = sandbox::HandshakeRequest {
        protocol: 99,
        client_version: "t".into(),
    };
    let refused = calls.own.handshake(soon(), &hello).await;
    assert_eq!(status(refused).0, Code::FAILED_PRECONDITION);
    let early = calls
        .own
        .create_container(soon(), &pod.container("c", &["true"], |_| {}))
        .await;
    assert_eq!(status(early).0, Code::FAILED_PRECONDITION);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn containers_share_ipc_uts_and_the_network() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    // A network namespace of the test's own, pinned by a process of ours.
    let mut holder = std::process::Command::new("unshare")
        .args(["--net", "sleep", "100"])
        .spawn()
        .unwrap();
    let holder_pid = i32::try_from(holder.id()).unwrap();
    common::until("the namespace", async || {
        ns(holder_pid, "net") != ns(pod.pid(), "net")
    })
    .await;
    let mut request = pod.sandbox_request();
    request.netns_path = format!("/proc/{holder_pid}/ns/net");
    request.sysctls.insert("kernel.shmmni".into(), "77".into());
    request
        .sysctls
        .insert("net.ipv4.ip_unprivileged_port_start".into(), "42".into());
    calls.own.create_sandbox(soon(), &request).await.unwrap();
    let a = pod.container("a", &["sleep", "100"], |_| {});
    let b = pod.container("b", &["sleep", "100"], |_| {});
    calls.run(&a).await;
    calls.run(&b).await;
    let (a, b) = (
        calls.state("a").await.unwrap().pid,
        calls.state("b").await.unwrap().pid,
    );
    for kind in ["ipc", "uts", "net"] {
        assert_eq!(ns(a, kind), ns(b, kind), "{kind}");
        assert_ne!(ns(a, kind), ns(pod.pid(), kind), "{kind}");
    }
    assert_eq!(ns(a, "net"), ns(holder_pid, "net"));
    for kind in ["pid", "mnt"] {
        assert_ne!(ns(a, kind), ns(b, kind), "{kind}");
    }
    let script =
        "hostname; cat /proc/sys/kernel/shmmni /proc/sys/net/ipv4/ip_unprivileged_port_start";
    assert_eq!(calls.sh("b", script).await.1, "pod-host\n77\n42\n");
    holder.kill().unwrap();
    holder.wait().unwrap();
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_pod_may_use_the_hosts_namespaces_and_only_its_own_sysctls() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let mut request = pod.sandbox_request();
    request.ipc = NamespaceMode::Host.into();
    request.sysctls.insert("kernel.shmmni".into(), "77".into());
    let (code, text) = status(calls.own.create_sandbox(soon(), &request).await);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(text.contains("kernel.shmmni"), "{text}");
    request.sysctls.clear();
    request.uts = NamespaceMode::Host.into();
    let refused = calls.own.create_sandbox(soon(), &request).await;
    assert_eq!(status(refused).0, Code::INVALID_ARGUMENT);
    // A refused sandbox is no sandbox: it can be asked for again.
    request.hostname.clear();
    calls.own.create_sandbox(soon(), &request).await.unwrap();
    let mut container = pod.container("c1", &["sleep", "100"], |_| {});
    container.pid = PidMode::Node.into();
    calls.run(&container).await;
    let pid = calls.state("c1").await.unwrap().pid;
    for kind in ["ipc", "uts", "net", "pid"] {
        assert_eq!(ns(pid, kind), ns(pod.pid(), kind), "{kind}");
    }
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_shared_pid_namespace_has_a_reaper_and_outlives_its_containers() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let mut request = pod.sandbox_request();
    request.pid = PidMode::Pod.into();
    let reaper = calls
        .own
        .create_sandbox(soon(), &request)
        .await
        .unwrap()
        .reaper_pid;
    assert!(reaper > 0);
    let shared = |id: &str| {
        let mut request = pod.container(id, &["sleep", "100"], |_| {});
        request.pid = PidMode::Pod.into();
        request
    };
    calls.run(&shared("a")).await;
    calls.run(&shared("b")).await;
    let a = calls.state("a").await.unwrap().pid;
    assert_eq!(ns(a, "pid"), ns(reaper, "pid"));
    assert_eq!(calls.sh("b", "ps | grep -c 'sleep 100$'").await.1, "2\n");
    calls.remove("a").await;
    calls.run(&shared("c")).await;
    // An orphan leaves no zombie behind.
    let processes = calls
        .sh("c", "(sleep 0.1 &); sleep 0.3; ps -o stat,args")
        .await
        .1;
    assert!(processes.contains("/pod-reaper"), "{processes}");
    assert!(
        !processes.lines().any(|l| l.starts_with('Z')),
        "{processes}"
    );
    // What runs as the namespace's first process can do nothing and sees nothing of the host.
    let status = fs::read_to_string(format!("/proc/{reaper}/status")).unwrap();
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let line = status.lines().find(|l| l.starts_with(set)).unwrap();
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
    assert_ne!(ns(reaper, "mnt"), ns(pod.pid(), "mnt"));
    assert_eq!(
        fs::read_dir(format!("/proc/{reaper}/fd")).unwrap().count(),
        3
    );
    let mut target = pod.container("t", &["sleep", "100"], |_| {});
    (target.pid, target.pid_target) = (PidMode::Target.into(), "c".into());
    calls.run(&target).await;
    assert_eq!(
        ns(calls.state("t").await.unwrap().pid, "pid"),
        ns(reaper, "pid")
    );
    pod.destroy(calls).await;
}

#[tokio::test]
async fn an_oom_kill_is_the_reason_and_an_event() {
    let (pod, calls) = Pod::sandbox().await;
    let own = calls.own.clone();
    let agent = calls.agent.clone();
    let event = tokio::spawn(async move {
        own.get_oom_event(soon(), &sandbox::GetOomEventRequest {})
            .await
            .unwrap()
    });
    let request = pod.container(
        "c1",
        &["sh", "-c", "x=a; while :; do x=$x$x; done"],
        |spec| {
            spec["linux"]["resources"]["memory"] = json!({ "limit": 16 << 20 });
        },
    );
    calls.run(&request).await;
    let state = calls.wait("c1").await;
    assert_eq!((state.exit_code, state.reason.as_str()), (137, "OOMKilled"));
    assert!(state.oom_killed);
    let event = event.await.unwrap();
    assert_eq!(event.container_id, "c1");
    assert!(
        event.kills > 0 && event.cgroup.ends_with("/c1"),
        "{event:?}"
    );
    let published = agent
        .get_oom_event(soon(), &grpc::GetOomEventRequest {})
        .await
        .unwrap();
    assert_eq!(published.container_id, "c1");
    let record = fs::read_to_string(pod.state("c1").join("exit.json")).unwrap();
    assert!(record.contains("\"reason\":\"OOMKilled\""), "{record}");
    pod.destroy(calls).await;
}

#[tokio::test]
async fn an_oom_kill_of_a_child_is_an_event_and_not_the_containers_end() {
    let (pod, calls) = Pod::sandbox().await;
    let script = "(x=a; while :; do x=$x$x; done) ; echo survived; sleep 100";
    let request = pod.container("c1", &["sh", "-c", script], |spec| {
        spec["linux"]["resources"]["memory"] = json!({ "limit": 32 << 20 });
    });
    calls.run(&request).await;
    let event = calls
        .own
        .get_oom_event(soon(), &sandbox::GetOomEventRequest {})
        .await
        .unwrap();
    assert_eq!(event.container_id, "c1");
    common::until("the survivor", async || {
        pod.log("c1").iter().any(|l| l.contains("survived"))
    })
    .await;
    pod.destroy(calls).await;
}

#[tokio::test]
async fn figures_are_read_for_containers_and_the_pod() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sh", "-c", "while :; do :; done"], |_| {}))
        .await;
    let request = grpc::StatsContainerRequest {
        container_id: "c1".into(),
    };
    common::until("some CPU time", async || {
        let stats = calls.agent.stats_container(soon(), &request).await.unwrap();
        let stats = stats.cgroup_stats.unwrap();
        let memory = stats.memory_stats.unwrap().usage.unwrap();
        stats.cpu_stats.unwrap().cpu_usage.unwrap().total_usage > 10_000_000
            && memory.usage > 0
            && stats.pids_stats.unwrap().current == 1
    })
    .await;
    let all = calls
        .own
        .pod_stats(soon(), &sandbox::PodStatsRequest::default())
        .await
        .unwrap();
    assert_eq!(all.pod.unwrap().id, pod.name);
    assert_eq!(all.containers.len(), 1);
    assert!(all.containers[0].working_set_bytes > 0);
    let none = sandbox::PodStatsRequest {
        ids: vec!["none".into()],
    };
    assert_eq!(
        status(calls.own.pod_stats(soon(), &none).await).0,
        Code::NOT_FOUND
    );
    pod.destroy(calls).await;
}

#[tokio::test]
async fn pause_update_and_resume() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container(
            "c1",
            &["sh", "-c", "while :; do echo .; sleep 0.01; done"],
            |_| {},
        ))
        .await;
    let id = || "c1".to_owned();
    let pause = grpc::PauseContainerRequest { container_id: id() };
    calls.agent.pause_container(soon(), &pause).await.unwrap();
    assert_eq!(
        calls.state("c1").await.unwrap().state(),
        sandbox::State::Paused
    );
    let again = calls.agent.pause_container(soon(), &pause).await;
    assert_eq!(status(again).0, Code::FAILED_PRECONDITION);
    let exec = sandbox::ExecCollectRequest {
        container_id: id(),
        process_json: common::process(&["true"]),
        ..Default::default()
    };
    assert_eq!(
        status(calls.collect(&exec).await).0,
        Code::FAILED_PRECONDITION
    );
    let lines = || pod.log("c1").len();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let before = lines();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(lines(), before);
    let resume = grpc::ResumeContainerRequest { container_id: id() };
    calls.agent.resume_container(soon(), &resume).await.unwrap();
    common::until("more output", async || lines() > before).await;
    let update = grpc::UpdateContainerRequest {
        container_id: id(),
        resources: Some(grpc::LinuxResources {
            memory: Some(grpc::LinuxMemory {
                limit: 64 << 20,
                ..Default::default()
            }),
            ..Default::default()
        }),
    };
    calls.agent.update_container(soon(), &update).await.unwrap();
    let stats = grpc::StatsContainerRequest { container_id: id() };
    let stats = calls.agent.stats_container(soon(), &stats).await.unwrap();
    let memory = stats
        .cgroup_stats
        .unwrap()
        .memory_stats
        .unwrap()
        .usage
        .unwrap();
    assert_eq!(memory.limit, 64 << 20);
    // A paused container can be removed.
    calls.agent.pause_container(soon(), &pause).await.unwrap();
    calls.remove("c1").await;
    pod.destroy(calls).await;
}

#[tokio::test]
async fn sigterm_ends_the_pod() {
    let (pod, calls) = Pod::sandbox().await;
    calls
        .run(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    let agent = testing::guard::Process::new(pod.pid());
    assert!(agent.signal(rustix::process::Signal::TERM));
    std::mem::forget(agent);
    pod.assert_gone().await;
}

#[tokio::test]
async fn an_agent_replaces_a_stale_socket_and_refuses_a_busy_one() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_coffer-agent"))
        .arg("--listen")
        .arg(format!("unix://{}", pod.socket().display()))
        .output()
        .unwrap();
    assert!(!second.status.success());
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(error.contains("another process is listening"), "{error}");
    pod.destroy(calls).await;
}

#[tokio::test]
async fn an_inherited_socket_is_served_at_once() {
    use std::os::unix::net::UnixListener;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_coffer-agent"))
        .args(["--listen", "fd://0", "--state"])
        .arg(dir.path().join("state"))
        .stdin(std::os::fd::OwnedFd::from(listener))
        .spawn()
        .unwrap();
    let _guard = testing::guard::Process::child(child);
    // No waiting: the connection is accepted as soon as the agent gets to it.
    let client = agent_api::connect(&path).await.unwrap();
    let health = grpc::HealthClient::new(client);
    health
        .check(soon(), &grpc::CheckRequest::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn twenty_pods_cost_little_each() {
    let mut pods = Vec::new();
    for _ in 0..20 {
        let (pod, calls) = Pod::sandbox().await;
        calls
            .run(&pod.container("c1", &["sleep", "100"], |_| {}))
            .await;
        calls.sh("c1", "true").await;
        pods.push((pod, calls));
    }
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let mut total = 0;
    for (pod, _) in &pods {
        let smaps = fs::read_to_string(format!("/proc/{}/smaps_rollup", pod.pid())).unwrap();
        let field = |name: &str| -> u64 {
            let line = smaps.lines().find(|l| l.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        total += field("Pss:");
        if std::ptr::eq(pod, &raw const pods[0].0) {
            println!(
                "one agent: RSS {} KiB, PSS {} KiB, private {} KiB",
                field("Rss:"),
                field("Pss:"),
                field("Private_Dirty:") + field("Private_Clean:")
            );
        }
    }
    let each = total / 20;
    println!("20 agents with one container each: PSS {each} KiB per agent");
    // Unoptimised code has large frames and tables; COFFER_AGENT names another build to measure.
    let limit = match std::env::var_os("COFFER_AGENT") {
        None if cfg!(debug_assertions) => 1536,
        _ => 600,
    };
    assert!(each <= limit, "{each} KiB, limit {limit}");
    for (pod, calls) in pods {
        pod.destroy(calls).await;
    }
}

#[tokio::test]
async fn storages_of_a_killed_agent_are_unmounted_by_the_next() {
    let mut pod = Pod::start();
    let calls = pod.connect().await;
    let point = pod.dir.path().join("scratch");
    let mut request = pod.sandbox_request();
    // The next agent would not know of a cgroup.
    request.cgroup_parent.clear();
    request.storages.push(agent_api::grpc::Storage {
        driver: "ephemeral".into(),
        mount_point: common::text(&point),
        ..Default::default()
    });
    calls.own.create_sandbox(soon(), &request).await.unwrap();
    let mounted = || {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.contains(&common::text(&point))
    };
    assert!(mounted());
    drop(calls);
    pod.kill_agent();
    pod.start_again();
    let calls = pod.connect().await;
    // It listens before it cleans, and answers after.
    assert!(calls.state("none").await.is_none());
    assert!(!mounted() && !point.exists(), "{}", pod.agent_log());
    assert!(!pod.state("storages").exists());
    pod.destroy(calls).await;
}
