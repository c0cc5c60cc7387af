//! Starting, using, losing and ending a real agent: needs root and the agent program, which
//! `cargo build -p agent` makes (or COFFER_AGENT names it).
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]
#![allow(
    clippy::panic,
    reason = "a missing program fails the test with a sentence"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use sandbox::{
    Code, ContainerPid, ContainerSpec, ContainerStatus, Error, ErrorKind, ExecRequest, IpcMode,
    LogLimits, LostPod, Netns, PidMode, PodSpec, Rootfs, Sandbox, Settings,
};
use serde_json::{Value, json};
use testing::{guard, leaks::Snapshot};

fn agent() -> PathBuf {
    if let Some(path) = std::env::var_os("COFFER_AGENT") {
        return PathBuf::from(path);
    }
    // target/<triple>/debug/deps/<this test> → target/<triple>/debug/coffer-agent
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("coffer-agent");
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo build -p agent`, or set COFFER_AGENT",
        path.display()
    );
    path
}

/// A pod's directory and names; at the end nothing of it is left whatever happens.
struct Pod {
    settings: Settings,
    spec: PodSpec,
    rootfs: PathBuf,
    snapshot: Snapshot,
    _cgroups: [guard::Cgroup; 2],
    dir: tempfile::TempDir,
}

impl Pod {
    fn new(agent: PathBuf) -> Pod {
        let dir = tempfile::Builder::new()
            .prefix("coffer-start-")
            .tempdir()
            .unwrap();
        let root = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        let snapshot = Snapshot::take(&[&root]);
        let mut settings = Settings::new(agent);
        settings.cgroup_root = root.clone();
        // Ids are 64 digits long in real life: the socket's path is then longer than an address.
        let id = "0123456789abcdef".repeat(4);
        let pod_dir = dir.path().join(&id);
        fs::create_dir(&pod_dir).unwrap();
        fs::create_dir(pod_dir.join("containers")).unwrap();
        let rootfs = dir.path().join("rootfs");
        fs::create_dir(&rootfs).unwrap();
        testing::rootfs::busybox(&rootfs).unwrap();
        let spec = PodSpec {
            cgroup_parent: settings.pod_cgroup(&id),
            id,
            dir: pod_dir,
            hostname: "pod-host".to_owned(),
            netns: Netns::Host,
            ipc: IpcMode::Pod,
            pid: PidMode::Container,
            sysctls: BTreeMap::new(),
        };
        let cgroups = ["", "-agents"].map(|suffix| guard::Cgroup::new(format!("/{root}{suffix}")));
        Pod {
            settings,
            spec,
            rootfs,
            snapshot,
            _cgroups: cgroups,
            dir,
        }
    }

    async fn start(&self) -> Sandbox {
        sandbox::start(&self.settings, &self.spec)
            .await
            .unwrap_or_else(|e| {
                let cause = std::error::Error::source(&e).map(ToString::to_string);
                let log = fs::read_to_string(self.spec.dir.join("agent.log")).unwrap_or_default();
                panic!("{e}: {cause:?}\n{log}")
            })
    }

    fn lost(&self) -> LostPod {
        LostPod {
            id: self.spec.id.clone(),
            dir: self.spec.dir.clone(),
            cgroup_parent: self.spec.cgroup_parent.clone(),
            containers: vec!["c1".to_owned()],
        }
    }

    async fn destroy(&self, sandbox: &Sandbox) {
        sandbox::destroy(
            &self.settings,
            sandbox,
            &self.lost(),
            Duration::from_secs(10),
        )
        .await
        .unwrap();
    }

    fn nothing_is_left(&self) {
        for file in ["agent.sock", "agent.json"] {
            assert!(!self.spec.dir.join(file).exists(), "{file} is left");
        }
        self.snapshot.assert_clean();
    }

    fn container(&self, id: &str, args: &[&str]) -> ContainerSpec {
        let mut document = testing::bundle::spec(args);
        // The pod has a name; its containers don't.
        document.as_object_mut().unwrap().remove("hostname");
        document["root"] = json!({ "path": self.rootfs });
        document["linux"]["cgroupsPath"] = json!(format!("{}/{id}", self.spec.cgroup_parent));
        ContainerSpec {
            id: id.to_owned(),
            spec_json: serde_json::to_vec(&document).unwrap(),
            rootfs: Rootfs::Directory,
            pid: ContainerPid::Container,
            log_path: Some(self.dir.path().join(format!("{id}.log"))),
            log_limits: LogLimits::default(),
            stdin: false,
            stdin_once: false,
            tty: false,
        }
    }

    fn process(args: &[&str]) -> Vec<u8> {
        let document: Value = testing::bundle::spec(args);
        serde_json::to_vec(&document["process"]).unwrap()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = sandbox::kill_pod(&self.settings, &self.lost());
    }
}

fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(") ")
            .next()
            .unwrap_or_default()
            .starts_with('Z')
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_lives_and_ends_and_leaves_nothing() {
    let pod = Pod::new(agent());
    let sandbox = pod.start().await;
    let record = sandbox.record().clone();
    assert!(alive(record.pid));
    let mode = |name: &str| {
        fs::metadata(pod.spec.dir.join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (mode("agent.sock"), mode("agent.json"), mode("agent.log")),
        (0o600, 0o600, 0o600)
    );

    let script = "echo out; echo err >&2; hostname; sleep 0.2; exit 7";
    let pid = sandbox
        .create_container(&pod.container("c1", &["sh", "-c", script]))
        .await
        .unwrap();
    assert!(alive(pid));
    let error = sandbox
        .create_container(&pod.container("c1", &["true"]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rpc(Code::AlreadyExists), "{error}");
    assert_eq!(
        sandbox.list().await.unwrap()[0].status,
        ContainerStatus::Created
    );
    sandbox.start_container("c1").await.unwrap();
    let ended = sandbox.wait_container("c1").await.unwrap();
    assert_eq!(
        (ended.status, ended.exit_code),
        (ContainerStatus::Exited, 7)
    );
    assert!(ended.finished_at_ns >= ended.started_at_ns && ended.started_at_ns > 0);
    let log = fs::read_to_string(pod.dir.path().join("c1.log")).unwrap();
    assert!(
        log.contains("stdout F out") && log.contains("stderr F err"),
        "{log}"
    );
    sandbox
        .remove_container("c1", Duration::from_secs(5))
        .await
        .unwrap();
    assert!(
        sandbox
            .wait_container("c1")
            .await
            .unwrap_err()
            .is_not_found()
    );

    pod.destroy(&sandbox).await;
    sandbox.closed().await;
    assert!(
        !Path::new(&format!("/proc/{}", record.pid)).exists(),
        "the agent was not reaped"
    );
    pod.nothing_is_left();
    // Once more, as a retry does.
    pod.destroy(&sandbox).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_run_and_collected() {
    let pod = Pod::new(agent());
    let sandbox = pod.start().await;
    sandbox
        .create_container(&pod.container("c1", &["sleep", "300"]))
        .await
        .unwrap();
    sandbox.start_container("c1").await.unwrap();
    let exec = async |args: &[&str], timeout, max_bytes| {
        let request = ExecRequest {
            container: "c1".to_owned(),
            process_json: Pod::process(args),
            timeout,
            max_bytes,
        };
        sandbox.exec_collect(&request).await
    };
    let output = exec(&["sh", "-c", "echo a; echo b >&2; exit 3"], None, 0)
        .await
        .unwrap();
    assert_eq!(
        (output.stdout, output.stderr),
        (b"a\n".to_vec(), b"b\n".to_vec())
    );
    assert_eq!((output.exit_code, output.truncated), (3, false));

    let many = ["sh", "-c", "head -c 100000 /dev/zero"];
    let output = exec(&many, None, 1000).await.unwrap();
    assert_eq!((output.stdout.len(), output.truncated), (1000, true));

    let start = Instant::now();
    let error = exec(&["sleep", "300"], Some(Duration::from_millis(200)), 0)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ExecTimeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));

    let error = exec(&["/no/such/program"], None, 0).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    let stats = sandbox.pod_stats(&[]).await.unwrap();
    assert_eq!(stats.containers[0].id, "c1");
    assert!(stats.containers[0].pids.current >= 1);
    pod.destroy(&sandbox).await;
    pod.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_outlives_its_handle_and_is_found_again() {
    let pod = Pod::new(agent());
    let first = pod.start().await;
    let pid = first
        .create_container(&pod.container("c1", &["sleep", "300"]))
        .await
        .unwrap();
    first.start_container("c1").await.unwrap();
    let record = first.record().clone();
    drop(first);

    let again = sandbox::connect(&pod.settings, &pod.spec.dir)
        .await
        .unwrap();
    assert_eq!(*again.record(), record);
    let states = again.list().await.unwrap();
    assert_eq!(
        (states[0].status, states[0].pid),
        (ContainerStatus::Running, pid)
    );
    again.signal("c1", 9, true).await.unwrap();
    assert_eq!(again.wait_container("c1").await.unwrap().exit_code, 137);
    pod.destroy(&again).await;
    pod.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_made_anew_from_the_process() {
    let pod = Pod::new(agent());
    let first = pod.start().await;
    let path = pod.spec.dir.join("agent.json");
    let whole = fs::read(&path).unwrap();
    for damaged in [&whole[..whole.len() / 2], b""] {
        fs::write(&path, damaged).unwrap();
        let again = sandbox::connect(&pod.settings, &pod.spec.dir)
            .await
            .unwrap();
        assert_eq!(again.record(), first.record());
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    fs::remove_file(&path).unwrap();
    let again = sandbox::connect(&pod.settings, &pod.spec.dir)
        .await
        .unwrap();
    pod.destroy(&again).await;
    pod.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_agents_pod_is_ended_by_force() {
    let pod = Pod::new(agent());
    let sandbox = pod.start().await;
    let script = "trap '' TERM; sleep 300 & sleep 300";
    let pid = sandbox
        .create_container(&pod.container("c1", &["sh", "-c", script]))
        .await
        .unwrap();
    sandbox.start_container("c1").await.unwrap();
    let waiting = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.wait_container("c1").await }
    });
    let agent = guard::Process::new(sandbox.record().pid);
    let start = Instant::now();
    assert!(agent.signal(Signal::KILL));
    sandbox.closed().await;
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Lost);
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert!(
        alive(pid),
        "the container should outlive its agent until it is killed"
    );

    let error = sandbox::connect(&pod.settings, &pod.spec.dir)
        .await
        .unwrap_err();
    assert!(error.is_agent_gone(), "{error}");
    sandbox::kill_pod(&pod.settings, &pod.lost()).unwrap();
    assert!(!alive(pid));
    pod.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_is_ended_by_force() {
    let mut pod = Pod::new(agent());
    pod.settings.call_timeout = Duration::from_millis(300);
    let sandbox = pod.start().await;
    sandbox
        .create_container(&pod.container("c1", &["sleep", "300"]))
        .await
        .unwrap();
    sandbox.start_container("c1").await.unwrap();
    let agent = guard::Process::new(sandbox.record().pid);
    assert!(agent.signal(Signal::STOP));
    let error = sandbox.list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    let start = Instant::now();
    sandbox::destroy(
        &pod.settings,
        &sandbox,
        &pod.lost(),
        Duration::from_millis(300),
    )
    .await
    .unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    pod.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_nothing_and_says_why() {
    for (program, expected) in [
        (
            "/nowhere/coffer-agent",
            "cannot start the agent program /nowhere/coffer-agent",
        ),
        ("/etc/passwd", "cannot start the agent program /etc/passwd"),
        (
            "/bin/false",
            "ended at its start (exit status: 1); the end of its log: it is empty",
        ),
    ] {
        let pod = Pod::new(PathBuf::from(program));
        let error = sandbox::start(&pod.settings, &pod.spec).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        pod.nothing_is_left();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_the_agent_refuses_leaves_nothing() {
    let mut pod = Pod::new(agent());
    pod.spec.netns = Netns::Path(pod.dir.path().join("no-such-pin"));
    let error = sandbox::start(&pod.settings, &pod.spec).await.unwrap_err();
    assert!(error.to_string().contains("no-such-pin"), "{error}");
    pod.nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_directory_that_is_not_there_is_named() {
    let mut pod = Pod::new(agent());
    pod.spec.dir = pod.dir.path().join("gone");
    let error = sandbox::start(&pod.settings, &pod.spec).await.unwrap_err();
    assert!(error.to_string().contains("gone/agent.sock"), "{error}");
    pod.snapshot.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pods_start_at_once() {
    let pods: Vec<Pod> = (0..8).map(|_| Pod::new(agent())).collect();
    let starts = pods.iter().map(|pod| {
        let (settings, spec) = (pod.settings.clone(), pod.spec.clone());
        tokio::spawn(async move { sandbox::start(&settings, &spec).await })
    });
    let starts: Vec<_> = starts.collect();
    let mut sandboxes = Vec::new();
    for start in starts {
        sandboxes.push(start.await.unwrap().unwrap());
    }
    for (pod, sandbox) in pods.iter().zip(&sandboxes) {
        pod.destroy(sandbox).await;
        pod.nothing_is_left();
    }
}
