//! Control groups: v1, v2 and the hybrid of both, behind one type.
//!
//! ```text
//! Hierarchy::probe()                what is mounted where
//!     └─ Cgroup::create/open        one path in every hierarchy
//!          ├─ apply(resources)      limits and devices; pure plan, then writes
//!          ├─ join_fds, dir_fd      how a new process gets in; add(pid) from outside
//!          ├─ pids, signal_all      whole subtree; freeze, thaw
//!          ├─ stats, oom_watch      nanoseconds, bytes, counts; kills exactly counted
//!          └─ remove                bounded; also the parents that were made
//! ```
//! Who has systemd manage cgroups has it make a scope ([`systemd`]); all else is the same.
//!
//! Nothing here caches the kernel's state: every call reads it anew, so two processes may hold the
//! same cgroup. What a hierarchy or a kernel cannot do is an error that names the setting.
//!
//! Paths count from the mount point of each hierarchy, whatever cgroup we sit in ourselves (see
//! [`path`]). All paths hang off [`Hierarchy`], so tests run on a recorded tree in a directory.

mod below;
mod devices;
mod error;
mod file;
mod freeze;
mod group;
mod hierarchy;
mod leaf;
mod limits;
mod member;
mod oom;
pub mod path;
mod standard;
mod stats;
mod systemd;

pub use devices::container_device_rules;
pub use error::Error;
pub(crate) use file::detached_copy;
pub use file::hold_root;
pub use group::{Cgroup, Place, Record};
pub(crate) use hierarchy::by_mount;
pub use hierarchy::{Hierarchy, Mount};
pub use limits::cpu_weight;
pub use oom::OomWatch;
pub use stats::{
    BlkioEntry, BlkioStats, CpuStats, CpusetStats, MemoryStats, PidsStats, Pressure, PressureLine,
    PressureStats, Stats, Usage,
};
pub use systemd::Unit;
pub(crate) use systemd::{NewScope, default_bus};
