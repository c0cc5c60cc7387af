//! The agent as the first process of a machine: a pod's life by the published calls, over a virtio socket.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod wire;

use agent_api::grpc;
use agent_api::ttrpc::Code;
use vm_tests::agent::{AgentVm, soon};
use wire::{Pod, code_of};

#[tokio::test]
async fn a_pod_lives_in_a_machine_that_powers_off_at_its_end() {
    let mut vm = AgentVm::boot("agent.log=debug");
    let calls = vm.connect(1024).await;
    let request = grpc::CheckRequest::default();
    let health = calls.health.check(soon(), &request).await.unwrap();
    assert_eq!(
        health.status(),
        grpc::health_check_response::ServingStatus::Serving
    );
    let version = calls.health.version(soon(), &request).await.unwrap();
    assert_eq!(version.agent_version, env!("CARGO_PKG_VERSION"));
    let details = grpc::GuestDetailsRequest::default();
    let details = calls
        .agent
        .get_guest_details(soon(), &details)
        .await
        .unwrap();
    assert!(details.agent_details.unwrap().init_daemon);

    let pod = Pod::create(calls, "pod-in-a-machine").await;
    pod.start(
        "talks",
        &[
            "sh",
            "-c",
            "hostname; echo bad >&2; read line; echo got $line; exit 3",
        ],
    )
    .await;
    pod.write("talks", "words\n").await;
    assert_eq!(
        pod.output("talks", "talks", false).await,
        "pod-in-a-machine\ngot words\n"
    );
    assert_eq!(pod.output("talks", "talks", true).await, "bad\n");
    assert_eq!(pod.wait("talks", "talks").await, 3);

    pod.start("stays", &["sleep", "1000"]).await;
    // The root is the container's own, one cgroup2 holds every controller, and lo is the machine's.
    let script = "grep -c . /proc/self/cgroup; ls /; ip -o addr show lo | grep -o 127.0.0.1";
    let wanted =
        "1\nbin\ndev\netc\nhome\nproc\nroot\nrun\nsbin\nsys\ntmp\nusr\nvar\nwww\n127.0.0.1\n";
    pod.exec("stays", "look", &["sh", "-c", script]).await;
    assert_eq!(pod.output("stays", "look", false).await, wanted);
    assert_eq!(pod.wait("stays", "look").await, 0);
    let duplicate = pod.try_create("stays", &["true"]).await;
    assert_eq!(code_of(duplicate), Code::ALREADY_EXISTS);
    let kill = grpc::SignalProcessRequest {
        container_id: "stays".into(),
        exec_id: String::new(),
        signal: 9,
    };
    pod.calls.agent.signal_process(soon(), &kill).await.unwrap();
    assert_eq!(pod.wait("stays", "stays").await, 137);

    pod.start("left", &["sleep", "1000"]).await;
    pod.destroy().await;
    drop(pod);
    let console = vm.ended();
    assert!(console.contains("init of this machine"), "{console}");
}

#[tokio::test]
async fn a_port_and_v1_cgroups_come_from_the_kernel_command_line() {
    let mut vm =
        AgentVm::boot("agent.server_addr=vsock://-1:2000 agent.unified_cgroup_hierarchy=false");
    let calls = vm.connect(2000).await;
    let pod = Pod::create(calls, "pod-with-v1").await;
    pod.start("limited", &["sleep", "1000"]).await;
    pod.exec(
        "limited",
        "look",
        &[
            "sh",
            "-c",
            "cut -d: -f2 /proc/self/cgroup | sort | tr '\\n' ' '",
        ],
    )
    .await;
    let hierarchies = pod.output("limited", "look", false).await;
    for name in ["cpu ", "memory ", "pids ", "freezer ", "name=systemd "] {
        assert!(hierarchies.contains(name), "{hierarchies}");
    }
    pod.destroy().await;
    drop(pod);
    drop(vm.ended());
}

#[tokio::test]
async fn a_wrong_parameter_ends_the_machine_with_a_sentence() {
    let vm = AgentVm::boot("agent.hotplug_timeout=never");
    let console = vm.ended();
    let sentence = "coffer-agent: kernel parameter agent.hotplug_timeout=never: \
                    expected a number of seconds over 0";
    assert!(console.contains(sentence), "{console}");
}
