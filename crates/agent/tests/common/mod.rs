//! A real agent on a socket in a temporary directory, called through the generated clients. Whatever a
//! test leaves, the guards take away.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "shared by several test programs; a failure here fails the test"
)]

pub(crate) mod disk;
pub(crate) mod network;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use agent_api::grpc::{self, AgentServiceClient, HealthClient};
use agent_api::sandbox::{self, SandboxClient};
use agent_api::ttrpc::context::{Context, with_duration};
use agent_api::ttrpc::{Code, Error};
use serde_json::{Value, json};
use testing::{guard, leaks};

/// A pod with its agent; everything ends with it.
#[derive(Debug)]
pub(crate) struct Pod {
    agent: guard::Process,
    cgroup: guard::Cgroup,
    /// Storages that a killed agent has left.
    _mounts: guard::MountsBelow,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) name: String,
    before: leaks::Snapshot,
}

/// Clients of one connection.
pub(crate) struct Calls {
    pub(crate) agent: AgentServiceClient,
    pub(crate) own: SandboxClient,
    pub(crate) health: HealthClient,
}

/// A limit for calls that should answer at once.
pub(crate) fn soon() -> Context {
    with_duration(Duration::from_secs(20))
}

impl Pod {
    /// Starts an agent; no sandbox yet.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(extra: &[&str]) -> Self {
        Self::start_in(&[], extra)
    }

    /// Starts an agent in a network namespace of its own.
    pub(crate) fn start_in_netns() -> Self {
        Self::start_in(&["unshare", "--net"], &[])
    }

    /// The same, started by the program `before_it`.
    pub(crate) fn start_in(before_it: &[&str], extra: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        // The closing dot: no name is the beginning of another.
        let name = format!("coffer-agent-test-{}-{n}.", std::process::id());
        let dir = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir()
            .unwrap();
        let before = leaks::Snapshot::take(&[&name]);
        testing::rootfs::busybox(&dir.path().join("lower")).unwrap();
        fs::create_dir(dir.path().join("logs")).unwrap();
        let pid = spawn(dir.path(), before_it, extra);
        Self {
            agent: guard::Process::new(pid),
            cgroup: guard::Cgroup::new(format!("/{name}")),
            _mounts: guard::MountsBelow::new(dir.path()),
            dir,
            name,
            before,
        }
    }

    /// An agent with a sandbox.
    pub(crate) async fn sandbox() -> (Self, Calls) {
        let pod = Self::start();
        let calls = pod.connect().await;
        calls
            .own
            .create_sandbox(soon(), &pod.sandbox_request())
            .await
            .unwrap();
        (pod, calls)
    }

    pub(crate) fn sandbox_request(&self) -> sandbox::CreateSandboxRequest {
        sandbox::CreateSandboxRequest {
            id: self.name.clone(),
            hostname: "pod-host".into(),
            cgroup_parent: format!("/{}", self.name),
            ..Default::default()
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    pub(crate) fn pid(&self) -> i32 {
        self.agent.pid()
    }

    pub(crate) fn kill_agent(&self) {
        self.agent.signal(rustix::process::Signal::KILL);
    }

    /// Waits until the agent has ended; false after `limit`.
    pub(crate) fn ended_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !sys::wait::reap(self.pid()).is_ok_and(|ended| ended.is_some()) {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }

    /// Ends every process in the pod's cgroups and removes those, as the daemon does for a lost agent.
    pub(crate) fn end_cgroups(&mut self) {
        self.cgroup = guard::Cgroup::new(format!("/{}", self.name));
    }

    /// Starts another agent in place of one that was killed, once that is gone.
    pub(crate) fn start_again(&mut self) {
        assert!(self.ended_within(Duration::from_secs(10)));
        self.start_anew_in(&[]);
    }

    /// Starts another agent in place of one that has ended, by the program `before_it`.
    pub(crate) fn start_anew_in(&mut self, before_it: &[&str]) {
        self.agent = guard::Process::new(spawn(self.dir.path(), before_it, &[]));
    }

    /// Connects, waiting for the agent to listen.
    pub(crate) async fn connect(&self) -> Calls {
        let deadline = Instant::now() + Duration::from_secs(10);
        let client = loop {
            match agent_api::connect(&self.socket()).await {
                Ok(client) => break client,
                Err(e) if Instant::now() > deadline => {
                    panic!("no agent: {e}; its log: {}", self.agent_log());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        };
        Calls {
            agent: AgentServiceClient::new(client.clone()),
            own: SandboxClient::new(client.clone()),
            health: HealthClient::new(client),
        }
    }

    pub(crate) fn agent_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("agent.log")).unwrap_or_default()
    }

    pub(crate) fn state(&self, container: &str) -> PathBuf {
        self.dir.path().join("state").join(container)
    }

    pub(crate) fn log_path(&self, container: &str) -> PathBuf {
        self.dir
            .path()
            .join("logs")
            .join(format!("{container}.log"))
    }

    /// A container on an overlay of the pod's busybox, with a log file.
    pub(crate) fn container(
        &self,
        id: &str,
        args: &[&str],
        edit: impl FnOnce(&mut Value),
    ) -> sandbox::CreateContainerRequest {
        let mut spec = testing::bundle::spec(args);
        spec.as_object_mut().unwrap().remove("hostname");
        spec["linux"]["namespaces"] = json!([{ "type": "mount" }]);
        edit(&mut spec);
        let tty = spec["process"]["terminal"] == json!(true);
        let writable = self.dir.path().join("rw").join(id);
        let (upper, work) = (writable.join("upper"), writable.join("work"));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        sandbox::CreateContainerRequest {
            id: id.into(),
            spec_json: serde_json::to_vec(&spec).unwrap(),
            rootfs: Some(sandbox::Rootfs {
                lowers: vec![text(&self.dir.path().join("lower"))],
                upper: text(&upper),
                work: text(&work),
                readonly: false,
            }),
            log: Some(sandbox::LogConfig {
                path: text(&self.log_path(id)),
                ..Default::default()
            }),
            tty,
            ..Default::default()
        }
    }

    /// The records of a container's log, without their times.
    pub(crate) fn log(&self, container: &str) -> Vec<String> {
        let bytes = fs::read(self.log_path(container)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        text.split_terminator('\n')
            .map(|l| l.split_once(' ').unwrap().1.to_owned())
            .collect()
    }

    /// DestroySandbox; afterwards nothing is left.
    pub(crate) async fn destroy(self, calls: Calls) {
        calls
            .agent
            .destroy_sandbox(soon(), &grpc::DestroySandboxRequest {})
            .await
            .unwrap();
        self.assert_gone().await;
    }

    /// The agent ends by itself, and nothing is left.
    pub(crate) async fn assert_gone(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while fs::exists(format!("/proc/{}", self.pid())).unwrap() {
            // Our child: the guard's pidfd keeps the number ours until it is reaped.
            if sys::wait::reap(self.pid()).is_ok_and(|e| e.is_some()) {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "the agent lives on: {}",
                self.agent_log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!self.socket().exists(), "the socket stays");
        self.before.assert_clean();
    }
}

#[expect(clippy::zombie_processes, reason = "the guard reaps it by its pid")]
fn spawn(dir: &Path, before_it: &[&str], extra: &[&str]) -> i32 {
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(dir.join("agent.log"))
        .unwrap();
    let program = std::env::var_os("COFFER_AGENT");
    let program = program.unwrap_or_else(|| env!("CARGO_BIN_EXE_coffer-agent").into());
    let mut words: Vec<_> = before_it.iter().map(std::ffi::OsString::from).collect();
    words.push(program);
    let child = Command::new(&words[0])
        .args(&words[1..])
        .arg("--listen")
        .arg(format!("unix://{}/agent.sock", dir.display()))
        .arg("--state")
        .arg(dir.join("state"))
        .args(["--log-level", "debug", "--hotplug-timeout", "1"])
        .args(extra)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    i32::try_from(child.id()).unwrap()
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

impl Calls {
    pub(crate) async fn create(&self, request: &sandbox::CreateContainerRequest) -> i32 {
        self.own
            .create_container(soon(), request)
            .await
            .unwrap()
            .pid
    }

    pub(crate) async fn start(&self, id: &str) {
        let request = grpc::StartContainerRequest {
            container_id: id.into(),
        };
        self.agent.start_container(soon(), &request).await.unwrap();
    }

    pub(crate) async fn run(&self, request: &sandbox::CreateContainerRequest) {
        self.create(request).await;
        self.start(&request.id).await;
    }

    pub(crate) async fn wait(&self, id: &str) -> sandbox::ContainerState {
        let request = sandbox::WaitContainerRequest { id: id.into() };
        self.own.wait_container(soon(), &request).await.unwrap()
    }

    pub(crate) async fn remove(&self, id: &str) {
        let request = grpc::RemoveContainerRequest {
            container_id: id.into(),
            timeout: 10,
        };
        self.agent.remove_container(soon(), &request).await.unwrap();
    }

    pub(crate) async fn signal(&self, id: &str, exec: &str, signal: i32) -> Result<(), Error> {
        let request = grpc::SignalProcessRequest {
            container_id: id.into(),
            exec_id: exec.into(),
            signal: u32::try_from(signal).unwrap(),
        };
        self.agent.signal_process(soon(), &request).await.map(drop)
    }

    pub(crate) async fn state(&self, id: &str) -> Option<sandbox::ContainerState> {
        let request = sandbox::ListContainersRequest {};
        let list = self.own.list_containers(soon(), &request).await.unwrap();
        list.containers.into_iter().find(|c| c.id == id)
    }

    /// Runs a process to its end: exit event, stdout, stderr.
    pub(crate) async fn collect(
        &self,
        request: &sandbox::ExecCollectRequest,
    ) -> Result<(sandbox::ExecExit, Vec<u8>, Vec<u8>), Error> {
        use sandbox::exec_collect_event::Event;
        let mut events = self.own.exec_collect(soon(), request).await?;
        let (mut out, mut err, mut exit) = (Vec::new(), Vec::new(), None);
        loop {
            match events.recv().await {
                Ok(Some(event)) => match event.event.unwrap() {
                    Event::Stdout(data) => out.extend(data),
                    Event::Stderr(data) => err.extend(data),
                    Event::Exit(e) => assert!(exit.replace(e).is_none(), "two exits"),
                },
                Ok(None) => break,
                Err(e) => return Err(e),
            }
        }
        Ok((exit.expect("an exit event"), out, err))
    }

    pub(crate) async fn sh(&self, id: &str, script: &str) -> (i32, String, String) {
        let request = sandbox::ExecCollectRequest {
            container_id: id.into(),
            process_json: process(&["sh", "-c", script]),
            ..Default::default()
        };
        let (exit, out, err) = self.collect(&request).await.unwrap();
        (
            exit.code,
            String::from_utf8_lossy(&out).into(),
            String::from_utf8_lossy(&err).into(),
        )
    }
}

/// A process for an exec.
pub(crate) fn process(args: &[&str]) -> Vec<u8> {
    let process = json!({
        "args": args,
        "cwd": "/",
        "env": ["PATH=/bin:/sbin"],
        "user": { "uid": 0, "gid": 0 },
    });
    serde_json::to_vec(&process).unwrap()
}

/// An exec of `args` in c1.
pub(crate) fn exec(name: &str, args: &[&str]) -> sandbox::ExecProcessRequest {
    sandbox::ExecProcessRequest {
        container_id: "c1".into(),
        exec_id: name.into(),
        process_json: process(args),
        ..Default::default()
    }
}

/// The status of a call that fails.
#[track_caller]
pub(crate) fn status<T: std::fmt::Debug>(result: Result<T, Error>) -> (Code, String) {
    match result {
        Err(Error::RpcStatus(status)) => (status.code(), status.message),
        other => panic!("expected a status, not {other:?}"),
    }
}

/// Polls until `done` or 10 s have passed.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done().await {
        assert!(Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
