//! Bad input gets a sentence that names the object and the cause, a fitting code, and leaves
//! nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{fs, path::Path, process::Command};

use cri_api::v1;
use system_tests::{Client, Node, configs, node::program, procs};
use tonic::{Code, Status};

/// The failure of a container that should not be made.
async fn refused(node: &Node, client: &Client, config: &v1::ContainerConfig) -> Status {
    let pod_config = configs::pod("refused", &node.logs());
    let pod = client.run_pod(&pod_config).await.unwrap();
    let failure = match client.create(&pod, &pod_config, config).await {
        Err(status) => status,
        Ok(id) => {
            let status = client.start(&id).await.unwrap_err();
            client.remove(&id).await.unwrap();
            status
        }
    };
    assert!(client.containers().await.unwrap().is_empty(), "{failure:?}");
    let left = procs::in_cgroup(&format!("/{}/", node.cgroup_root));
    assert!(left.is_empty(), "{failure:?} left {left:?}");
    let layers = fs::read_dir(node.root().join("containers"))
        .unwrap()
        .count();
    assert_eq!(layers, 0, "{failure:?} left a writable layer");
    failure
}

#[track_caller]
fn says(status: &Status, code: Code, parts: &[&str]) {
    assert_eq!(status.code(), code, "{status:?}");
    for part in parts {
        assert!(
            status.message().contains(part),
            "{part:?} is not in {:?}",
            status.message()
        );
    }
}

#[tokio::test]
async fn a_missing_image_is_not_found() {
    let node = Node::started().await;
    let client = node.client().await;
    let config = configs::shell("main", "registry.test/no/such:tag", "true");
    let status = refused(&node, &client, &config).await;
    says(&status, Code::NotFound, &["registry.test/no/such:tag"]);
    node.finish().await;
}

#[tokio::test]
async fn a_bad_reference_is_invalid() {
    let node = Node::started().await;
    let client = node.client().await;
    for bad in ["UPPER/Case:tag", "a b", "x@sha256:123", "name:", ""] {
        let config = configs::shell("main", bad, "true");
        let status = refused(&node, &client, &config).await;
        says(&status, Code::InvalidArgument, &[bad]);
    }
    let import = client.import("Not A Name", b"").await.unwrap_err();
    says(&import, Code::InvalidArgument, &["Not A Name"]);
    node.finish().await;
}

#[tokio::test]
async fn an_unknown_field_value_names_the_field() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let mut pod_config = configs::pod("field", &node.logs());
    let context = pod_config
        .linux
        .as_mut()
        .unwrap()
        .security_context
        .as_mut()
        .unwrap();
    context.namespace_options.as_mut().unwrap().network = 77;
    let status = client.run_pod(&pod_config).await.unwrap_err();
    says(&status, Code::InvalidArgument, &["network", "77"]);
    let mut config = configs::shell("main", &image, "true");
    config.mounts.push(v1::Mount {
        container_path: "/x".to_owned(),
        host_path: "/tmp".to_owned(),
        propagation: 99,
        ..Default::default()
    });
    let status = refused(&node, &client, &config).await;
    says(&status, Code::InvalidArgument, &["propagation", "99"]);
    assert!(node.state().join("pods").read_dir().unwrap().count() <= 1);
    node.finish().await;
}

#[tokio::test]
async fn a_missing_log_directory_and_no_metadata_are_told() {
    let node = Node::started().await;
    let client = node.client().await;
    let mut pod_config = configs::pod("meta", &node.logs());
    pod_config.metadata = None;
    let status = client.run_pod(&pod_config).await.unwrap_err();
    says(&status, Code::InvalidArgument, &["metadata"]);
    node.assert_no_pod_files();
    node.finish().await;
}

#[tokio::test]
async fn a_binary_that_is_not_there_says_so_as_clients_expect() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = configs::command("main", &image, &["no-such-program"]);
    let status = refused(&node, &client, &config).await;
    assert!(status.message().contains("no-such-program"), "{status:?}");
    assert!(
        status
            .message()
            .contains("executable file not found in $PATH"),
        "{status:?}"
    );
    let config = configs::command("main", &image, &["/www/index.html"]);
    let status = refused(&node, &client, &config).await;
    assert!(status.message().contains("permission denied"), "{status:?}");
    // In a running container the same words.
    let pod_config = configs::pod("refused", &node.logs());
    let config = configs::shell("alive", &image, configs::FOREVER);
    let (_, container) = client.run(&pod_config, &config).await.unwrap();
    match client.exec(&container, &["no-such-program"]).await {
        Err(status) => {
            assert!(
                status.message().contains("executable file not found"),
                "{status:?}"
            );
        }
        Ok((code, _)) => panic!("exit code {code}"),
    }
    node.finish().await;
}

#[tokio::test]
async fn a_wrong_user_is_named() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let mut config = configs::shell("main", &image, "true");
    let context = config
        .linux
        .as_mut()
        .unwrap()
        .security_context
        .as_mut()
        .unwrap();
    context.run_as_username = "nobody-here".to_owned();
    let status = refused(&node, &client, &config).await;
    assert!(status.message().contains("nobody-here"), "{status:?}");
    let context = config
        .linux
        .as_mut()
        .unwrap()
        .security_context
        .as_mut()
        .unwrap();
    context.run_as_user = Some(v1::Int64Value { value: 7 });
    let status = refused(&node, &client, &config).await;
    says(&status, Code::InvalidArgument, &["run_as_user"]);
    node.finish().await;
}

#[tokio::test]
async fn a_second_daemon_on_the_same_root_is_refused_naming_the_first() {
    let node = Node::started().await;
    let output = node
        .serve()
        .stderr(std::process::Stdio::piped())
        .arg("--log-level")
        .arg("error")
        .output();
    // clap takes a flag once: the level that `serve` gives already is enough.
    let output = match output {
        Ok(output) if output.status.code() == Some(2) => node
            .serve()
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap(),
        other => other.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&node.pid().to_string()),
        "the pid {} is not in {said}",
        node.pid()
    );
    assert!(said.contains(&node.root().display().to_string()), "{said}");
    // The first one has not noticed.
    assert!(node.client().await.pods().await.unwrap().is_empty());
    assert!(node.socket().exists());
    node.finish().await;
}

#[tokio::test]
async fn an_unknown_key_in_the_configuration_is_an_error_that_names_it() {
    let node = Node::new();
    let file = node.base.join("wrong.toml");
    fs::write(&file, "sokket = \"/x\"\n").unwrap();
    let output = Command::new(program("coffer"))
        .args([Path::new("serve"), Path::new("--config"), &file])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("sokket") && said.contains("\"socket\""),
        "{said}"
    );
    node.finish().await;
}

/// A file system of 16 MiB at `path`, gone with the value.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(path: &Path) -> Tmpfs {
        fs::create_dir_all(path).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", path, "tmpfs", flags, Some(c"size=16m")).unwrap();
        Tmpfs(path.to_owned())
    }

    fn read_only(&self, on: bool) {
        let flags = if on {
            rustix::mount::MountFlags::RDONLY
        } else {
            rustix::mount::MountFlags::empty()
        };
        rustix::mount::mount_remount(&self.0, flags, "").unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn full_disk_under_the_state_fails_the_pod_and_heals() {
    let mut node = Node::new();
    let state = Tmpfs::mount(&node.state());
    node.start().await;
    let image = node.import_busybox().await;
    let client = node.client().await;
    let filler = node.state().join("filler");
    let mut file = fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(&filler)
        .unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    drop(file);
    let pod_config = configs::pod("full", &node.logs());
    let status = client.run_pod(&pod_config).await.unwrap_err();
    assert!(
        status.message().to_lowercase().contains("no space"),
        "{status:?}"
    );
    let ready = client
        .runtime
        .clone()
        .status(v1::StatusRequest { verbose: false })
        .await
        .unwrap();
    let conditions = ready.into_inner().status.unwrap().conditions;
    let runtime = conditions
        .iter()
        .find(|one| one.r#type == "RuntimeReady")
        .unwrap();
    assert!(
        !runtime.status && !runtime.message.is_empty(),
        "{runtime:?}"
    );
    fs::remove_file(&filler).unwrap();
    node.assert_no_pod_files();
    let config = configs::shell("main", &image, "exit 0");
    let (_, container) = client.run(&pod_config, &config).await.unwrap();
    assert_eq!(client.wait(&container).await.unwrap().exit_code, 0);
    for pod in client.pods().await.unwrap() {
        client.remove_pod(&pod.id).await.unwrap();
    }
    node.terminate();
    drop(state);
    node.finish().await;
}

#[tokio::test]
async fn full_disk_under_the_root_fails_the_import_and_leaves_nothing() {
    let mut node = Node::new();
    let root = Tmpfs::mount(&node.root());
    node.start().await;
    let client = node.client().await;
    let layer = testing::layer::Layer::new().file("big", 0o644, &vec![7; 40 << 20]);
    let big = node.base.join("big.tar");
    testing::image::Builder::new("test/big:1")
        .layer(layer)
        .oci_archive(&big)
        .unwrap();
    let status = client
        .import("", &fs::read(&big).unwrap())
        .await
        .unwrap_err();
    assert!(
        status.message().to_lowercase().contains("no space"),
        "{status:?}"
    );
    let left = client
        .images
        .clone()
        .list_images(v1::ListImagesRequest::default())
        .await
        .unwrap();
    assert!(left.into_inner().images.is_empty());
    assert_eq!(
        fs::read_dir(node.root().join("layers")).unwrap().count(),
        0,
        "half a layer"
    );
    // The daemon has not suffered: a smaller image fits.
    node.import_busybox().await;
    node.terminate();
    drop(root);
    node.finish().await;
}

#[tokio::test]
async fn a_read_only_state_directory_is_told_and_heals() {
    let mut node = Node::new();
    // The lock is open for writing below the state directory, and so keeps a whole file system from
    // becoming read-only: the pods' part of it has one of its own.
    let state = Tmpfs::mount(&node.state());
    let pods = Tmpfs::mount(&node.state().join("pods"));
    node.start().await;
    node.import_busybox().await;
    let client = node.client().await;
    pods.read_only(true);
    let pod_config = configs::pod("frozen", &node.logs());
    let status = client.run_pod(&pod_config).await.unwrap_err();
    assert!(
        status.message().to_lowercase().contains("read-only"),
        "{status:?}"
    );
    pods.read_only(false);
    client.run_pod(&pod_config).await.unwrap();
    for pod in client.pods().await.unwrap() {
        client.remove_pod(&pod.id).await.unwrap();
    }
    node.terminate();
    drop(pods);
    // A daemon that cannot write at all says so and does not start.
    state.read_only(true);
    let output = node
        .serve()
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(
        !output.status.success() && said.contains("read-only"),
        "{said}"
    );
    state.read_only(false);
    let _ = fs::remove_file(node.socket());
    drop(state);
    node.finish().await;
}

#[tokio::test]
async fn an_archive_that_is_none_is_refused_and_leaves_nothing() {
    let node = Node::started().await;
    let client = node.client().await;
    let path = node.base.join("image.tar");
    testing::image::busybox_archive(&path, testing::image::Compression::Gzip).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let table: [(&str, &[u8]); 4] = [
        ("nothing at all", b""),
        (
            "no archive",
            b"this is not a tar file, whatever its name says",
        ),
        ("half an archive", &whole[..whole.len() / 2]),
        ("a damaged layer", &damaged),
    ];
    for (what, bytes) in table {
        let status = client.import("", bytes).await.unwrap_err();
        assert!(!status.message().is_empty(), "{what}: {status:?}");
        assert!(
            matches!(
                status.code(),
                Code::InvalidArgument | Code::DataLoss | Code::FailedPrecondition
            ),
            "{what}: {status:?}"
        );
        assert_eq!(
            fs::read_dir(node.root().join("layers")).unwrap().count(),
            0,
            "{what}"
        );
    }
    let left = client
        .images
        .clone()
        .list_images(v1::ListImagesRequest::default())
        .await
        .unwrap();
    assert!(left.into_inner().images.is_empty());
    node.finish().await;
}

#[test]
fn a_bundle_without_config_json_is_named_by_coffer_oci() {
    let base = tempfile::tempdir().unwrap();
    let bundle = base.path().join("bundle");
    fs::create_dir(&bundle).unwrap();
    let output = Command::new(program("coffer-oci"))
        .arg("--root")
        .arg(base.path().join("state"))
        .args(["run", "--bundle"])
        .arg(&bundle)
        .arg(format!("none-{}", std::process::id()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("config.json") && said.contains("bundle"),
        "{said}"
    );
    let left: Vec<_> = fs::read_dir(base.path().join("state"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
