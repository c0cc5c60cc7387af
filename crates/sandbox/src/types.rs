//! What a caller says about pods and containers, and what it hears back.
//!
//! Plain data, no wire types: those stay in `convert.rs`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// What is the same for all pods of one daemon.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The agent program (`coffer-agent`).
    pub agent: PathBuf,
    /// Prefix of cgroup names: pods live below `/<cgroup_root>/`, agents below
    /// `/<cgroup_root>-agents/`. "coffer" by default; private instances use another one.
    pub cgroup_root: String,
    /// Limit from the agent's start to the answer of CreateSandbox.
    pub start_timeout: Duration,
    /// Limit of every call that has no limit of its own.
    pub call_timeout: Duration,
    /// Directory of compiled seccomp filters, shared by all agents; `None`: each agent compiles.
    pub seccomp_cache: Option<PathBuf>,
    /// The agent's `--log-level`: error, warn, info, debug or trace.
    pub log_level: String,
}

impl Settings {
    /// Settings with the usual limits for one agent program.
    pub fn new(agent: PathBuf) -> Settings {
        Settings {
            agent,
            cgroup_root: "coffer".to_owned(),
            start_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(60),
            seccomp_cache: None,
            log_level: "info".to_owned(),
        }
    }

    /// The cgroup of a pod when nobody else has made one: `/coffer/<pod>`.
    pub fn pod_cgroup(&self, pod: &str) -> String {
        format!("/{}/{pod}", self.cgroup_root)
    }

    /// Whether the cgroup below which a pod's containers are is one that this program makes and
    /// removes; otherwise it is a kubelet's.
    pub fn owns_cgroup(&self, pod: &str, cgroup_parent: &str) -> bool {
        let ours = self.pod_cgroup(pod);
        cgroup_parent
            .strip_prefix(ours.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The cgroup of a pod's agent, outside the pod's: `/coffer-agents/<pod>`.
    pub fn agent_cgroup(&self, pod: &str) -> String {
        format!("/{}-agents/{pod}", self.cgroup_root)
    }
}

/// A pod to start.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// The pod's id: 1 to 64 characters of `[A-Za-z0-9_.-]`, the first a letter or digit.
    pub id: String,
    /// The pod's directory, which exists: socket, log and record of the agent go here.
    pub dir: PathBuf,
    /// Hostname of the pod's uts namespace; unused when the pod uses the host's network (the host's
    /// uts namespace is shared then).
    pub hostname: String,
    /// The pod's network namespace.
    pub netns: Netns,
    /// The pod's ipc namespace.
    pub ipc: IpcMode,
    /// What containers of the pod get for a pid namespace when they do not say otherwise.
    pub pid: PidMode,
    /// Sysctls of the pod's own ipc, uts and network namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// The cgroup below which the containers' cgroups are. One that starts with
    /// [`Settings::pod_cgroup`] is ours: made at the start, removed at the end. Any other belongs
    /// to the caller's caller (a kubelet) and is left alone.
    pub cgroup_parent: String,
}

/// A pod's network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Netns {
    /// The host's.
    Host,
    /// The one pinned by this file.
    Path(PathBuf),
}

/// A pod's ipc namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpcMode {
    /// The pod's own.
    Pod,
    /// The host's.
    Host,
}

/// The pid namespace that the containers of a pod get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PidMode {
    /// One for each container.
    Container,
    /// One that the pod's containers share.
    Pod,
    /// The host's.
    Host,
}

/// What is known of a running agent: written to `agent.json` in the pod's directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRecord {
    /// Version of this record.
    pub version: u32,
    /// The pod's id.
    pub pod: String,
    /// Process id on the host.
    pub pid: i32,
    /// Start time in clock ticks since boot (field 22 of `/proc/<pid>/stat`): with it a reused pid
    /// is told from the agent.
    pub start_ticks: u64,
    /// Version of the protocol that the agent answered the handshake with.
    pub protocol: u32,
    /// The agent's own version.
    pub agent_version: String,
    /// The cgroup below which the pod's containers are; in a record made anew the daemon's own for
    /// the pod.
    pub cgroup_parent: String,
    /// The agent's cgroup.
    pub agent_cgroup: String,
}

/// A container to create.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// The container's id; the same rules as for pods.
    pub id: String,
    /// The runtime-spec (1.3) document. Its `linux.cgroupsPath` places the container; its pid
    /// namespace entry is decided by `pid`.
    pub spec_json: Vec<u8>,
    /// The root filesystem.
    pub rootfs: Rootfs,
    /// The pid namespace.
    pub pid: ContainerPid,
    /// The CRI log file, absolute; `None` writes no log.
    pub log_path: Option<PathBuf>,
    /// What the log may take.
    pub log_limits: LogLimits,
    /// Keep standard input open for a later attach; else it is `/dev/null`.
    pub stdin: bool,
    /// Close standard input when the first attach ends.
    pub stdin_once: bool,
    /// Give it a terminal (must agree with the document's `process.terminal`).
    pub tty: bool,
}

/// What a container's log may take; 0: no limit. What is over a limit is dropped, counted and told in the
/// log; the container is never held up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes of one file: it is full then until it is opened anew.
    pub max_bytes: u64,
    /// Bytes a second, on average.
    pub bytes_per_second: u64,
}

/// Where a container's root filesystem comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rootfs {
    /// An overlay that the agent makes and never attaches on the host.
    Overlay {
        /// Layer directories, the top one first; never empty.
        lowers: Vec<PathBuf>,
        /// The container's writable layer.
        upper: PathBuf,
        /// The overlay's work directory, on the filesystem of `upper`.
        work: PathBuf,
    },
    /// A directory that is there already: the document's `root.path`.
    Directory,
}

/// The pid namespace of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerPid {
    /// Its own.
    Container,
    /// The one that the pod's containers share.
    Pod,
    /// The host's.
    Node,
    /// That of another container of the pod, by id.
    Target(String),
}

/// A command to run in a container, its output collected.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// The container.
    pub container: String,
    /// The runtime-spec `process` document.
    pub process_json: Vec<u8>,
    /// Limit; `None` for none.
    pub timeout: Option<Duration>,
    /// Most bytes of standard output and standard error together; 0 for the agent's default
    /// (15 MiB).
    pub max_bytes: u64,
}

/// What a command that was run to its end wrote and answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Exit code; 128+n for signal n.
    pub exit_code: i32,
    /// More was written than the limit allowed; the rest was thrown away.
    pub truncated: bool,
}

/// A further process to run in a container, whose streams are led call by call.
#[derive(Debug, Clone)]
pub struct ExecStart {
    /// The container.
    pub container: String,
    /// A name for the process, unique in its container.
    pub exec_id: String,
    /// The runtime-spec `process` document. With a terminal its `consoleSize` is set before the
    /// program starts.
    pub process_json: Vec<u8>,
    /// Keep standard input open for [`crate::Sandbox::write_stdin`]; otherwise it is /dev/null.
    pub stdin: bool,
}

/// One output stream of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The container.
    pub container: String,
    /// The exec'd process; empty for the container's first.
    pub exec_id: String,
    /// Standard error instead of standard output. A terminal has one stream for both.
    pub stderr: bool,
}

/// Output that a view of a container's first process has seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputChunk {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error; always empty with a terminal.
    pub stderr: Vec<u8>,
    /// Bytes that the view lost before these, because its reader was too slow.
    pub dropped: u64,
    /// Both streams have ended; nothing follows.
    pub ended: bool,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerStatus {
    /// Made, waiting for its start.
    Created,
    /// Its first process runs.
    Running,
    /// Frozen.
    Paused,
    /// Its first process has ended.
    Exited,
}

/// What the agent knows of a container. Times are nanoseconds since the epoch, 0 for "not yet".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    /// The container.
    pub id: String,
    /// Where it is in its life.
    pub status: ContainerStatus,
    /// Pid of its first process on the host; 0 when it has ended.
    pub pid: i32,
    /// When it was created.
    pub created_at_ns: i64,
    /// When it was started.
    pub started_at_ns: i64,
    /// When its first process ended.
    pub finished_at_ns: i64,
    /// Exit code; 128+n for signal n. Counts only when `status` is `Exited`.
    pub exit_code: i32,
    /// CamelCase word for the end: `Completed`, `Error`, `OOMKilled` …; empty before.
    pub reason: String,
    /// The kernel killed a process of it for want of memory.
    pub oom_killed: bool,
    /// Bytes of output that could not be written to the log (a full disk, a removed directory).
    pub log_bytes_lost: u64,
}

/// What a cgroup has used. Times are nanoseconds, sizes bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerStats {
    /// The container; for a pod's figures the pod.
    pub id: String,
    /// When this was read, nanoseconds since the epoch.
    pub timestamp_ns: i64,
    /// Processor time.
    pub cpu: CpuStats,
    /// Memory.
    pub memory: MemoryStats,
    /// Processes.
    pub pids: PidsStats,
    /// Pressure on the disks, where the kernel tells it.
    pub io_pressure: Option<Pressure>,
    /// What was read from and written to disks, by device.
    pub disks: Vec<DiskStats>,
    /// Huge pages, by their size as the kernel writes it (`2MB`).
    pub huge_pages: Vec<HugePageStats>,
}

/// Processor time, nanoseconds since the cgroup was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuStats {
    /// All of it.
    pub usage_ns: u64,
    /// In user mode.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// Periods of the bandwidth limit that have passed.
    pub periods: u64,
    /// Periods in which the limit was hit.
    pub throttled_periods: u64,
    /// How long it was throttled.
    pub throttled_ns: u64,
    /// Pressure, where the kernel tells it.
    pub pressure: Option<Pressure>,
}

/// Memory in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// All that is charged.
    pub usage: u64,
    /// The most that ever was charged; 0 where the kernel does not keep it.
    pub max_usage: u64,
    /// How often the limit was hit.
    pub limit_hits: u64,
    /// Usage without the page cache that is easy to reclaim.
    pub working_set: u64,
    /// Anonymous memory.
    pub rss: u64,
    /// Page cache.
    pub cache: u64,
    /// Files that are mapped.
    pub mapped_file: u64,
    /// Memory of the kernel's own.
    pub kernel: u64,
    /// The limit; `None` for none.
    pub limit: Option<u64>,
    /// Swap in use.
    pub swap: u64,
    /// Page faults.
    pub page_faults: u64,
    /// Page faults that needed the disk.
    pub major_page_faults: u64,
    /// Processes that the kernel has killed for want of memory.
    pub oom_kills: u64,
    /// Pressure, where the kernel tells it.
    pub pressure: Option<Pressure>,
}

/// Numbers of processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PidsStats {
    /// Tasks now.
    pub current: u64,
    /// The limit; `None` for none.
    pub limit: Option<u64>,
}

/// What was read from and written to one disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiskStats {
    /// Device number, major.
    pub major: u64,
    /// Device number, minor.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Read operations.
    pub reads: u64,
    /// Write operations.
    pub writes: u64,
}

/// Huge pages of one size, bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HugePageStats {
    /// Size of a page, as the kernel writes it: `2MB`.
    pub size: String,
    /// In use.
    pub usage: u64,
    /// The most that ever was; 0 where the kernel does not keep it.
    pub max_usage: u64,
}

/// Pressure stall information: shares in percent over 10, 60 and 300 seconds, total microseconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pressure {
    /// Some tasks waited.
    pub some: [f64; 3],
    /// Total of `some`, µs.
    pub some_total_us: u64,
    /// All tasks waited.
    pub full: [f64; 3],
    /// Total of `full`, µs.
    pub full_total_us: u64,
}

// Percentages come from the kernel's text and are never NaN.
impl Eq for Pressure {}

/// Figures of a pod and of each container in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodStats {
    /// The pod as a whole; `None` where the pod has no cgroup of its own.
    pub pod: Option<ContainerStats>,
    /// The containers that have not been removed.
    pub containers: Vec<ContainerStats>,
}

/// The kernel killed a process for want of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OomEvent {
    /// The container.
    pub container: String,
    /// The cgroup that was hit, relative to the cgroup mount.
    pub cgroup: String,
    /// Kills since the last event of this container.
    pub kills: u64,
    /// When, nanoseconds since the epoch.
    pub at_ns: i64,
}

/// A pod whose agent is lost: what [`crate::kill_pod`] needs to end it.
#[derive(Debug, Clone)]
pub struct LostPod {
    /// The pod's id.
    pub id: String,
    /// The pod's directory.
    pub dir: PathBuf,
    /// The cgroup below which the containers' cgroups are.
    pub cgroup_parent: String,
    /// Ids of all containers that the pod may have.
    pub containers: Vec<String>,
}
