//! The core: from a runtime-spec document to a running process, and back. Synchronous; safe to use from
//! any thread.
//!
//! ```text
//!   Engine::probe ─► create ─► Container ─► start ─► exec … ─► destroy
//!                      │
//!                      ├─ cgroup    one path in every hierarchy
//!                      ├─ seccomp   profile to BPF, cached
//!                      ├─ plan      document + facts to steps; pure, printable
//!                      └─ launch    opens, clones, answers; the child is `init`'s
//! ```
//! Who reaps: the caller, all that it gets back as a [`Process`]; everything else is reaped here.
#![forbid(unsafe_code)]

mod annotations;
pub mod cgroup;
mod create;
pub mod dbus;
mod destroy;
mod engine;
mod error;
pub mod exec;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod home;
pub mod hooks;
mod host;
mod id;
pub mod launch;
mod live_mounts;
mod mountinfo;
pub mod net_device;
pub mod plan;
mod request;
pub mod resctrl;
pub mod seccomp;
mod start;
mod stdio;
pub mod trace;

pub use annotations::Annotations;
pub use create::{Prepared, cgroup_path};
pub use destroy::destroy;
pub use engine::{CgroupManager, CgroupNeed, Engine, EngineOptions};
pub use error::{Error, ErrorKind};
pub use host::Facts;
pub use id::{ContainerId, InvalidId};
pub use request::{
    Container, ContainerRef, CreateRequest, ExecRequest, Gate, Process, Rootfs, Stdio,
};
pub use start::{Begun, start_by_fifo};
