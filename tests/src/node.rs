//! A daemon of a test's own.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use testing::leaks::Snapshot;

use crate::Client;

/// A private instance: its directories, its cgroup name, and its daemon while one runs.
#[derive(Debug)]
pub struct Node {
    /// Everything on disk is below this.
    pub base: PathBuf,
    /// First part of all its cgroups' names.
    pub cgroup_root: String,
    /// What the daemon's configuration file says.
    pub configuration: String,
    /// `registry.default`.
    pub default_registry: String,
    daemon: Option<Child>,
    snapshot: Option<Snapshot>,
    keep: Option<tempfile::TempDir>,
    network: network::Scratch,
}

/// The program `name` of the build under test.
pub fn program(name: &str) -> PathBuf {
    let Some(directory) = std::env::var_os("COFFER_BIN_DIR") else {
        panic!(
            "COFFER_BIN_DIR is not set: `make system` builds the binaries and sets it, or set it to \
             a directory with coffer, coffer-agent and coffer-oci built with \
             --features coffer/failpoints,agent/failpoints"
        );
    };
    let path = Path::new(&directory).join(name);
    assert!(
        path.is_file(),
        "{} is not there: build it first (`make system`)",
        path.display()
    );
    path
}

impl Node {
    /// Directories and names; no daemon yet.
    pub fn new() -> Node {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!(
            "ct-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let keep = tempfile::Builder::new()
            .prefix(&format!("{unique}-"))
            .tempdir()
            .unwrap_or_else(|error| panic!("cannot make a temporary directory: {error}"));
        let base = keep.path().to_owned();
        // The directory's name has the cgroups' name in it: one prefix finds all.
        let snapshot = Some(Snapshot::take(&[&unique]));
        Node {
            base,
            cgroup_root: unique,
            configuration: String::new(),
            default_registry: "docker.io".to_owned(),
            daemon: None,
            snapshot,
            keep: Some(keep),
            network: network::Scratch::new()
                .unwrap_or_else(|error| panic!("cannot make a network namespace: {error}")),
        }
    }

    /// A node whose daemon serves.
    pub async fn started() -> Node {
        let mut node = Node::new();
        node.start().await;
        node
    }

    /// A node whose daemon serves, and the id of the demo image in it.
    pub async fn with_image() -> (Node, String) {
        let node = Node::started().await;
        let image = node.import_busybox().await;
        (node, image)
    }

    /// Durable state.
    pub fn root(&self) -> PathBuf {
        self.base.join("root")
    }

    /// State of pods.
    pub fn state(&self) -> PathBuf {
        self.base.join("run")
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> PathBuf {
        self.state().join("coffer.sock")
    }

    /// A directory for pods' logs.
    pub fn logs(&self) -> PathBuf {
        self.base.join("logs")
    }

    /// Runs `work` on a thread in the network namespace of this node, which is its "host": what the
    /// daemon makes there never meets the machine's own network. Sockets opened inside work outside.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.network
            .run(work)
            .unwrap_or_else(|error| panic!("cannot enter the node's network namespace: {error}"))
    }

    /// A TCP connection made in the node's network namespace, for use anywhere.
    ///
    /// # Errors
    /// The kernel's.
    pub fn connect(&self, address: std::net::SocketAddr) -> std::io::Result<std::net::TcpStream> {
        self.within(|| std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)))
    }

    /// Starts a program in the node's network namespace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn spawn(&self, command: &mut Command) -> std::io::Result<Child> {
        self.within(|| command.spawn())
    }

    /// `coffer serve` with this node's flags, its messages in `daemon.log`.
    pub fn serve(&self) -> Command {
        let log = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.base.join("daemon.log"))
            .unwrap_or_else(|error| panic!("cannot open daemon.log: {error}"));
        let mut command = Command::new(program("coffer"));
        command
            .arg("serve")
            .args([
                Path::new("--root"),
                &self.root(),
                Path::new("--state"),
                &self.state(),
            ])
            .args([Path::new("--socket"), &self.socket()])
            .args(["--cgroup-root", &self.cgroup_root, "--log-level", "debug"])
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0);
        command
    }

    /// A configuration of its own, so that the machine's plays no part.
    fn config(&self) -> PathBuf {
        let path = self.base.join("config.toml");
        // Registries and credentials of the machine play no part either.
        let text = format!(
            "{}\n[registry]\ndefault = {:?}\nhost_dirs = [{:?}]\nauth_files = [{:?}]\nretries = 1\n\
             stall_timeout = \"5s\"\n",
            self.configuration,
            self.default_registry,
            self.base.join("registries"),
            self.base.join("auth.json")
        );
        fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write config.toml: {error}"));
        path
    }

    /// Starts the daemon and waits until it serves.
    pub async fn start(&mut self) {
        self.start_with(&[]).await;
    }

    /// The same with environment variables.
    pub async fn start_with(&mut self, variables: &[(&str, &str)]) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let mut command = self.serve();
        let child = self.spawn(command.envs(variables.iter().copied()));
        self.daemon = Some(child.unwrap_or_else(|error| panic!("cannot start coffer: {error}")));
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(client) = Client::connect(&self.socket()).await {
                let version = cri_api::v1::VersionRequest::default();
                if client.runtime.clone().version(version).await.is_ok() {
                    return;
                }
            }
            let ended = self
                .daemon
                .as_mut()
                .and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || Instant::now() > deadline {
                panic!(
                    "the daemon does not serve ({ended:?}):\n{}",
                    self.daemon_log()
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the daemon said, all of its lives.
    pub fn daemon_log(&self) -> String {
        fs::read_to_string(self.base.join("daemon.log")).unwrap_or_default()
    }

    /// A new connection.
    pub async fn client(&self) -> Client {
        match Client::connect(&self.socket()).await {
            Ok(client) => client,
            Err(error) => panic!("cannot connect: {error:?}\n{}", self.daemon_log()),
        }
    }

    /// Imports the demo image: its id.
    pub async fn import_busybox(&self) -> String {
        let path = self.base.join("busybox.tar");
        testing::image::busybox_archive(&path, testing::image::Compression::Gzip)
            .unwrap_or_else(|error| panic!("cannot make an image: {error}"));
        let tar = fs::read(&path).unwrap_or_default();
        match self.client().await.import("", &tar).await {
            Ok(images) => images
                .first()
                .map(|image| image.id.clone())
                .unwrap_or_default(),
            Err(status) => panic!("cannot import: {status:?}\n{}", self.daemon_log()),
        }
    }

    /// Runs the command line against this node.
    pub fn coffer(&self, words: &[&str]) -> Output {
        let mut command = Command::new(program("coffer"));
        command
            .env("COFFER_SOCKET", self.socket())
            .args(words)
            .stdin(Stdio::null());
        self.within(|| command.output())
            .unwrap_or_else(|error| panic!("cannot run coffer {words:?}: {error}"))
    }

    /// Pid of the daemon.
    pub fn pid(&self) -> i32 {
        let id = self.daemon.as_ref().map_or(0, Child::id);
        i32::try_from(id).unwrap_or_default()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> ExitStatus {
        self.end(Signal::KILL)
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.end(Signal::TERM)
    }

    fn end(&mut self, signal: Signal) -> ExitStatus {
        if let Some(pid) = Pid::from_raw(self.pid()) {
            let _ = kill_process(pid, signal);
        }
        self.wait()
    }

    /// Waits until the daemon has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let Some(mut child) = self.daemon.take() else {
            panic!("no daemon runs")
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return status,
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                other => {
                    let _ = child.kill();
                    let _ = child.wait();
                    panic!(
                        "the daemon does not end ({other:?}):\n{}",
                        self.daemon_log()
                    );
                }
            }
        }
    }

    /// Removes all pods, ends the daemon and checks that nothing is left of either.
    pub async fn finish(mut self) {
        if self.daemon.is_some() {
            let client = self.client().await;
            for pod in client.pods().await.unwrap_or_default() {
                for step in [
                    client.stop_pod(&pod.id).await,
                    client.remove_pod(&pod.id).await,
                ] {
                    if let Err(status) = step {
                        panic!(
                            "cannot remove pod {}: {status:?}\n{}",
                            pod.id,
                            self.daemon_log()
                        );
                    }
                }
            }
            self.assert_no_pod_files();
            let interfaces = self.pod_interfaces();
            assert!(interfaces.is_empty(), "interfaces are left: {interfaces:?}");
            let status = self.terminate();
            assert!(
                status.success(),
                "the daemon ended with {status}:\n{}",
                self.daemon_log()
            );
        }
        assert!(!self.socket().exists(), "the socket is left");
        self.assert_clean();
    }

    /// Names of the interfaces that the node has for pods.
    pub fn pod_interfaces(&self) -> Vec<String> {
        let table = self.within(|| fs::read_to_string("/proc/thread-self/net/dev"));
        let table = table.unwrap_or_else(|error| panic!("cannot list the interfaces: {error}"));
        let names = table
            .lines()
            .skip(2)
            .filter_map(|line| line.split_once(':'));
        names
            .map(|(name, _)| name.trim().to_owned())
            .filter(|name| name.starts_with("cf"))
            .collect()
    }

    /// Nothing of any pod is on disk.
    pub fn assert_no_pod_files(&self) {
        for directory in [self.state().join("pods"), self.root().join("containers")] {
            let left: Vec<String> = fs::read_dir(&directory)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            assert!(
                left.is_empty(),
                "left in {}: {left:?}\n{}",
                directory.display(),
                self.daemon_log()
            );
        }
    }

    /// No mount, cgroup or process of this node is there (while no daemon runs).
    #[track_caller]
    pub fn assert_clean(&self) {
        if let Some(snapshot) = &self.snapshot {
            let leaks = snapshot.leaks();
            assert!(
                leaks.is_empty(),
                "left behind:\n  {}\n{}",
                leaks.join("\n  "),
                self.daemon_log()
            );
        }
    }
}

impl Default for Node {
    fn default() -> Node {
        Node::new()
    }
}

/// After a failed test: everything that carries this node's name ends, so that others are not
/// disturbed. After a passed one there is nothing to do.
impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        testing::guard::unmount_below(&self.base);
        // Frozen ones are thawed, so that they die.
        for name in [
            self.cgroup_root.clone(),
            format!("{}-agents", self.cgroup_root),
        ] {
            drop(testing::guard::Cgroup::new(name));
        }
        testing::guard::unmount_below(&self.base);
        if std::thread::panicking() && std::env::var_os("COFFER_TEST_KEEP").is_some() {
            let kept = self.keep.take().map(tempfile::TempDir::keep);
            eprintln!("kept {kept:?}");
        }
    }
}

impl Node {
    /// A registry in this node's network, in the clear, that its daemon may use.
    pub fn registry(&self) -> testing::registry::Server {
        let server = self.within(testing::registry::Server::start);
        let server = server.unwrap_or_else(|error| panic!("cannot start a registry: {error}"));
        let text = format!("server = {:?}\n", server.url());
        self.write_hosts(&server.host(), &text);
        server
    }

    /// Writes the `hosts.toml` of a registry.
    pub fn write_hosts(&self, registry: &str, text: &str) {
        let dir = self.base.join("registries").join(registry);
        fs::create_dir_all(&dir)
            .and_then(|()| fs::write(dir.join("hosts.toml"), text))
            .unwrap_or_else(|error| panic!("cannot write hosts.toml: {error}"));
    }
}
