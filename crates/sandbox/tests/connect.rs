//! Finding an agent again, and what becomes of calls: a small agent of the test's own answers, and a
//! process of the test's own stands for it.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use std::{
    fs,
    process::{Child, Command},
    sync::Arc,
    time::{Duration, Instant},
};

use agent_api::{
    sandbox::{self as wire, exec_collect_event::Event},
    ttrpc::{
        self,
        asynchronous::{Server, ServerStreamSender, TtrpcContext, transport::Listener},
    },
};
use sandbox::{Code, Error, ErrorKind, ExecRequest, Sandbox, Settings};

/// An agent that answers as it was told to.
#[derive(Clone)]
struct Fake {
    hello: wire::HandshakeResponse,
}

fn status(code: ttrpc::Code, text: &str) -> ttrpc::Error {
    ttrpc::Error::RpcStatus(ttrpc::get_status(code, text))
}

#[async_trait::async_trait]
impl wire::Sandbox for Fake {
    async fn handshake(
        &self,
        _: &TtrpcContext,
        _: wire::HandshakeRequest,
    ) -> ttrpc::Result<wire::HandshakeResponse> {
        Ok(self.hello.clone())
    }

    async fn wait_container(
        &self,
        _: &TtrpcContext,
        request: wire::WaitContainerRequest,
    ) -> ttrpc::Result<wire::ContainerState> {
        match request.id.as_str() {
            "never" => std::future::pending().await,
            "ended" => Ok(wire::ContainerState {
                id: request.id,
                state: wire::State::Exited.into(),
                exit_code: 137,
                oom_killed: true,
                reason: "OOMKilled".to_owned(),
                ..Default::default()
            }),
            _ => Err(status(
                ttrpc::Code::NOT_FOUND,
                "container nope does not exist",
            )),
        }
    }

    async fn list_containers(
        &self,
        _: &TtrpcContext,
        _: wire::ListContainersRequest,
    ) -> ttrpc::Result<wire::ListContainersResponse> {
        std::future::pending().await
    }

    async fn exec_collect(
        &self,
        _: &TtrpcContext,
        request: wire::ExecCollectRequest,
        stream: ServerStreamSender<wire::ExecCollectEvent>,
    ) -> ttrpc::Result<()> {
        let exit = |timed_out, truncated| {
            Event::Exit(wire::ExecExit {
                code: 3,
                timed_out,
                truncated,
            })
        };
        let events = match request.container_id.as_str() {
            "streams" => vec![
                Event::Stdout(b"a".to_vec()),
                Event::Stderr(b"x".to_vec()),
                Event::Stdout(b"b".to_vec()),
                exit(false, true),
            ],
            "slow" => vec![Event::Stdout(b"a".to_vec()), exit(true, false)],
            "cut" => vec![Event::Stdout(b"a".to_vec())],
            _ => return Err(status(ttrpc::Code::NOT_FOUND, "no such executable")),
        };
        for event in events {
            stream
                .send(&wire::ExecCollectEvent { event: Some(event) })
                .await?;
        }
        Ok(())
    }
}

/// A pod's directory with a fake agent in it.
struct Pod {
    dir: tempfile::TempDir,
    settings: Settings,
    agent: Child,
    server: Option<(Server, tokio::runtime::Runtime)>,
    hello: wire::HandshakeResponse,
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.stop();
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

impl Pod {
    async fn new() -> Pod {
        let agent = Command::new("sleep").arg("300").spawn().unwrap();
        let pid = i32::try_from(agent.id()).unwrap();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let start_ticks = stat
            .rsplit(") ")
            .next()
            .unwrap()
            .split(' ')
            .nth(19)
            .unwrap()
            .parse()
            .unwrap();
        let hello = wire::HandshakeResponse {
            protocol: agent_api::PROTOCOL,
            agent_version: "0.0.0".to_owned(),
            pid,
            start_ticks,
            sandbox_id: "p1".to_owned(),
        };
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::new("/nowhere".into());
        settings.start_timeout = Duration::from_secs(5);
        settings.call_timeout = Duration::from_millis(300);
        let mut pod = Pod {
            dir,
            settings,
            agent,
            server: None,
            hello,
        };
        pod.record(start_ticks);
        pod.serve().await;
        pod
    }

    fn record(&self, start_ticks: u64) {
        let pid = self.hello.pid;
        let text = format!(
            r#"{{"version":1,"pod":"p1","pid":{pid},"start_ticks":{start_ticks},"protocol":1,
                "agent_version":"0","cgroup_parent":"/x","agent_cgroup":"/y"}}"#
        );
        fs::write(self.dir.path().join("agent.json"), text).unwrap();
    }

    /// Ends the server that there is, with all its connections, and starts a new one.
    async fn serve(&mut self) {
        self.stop();
        let path = self.dir.path().join("agent.sock");
        let _ = fs::remove_file(&path);
        let service = wire::create_sandbox(Arc::new(Fake {
            hello: self.hello.clone(),
        }));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let started = runtime.spawn(async move {
            let listener = tokio::net::UnixListener::bind(path).unwrap();
            let mut server = Server::new()
                .add_listener(Listener::from(listener))
                .register_service(service);
            server.start().await.unwrap();
            server
        });
        self.server = Some((started.await.unwrap(), runtime));
    }

    fn stop(&mut self) {
        if let Some((server, runtime)) = self.server.take() {
            drop(server);
            runtime.shutdown_background();
        }
    }

    async fn connect(&self) -> Result<Sandbox, Error> {
        sandbox::connect(&self.settings, self.dir.path()).await
    }

    fn kill_agent(&mut self) {
        self.agent.kill().unwrap();
        self.agent.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_found_again_and_answers() {
    let pod = Pod::new().await;
    let sandbox = pod.connect().await.unwrap();
    assert_eq!(sandbox.record().pid, pod.hello.pid);
    let state = sandbox.wait_container("ended").await.unwrap();
    assert_eq!((state.exit_code, state.oom_killed), (137, true));
    let error = sandbox.wait_container("nope").await.unwrap_err();
    assert!(error.is_not_found());
    assert!(
        error.to_string().contains("container nope does not exist"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_agent_is_an_error_that_says_so() {
    let mut pod = Pod::new().await;

    pod.record(pod.hello.start_ticks + 1);
    let error = pod.connect().await.unwrap_err();
    assert!(error.is_agent_gone(), "{error}");
    assert!(error.to_string().contains("has ended"), "{error}");

    // The process that stands for the agent does not have its arguments.
    fs::write(pod.dir.path().join("agent.json"), "{\"vers").unwrap();
    let error = pod.connect().await.unwrap_err();
    assert!(
        error.is_agent_gone() && error.to_string().contains("agent.json"),
        "{error}"
    );

    fs::remove_file(pod.dir.path().join("agent.json")).unwrap();
    let error = pod.connect().await.unwrap_err();
    assert!(error.is_agent_gone(), "{error}");

    pod.record(pod.hello.start_ticks);
    pod.stop();
    fs::remove_file(pod.dir.path().join("agent.sock")).unwrap();
    let error = pod.connect().await.unwrap_err();
    assert!(
        error.is_agent_gone() && error.to_string().contains("agent.sock"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_another_protocol_and_an_unfinished_start_are_refused() {
    let mut pod = Pod::new().await;
    let good = pod.hello.clone();

    pod.hello.start_ticks += 7;
    pod.serve().await;
    assert!(matches!(
        pod.connect().await.unwrap_err(),
        Error::Stranger { .. }
    ));

    pod.hello = wire::HandshakeResponse {
        protocol: 99,
        ..good.clone()
    };
    pod.serve().await;
    let error = pod.connect().await.unwrap_err();
    assert!(
        matches!(error, Error::Protocol { theirs: 99, .. }),
        "{error}"
    );

    pod.hello = wire::HandshakeResponse {
        sandbox_id: String::new(),
        ..good
    };
    pod.serve().await;
    let error = pod.connect().await.unwrap_err();
    assert!(matches!(error, Error::NoAgent { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_death_ends_every_call_and_tells_who_waits() {
    let mut pod = Pod::new().await;
    let sandbox = pod.connect().await.unwrap();
    let waiting = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.wait_container("never").await }
    });
    let closed = tokio::spawn(sandbox.closed());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished() && !closed.is_finished());
    let start = Instant::now();
    pod.kill_agent();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    closed.await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    // Whoever comes later hears it at once.
    sandbox.closed().await;
    assert_eq!(
        sandbox
            .wait_container("ended")
            .await
            .map_err(|e| e.is_agent_gone()),
        Err(true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_an_answer_ends_at_its_limit() {
    let pod = Pod::new().await;
    let sandbox = pod.connect().await.unwrap();
    let error = sandbox.list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(
        error.to_string().contains("ListContainers within 300ms"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_to_a_living_agent_is_made_anew() {
    let mut pod = Pod::new().await;
    let sandbox = pod.connect().await.unwrap();
    let waiting = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.wait_container("never").await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    pod.serve().await;
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
    assert_eq!(
        sandbox.wait_container("ended").await.unwrap().exit_code,
        137
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collected_command_is_put_together_from_its_events() {
    let pod = Pod::new().await;
    let sandbox = pod.connect().await.unwrap();
    let exec = async |container: &str| {
        let request = ExecRequest {
            container: container.to_owned(),
            process_json: b"{}".to_vec(),
            timeout: Some(Duration::from_secs(2)),
            max_bytes: 0,
        };
        sandbox.exec_collect(&request).await
    };
    let output = exec("streams").await.unwrap();
    assert_eq!(
        (output.stdout, output.stderr),
        (b"ab".to_vec(), b"x".to_vec())
    );
    assert_eq!((output.exit_code, output.truncated), (3, true));

    let error = exec("slow").await.unwrap_err();
    assert!(matches!(error, Error::ExecTimeout { .. }), "{error}");
    let error = exec("nope").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rpc(Code::NotFound), "{error}");
    let error = exec("cut").await.unwrap_err();
    assert!(
        matches!(error, Error::Answer { .. } | Error::Interrupted { .. }),
        "{error}"
    );
}
