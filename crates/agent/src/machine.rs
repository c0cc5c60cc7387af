//! The machine under the agent: whose it is, and where its devices are looked up. Facts that are read
//! once, at the start; nothing else asks whether this is a micro-VM.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;

/// How long a hot-plugged device may take to appear, unless `agent.hotplug_timeout` says otherwise.
pub(crate) const HOTPLUG_TIMEOUT: Duration = Duration::from_secs(3);

/// The namespace of the machine's first process; where that may not be looked at, that of whoever
/// started the agent.
fn node_network() -> Option<(u64, u64)> {
    let of = |pid: i32| {
        let meta = std::fs::metadata(format!("/proc/{pid}/ns/net")).ok()?;
        Some((meta.dev(), meta.ino()))
    };
    let parent = rustix::process::getppid().map_or(1, |pid| pid.as_raw_nonzero().get());
    of(1).or_else(|| of(parent))
}

/// What the agent may do to its machine, and where it looks.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// It is the pod's own, a micro-VM: clock, CPUs, memory, swap and network are the pod's.
    pub(crate) own: bool,
    /// Where sysfs is mounted.
    pub(crate) sys: PathBuf,
    /// Where device nodes are.
    pub(crate) dev: PathBuf,
    pub(crate) hotplug_timeout: Duration,
    /// The node's network namespace: device and inode.
    pub(crate) node_network: Option<(u64, u64)>,
}

impl Machine {
    /// This machine.
    pub(crate) fn here(own: bool) -> Self {
        Self {
            own,
            sys: "/sys".into(),
            dev: "/dev".into(),
            hotplug_timeout: HOTPLUG_TIMEOUT,
            node_network: if own { None } else { node_network() },
        }
    }

    /// Whether a network namespace is the node's; one that cannot be told apart counts as such.
    pub(crate) fn is_node_network(&self, namespace: (u64, u64)) -> bool {
        !self.own && self.node_network.is_none_or(|node| node == namespace)
    }

    /// Refuses what would change a machine that is not the pod's own.
    ///
    /// # Errors
    /// FAILED_PRECONDITION, on a node.
    pub(crate) fn may_change(&self, what: &'static str) -> Result<(), Error> {
        match self.own {
            true => Ok(()),
            false => Err(Error::Precondition(format!(
                "{what} is done in a micro-VM only: here it would change the node"
            ))),
        }
    }
}
