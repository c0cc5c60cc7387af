//! What a node is not changed by, who may call what, and what the sandbox brings; more is in `published`.
#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use agent_api::grpc;
use agent_api::ttrpc::Code;
use common::{Calls, Pod, soon, status, text};
use serde_json::json;

#[tokio::test]
async fn a_nodes_clock_cpus_memory_and_swap_are_left_alone() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let a = &calls.agent;
    let online = grpc::OnlineCpuMemRequest::default();
    let reseed = grpc::ReseedRandomDevRequest { data: vec![1; 32] };
    let probe = grpc::MemHotplugByProbeRequest {
        mem_hotplug_probe_addr: vec![1 << 40],
    };
    let clock = grpc::SetGuestDateTimeRequest { sec: 1, usec: 0 };
    let swap = grpc::AddSwapRequest { pci_path: vec![2] };
    let path = grpc::AddSwapPathRequest {
        path: "/dev/zero".into(),
    };
    for (code, said) in [
        status(a.online_cpu_mem(soon(), &online).await),
        status(a.reseed_random_dev(soon(), &reseed).await),
        status(a.mem_hotplug_by_probe(soon(), &probe).await),
        status(a.set_guest_date_time(soon(), &clock).await),
        status(a.add_swap(soon(), &swap).await),
        status(a.add_swap_path(soon(), &path).await),
    ] {
        assert_eq!(code, Code::FAILED_PRECONDITION, "{said}");
        assert!(said.contains("would change the node"), "{said}");
    }
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_policy_holds_for_both_services_on_every_connection_and_for_good() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let set = async |policy: &str| {
        let request = grpc::SetPolicyRequest {
            policy: policy.into(),
        };
        calls.agent.set_policy(soon(), &request).await
    };
    set("SetPolicy\nListInterfacesRequest # by its request\nDestroySandbox")
        .await
        .unwrap();
    let list = grpc::ListInterfacesRequest {};
    calls.agent.list_interfaces(soon(), &list).await.unwrap();
    let own = calls
        .own
        .list_containers(soon(), &agent_api::sandbox::ListContainersRequest {})
        .await;
    assert_eq!(status(own).0, Code::PERMISSION_DENIED);
    // Another connection is no way around; health is always told; output reads as its end.
    let other = pod.connect().await;
    let check = grpc::CheckRequest::default();
    other.health.check(soon(), &check).await.unwrap();
    let read = grpc::ReadStreamRequest::default();
    let read = other.agent.read_stdout(soon(), &read).await.unwrap();
    assert!(read.data.is_empty());
    set("DestroySandbox").await.unwrap();
    assert_eq!(status(set("*").await).0, Code::PERMISSION_DENIED);
    pod.destroy(calls).await;
}

async fn published(pod: &Pod, calls: &Calls, request: grpc::CreateSandboxRequest) {
    let request = grpc::CreateSandboxRequest {
        sandbox_id: pod.name.clone(),
        ..request
    };
    calls.agent.create_sandbox(soon(), &request).await.unwrap();
}

#[tokio::test]
async fn resolvers_and_hooks_of_the_sandbox_reach_its_containers() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let hooks = pod.dir.path().join("hooks");
    for phase in ["prestart", "poststart", "poststop"] {
        let dir = hooks.join(phase);
        fs::create_dir_all(&dir).unwrap();
        let said = pod.dir.path().join("said");
        let script = format!(
            "#!/bin/sh\necho \"$(basename $0) $1\" >>{}\n",
            said.display()
        );
        fs::write(dir.join("hook"), script).unwrap();
        fs::set_permissions(dir.join("hook"), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let request = grpc::CreateSandboxRequest {
        dns: vec!["nameserver 192.0.2.53".into(), "search example.org".into()],
        guest_hook_path: text(&hooks),
        ..Default::default()
    };
    published(&pod, &calls, request).await;
    let place = json!(format!("/{}/c1", pod.name));
    let request = pod.container("c1", &["sleep", "100"], |spec| {
        spec["linux"]["cgroupsPath"] = place;
    });
    calls.run(&request).await;
    let resolver = calls.sh("c1", "cat /etc/resolv.conf").await.1;
    assert_eq!(resolver, "nameserver 192.0.2.53\nsearch example.org\n");
    calls.remove("c1").await;
    let said = fs::read_to_string(pod.dir.path().join("said")).unwrap();
    assert_eq!(said, "hook prestart\nhook poststart\nhook poststop\n");
    pod.destroy(calls).await;
}

#[tokio::test]
async fn shims_of_kata_3_2_get_its_forms() {
    let pod = Pod::start_with(&["--forms", "kata-3.2"]);
    let calls = pod.connect().await;
    let request = pod.sandbox_request();
    calls.own.create_sandbox(soon(), &request).await.unwrap();
    let mut request = pod.container("c1", &["sh", "-c", "echo hi; exec sleep 100"], |_| {});
    request.log = None;
    calls.run(&request).await;
    let read = grpc::ReadStreamRequest {
        container_id: "c1".into(),
        exec_id: "c1".into(),
        len: 100,
    };
    let said = calls.agent.read_stdout(soon(), &read).await.unwrap();
    assert_eq!(said.data, b"hi\n");
    let resize = grpc::TtyWinResizeRequest {
        container_id: "c1".into(),
        exec_id: "c1".into(),
        row: 1,
        column: 1,
    };
    let refused = calls.agent.tty_win_resize(soon(), &resize).await;
    assert_eq!(status(refused).0, Code::UNAVAILABLE);
    // An empty exec id is the first process.
    calls.signal("c1", "", 9).await.unwrap();
    let wait = grpc::WaitProcessRequest {
        container_id: "c1".into(),
        exec_id: String::new(),
    };
    let ended = calls.agent.wait_process(soon(), &wait).await.unwrap();
    assert_eq!(ended.status, 137);
    let (code, text) = status(calls.agent.read_stdout(soon(), &read).await);
    assert_eq!((code, text.as_str()), (Code::INTERNAL, "read meet eof"));
    pod.destroy(calls).await;
}
