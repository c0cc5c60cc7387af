//! The host's side of a pod: starts, finds and leads the agent that holds the pod's containers.
//!
//! One agent process per pod. This crate speaks to it over ttRPC on a Unix socket in the pod's
//! directory and hides the wire: what goes in and comes out are the types of this crate. It knows
//! nothing of CRI. Today's backend is the process on this host; a VM is one more way to start the
//! same agent.
//!
//! ```text
//! start()    socket, process, handshake, CreateSandbox      → Sandbox
//! connect()  after a restart: agent.json, handshake         → Sandbox
//! Sandbox    create, start, exec, signal, wait, stats, remove, destroy, closed()
//!            exec_start and its streams, views of a container's output
//! kill_container()  the agent does not answer: end one container past it
//! kill_pod() the agent is lost: end by force what it left behind
//! ```
#![forbid(unsafe_code)]

mod cgroup;
mod convert;
mod error;
mod force;
mod handle;
mod look;
mod lost;
mod process;
mod processes;
mod record;
mod start;
mod stream;
mod types;

pub use error::{Code, Error, ErrorKind};
pub use force::{clear_container, kill_container};
pub use handle::Sandbox;
pub use look::look;
pub use lost::kill_pod;
pub use processes::{ProcessFigures, ProcessReader};
pub use start::{connect, destroy, start};
pub use types::{
    AgentRecord, ContainerPid, ContainerSpec, ContainerState, ContainerStats, ContainerStatus,
    CpuStats, DiskStats, ExecOutput, ExecRequest, ExecStart, HugePageStats, IpcMode, LogLimits,
    LostPod, MemoryStats, Netns, OomEvent, OutputChunk, PidMode, PidsStats, PodSpec, PodStats,
    Pressure, Rootfs, Settings, Stream,
};
