//! Where the daemon keeps things and which programs it uses.

use std::{path::PathBuf, time::Duration};

use crate::spec::NodeSettings;

/// Settings of one daemon. Several can run side by side when `root`, `state` and `cgroup_root`
/// differ.
#[derive(Debug, Clone)]
pub struct Options {
    /// Durable state, mode 0700: images, layers, writable layers.
    pub root: PathBuf,
    /// State that dies with the machine's uptime, mode 0711: pods. It is best on a tmpfs.
    pub state: PathBuf,
    /// The agent program (`coffer-agent`).
    pub agent: PathBuf,
    /// First part of cgroup names: pods below `/<cgroup_root>/`, agents below
    /// `/<cgroup_root>-agents/`.
    pub cgroup_root: String,
    /// `--log-level` of the agents: error, warn, info, debug or trace.
    pub agent_log_level: String,
    /// What the operator has configured for all containers.
    pub node: NodeSettings,
    /// How long [`crate::Runtime::open`] may wait for agents to answer; those that are slower are
    /// waited for while the daemon already serves.
    pub recovery_wait: Duration,
}

impl Options {
    /// The usual settings for these places.
    pub fn new(root: PathBuf, state: PathBuf, agent: PathBuf) -> Options {
        Options {
            root,
            state,
            agent,
            cgroup_root: "coffer".to_owned(),
            agent_log_level: "info".to_owned(),
            node: NodeSettings::default(),
            recovery_wait: Duration::from_millis(700),
        }
    }
}
