//! What the socket answers when there are no pods.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here fails the test"
)]

mod common;

use std::{fs, io::ErrorKind};

use common::{Daemon, Place};
use cri_api::v1;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn version_config_and_status_are_what_a_kubelet_needs() {
    let place = Place::new();
    let daemon = Daemon::start(&place).await;
    let mut runtime = daemon.runtime().await;
    let version = runtime
        .version(v1::VersionRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(version.version, "0.1.0");
    assert_eq!(version.runtime_name, "coffer");
    assert!(!version.runtime_version.is_empty() && !version.runtime_api_version.is_empty());

    let config = runtime
        .runtime_config(v1::RuntimeConfigRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        config.linux.unwrap().cgroup_driver,
        i32::from(v1::CgroupDriver::Cgroupfs)
    );

    let status = runtime
        .status(v1::StatusRequest { verbose: true })
        .await
        .unwrap()
        .into_inner();
    let kinds: Vec<_> = status
        .status
        .unwrap()
        .conditions
        .into_iter()
        .map(|c| c.r#type)
        .collect();
    assert_eq!(kinds, ["RuntimeReady", "NetworkReady"]);
    assert_eq!(status.runtime_handlers[0].name, "");
    assert!(status.runtime_handlers[0].features.is_some());
    assert!(status.features.unwrap().supplemental_groups_policy);
    assert_eq!(status.info["stateDir"], place.state().to_str().unwrap());

    let info = daemon
        .images()
        .await
        .image_fs_info(v1::ImageFsInfoRequest {})
        .await
        .unwrap();
    let info = info.into_inner();
    for usage in [&info.image_filesystems[0], &info.container_filesystems[0]] {
        assert!(usage.used_bytes.is_some() && usage.timestamp > 0);
        assert!(fs::exists(&usage.fs_id.as_ref().unwrap().mountpoint).unwrap());
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_ids_are_not_found_or_nothing_to_do() {
    let place = Place::new();
    let daemon = Daemon::start(&place).await;
    let mut runtime = daemon.runtime().await;
    let id = "f".repeat(64);
    let stop = v1::StopPodSandboxRequest {
        pod_sandbox_id: id.clone(),
    };
    runtime.stop_pod_sandbox(stop).await.unwrap();
    let remove = v1::RemovePodSandboxRequest {
        pod_sandbox_id: id.clone(),
    };
    runtime.remove_pod_sandbox(remove).await.unwrap();
    let stop = v1::StopContainerRequest {
        container_id: id.clone(),
        timeout: 1,
    };
    runtime.stop_container(stop).await.unwrap();
    let remove = v1::RemoveContainerRequest {
        container_id: id.clone(),
    };
    runtime.remove_container(remove).await.unwrap();

    let status = v1::PodSandboxStatusRequest {
        pod_sandbox_id: id.clone(),
        verbose: false,
    };
    let error = runtime.pod_sandbox_status(status).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().contains(&id));
    let status = v1::ContainerStatusRequest {
        container_id: id.clone(),
        verbose: false,
    };
    assert_eq!(
        runtime.container_status(status).await.unwrap_err().code(),
        Code::NotFound
    );
    let start = v1::StartContainerRequest {
        container_id: id.clone(),
    };
    assert_eq!(
        runtime.start_container(start).await.unwrap_err().code(),
        Code::NotFound
    );
    let status = v1::PodSandboxStatusRequest::default();
    let error = runtime.pod_sandbox_status(status).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);

    let mut images = daemon.images().await;
    let image = Some(v1::ImageSpec {
        image: "no/such:1".into(),
        ..Default::default()
    });
    let status = v1::ImageStatusRequest {
        image: image.clone(),
        verbose: false,
    };
    assert_eq!(
        images
            .image_status(status)
            .await
            .unwrap()
            .into_inner()
            .image,
        None
    );
    images
        .remove_image(v1::RemoveImageRequest { image })
        .await
        .unwrap();
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_not_there_say_their_name() {
    let place = Place::new();
    let daemon = Daemon::start(&place).await;
    let mut runtime = daemon.runtime().await;
    let said = [
        (
            "CheckpointContainer",
            runtime
                .checkpoint_container(v1::CheckpointContainerRequest::default())
                .await
                .err(),
        ),
        (
            "CheckpointPod",
            runtime
                .checkpoint_pod(v1::CheckpointPodRequest::default())
                .await
                .err(),
        ),
        (
            "RestorePod",
            runtime
                .restore_pod(v1::RestorePodRequest::default())
                .await
                .err(),
        ),
    ];
    for (name, error) in said {
        let error = error.unwrap_or_else(|| panic!("{name} answered"));
        assert_eq!(error.code(), Code::Unimplemented, "{name}");
        assert!(
            error
                .message()
                .starts_with(&format!("{name} is not implemented")),
            "{error}"
        );
    }
    daemon.stop().await;
}

/// As old clients do: the socket's path as `:authority`.
#[tokio::test(flavor = "multi_thread")]
async fn an_odd_authority_is_accepted() {
    let place = Place::new();
    let daemon = Daemon::start(&place).await;
    for authority in [
        "/run/coffer/coffer.sock",
        "%2Frun%2Fcoffer.sock",
        "localhost",
        "a b",
    ] {
        let mut stream = UnixStream::connect(&daemon.socket).await.unwrap();
        stream.write_all(&version_call(authority)).await.unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while !answer.windows(6).any(|part| part == b"coffer") {
            match stream.read(&mut buffer).await {
                Ok(0) => panic!("{authority:?}: the connection was closed: {answer:x?}"),
                Ok(read) => answer.extend_from_slice(&buffer[..read]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => panic!("{authority:?}: {e}"),
            }
            // RST_STREAM is frame type 3.
            assert!(!is_reset(&answer), "{authority:?}: the stream was reset");
        }
    }
    daemon.stop().await;
}

fn is_reset(mut bytes: &[u8]) -> bool {
    while let [a, b, c, kind, rest @ ..] = bytes {
        if *kind == 3 {
            return true;
        }
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        bytes = rest.get(5 + length..).unwrap_or_default();
    }
    false
}

/// An HTTP/2 connection with one call of Version, byte by byte.
fn version_call(authority: &str) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let text = |first: &[u8], value: &str| {
        [
            first,
            &[u8::try_from(value.len()).unwrap()],
            value.as_bytes(),
        ]
        .concat()
    };
    let headers = [
        vec![0x83, 0x86], // :method POST, :scheme http
        text(&[0x44], "/runtime.v1.RuntimeService/Version"),
        text(&[0x41], authority),
        text(&[0x5f], "application/grpc"),
        text(&[0x40, 2, b't', b'e'], "trailers"),
    ]
    .concat();
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &headers),
        frame(0, 1, 1, &[0, 0, 0, 0, 0]),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_is_refused_by_pid() {
    let place = Place::new();
    let daemon = Daemon::start(&place).await;
    let error = cri::Runtime::open(place.options())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    let mut other = place.options();
    other.root = place.dir.path().join("other-root");
    assert!(
        cri::Runtime::open(other).await.is_err(),
        "the state directory is taken, too"
    );
    daemon.stop().await;
    cri::Runtime::open(place.options()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_are_set_aside_and_the_daemon_starts() {
    let place = Place::new();
    let id = "ab".repeat(32);
    let dir = place.state().join("pods").join(&id);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("pod.json"), "{\"version\": 1, \"id\": \"").unwrap();
    let empty = place.state().join("pods").join("cd".repeat(32));
    fs::create_dir_all(&empty).unwrap();
    let orphan = place.root().join("containers").join(&id);
    fs::create_dir_all(orphan.join("upper")).unwrap();

    let daemon = Daemon::start(&place).await;
    let pods = daemon
        .runtime()
        .await
        .list_pod_sandbox(v1::ListPodSandboxRequest::default())
        .await
        .unwrap();
    assert!(pods.into_inner().items.is_empty());
    assert!(
        place
            .state()
            .join("corrupt")
            .join(format!("{id}-pod.json.corrupt"))
            .exists()
    );
    assert!(!dir.exists() && !empty.exists() && !orphan.exists());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_cannot_be_written_is_said_by_status_and_by_calls() {
    let place = Place::new();
    let daemon = Daemon::start(&place).await;
    let mut runtime = daemon.runtime().await;
    // Root ignores modes: a file in the place of the directory stops it, too.
    let pods = place.state().join("pods");
    fs::remove_dir(&pods).unwrap();
    fs::write(&pods, "").unwrap();
    let status = runtime
        .status(v1::StatusRequest::default())
        .await
        .unwrap()
        .into_inner();
    let ready = &status.status.unwrap().conditions[0];
    assert!(!ready.status);
    assert_eq!(ready.reason, "StateNotWritable");
    assert!(
        ready.message.contains(pods.to_str().unwrap()),
        "{}",
        ready.message
    );

    let config = Some(common::pod_config("p", place.dir.path()));
    let request = v1::RunPodSandboxRequest {
        config,
        runtime_handler: String::new(),
    };
    let error = runtime.run_pod_sandbox(request.clone()).await.unwrap_err();
    assert!(error.message().contains(pods.to_str().unwrap()), "{error}");
    let list = v1::ListPodSandboxRequest::default();
    assert!(
        runtime
            .list_pod_sandbox(list)
            .await
            .unwrap()
            .into_inner()
            .items
            .is_empty()
    );

    fs::remove_file(&pods).unwrap();
    fs::create_dir(&pods).unwrap();
    let status = runtime
        .status(v1::StatusRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_ne!(
        status.status.unwrap().conditions[0].reason,
        "StateNotWritable"
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_agent_program_no_pod_starts_and_nothing_is_left() {
    let mut place = Place::new();
    place.agent = Some("/nonexistent/coffer-agent".into());
    let before =
        testing::leaks::Snapshot::take(&[place.dir.path().to_str().unwrap(), &place.cgroup_root]);
    let daemon = Daemon::start(&place).await;
    let mut runtime = daemon.runtime().await;
    let status = runtime
        .status(v1::StatusRequest::default())
        .await
        .unwrap()
        .into_inner();
    let ready = &status.status.unwrap().conditions[0];
    assert_eq!(
        (ready.status, ready.reason.as_str()),
        (false, "AgentMissing")
    );
    let config = Some(common::pod_config("p", place.dir.path()));
    let request = v1::RunPodSandboxRequest {
        config,
        runtime_handler: String::new(),
    };
    let error = runtime.run_pod_sandbox(request).await.unwrap_err();
    assert!(
        error.message().contains("/nonexistent/coffer-agent"),
        "{error}"
    );
    assert_eq!(fs::read_dir(place.state().join("pods")).unwrap().count(), 0);
    before.assert_clean();
    daemon.stop().await;
}
