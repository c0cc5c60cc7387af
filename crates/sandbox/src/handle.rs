//! A pod's running agent, and the calls that it answers.
//!
//! A call ends in one of these ways, whichever comes first:
//! ```text
//! the agent answers             → its answer, or Error::Rpc with its code
//! the agent's process has ended → Error::Lost         (the pidfd is the witness)
//! the connection broke          → Error::Interrupted  (the agent lives; a new connection is made)
//! the call's limit passed       → Error::Timeout      (the agent may still be doing it)
//! ```

use std::{
    future::Future,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::{
    AgentRecord, Code, ContainerSpec, ContainerState, Error, ExecOutput, ExecRequest, OomEvent,
    PodStats, convert, process::Gone, start::DEATH_SHOWS,
};
use agent_api::{
    grpc::{self, AgentServiceClient},
    sandbox::{self as wire, SandboxClient},
    ttrpc,
};

/// A pod's agent: cheap to clone, safe to use from many tasks at once.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    record: AgentRecord,
    socket: PathBuf,
    call_timeout: Duration,
    /// Replaced when the connection breaks and the agent still lives.
    client: Mutex<ttrpc::asynchronous::Client>,
    gone: Gone,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox")
            .field("record", &self.inner.record)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    pub(crate) fn new(
        record: AgentRecord,
        socket: PathBuf,
        call_timeout: Duration,
        client: ttrpc::asynchronous::Client,
        gone: Gone,
    ) -> Sandbox {
        Sandbox {
            inner: Arc::new(Inner {
                record,
                socket,
                call_timeout,
                client: Mutex::new(client),
                gone,
            }),
        }
    }

    /// What is known of the agent's process.
    pub fn record(&self) -> &AgentRecord {
        &self.inner.record
    }

    /// Resolves when the agent's process has ended, at once when it has already.
    ///
    /// The future is independent of this handle: it can be awaited in a task of its own.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut gone = self.inner.gone.clone();
        async move {
            // An error means that the watching task has ended, which it does after the agent.
            let _ = gone.wait_for(Option::is_some).await;
        }
    }

    /// Creates a container up to the point before its program starts; answers its first process's
    /// pid.
    ///
    /// # Errors
    /// The agent's codes: ALREADY_EXISTS (nothing was changed), NOT_FOUND (no such executable),
    /// INVALID_ARGUMENT (the document).
    pub async fn create_container(&self, spec: &ContainerSpec) -> Result<i32, Error> {
        const CALL: &str = "CreateContainer";
        let request = convert::create_container(spec).map_err(|what| self.unsayable(CALL, what))?;
        let client = self.ours();
        let answer = self
            .call(CALL, client.create_container(ctx(), &request))
            .await?;
        Ok(answer.pid)
    }

    /// Starts a created container.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND, FAILED_PRECONDITION (it was started before).
    pub async fn start_container(&self, id: &str) -> Result<(), Error> {
        let request = grpc::StartContainerRequest {
            container_id: id.to_owned(),
        };
        let client = self.published();
        self.call("StartContainer", client.start_container(ctx(), &request))
            .await?;
        Ok(())
    }

    /// Sends a signal to the first process of a container, or with `all` to every process in it.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND when the process has ended.
    pub async fn signal(&self, id: &str, signal: u32, all: bool) -> Result<(), Error> {
        let request = grpc::SignalProcessRequest {
            container_id: id.to_owned(),
            // An exec id equal to the container's id means its first process.
            exec_id: if all { String::new() } else { id.to_owned() },
            signal,
        };
        let client = self.published();
        self.call("SignalProcess", client.signal_process(ctx(), &request))
            .await?;
        Ok(())
    }

    /// Waits until the container's first process has ended, its log is complete and its exit is
    /// recorded on disk. Without a limit; may be called many times and from many tasks.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND.
    pub async fn wait_container(&self, id: &str) -> Result<ContainerState, Error> {
        const CALL: &str = "WaitContainer";
        let request = wire::WaitContainerRequest { id: id.to_owned() };
        let client = self.ours();
        let answer = self
            .call_within(CALL, None, client.wait_container(ctx(), &request))
            .await?;
        convert::container_state(answer).map_err(|what| self.odd(CALL, what))
    }

    /// All containers that have not been removed.
    ///
    /// # Errors
    /// No codes of its own.
    pub async fn list(&self) -> Result<Vec<ContainerState>, Error> {
        const CALL: &str = "ListContainers";
        let client = self.ours();
        let request = wire::ListContainersRequest {};
        let answer = self
            .call(CALL, client.list_containers(ctx(), &request))
            .await?;
        answer
            .containers
            .into_iter()
            .map(|state| convert::container_state(state).map_err(|what| self.odd(CALL, what)))
            .collect()
    }

    /// Figures of the pod and of the containers with these ids; of all when `ids` is empty.
    ///
    /// # Errors
    /// The agent's codes.
    pub async fn pod_stats(&self, ids: &[String]) -> Result<PodStats, Error> {
        let request = wire::PodStatsRequest { ids: ids.to_vec() };
        let client = self.ours();
        let answer = self
            .call("PodStats", client.pod_stats(ctx(), &request))
            .await?;
        Ok(convert::pod_stats(answer))
    }

    /// Removes a container: its processes are killed, and `timeout` is how long their end may take.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND; a process that can't be killed.
    pub async fn remove_container(&self, id: &str, timeout: Duration) -> Result<(), Error> {
        // Whole seconds on the wire, where 0 would mean "without limit".
        let seconds = u32::try_from(timeout.as_secs().max(1)).unwrap_or(u32::MAX);
        let request = grpc::RemoveContainerRequest {
            container_id: id.to_owned(),
            timeout: seconds,
        };
        let client = self.published();
        let limit = self.inner.call_timeout.saturating_add(timeout);
        let call = client.remove_container(ctx(), &request);
        self.call_within("RemoveContainer", Some(limit), call)
            .await?;
        Ok(())
    }

    /// Has the container's log file opened anew, after a rotation.
    ///
    /// # Errors
    /// The agent's codes: NOT_FOUND, FAILED_PRECONDITION (it has no log file).
    pub async fn reopen_log(&self, id: &str) -> Result<(), Error> {
        let request = wire::ReopenLogRequest { id: id.to_owned() };
        let client = self.ours();
        self.call("ReopenLog", client.reopen_log(ctx(), &request))
            .await?;
        Ok(())
    }

    /// Waits for the next kill for want of memory in any container of the pod. Without a limit;
    /// one waiter at a time hears each event.
    ///
    /// # Errors
    /// No codes of its own.
    pub async fn oom_event(&self) -> Result<OomEvent, Error> {
        let client = self.ours();
        let call = client.get_oom_event(ctx(), &wire::GetOomEventRequest {});
        Ok(convert::oom_event(
            self.call_within("GetOomEvent", None, call).await?,
        ))
    }

    /// Runs a command in a container to its end and collects what it writes. Dropping the future
    /// kills the command and its process group.
    ///
    /// # Errors
    /// [`Error::ExecTimeout`] when the command ran too long (it was killed); the agent's codes:
    /// NOT_FOUND (no such container or executable), FAILED_PRECONDITION (it does not run).
    pub async fn exec_collect(&self, request: &ExecRequest) -> Result<ExecOutput, Error> {
        let limit = request.timeout;
        // The agent kills at the limit; ours only catches an agent that does not answer.
        let guard = limit.map(|limit| limit.saturating_add(self.inner.call_timeout));
        let unwatched = Unwatched::new(self, &request.container);
        let collected = self.collect(request, &unwatched.exec_id);
        let output = self.raced("ExecCollect", guard, collected).await;
        if !matches!(output, Err(Error::Timeout { .. })) {
            unwatched.ended();
        }
        output
    }

    async fn collect(&self, request: &ExecRequest, id: &str) -> Result<ExecOutput, Failure> {
        use wire::exec_collect_event::Event;

        let timeout_ns = request
            .timeout
            .map_or(0, |t| i64::try_from(t.as_nanos()).unwrap_or(i64::MAX));
        let wire = wire::ExecCollectRequest {
            container_id: request.container.clone(),
            process_json: request.process_json.clone(),
            timeout_ns,
            max_bytes: request.max_bytes,
            exec_id: id.to_owned(),
        };
        let mut events = self.ours().exec_collect(ctx(), &wire).await?;
        let mut output = ExecOutput::default();
        let exit = loop {
            match events.recv().await?.map(|event| event.event) {
                Some(Some(Event::Stdout(bytes))) => output.stdout.extend_from_slice(&bytes),
                Some(Some(Event::Stderr(bytes))) => output.stderr.extend_from_slice(&bytes),
                Some(Some(Event::Exit(exit))) => break exit,
                // A newer agent's event that this program does not know.
                Some(None) => {}
                None => return Err(Failure::Odd("it ended without an exit code".to_owned())),
            }
        };
        match request.timeout {
            Some(limit) if exit.timed_out => Err(Failure::ExecTimeout {
                container: request.container.clone(),
                limit,
            }),
            _ => {
                output.exit_code = exit.code;
                output.truncated = exit.truncated;
                Ok(output)
            }
        }
    }

    /// Asks the agent to remove every container and to end. Its process may outlive the answer by a
    /// moment: [`crate::destroy`] waits for that and cleans up.
    pub(crate) async fn destroy_sandbox(&self, limit: Duration) -> Result<(), Error> {
        let client = self.published();
        let call = client.destroy_sandbox(ctx(), &grpc::DestroySandboxRequest {});
        self.call_within("DestroySandbox", Some(limit), call)
            .await?;
        Ok(())
    }

    pub(crate) async fn create_sandbox(
        &self,
        request: &wire::CreateSandboxRequest,
        limit: Duration,
    ) -> Result<(), Error> {
        let client = self.ours();
        let call = client.create_sandbox(ctx(), request);
        self.call_within("CreateSandbox", Some(limit), call).await?;
        Ok(())
    }

    pub(crate) fn ours(&self) -> SandboxClient {
        SandboxClient::new(self.client())
    }

    pub(crate) fn published(&self) -> AgentServiceClient {
        AgentServiceClient::new(self.client())
    }

    fn client(&self) -> ttrpc::asynchronous::Client {
        self.inner
            .client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A call with the usual limit.
    pub(crate) async fn call<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = ttrpc::Result<T>>,
    ) -> Result<T, Error> {
        self.call_within(call, Some(self.inner.call_timeout), answer)
            .await
    }

    pub(crate) async fn call_within<T>(
        &self,
        call: &'static str,
        limit: Option<Duration>,
        answer: impl Future<Output = ttrpc::Result<T>>,
    ) -> Result<T, Error> {
        self.raced(call, limit, async { answer.await.map_err(Failure::from) })
            .await
    }

    /// Races an answer against the limit and the agent's end; see the module's table.
    async fn raced<T>(
        &self,
        call: &'static str,
        limit: Option<Duration>,
        answer: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Error> {
        let pod = || self.inner.record.pod.clone();
        let expired = async {
            match limit {
                Some(limit) => {
                    tokio::time::sleep(limit).await;
                    limit
                }
                None => std::future::pending().await,
            }
        };
        let failure = tokio::select! {
            biased;
            answer = answer => match answer {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            },
            () = self.closed() => return Err(Error::Lost { call, pod: pod() }),
            limit = expired => return Err(Error::Timeout { call, pod: pod(), limit }),
        };
        match failure {
            Failure::Status { code, message } => Err(Error::Rpc {
                call,
                pod: pod(),
                code,
                message,
            }),
            Failure::ExecTimeout { container, limit } => {
                Err(Error::ExecTimeout { container, limit })
            }
            Failure::Odd(what) => Err(self.odd(call, what)),
            Failure::Broken(what) => Err(self.broken(call, what).await),
        }
    }

    /// The connection broke: either the agent is dying, or it lives and gets a new connection for
    /// the calls to come.
    async fn broken(&self, call: &'static str, what: String) -> Error {
        let pod = self.inner.record.pod.clone();
        if tokio::time::timeout(DEATH_SHOWS, self.closed())
            .await
            .is_ok()
        {
            return Error::Lost { call, pod };
        }
        match agent_api::connect(&self.inner.socket).await {
            Ok(client) => {
                *self
                    .inner
                    .client
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = client;
                Error::Interrupted { call, pod, what }
            }
            Err(source) => Error::Connect {
                pod,
                path: self.inner.socket.clone(),
                source,
            },
        }
    }

    fn odd(&self, call: &'static str, what: String) -> Error {
        Error::Answer {
            call,
            pod: self.inner.record.pod.clone(),
            what,
        }
    }

    fn unsayable(&self, call: &'static str, message: String) -> Error {
        let pod = self.inner.record.pod.clone();
        Error::Rpc {
            call,
            pod,
            code: Code::InvalidArgument,
            message,
        }
    }
}

/// A command that is collected: killed when this is dropped before its end.
struct Unwatched {
    sandbox: Option<Sandbox>,
    container: String,
    exec_id: String,
}

impl Unwatched {
    fn new(sandbox: &Sandbox, container: &str) -> Unwatched {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // Unique also beside the commands of a program that ran before this one.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let (now, count) = (
            since.unwrap_or_default().as_nanos(),
            COUNT.fetch_add(1, Ordering::Relaxed),
        );
        Unwatched {
            sandbox: Some(sandbox.clone()),
            container: container.to_owned(),
            exec_id: format!("collect-{now:x}-{count:x}"),
        }
    }

    fn ended(mut self) {
        self.sandbox = None;
    }
}

impl Drop for Unwatched {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        if let (Some(sandbox), Ok(runtime)) = (self.sandbox.take(), runtime) {
            let container = std::mem::take(&mut self.container);
            let exec_id = std::mem::take(&mut self.exec_id);
            runtime.spawn(async move {
                if let Err(error) = sandbox.kill_exec(&container, &exec_id).await {
                    tracing::debug!(container, %error, "a command whose caller is gone");
                }
            });
        }
    }
}

/// How an answer failed, before the pod and the call are named.
enum Failure {
    Status { code: Code, message: String },
    ExecTimeout { container: String, limit: Duration },
    Odd(String),
    Broken(String),
}

impl From<ttrpc::Error> for Failure {
    fn from(error: ttrpc::Error) -> Failure {
        match error {
            ttrpc::Error::RpcStatus(status) => Failure::Status {
                code: Code::from_number(status.code),
                message: status.message,
            },
            other => Failure::Broken(other.to_string()),
        }
    }
}

/// No deadline on the wire: the agent would drop the handler at it. Limits are kept on this side.
pub(crate) fn ctx() -> ttrpc::context::Context {
    ttrpc::context::Context::default()
}
