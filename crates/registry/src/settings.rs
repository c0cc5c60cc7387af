//! What an operator can set for all registries.

use std::{path::PathBuf, time::Duration};

/// How registries are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Directories with `<registry>/hosts.toml`; the first that knows a registry counts.
    pub host_dirs: Vec<PathBuf>,
    /// `auth.json` or `config.json` files; the first with credentials for an image counts.
    pub auth_files: Vec<PathBuf>,
    /// How often a request is tried again that failed for a reason that may pass.
    pub retries: u32,
    /// How long it may take until a connection to a host stands, name lookup and all addresses included.
    pub connect: Duration,
    /// A registry that asks for a longer wait (`Retry-After`) is told of instead.
    pub max_retry_after: Duration,
    /// How long an answer may be waited for, and the window in which `min_rate` is measured.
    pub stall: Duration,
    /// Bytes a second below which a transfer counts as stalled; 0: any byte in the window will do.
    pub min_rate: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host_dirs: vec![
                "/etc/coffer/registries.d".into(),
                "/etc/containerd/certs.d".into(),
                "/etc/docker/certs.d".into(),
            ],
            auth_files: vec![
                "/etc/coffer/auth.json".into(),
                "/root/.config/containers/auth.json".into(),
                "/root/.docker/config.json".into(),
            ],
            retries: 4,
            connect: Duration::from_secs(10),
            max_retry_after: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            min_rate: 1024,
        }
    }
}
