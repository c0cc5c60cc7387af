//! The calls about the machine, its files, and who may call what, on a node.
#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use agent_api::grpc;
use agent_api::ttrpc::Code;
use common::{Calls, Pod, process, soon, status, text};
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
    let stale = grpc::RemoveStaleVirtiofsShareMountsRequest {};
    a.remove_stale_virtiofs_share_mounts(soon(), &stale)
        .await
        .unwrap();
    for (code, said) in [
        status(
            a.mem_agent_memcg_set(soon(), &grpc::MemAgentMemcgConfig::default())
                .await,
        ),
        status(
            a.mem_agent_compact_set(soon(), &grpc::MemAgentCompactConfig::default())
                .await,
        ),
    ] {
        assert_eq!(code, Code::UNIMPLEMENTED);
        assert!(said.contains("MemAgent"), "{said}");
    }
    let details = grpc::GuestDetailsRequest::default();
    let details = a.get_guest_details(soon(), &details).await.unwrap();
    let agent = details.agent_details.unwrap();
    for name in ["blk", "scsi", "vfio-pci"] {
        assert!(agent.device_handlers.contains(&name.to_owned()), "{name}");
    }
    assert!(agent.storage_handlers.contains(&"virtio-fs".to_owned()));
    pod.destroy(calls).await;
}

#[tokio::test]
async fn files_are_copied_below_the_pods_directory_only() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let base = pod.dir.path().join("state/files");
    let copy = async |path: String, offset: i64, data: &[u8]| {
        let request = grpc::CopyFileRequest {
            path,
            file_size: 10,
            file_mode: 0o100_640,
            dir_mode: 0o755,
            uid: 3,
            gid: 4,
            offset,
            data: data.to_vec(),
        };
        calls.agent.copy_file(soon(), &request).await
    };
    let path = base.join("dir/file");
    copy(text(&path), 0, b"01234").await.unwrap();
    copy(text(&path), 5, b"56789").await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"0123456789");
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o7777),
        (3, 4, 0o640)
    );
    for outside in [
        text(&base.join("../exit.json")),
        "/run/kata-containers/shared/containers/x".into(),
        "/etc/coffer-test".into(),
    ] {
        let (code, said) = status(copy(outside, 0, b"x").await);
        assert_eq!(code, Code::INVALID_ARGUMENT, "{said}");
    }
    fs::remove_dir_all(&base).unwrap();
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_policy_lets_pass_what_it_names() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let set = async |policy: &str| {
        let request = grpc::SetPolicyRequest {
            policy: policy.into(),
        };
        calls.agent.set_policy(soon(), &request).await
    };
    let (code, said) = status(set("default AllowRequestsFailingPolicy := false").await);
    assert_eq!(code, Code::INVALID_ARGUMENT, "{said}");
    set("SetPolicy\nListInterfacesRequest # by its request\nDestroySandbox")
        .await
        .unwrap();
    let list = grpc::ListInterfacesRequest {};
    calls.agent.list_interfaces(soon(), &list).await.unwrap();
    let routes = calls
        .agent
        .list_routes(soon(), &grpc::ListRoutesRequest {})
        .await;
    let (code, said) = status(routes);
    assert_eq!(code, Code::PERMISSION_DENIED);
    assert!(said.contains("ListRoutes"), "{said}");
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
async fn users_by_name_are_the_containers_own() {
    let (pod, calls) = Pod::sandbox().await;
    let etc = pod.dir.path().join("lower/etc");
    fs::create_dir_all(&etc).unwrap();
    fs::write(
        etc.join("passwd"),
        "root:x:0:0::/:/bin/sh\nweb:x:33:34::/:/bin/sh\n",
    )
    .unwrap();
    fs::write(etc.join("group"), "web:x:34:\nlog:x:36:\n").unwrap();
    calls
        .run(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    let exec = async |exec: &str, user: &str, gid: &str, username: &str| {
        let request = grpc::ExecProcessRequest {
            container_id: "c1".into(),
            exec_id: exec.into(),
            string_user: (!user.is_empty()).then(|| grpc::StringUser {
                uid: user.into(),
                gid: gid.into(),
                additional_gids: vec!["log".into()],
            }),
            process: Some(grpc::Process {
                args: vec!["sh".into(), "-c".into(), "echo $(id -u) $(id -G)".into()],
                env: vec!["PATH=/bin".into()],
                cwd: "/".into(),
                user: Some(grpc::User {
                    username: username.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        calls.agent.exec_process(soon(), &request).await?;
        let read = grpc::ReadStreamRequest {
            container_id: "c1".into(),
            exec_id: exec.into(),
            len: 100,
        };
        let read = calls.agent.read_stdout(soon(), &read).await?;
        Ok::<_, agent_api::ttrpc::Error>(String::from_utf8(read.data).unwrap())
    };
    assert_eq!(exec("e1", "web", "", "").await.unwrap(), "33 34 36\n");
    assert_eq!(exec("e2", "12", "log", "").await.unwrap(), "12 36\n");
    assert_eq!(exec("e3", "", "", "web").await.unwrap(), "33 34\n");
    let (code, said) = status(exec("e4", "ghost", "", "").await);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(said.contains("ghost"), "{said}");
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_termination_log_is_read_after_the_end() {
    let (pod, calls) = Pod::sandbox().await;
    let file = pod.dir.path().join("termination");
    fs::write(&file, "").unwrap();
    let script = "echo why it ended >/dev/termination-log";
    let request = pod.container("c1", &["sh", "-c", script], |spec| {
        let mounts = spec["mounts"].as_array_mut().unwrap();
        mounts.push(json!({
            "destination": "/dev/termination-log", "type": "bind", "source": text(&file),
            "options": ["bind"],
        }));
    });
    calls.run(&request).await;
    calls.wait("c1").await;
    let ask = async |kind: &str, id: &str| {
        let request = grpc::GetDiagnosticDataRequest {
            log_type: kind.into(),
            container_id: id.into(),
        };
        calls.agent.get_diagnostic_data(soon(), &request).await
    };
    let data = ask("termination-log", "c1").await.unwrap().data;
    assert_eq!(data, "why it ended\n");
    assert_eq!(
        status(ask("nonsense", "c1").await).0,
        Code::INVALID_ARGUMENT
    );
    assert_eq!(
        status(ask("termination-log", "c9").await).0,
        Code::NOT_FOUND
    );
    pod.destroy(calls).await;
}

#[tokio::test]
async fn a_directory_of_one_container_is_seen_in_another() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    published(&pod, &calls, grpc::CreateSandboxRequest::default()).await;
    let named = |id: &str, name: &str| {
        pod.container(id, &["sleep", "100"], |spec| {
            spec["annotations"] = json!({ "io.kubernetes.cri.container-name": name });
            spec["linux"]["cgroupsPath"] = json!(format!("/{}/{id}", pod.name));
        })
    };
    calls.run(&named("c1", "first")).await;
    assert_eq!(
        calls
            .sh("c1", "mkdir /shared; echo hello >/shared/f")
            .await
            .0,
        0
    );
    let wire = |id: &str, from: &str| grpc::CreateContainerRequest {
        container_id: id.into(),
        oci: Some(spec(&text(&pod.dir.path().join("lower")), &pod.name, id)),
        shared_mounts: vec![grpc::SharedMount {
            name: "share".into(),
            src_ctr: from.into(),
            src_path: "/shared".into(),
            dst_ctr: id.into(),
            dst_path: "/seen".into(),
        }],
        ..Default::default()
    };
    calls
        .agent
        .create_container(soon(), &wire("c2", "first"))
        .await
        .unwrap();
    calls.start("c2").await;
    assert_eq!(
        calls.sh("c2", "cat /seen/f; echo more >/seen/g").await.1,
        "hello\n"
    );
    assert_eq!(calls.sh("c1", "cat /shared/g").await.1, "more\n");
    calls.remove("c2").await;
    let refused = calls
        .agent
        .create_container(soon(), &wire("c3", "nobody"))
        .await;
    assert_eq!(status(refused).0, Code::NOT_FOUND);
    pod.destroy(calls).await;
}

/// A spec on the wire, with a root that is a directory.
fn spec(root: &str, pod: &str, id: &str) -> grpc::Spec {
    let words: serde_json::Value = serde_json::from_slice(&process(&["sleep", "100"])).unwrap();
    let args = words["args"].as_array().unwrap();
    grpc::Spec {
        version: "1.0.2".into(),
        process: Some(grpc::Process {
            args: args
                .iter()
                .map(|a| a.as_str().unwrap().to_owned())
                .collect(),
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            user: Some(grpc::User::default()),
            ..Default::default()
        }),
        root: Some(grpc::Root {
            path: root.into(),
            readonly: false,
        }),
        mounts: vec![grpc::Mount {
            destination: "/proc".into(),
            source: "proc".into(),
            r#type: "proc".into(),
            options: Vec::new(),
        }],
        linux: Some(grpc::Linux {
            cgroups_path: format!("/{pod}/{id}"),
            namespaces: vec![grpc::LinuxNamespace {
                r#type: "mount".into(),
                path: String::new(),
            }],
            ..Default::default()
        }),
        ..Default::default()
    }
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
