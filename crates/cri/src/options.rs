//! Where the daemon keeps things and which programs it uses.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use network::{Cidr, Name};

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
    /// The file that these settings were read from, told to those who ask for the status.
    pub config: Option<PathBuf>,
    /// What the operator has configured for all containers.
    pub node: NodeSettings,
    /// What the log of a container may take.
    pub log_limits: sandbox::LogLimits,
    /// How long [`crate::Runtime::open`] may wait for agents to answer; those that are slower are
    /// waited for while the daemon already serves.
    pub recovery_wait: Duration,
    /// The network of pods that have one of their own.
    pub network: NetworkOptions,
    /// Where exec, attach and port-forward are served.
    pub stream: StreamOptions,
    /// How image registries are asked.
    pub registry: registry::Settings,
    /// What an image may cost.
    pub limits: image::Limits,
    /// The registry of image names that say none; empty: such names are refused.
    pub default_registry: String,
    /// Images are held against their digests before a container is made from them.
    pub verify_images: bool,
}

/// The network of pods that have one of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkOptions {
    /// Loopback alone.
    None,
    /// The built-in network.
    Bridge(network::Settings),
}

/// The streaming server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamOptions {
    /// Where it listens; port 0: a free one.
    pub address: SocketAddr,
    /// How long a stream may pass no data before it is ended.
    pub idle_timeout: Duration,
}

impl Default for StreamOptions {
    fn default() -> StreamOptions {
        StreamOptions {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            idle_timeout: Duration::from_secs(4 * 3600),
        }
    }
}

/// What an operator said of the network, not checked yet: the values of the keys `network.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each is the key of its name in the configuration"
)]
pub struct NetworkWords<'a> {
    pub mode: &'a str,
    pub bridge: &'a str,
    pub ipv4: &'a str,
    pub ipv6: &'a str,
    pub mtu: &'a str,
    pub table: &'a str,
}

impl NetworkOptions {
    /// What the words mean.
    ///
    /// # Errors
    /// A sentence that begins with the key's name.
    pub fn parse(words: &NetworkWords<'_>) -> Result<NetworkOptions, String> {
        if words.mode == "none" {
            return Ok(NetworkOptions::None);
        }
        if words.mode != "bridge" {
            return Err(format!("mode {:?} is neither bridge nor none", words.mode));
        }
        let name = |key: &str, text: &str| {
            text.parse::<Name>()
                .map_err(|why| format!("{key} {text:?} {why}"))
        };
        let cidr = |key: &str, text: &str, four: bool| match text {
            "" => Ok(None),
            text => match text.parse::<Cidr>() {
                Ok(cidr) if cidr.is_ipv4() == four => Ok(Some(cidr)),
                Ok(_) => Err(format!("{key} {text:?} is of the other IP version")),
                Err(why) => Err(format!("{key} {text:?} {why}")),
            },
        };
        let settings = network::Settings {
            bridge: name("bridge", words.bridge)?,
            table: name(
                "table",
                if words.table.is_empty() {
                    words.bridge
                } else {
                    words.table
                },
            )?,
            ipv4: cidr("ipv4", words.ipv4, true)?,
            ipv6: cidr("ipv6", words.ipv6, false)?,
            mtu: words
                .mtu
                .parse()
                .map_err(|_| format!("mtu {:?} is no number", words.mtu))?,
        };
        if settings.ipv4.is_none() && settings.ipv6.is_none() {
            return Err(
                "ipv4 and ipv6 are both empty: set one, or network.mode = \"none\"".to_owned(),
            );
        }
        let least = if settings.ipv6.is_some() { 1280 } else { 576 };
        if settings.mtu != 0 && !(least..=65535).contains(&settings.mtu) {
            return Err(format!(
                "mtu {} is not between {least} and 65535",
                settings.mtu
            ));
        }
        Ok(NetworkOptions::Bridge(settings))
    }
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
            config: None,
            node: NodeSettings::default(),
            log_limits: sandbox::LogLimits::default(),
            recovery_wait: Duration::from_millis(700),
            network: NetworkOptions::None,
            stream: StreamOptions::default(),
            registry: registry::Settings::default(),
            limits: image::Limits::default(),
            default_registry: "docker.io".to_owned(),
            verify_images: false,
        }
    }
}
