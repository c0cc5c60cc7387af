//! The published AgentService alone, as a Kata-style client uses it.
#![expect(clippy::unwrap_used, reason = "a failure fails the test")]

mod common;

use std::fs;

use agent_api::grpc;
use agent_api::ttrpc::Code;
use common::{Calls, Pod, soon, status, text};

fn spec(root: &str, args: &[&str]) -> grpc::Spec {
    let all = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let mount = |kind: &str, to: &str, options: &[&str]| grpc::Mount {
        destination: to.into(),
        source: kind.into(),
        r#type: kind.into(),
        options: all(options),
    };
    let namespace = |kind: &str| grpc::LinuxNamespace {
        r#type: kind.into(),
        path: String::new(),
    };
    grpc::Spec {
        version: "1.0.2".into(),
        process: Some(grpc::Process {
            args: all(args),
            env: all(&["PATH=/bin:/sbin"]),
            cwd: "/".into(),
            user: Some(grpc::User::default()),
            capabilities: Some(grpc::LinuxCapabilities {
                bounding: all(&["CAP_KILL"]),
                effective: all(&["CAP_KILL"]),
                permitted: all(&["CAP_KILL"]),
                ..Default::default()
            }),
            no_new_privileges: true,
            ..Default::default()
        }),
        root: Some(grpc::Root {
            path: root.into(),
            readonly: false,
        }),
        mounts: vec![
            mount("proc", "/proc", &[]),
            mount("tmpfs", "/dev", &["nosuid", "mode=755", "size=65536k"]),
            mount(
                "devpts",
                "/dev/pts",
                &["newinstance", "ptmxmode=0666", "mode=0620"],
            ),
        ],
        linux: Some(grpc::Linux {
            namespaces: vec![namespace("mount"), namespace("ipc"), namespace("uts")],
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn sandbox(pidns: bool) -> (Pod, Calls) {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let request = grpc::CreateSandboxRequest {
        sandbox_id: pod.name.clone(),
        hostname: "kata".into(),
        sandbox_pidns: pidns,
        ..Default::default()
    };
    calls.agent.create_sandbox(soon(), &request).await.unwrap();
    (pod, calls)
}

impl Pod {
    fn published(&self, id: &str, args: &[&str]) -> grpc::CreateContainerRequest {
        let mut spec = spec(&text(&self.dir.path().join("lower")), args);
        spec.linux.as_mut().unwrap().cgroups_path = format!("/{}/{id}", self.name);
        grpc::CreateContainerRequest {
            container_id: id.into(),
            oci: Some(spec),
            ..Default::default()
        }
    }
}

async fn output(calls: &Calls, id: &str, exec: &str) -> String {
    let request = grpc::ReadStreamRequest {
        container_id: id.into(),
        exec_id: exec.into(),
        len: 4096,
    };
    let mut all = Vec::new();
    loop {
        let data = calls
            .agent
            .read_stdout(soon(), &request)
            .await
            .unwrap()
            .data;
        if data.is_empty() {
            return String::from_utf8(all).unwrap();
        }
        all.extend(data);
    }
}

async fn wait(calls: &Calls, id: &str, exec: &str) -> i32 {
    let request = grpc::WaitProcessRequest {
        container_id: id.into(),
        exec_id: exec.into(),
    };
    calls
        .agent
        .wait_process(soon(), &request)
        .await
        .unwrap()
        .status
}

#[tokio::test]
async fn a_container_and_an_exec_over_the_published_calls() {
    let (pod, calls) = sandbox(false).await;
    let request = pod.published(
        "c1",
        &["sh", "-c", "hostname; read line; echo $line; exit 6"],
    );
    calls
        .agent
        .create_container(soon(), &request)
        .await
        .unwrap();
    let again = calls.agent.create_container(soon(), &request).await;
    assert_eq!(status(again).0, Code::ALREADY_EXISTS);
    calls.start("c1").await;
    let exec = grpc::ExecProcessRequest {
        container_id: "c1".into(),
        exec_id: "e1".into(),
        process: Some(grpc::Process {
            args: vec![
                "sh".into(),
                "-c".into(),
                "echo from exec; grep CapEff /proc/self/status; exit 2".into(),
            ],
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            user: Some(grpc::User::default()),
            ..Default::default()
        }),
        ..Default::default()
    };
    calls.agent.exec_process(soon(), &exec).await.unwrap();
    // CAP_KILL, as the container's first process: the request says nothing of capabilities.
    let said = output(&calls, "c1", "e1").await;
    assert_eq!(said, "from exec\nCapEff:\t0000000000000020\n");
    assert_eq!(wait(&calls, "c1", "e1").await, 2);
    let write = grpc::WriteStreamRequest {
        container_id: "c1".into(),
        exec_id: "c1".into(),
        data: b"typed\n".to_vec(),
    };
    assert_eq!(
        calls.agent.write_stdin(soon(), &write).await.unwrap().len,
        6
    );
    assert_eq!(output(&calls, "c1", "c1").await, "kata\ntyped\n");
    assert_eq!(wait(&calls, "c1", "c1").await, 6);
    assert_eq!(wait(&calls, "c1", "c1").await, 6);
    calls.remove("c1").await;
    pod.destroy(calls).await;
}

#[tokio::test]
async fn storages_are_shared_by_mount_point_and_unmounted_by_the_last() {
    let (pod, calls) = sandbox(false).await;
    let point = pod.dir.path().join("shared");
    let storage = grpc::Storage {
        driver: "ephemeral".into(),
        source: "tmpfs".into(),
        fstype: "tmpfs".into(),
        options: vec!["size=1m".into(), "mode=0770".into()],
        mount_point: text(&point),
        ..Default::default()
    };
    let mounted = || {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        mounts
            .lines()
            .filter(|l| l.contains(&*text(&point)))
            .count()
    };
    for id in ["a1", "b1"] {
        let mut request = pod.published(
            id,
            &["sh", "-c", "cat /data/* 2>/dev/null; echo x >/data/f"],
        );
        request.storages.push(storage.clone());
        request.oci.as_mut().unwrap().mounts.push(grpc::Mount {
            destination: "/data".into(),
            source: text(&point),
            r#type: "bind".into(),
            options: vec!["rbind".into()],
        });
        calls
            .agent
            .create_container(soon(), &request)
            .await
            .unwrap();
        calls.start(id).await;
        assert_eq!(
            output(&calls, id, id).await,
            if id == "a1" { "" } else { "x\n" }
        );
        assert_eq!(wait(&calls, id, id).await, 0);
        assert_eq!(mounted(), 1);
    }
    calls.remove("a1").await;
    assert_eq!(mounted(), 1);
    calls.remove("b1").await;
    assert_eq!(mounted(), 0);
    let mut request = pod.published("c1", &["true"]);
    request.storages.push(grpc::Storage {
        driver: "nonsense".into(),
        ..storage
    });
    let (code, text) = status(calls.agent.create_container(soon(), &request).await);
    assert_eq!(code, Code::INVALID_ARGUMENT);
    assert!(text.contains("nonsense"), "{text}");
    pod.destroy(calls).await;
}

#[tokio::test]
async fn sandbox_pidns_decides_the_pid_namespace() {
    let (pod, calls) = sandbox(true).await;
    for (id, shared) in [("a1", true), ("b1", true), ("c1", false)] {
        let mut request = pod.published(id, &["sleep", "100"]);
        request.sandbox_pidns = shared;
        calls
            .agent
            .create_container(soon(), &request)
            .await
            .unwrap();
        calls.start(id).await;
    }
    let mut namespaces = Vec::new();
    for id in ["a1", "b1", "c1"] {
        let pid = calls.state(id).await.unwrap().pid;
        namespaces.push(fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap());
    }
    assert_eq!(namespaces[0], namespaces[1]);
    assert_ne!(namespaces[0], namespaces[2]);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn what_would_change_the_host_is_refused() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let request = grpc::CreateSandboxRequest {
        kernel_modules: vec![grpc::KernelModule {
            name: "loop".into(),
            parameters: vec![],
        }],
        ..Default::default()
    };
    let refused = calls.agent.create_sandbox(soon(), &request).await;
    assert_eq!(status(refused).0, Code::FAILED_PRECONDITION);
    pod.destroy(calls).await;
}

#[tokio::test]
async fn details_name_what_there_is() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let request = grpc::GuestDetailsRequest {
        mem_block_size: true,
        mem_hotplug_probe: true,
    };
    let details = calls
        .agent
        .get_guest_details(soon(), &request)
        .await
        .unwrap();
    let agent = details.agent_details.unwrap();
    assert!(agent.supports_seccomp && !agent.init_daemon);
    assert!(agent.storage_handlers.contains(&"overlayfs".to_owned()));
    pod.destroy(calls).await;
}
