//! What pods need of this machine, looked at one by one; works without a daemon.
//!
//! ```text
//! area           how it is known
//! kernel         each feature tried for real, in a thread with namespaces of its own (trial.rs)
//! cgroups        mountinfo, and a cgroup that is made and removed
//! network        the built-in network itself, in a throw-away network namespace
//! limits, disk   /proc/sys, rlimits, statvfs, an overlay on the root's own filesystem
//! machine        KVM by making a virtual machine, the clock's own word, AppArmor, SELinux
//! coffer         the agent program, the daemon's status, what dead pods have left
//! ```
//! Nothing of a trial stays.

mod cgroups;
mod coffer;
mod disk;
mod finding;
mod kernel;
mod leftovers;
mod limits;
mod machine;
mod network;
mod print;
mod text;
mod trial;

pub(crate) use coffer::{daemon_says, daemon_silent};
pub(crate) use finding::{Area, Finding, Verdict};
pub(crate) use kernel::run_inside;
pub(crate) use print::{counted, shown};
pub(crate) use text::{Form, Paragraph};

use std::path::PathBuf;

use crate::config::Said;

/// What is looked at.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// What the configuration and the flags say.
    pub(crate) said: Said,
    /// Durable state.
    pub(crate) root: PathBuf,
    /// State of pods.
    pub(crate) state: PathBuf,
    /// First part of cgroup names.
    pub(crate) cgroup_root: String,
    /// Where the daemon listens.
    pub(crate) socket: PathBuf,
}

/// Everything, in the order of the areas. `daemon` is what was found out by asking it.
pub(crate) fn examine(subject: &Subject, daemon: Vec<Finding>) -> Vec<Finding> {
    let mut all = Vec::new();
    all.extend(kernel::look());
    all.extend(cgroups::look(&subject.cgroup_root));
    all.extend(network::look(subject));
    all.extend(limits::look());
    all.extend(disk::look(&subject.root, &subject.state));
    all.extend(machine::look());
    all.extend(coffer::look(subject));
    all.extend(daemon);
    all.extend(leftovers::look(subject));
    all
}
