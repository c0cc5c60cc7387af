//! A daemon in this process, on directories of its own, and clients of its socket.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cri_api::{
    node::{
        ImportImageHeader, ImportImageRequest, ImportedImage, import_image_event::Event,
        import_image_request::Part, node_client::NodeClient,
    },
    v1::{
        self, image_service_client::ImageServiceClient,
        runtime_service_client::RuntimeServiceClient,
    },
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::oneshot,
};
use tonic::transport::{Channel, Endpoint};

/// Directories of one daemon, removed at the end with whatever still runs there.
pub struct Place {
    pub dir: tempfile::TempDir,
    pub cgroup_root: String,
    /// Another agent program than the usual one.
    pub agent: Option<PathBuf>,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::Builder::new()
            .prefix("coffer-cri-")
            .tempdir()
            .unwrap();
        let cgroup_root = dir
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .replace('.', "-");
        Place {
            dir,
            cgroup_root,
            agent: None,
        }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("coffer.sock")
    }

    pub fn options(&self) -> cri::Options {
        let mut options = cri::Options::new(
            self.root(),
            self.state(),
            self.agent.clone().unwrap_or_else(agent),
        );
        options.cgroup_root.clone_from(&self.cgroup_root);
        options
    }
}

impl Drop for Place {
    /// Ends what a test that failed has left running. One that passed has left nothing.
    fn drop(&mut self) {
        let mut settings = sandbox::Settings::new(agent());
        settings.cgroup_root.clone_from(&self.cgroup_root);
        for pod in std::fs::read_dir(self.state().join("pods"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let (id, dir) = (pod.file_name().into_string().unwrap(), pod.path());
            let containers = std::fs::read_dir(dir.join("containers"))
                .into_iter()
                .flatten();
            let lost = sandbox::LostPod {
                cgroup_parent: settings.pod_cgroup(&id),
                containers: containers
                    .flatten()
                    .map(|entry| entry.file_name().into_string().unwrap())
                    .collect(),
                id,
                dir: dir.clone(),
            };
            if let Err(error) = sandbox::kill_pod(&settings, &lost) {
                eprintln!("left behind: {error}");
            }
            let _ = network::Netns::delete(&dir.join("ns/net"));
            let _ = rustix::mount::unmount(dir.join("shm"), rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// The agent program: COFFER_AGENT, else the one beside the tests' own build.
pub fn agent() -> PathBuf {
    if let Some(path) = std::env::var_os("COFFER_AGENT") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("coffer-agent")
}

/// A daemon that serves, on threads of its own, so that all of it ends with [`Daemon::stop`].
pub struct Daemon {
    threads: Option<tokio::runtime::Runtime>,
    pub socket: PathBuf,
}

impl Daemon {
    pub async fn start(place: &Place) -> Daemon {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (socket, options) = (place.socket(), place.options());
        let _ = std::fs::remove_file(&socket);
        let path = socket.clone();
        let (ready, is_ready) = oneshot::channel();
        threads.spawn(async move {
            let runtime = cri::Runtime::open(options).await.unwrap();
            let listener = UnixListener::bind(&path).unwrap();
            ready.send(()).unwrap();
            runtime
                .serve(listener, std::future::pending())
                .await
                .unwrap();
        });
        is_ready.await.unwrap();
        Daemon {
            threads: Some(threads),
            socket,
        }
    }

    /// Ends it as a crash would: wherever its tasks are.
    pub async fn stop(mut self) {
        let threads = self.threads.take().unwrap();
        tokio::task::spawn_blocking(move || threads.shutdown_timeout(Duration::from_secs(5)))
            .await
            .unwrap();
    }

    pub async fn channel(&self) -> Channel {
        let socket = self.socket.clone();
        Endpoint::from_static("http://localhost")
            .connect_with_connector(tower::service_fn(move |_| {
                let socket = socket.clone();
                async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
            }))
            .await
            .unwrap()
    }

    pub async fn runtime(&self) -> RuntimeServiceClient<Channel> {
        RuntimeServiceClient::new(self.channel().await)
    }

    pub async fn images(&self) -> ImageServiceClient<Channel> {
        ImageServiceClient::new(self.channel().await)
    }

    /// Sends an archive and answers what was imported.
    pub async fn import(
        &self,
        archive: &Path,
        name: &str,
    ) -> Result<Vec<ImportedImage>, tonic::Status> {
        let header = Part::Header(ImportImageHeader {
            name: name.to_owned(),
        });
        let bytes = std::fs::read(archive).unwrap();
        let chunks = bytes
            .chunks(1 << 20)
            .map(|chunk| Part::Chunk(chunk.to_vec()));
        let parts: Vec<_> = std::iter::once(header)
            .chain(chunks)
            .map(|part| ImportImageRequest { part: Some(part) })
            .collect();
        let mut events = NodeClient::new(self.channel().await)
            .import_image(tokio_stream::iter(parts))
            .await?
            .into_inner();
        let mut images = Vec::new();
        while let Some(event) = events.message().await? {
            if let Some(Event::Done(done)) = event.event {
                images = done.images;
            }
        }
        Ok(images)
    }
}

/// A pod on the host's network.
pub fn pod_config(name: &str, logs: &Path) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        log_directory: logs.to_str().unwrap().to_owned(),
        labels: [("test".to_owned(), "yes".to_owned())].into(),
        annotations: [("note".to_owned(), "verbatim".to_owned())].into(),
        linux: Some(v1::LinuxPodSandboxConfig {
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(v1::NamespaceOption {
                    pid: v1::NamespaceMode::Container.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A container that runs a shell script.
pub fn container_config(name: &str, image: &str, script: &str) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata {
            name: name.to_owned(),
            attempt: 0,
        }),
        image: Some(v1::ImageSpec {
            image: image.to_owned(),
            ..Default::default()
        }),
        command: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
        log_path: format!("{name}/0.log"),
        linux: Some(v1::LinuxContainerConfig {
            security_context: Some(v1::LinuxContainerSecurityContext {
                namespace_options: Some(v1::NamespaceOption {
                    pid: v1::NamespaceMode::Container.into(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Asks until the answer is there; fails after ten seconds.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asked)
        .await
        .unwrap_or_else(|_| panic!("{what}"))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A runtime must not be dropped by a thread that serves another one.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}
