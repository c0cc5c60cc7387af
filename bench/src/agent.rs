//! `coffer-agent` over its socket, without a daemon: what the published calls take, how fast output gets
//! into a log file, and what 20 agents hold.
//!
//! ```text
//! Check | CreateContainer ─ StartContainer ─ ReadStdout | ExecProcess ─ WaitProcess | SignalProcess ─ WaitProcess
//!       └────── create, start, first output ──────────┘ └─── exec and wait ──────┘ └──── kill and wait ────────┘
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent_api::grpc::{self, AgentServiceClient, HealthClient};
use agent_api::sandbox::{self, SandboxClient};
use agent_api::ttrpc::context::{Context, with_duration};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::stats::{median, ms};
use crate::table::markdown;

/// Agents that live at the same time for the memory figures: the number of the budget.
const AGENTS: usize = 20;
/// Containers of each, then.
const CROWDS: [usize; 2] = [1, 5];
/// Processes at the same time.
const EXECS: usize = 200;
/// Bytes that go through a log, in lines of [`LINE`].
const LOGGED: usize = 256 << 20;
const LINE: usize = 128;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// An agent of our own; ends with this value.
pub(crate) struct Agent {
    child: Child,
    base: tempfile::TempDir,
    agent: AgentServiceClient,
    pub(crate) own: SandboxClient,
    health: HealthClient,
}

pub(crate) fn soon() -> Context {
    with_duration(Duration::from_secs(60))
}

impl Agent {
    pub(crate) async fn start(bin: &Path, rootfs: &Path) -> Result<Agent> {
        let base = tempfile::Builder::new()
            .prefix("coffer-bench-agent")
            .tempdir()?;
        let at = |name: &str| base.path().join(name);
        let socket = at("agent.sock");
        let log = fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .open(at("agent.log"))?;
        let child = Command::new(bin.join("coffer-agent"))
            .arg(format!("--listen=unix://{}", socket.display()))
            .arg("--state")
            .arg(at("state"))
            .args(["--log-level", "warn"])
            // As the daemon starts it.
            .env(
                "GLIBC_TUNABLES",
                "glibc.pthread.stack_cache_size=0:glibc.malloc.tcache_count=0",
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| {
                let program = bin.join("coffer-agent");
                io::Error::new(e.kind(), format!("{}: {e}", program.display()))
            })?;
        std::os::unix::fs::symlink(rootfs, at("lower"))?;
        let deadline = Instant::now() + Duration::from_secs(10);
        let client = loop {
            match agent_api::connect(&socket).await {
                Ok(client) => break client,
                Err(e) if Instant::now() > deadline => return Err(e.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        };
        let agent = Agent {
            child,
            agent: AgentServiceClient::new(client.clone()),
            own: SandboxClient::new(client.clone()),
            health: HealthClient::new(client),
            base,
        };
        let request = sandbox::CreateSandboxRequest {
            id: agent.name(),
            hostname: "bench".into(),
            cgroup_parent: format!("/{}", agent.name()),
            ..Default::default()
        };
        agent.own.create_sandbox(soon(), &request).await?;
        Ok(agent)
    }

    fn name(&self) -> String {
        let name = self.base.path().file_name().unwrap_or_default();
        name.to_string_lossy().replace('.', "")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A container of the daemon's kind: an overlay, with a log file or without.
    pub(crate) async fn create(&self, id: &str, script: &str, log: Option<&Path>) -> Result<()> {
        let mut spec = testing::bundle::spec(&["sh", "-c", script]);
        if let Some(fields) = spec.as_object_mut() {
            fields.remove("hostname");
        }
        spec["linux"]["namespaces"] = json!([{ "type": "mount" }]);
        let at = |name: &str| self.base.path().join(name).join(id);
        let (upper, work) = (at("upper"), at("work"));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let text = |path: &Path| path.display().to_string();
        let lower = fs::canonicalize(self.base.path().join("lower"))?;
        let request = sandbox::CreateContainerRequest {
            id: id.into(),
            spec_json: serde_json::to_vec(&spec)?,
            rootfs: Some(sandbox::Rootfs {
                lowers: vec![text(&lower)],
                upper: text(&upper),
                work: text(&work),
                readonly: false,
            }),
            log: log.map(|path| sandbox::LogConfig {
                path: text(path),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.own.create_container(soon(), &request).await?;
        Ok(())
    }

    pub(crate) async fn start_container(&self, id: &str) -> Result<()> {
        let request = grpc::StartContainerRequest {
            container_id: id.into(),
        };
        self.agent.start_container(soon(), &request).await?;
        Ok(())
    }

    async fn exec(&self, id: &str, exec: &str, args: &[&str]) -> Result<()> {
        let request = grpc::ExecProcessRequest {
            container_id: id.into(),
            exec_id: exec.into(),
            process: Some(grpc::Process {
                args: args.iter().map(|word| (*word).to_owned()).collect(),
                env: vec!["PATH=/bin".into()],
                cwd: "/".into(),
                user: Some(grpc::User::default()),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.agent.exec_process(soon(), &request).await?;
        Ok(())
    }

    async fn wait(&self, id: &str, exec: &str) -> Result<i32> {
        let request = grpc::WaitProcessRequest {
            container_id: id.into(),
            exec_id: exec.into(),
        };
        Ok(self.agent.wait_process(soon(), &request).await?.status)
    }

    async fn kill(&self, id: &str) -> Result<()> {
        let request = grpc::SignalProcessRequest {
            container_id: id.into(),
            exec_id: id.into(),
            signal: 9,
        };
        self.agent.signal_process(soon(), &request).await?;
        Ok(())
    }

    pub(crate) async fn remove(&self, id: &str) -> Result<()> {
        let request = grpc::RemoveContainerRequest {
            container_id: id.into(),
            timeout: 30,
        };
        self.agent.remove_container(soon(), &request).await?;
        Ok(())
    }

    /// A field in KiB of `smaps_rollup`.
    pub(crate) fn memory(&self, field: &str) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid()))?;
        let line = text.lines().find(|line| line.starts_with(field));
        let number = line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok());
        number.ok_or_else(|| io::Error::other(format!("smaps_rollup has no {field}")))
    }

    /// CPU time of the agent itself so far.
    fn cpu(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let number = |n: usize| -> u64 {
            let field = fields.split_whitespace().nth(n - 3);
            field.and_then(|f| f.parse().ok()).unwrap_or(0)
        };
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        Ok(Duration::from_millis(
            (number(14) + number(15)) * 1000 / ticks,
        ))
    }

    pub(crate) fn count(&self, what: &str) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/{what}", self.pid()))?.count())
    }

    /// Threads of the pool end after half a second, and with them their memory.
    pub(crate) async fn settle(&self, tasks: usize) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.count("task")? > tasks && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    pub(crate) async fn end(mut self) -> Result<()> {
        let request = grpc::DestroySandboxRequest {};
        self.agent.destroy_sandbox(soon(), &request).await?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It ends its containers at SIGTERM; it has ended already unless something failed.
        if let Ok(None) = self.child.try_wait() {
            if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
                let _ended = kill_process(pid, Signal::TERM);
            }
            let _status = self.child.wait();
        }
    }
}

/// Measures and returns the markdown report.
///
/// # Errors
/// An agent that does not serve, or a call that fails.
pub(crate) fn report(bin: &Path, rounds: usize) -> Result<String> {
    with_rootfs(async |rootfs| {
        let mut out = calls(bin, rootfs, rounds).await?;
        out += &log(bin, rootfs).await?;
        out += &held(bin, rootfs).await?;
        Ok(out)
    })
}

/// Runs `work` on this thread, with a root filesystem for its containers.
pub(crate) fn with_rootfs(work: impl AsyncFnOnce(&Path) -> Result<String>) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let scratch = tempfile::tempdir()?;
    let rootfs = scratch.path().join("rootfs");
    testing::rootfs::busybox(&rootfs)?;
    runtime.block_on(work(&rootfs))
}

/// Times the calls, one after the other, and many execs at once.
async fn calls(bin: &Path, rootfs: &Path, rounds: usize) -> Result<String> {
    const WARMUP: usize = 3;
    let agent = Agent::start(bin, rootfs).await?;
    let mut samples: [Vec<Duration>; 4] = Default::default();
    for round in 0..WARMUP + rounds {
        let id = format!("c{round}");
        let mut clock = Instant::now();
        let mut times = Vec::with_capacity(4);
        let mut lap = || {
            let now = Instant::now();
            times.push(now - std::mem::replace(&mut clock, now));
        };
        let check = grpc::CheckRequest::default();
        agent.health.check(soon(), &check).await?;
        lap();
        agent.create(&id, "echo hi; exec sleep 1000", None).await?;
        agent.start_container(&id).await?;
        let read = grpc::ReadStreamRequest {
            container_id: id.clone(),
            exec_id: id.clone(),
            len: 100,
        };
        agent.agent.read_stdout(soon(), &read).await?;
        lap();
        agent.exec(&id, "e", &["true"]).await?;
        agent.wait(&id, "e").await?;
        lap();
        agent.kill(&id).await?;
        agent.wait(&id, &id).await?;
        lap();
        agent.remove(&id).await?;
        if round >= WARMUP {
            for (all, time) in samples.iter_mut().zip(times) {
                all.push(time);
            }
        }
    }
    agent.create("crowd", "exec sleep 1000", None).await?;
    agent.start_container("crowd").await?;
    let begin = Instant::now();
    let execs: Vec<_> = (0..EXECS).map(|n| format!("e{n}")).collect();
    let all = execs.iter().map(|exec| async {
        agent.exec("crowd", exec, &["true"]).await?;
        agent.wait("crowd", exec).await
    });
    let codes = futures::future::try_join_all(all).await?;
    let crowd = begin.elapsed();
    if codes.iter().any(|code| *code != 0) {
        return Err("an exec of `true` failed".into());
    }
    agent.end().await?;
    let names = [
        "Check, an empty call",
        "create, start, first output",
        "exec `true` and wait",
        "kill and wait",
    ];
    let mut rows: Vec<Vec<String>> = names
        .iter()
        .zip(samples)
        .map(|(name, samples)| {
            let least = samples.iter().min().copied().unwrap_or_default();
            let middle = median(samples).unwrap_or_default();
            vec![(*name).to_owned(), ms(least), ms(middle)]
        })
        .collect();
    rows.push(vec![
        format!("{EXECS} execs at once, all of them"),
        ms(crowd),
        String::new(),
    ]);
    let table = markdown(&["over the socket", "min ms", "median ms"], &rows);
    Ok(format!(
        "\n`coffer-agent`, its calls, {rounds} rounds:\n\n{table}"
    ))
}

/// A directory on a tmpfs, so that no disk is measured.
fn memory_dir() -> io::Result<tempfile::TempDir> {
    const TMPFS: i64 = 0x0102_1994;
    let place = Path::new("/dev/shm");
    if rustix::fs::statfs(place)?.f_type != TMPFS {
        return Err(io::Error::other("/dev/shm is no tmpfs"));
    }
    tempfile::Builder::new()
        .prefix("coffer-bench")
        .tempdir_in(place)
}

/// Sends [`LOGGED`] bytes through a log, from one file and into another that are both in memory.
async fn log(bin: &Path, rootfs: &Path) -> Result<String> {
    let dir = memory_dir()?;
    let data = dir.path().join("data");
    let line = [b"x".repeat(LINE - 1), b"\n".to_vec()].concat();
    fs::write(&data, line.repeat(LOGGED / LINE / 8))?;
    let agent = Agent::start(bin, rootfs).await?;
    let mut best: Option<(Duration, Duration)> = None;
    for round in 0..3 {
        let log = dir.path().join("log");
        let id = format!("l{round}");
        let script = "i=0; while [ $i -lt 8 ]; do cat /data; i=$((i+1)); done";
        agent.create(&id, script, Some(&log)).await?;
        // The layer, which takes the file, is the container's own.
        let upper: PathBuf = agent.base.path().join("upper").join(&id).join("data");
        fs::copy(&data, upper)?;
        let before = agent.cpu()?;
        let begin = Instant::now();
        agent.start_container(&id).await?;
        agent.wait(&id, &id).await?;
        let (wall, cpu) = (begin.elapsed(), agent.cpu()? - before);
        agent.remove(&id).await?;
        let text = fs::metadata(&log)?.len();
        if text < LOGGED as u64 {
            return Err(format!("the log has {text} bytes of {LOGGED}").into());
        }
        fs::remove_file(&log)?;
        if best.is_none_or(|(_, least)| cpu < least) {
            best = Some((wall, cpu));
        }
    }
    agent.end().await?;
    let (wall, cpu) = best.unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = |time: Duration| LOGGED as f64 / 1e6 / time.as_secs_f64().max(1e-3);
    Ok(format!(
        "\nOutput in lines of {LINE} bytes into a log on a tmpfs: {:.0} MB/s for each core that the agent \
         takes, {:.0} MB/s of wall-clock time with the program that writes.\n",
        rate(cpu),
        rate(wall)
    ))
}

/// What agents hold while nothing happens.
async fn held(bin: &Path, rootfs: &Path) -> Result<String> {
    let mut agents = Vec::new();
    for _ in 0..AGENTS {
        agents.push(Agent::start(bin, rootfs).await?);
    }
    let mut rows = Vec::new();
    let mut descriptors = Vec::new();
    for agent in &agents {
        agent.settle(1).await?;
    }
    let empty = agents.first().map_or(Ok(0), |agent| agent.count("fd"))?;
    let mut there = 0;
    for crowd in CROWDS {
        for agent in &agents {
            for n in there..crowd {
                let (id, log) = (format!("c{n}"), agent.base.path().join(format!("{n}.log")));
                agent.create(&id, "exec sleep 10000", Some(&log)).await?;
                agent.start_container(&id).await?;
            }
        }
        there = crowd;
        for agent in &agents {
            agent.settle(1 + crowd).await?;
        }
        let of = |field: &str| -> Result<Vec<u64>> {
            let all = agents.iter().map(|agent| agent.memory(field));
            Ok(all.collect::<io::Result<_>>()?)
        };
        let figure = |values: Vec<u64>| median(values).unwrap_or_default().to_string();
        let (pss, anonymous, rss) = (of("Pss:")?, of("Pss_Anon:")?, of("Rss:")?);
        let most = pss.iter().max().copied().unwrap_or_default().to_string();
        rows.push(vec![
            format!("{crowd}"),
            figure(pss),
            most,
            figure(anonymous),
            figure(rss),
        ]);
        if let Some(agent) = agents.first() {
            descriptors.push((agent.count("fd")? - empty).div_ceil(crowd));
        }
    }
    for agent in agents {
        agent.end().await?;
    }
    let head = [
        "containers",
        "PSS KiB, median",
        "PSS KiB, largest",
        "of it private",
        "RSS KiB",
    ];
    let size = fs::metadata(bin.join("coffer-agent"))?.len() / 1024;
    let each = descriptors.iter().max().copied().unwrap_or_default();
    Ok(format!(
        "\n{AGENTS} agents at rest:\n\n{}\nDescriptors for each container: {each}. The program: {size} KiB.\n",
        markdown(&head, &rows)
    ))
}
