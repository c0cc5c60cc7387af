//! What docs/compat/containerd-images.md says of containerd, tried with the containerd of this
//! machine's distribution: it is ours to be right about others, too.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use cri_api::v1::{self, image_service_client::ImageServiceClient};
use rustix::process::{Pid, Signal, kill_process};
use tar::EntryType;
use testing::{
    image::{Builder, Built, busybox},
    layer::{Entry, Layer},
    registry::{Auth, Fault, Server},
};
use tonic::{Status, transport::Channel};

/// A containerd of the test's own; it ends with this value.
struct Containerd {
    dir: tempfile::TempDir,
    child: Child,
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.end();
    }
}

impl Containerd {
    fn start() -> Containerd {
        let dir = tempfile::Builder::new()
            .prefix("coffer-containerd-")
            .tempdir()
            .unwrap();
        let at = |part: &str| dir.path().join(part).display().to_string();
        let config = format!(
            r#"version = 2
root = {root:?}
state = {state:?}
[grpc]
address = {socket:?}
[ttrpc]
address = {ttrpc:?}
[plugins."io.containerd.internal.v1.opt"]
path = {opt:?}
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = {hosts:?}
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".cni]
conf_dir = {cni:?}
"#,
            root = at("root"),
            state = at("state"),
            socket = at("sock"),
            ttrpc = at("sock.ttrpc"),
            opt = at("opt"),
            hosts = at("hosts"),
            cni = at("cni"),
        );
        fs::write(dir.path().join("config.toml"), config).unwrap();
        let child = Self::spawn(dir.path());
        Containerd { dir, child }
    }

    fn spawn(dir: &Path) -> Child {
        let mut log = fs::File::options();
        let log = log.append(true).create(true).open(dir.join("log")).unwrap();
        Command::new("containerd")
            .arg("--config")
            .arg(dir.join("config.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn end(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ended = pid.map(|pid| kill_process(pid, Signal::TERM));
        let _status = self.child.wait();
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Speaks to `server` as it is.
    fn knows(&self, server: &Server, more: &str) {
        let dir = self.dir.path().join("hosts").join(server.host());
        fs::create_dir_all(&dir).unwrap();
        let text = format!("server = {:?}\n{more}", server.url());
        fs::write(dir.join("hosts.toml"), text).unwrap();
    }

    async fn images(&mut self) -> ImageServiceClient<Channel> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Ok(channel) = system_tests::Client::channel(&self.dir.path().join("sock")).await
            {
                let mut images = ImageServiceClient::new(channel);
                // Its plugins come up one after the other.
                let list = images.list_images(v1::ListImagesRequest::default()).await;
                if list.is_ok() {
                    return images;
                }
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{ended:?}: {}",
                fs::read_to_string(self.dir.path().join("log")).unwrap()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn spec(image: &str) -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec {
        image: image.to_owned(),
        ..Default::default()
    })
}

async fn pull(
    images: &ImageServiceClient<Channel>,
    image: &str,
    login: Option<(&str, &str)>,
) -> Result<String, Status> {
    let request = v1::PullImageRequest {
        image: spec(image),
        auth: login.map(|(user, password)| v1::AuthConfig {
            username: user.into(),
            password: password.into(),
            ..Default::default()
        }),
        sandbox_config: None,
    };
    let answer = images.clone().pull_image(request).await?;
    Ok(answer.into_inner().image_ref)
}

async fn list(images: &ImageServiceClient<Channel>) -> Vec<v1::Image> {
    let request = v1::ListImagesRequest::default();
    let answer = images.clone().list_images(request).await.unwrap();
    answer.into_inner().images
}

async fn remove(images: &ImageServiceClient<Channel>, image: &str) {
    let request = v1::RemoveImageRequest { image: spec(image) };
    images.clone().remove_image(request).await.unwrap();
}

fn with_file(name: &str) -> Built {
    let top = Layer::new().file(name, 0o644, name.as_bytes());
    busybox().unwrap().layer(top).build().unwrap()
}

#[tokio::test]
async fn pulls_ask_and_fetch_as_the_page_says() {
    let (mut daemon, server) = (Containerd::start(), Server::start().unwrap());
    // A key that it does not know is passed over in silence.
    daemon.knows(&server, "capabilites = [\"pull\"]\n");
    let images = daemon.images().await;
    let built = with_file("one");
    let name = server.put("lib/one", "1", &built);
    let login = Some(("u", "p"));
    server.auth(Auth::Basic {
        user: "u".into(),
        password: "p".into(),
    });
    assert_eq!(pull(&images, &name, login).await.unwrap(), built.config);
    let image = list(&images).await.remove(0);
    assert_eq!(image.size, built.size, "what is compressed counts");

    // An unchanged tag: HEAD, nothing else (here once for 401, once with the password).
    server.forget();
    pull(&images, &name, login).await.unwrap();
    let head = "HEAD /v2/lib/one/manifests/1";
    assert!(
        server.asked().iter().all(|line| line == head),
        "{:?}",
        server.asked()
    );
    // By digest the registry is asked as well.
    let by_digest = format!("{}@{}", name.rsplit_once(':').unwrap().0, built.manifest);
    assert!(pull(&images, &by_digest, None).await.is_err());
    remove(&images, &built.config).await;

    // Two pulls of one image at once: its layers come once.
    server.forget();
    for layer in &built.layers {
        server.fault(layer, 100, Fault::Slow { rate: 2_000_000 });
    }
    let (one, two) = tokio::join!(pull(&images, &name, login), pull(&images, &name, login));
    assert_eq!(
        (one.unwrap(), two.unwrap()),
        (built.config.clone(), built.config)
    );
    for layer in &built.layers {
        let asked = server.seen();
        let fetched = asked.iter().filter(|seen| {
            seen.method == "GET" && seen.target.contains(layer) && seen.authorization().is_some()
        });
        assert_eq!(fetched.count(), 1, "{:?}", server.asked());
    }
}

#[tokio::test]
async fn documents_are_taken_or_refused_as_the_page_says() {
    let (mut daemon, server) = (Containerd::start(), Server::start().unwrap());
    daemon.knows(&server, "");
    let images = daemon.images().await;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let both = r#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#;
    let name = server.put_manifest("lib/both", "1", kind, both.into());
    let error = pull(&images, &name, None).await.unwrap_err();
    assert!(
        error
            .message()
            .contains("expected manifest but found index"),
        "{error:?}"
    );

    // What only overlayfs may say is left out; labels of another machine are set as the tar says.
    let attributes: [(&str, &[u8]); 2] = [
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.security.other", b"s"),
    ];
    let layer = Layer::new().entry(&Entry {
        pax: &attributes,
        ..Entry::new("dir/", EntryType::Directory)
    });
    let built = Builder::new("lib/evil:1").layer(layer).build().unwrap();
    let name = server.put("lib/evil", "1", &built);
    let pulled = pull(&images, &name, None).await;
    let mut found = Vec::new();
    let snapshots = daemon
        .root()
        .join("io.containerd.snapshotter.v1.overlayfs/snapshots");
    for entry in fs::read_dir(snapshots).into_iter().flatten() {
        let dir = entry.unwrap().path().join("fs/dir");
        for attribute in ["trusted.overlay.opaque", "security.other"] {
            let mut value = [0; 8];
            if rustix::fs::getxattr(&dir, attribute, &mut value).is_ok() {
                found.push(attribute);
            }
        }
    }
    assert!(pulled.is_ok(), "{pulled:?}");
    assert_eq!(found, ["security.other"]);
}

#[tokio::test]
async fn names_go_and_move_as_the_page_says() {
    let (mut daemon, server) = (Containerd::start(), Server::start().unwrap());
    daemon.knows(&server, "");
    let images = daemon.images().await;
    let (old, new) = (with_file("old"), with_file("new"));
    let one = server.put("lib/app", "1", &old);
    let two = server.put("lib/app", "2", &old);
    for name in [&one, &two] {
        pull(&images, name, None).await.unwrap();
    }
    assert_eq!(list(&images).await[0].repo_tags.len(), 2);
    // By one tag all names go.
    remove(&images, &one).await;
    assert_eq!(list(&images).await, []);

    // A tag that moves leaves its image with a digest for a name.
    pull(&images, &one, None).await.unwrap();
    server.put("lib/app", "1", &new);
    pull(&images, &one, None).await.unwrap();
    let left = list(&images).await;
    let left = left.iter().find(|image| image.id == old.config).unwrap();
    assert_eq!(left.repo_tags, [""; 0]);
    assert_eq!(left.repo_digests.len(), 1);
}

#[tokio::test]
async fn a_damaged_database_stops_its_start() {
    let mut daemon = Containerd::start();
    drop(daemon.images().await);
    daemon.end();
    let database = daemon.root().join("io.containerd.metadata.v1.bolt/meta.db");
    let mut bytes = fs::read(&database).unwrap();
    bytes.fill(0x5a);
    fs::write(&database, bytes).unwrap();
    daemon.child = Containerd::spawn(daemon.dir.path());
    let deadline = Instant::now() + Duration::from_secs(8);
    let serves = loop {
        if daemon.child.try_wait().unwrap().is_some() {
            break false;
        }
        let socket = daemon.dir.path().join("sock");
        if let Ok(channel) = system_tests::Client::channel(&socket).await {
            let mut images = ImageServiceClient::new(channel);
            if images
                .list_images(v1::ListImagesRequest::default())
                .await
                .is_ok()
            {
                break true;
            }
        }
        if Instant::now() > deadline {
            break false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(!serves, "it serves images with a damaged database");
}
