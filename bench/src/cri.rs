//! A pod's life through CRI against a private daemon, what 20 pods cost in memory, and how large
//! the programs are.
//!
//! ```text
//! RunPodSandbox ─ CreateContainer ─ StartContainer ─ ExecSync true ─ stop and remove
//! └──────────────── pod start ─────────────────────┘
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use system_tests::{Client, configs, procs};

use crate::scratch::Scratch;
use crate::stats::{median, ms};
use crate::table::markdown;

/// Pods that live at the same time for the memory figures: the number of the budget.
const PODS: usize = 20;
const STEPS: [&str; 5] = [
    "RunPodSandbox",
    "CreateContainer",
    "StartContainer",
    "ExecSync `true`",
    "stop and remove pod",
];

/// A daemon of our own; ends with this value.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) base: Scratch,
    name: String,
}

impl Daemon {
    pub(crate) fn start(bin: &Path) -> io::Result<Daemon> {
        // Its bridge and its rules never meet the machine's own network. The daemon keeps the
        // namespace for as long as it lives.
        let network = network::Scratch::new()?;
        network.run(|| Daemon::start_here(bin, "", &std::env::temp_dir()))?
    }

    /// As [`Daemon::start`], in the network namespace of the caller, with this configuration
    /// and its files in a directory within `within`.
    pub(crate) fn start_here(bin: &Path, config: &str, within: &Path) -> io::Result<Daemon> {
        let base = Scratch::new("coffer-bench", within)?;
        let name = format!("cofbench-{}", std::process::id());
        let at = |part: &str| base.path().join(part);
        fs::write(at("config.toml"), config)?;
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(at("daemon.log"))?;
        let mut command = Command::new(bin.join("coffer"));
        command
            .arg("serve")
            .arg("--root")
            .arg(at("root"))
            .arg("--state")
            .arg(at("run"))
            .arg("--socket")
            .arg(at("coffer.sock"))
            .arg("--config")
            .arg(at("config.toml"))
            .args(["--cgroup-root", &name, "--log-level", "warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let child = command.spawn().map_err(|e| {
            io::Error::new(e.kind(), format!("{}: {e}", bin.join("coffer").display()))
        })?;
        Ok(Daemon { child, base, name })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn client(&mut self) -> io::Result<Client> {
        let socket = self.base.path().join("coffer.sock");
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(client) = Client::connect(&socket).await {
                return Ok(client);
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                return Err(self.complain(&format!("the daemon does not serve ({ended:?})")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// An error with what the daemon said last.
    fn complain(&self, what: &str) -> io::Error {
        let log = fs::read_to_string(self.base.path().join("daemon.log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(10).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        io::Error::other(format!("{what}\n{}", last.join("\n")))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The daemon first: it would take its agents' ends for losses.
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw) {
            let _ended = kill_process(pid, Signal::TERM);
        }
        let _status = self.child.wait();
        // Only after a failure is anybody left.
        for pid in procs::in_cgroup(&self.name)
            .into_keys()
            .filter_map(Pid::from_raw)
        {
            let _ended = kill_process(pid, Signal::KILL);
        }
    }
}

/// Measures and returns the markdown report.
///
/// # Errors
///
/// A daemon that does not serve, or a call that fails.
pub(crate) fn report(bin: &Path, rounds: usize) -> io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut daemon = Daemon::start(bin)?;
        let result = run(&mut daemon, bin, rounds).await;
        result.map_err(|e| daemon.complain(&e))
    })
}

async fn run(daemon: &mut Daemon, bin: &Path, rounds: usize) -> Result<String, String> {
    let client = daemon.client().await.map_err(|e| e.to_string())?;
    let idle = memory(daemon.pid(), "status", "VmRSS:");
    let image = import(&client, daemon.base.path()).await?;
    let mut out = lifecycle(&client, daemon.base.path(), &image, rounds).await?;
    out += &populated(&client, daemon, &image, idle).await?;
    out += &sizes(bin);
    Ok(out)
}

pub(crate) async fn import(client: &Client, base: &Path) -> Result<String, String> {
    let path = base.join("busybox.tar");
    testing::image::busybox_archive(&path, testing::image::Compression::Gzip)
        .map_err(|e| format!("make an image: {e}"))?;
    let tar = fs::read(&path).map_err(|e| e.to_string())?;
    let images = client
        .import("", &tar)
        .await
        .map_err(|e| format!("import: {e}"))?;
    images
        .first()
        .map(|i| i.id.clone())
        .ok_or_else(|| "the import made no image".to_owned())
}

/// Times every step of `rounds` pods, one after the other.
async fn lifecycle(
    client: &Client,
    base: &Path,
    image: &str,
    rounds: usize,
) -> Result<String, String> {
    const WARMUP: usize = 3;
    let mut samples: [Vec<Duration>; 5] = Default::default();
    let mut starts = Vec::new();
    for round in 0..WARMUP + rounds {
        let pod_config = configs::pod(&format!("bench-{round}"), base);
        let config = configs::shell("main", image, configs::FOREVER);
        let mut times = Vec::new();
        let mut clock = Instant::now();
        let mut lap = || {
            let now = Instant::now();
            times.push(now - std::mem::replace(&mut clock, now));
        };
        let fail =
            |step: usize| move |e: tonic::Status| format!("{} in round {round}: {e}", STEPS[step]);
        let pod = client.run_pod(&pod_config).await.map_err(fail(0))?;
        lap();
        let id = client
            .create(&pod, &pod_config, &config)
            .await
            .map_err(fail(1))?;
        lap();
        client.start(&id).await.map_err(fail(2))?;
        lap();
        let (code, _) = client.exec(&id, &["/bin/true"]).await.map_err(fail(3))?;
        lap();
        if code != 0 {
            return Err(format!("`true` ended with {code}"));
        }
        client.stop_pod(&pod).await.map_err(fail(4))?;
        client.remove_pod(&pod).await.map_err(fail(4))?;
        lap();
        if round >= WARMUP {
            starts.push(times.iter().take(3).sum::<Duration>());
            for (all, time) in samples.iter_mut().zip(times) {
                all.push(time);
            }
        }
    }
    let row = |name: &str, samples: Vec<Duration>| {
        let least = samples.iter().min().copied().unwrap_or_default();
        let middle = median(samples).unwrap_or_default();
        vec![name.to_owned(), ms(least), ms(middle)]
    };
    let mut rows: Vec<Vec<String>> = STEPS
        .iter()
        .zip(samples)
        .map(|(name, samples)| row(name, samples))
        .collect();
    rows.insert(3, row("pod start (the three)", starts));
    let table = markdown(&["call", "min ms", "median ms"], &rows);
    Ok(format!(
        "\nA pod with one container through CRI, {rounds} rounds:\n\n{table}"
    ))
}

/// Memory while [`PODS`] pods run.
async fn populated(
    client: &Client,
    daemon: &Daemon,
    image: &str,
    idle: Option<u64>,
) -> Result<String, String> {
    let mut pods = Vec::new();
    for n in 0..PODS {
        let pod_config = configs::pod(&format!("crowd-{n}"), daemon.base.path());
        let config = configs::shell("main", image, configs::FOREVER);
        let (pod, _) = client
            .run(&pod_config, &config)
            .await
            .map_err(|e| format!("pod {n}: {e}"))?;
        pods.push(pod);
    }
    let agents: Vec<u64> = procs::in_cgroup(&format!("/{}-agents/", daemon.name))
        .into_keys()
        .filter_map(|pid| memory(pid, "smaps_rollup", "Pss:"))
        .collect();
    let with_pods = memory(daemon.pid(), "status", "VmRSS:");
    for pod in &pods {
        client
            .stop_pod(pod)
            .await
            .map_err(|e| format!("stop: {e}"))?;
        client
            .remove_pod(pod)
            .await
            .map_err(|e| format!("remove: {e}"))?;
    }
    if agents.len() != PODS {
        return Err(format!(
            "{} agents were found for {PODS} pods",
            agents.len()
        ));
    }
    let kib = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |v| v.to_string());
    let most = agents.iter().max().copied();
    let rows = vec![
        vec![format!("agent PSS, median of {PODS}"), kib(median(agents))],
        vec!["agent PSS, largest".to_owned(), kib(most)],
        vec!["daemon RSS, no pod yet".to_owned(), kib(idle)],
        vec![format!("daemon RSS, {PODS} pods"), kib(with_pods)],
    ];
    Ok(format!(
        "\nMemory:\n\n{}",
        markdown(&["what", "KiB"], &rows)
    ))
}

/// A field in KiB of a file of /proc.
fn memory(pid: impl std::fmt::Display, file: &str, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find(|l| l.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn sizes(bin: &Path) -> String {
    let rows: Vec<Vec<String>> = ["coffer", "coffer-agent", "coffer-oci"]
        .iter()
        .map(|name| {
            let path: PathBuf = bin.join(name);
            let size = fs::metadata(path).map(|m| m.len() / 1024).ok();
            vec![
                format!("`{name}`"),
                size.map_or_else(|| "?".to_owned(), |s| s.to_string()),
            ]
        })
        .collect();
    format!("\nPrograms:\n\n{}", markdown(&["program", "KiB"], &rows))
}
