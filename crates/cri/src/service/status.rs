//! Status: whether pods can be run here, and if not, why.

use std::{path::PathBuf, time::Duration};

use serde_json::{Value, json};
use sys::atomic::Durability;

use super::Service;
use crate::{error::Error, task::blocking};

/// How long a disk may take to show that it can be written.
const PROBE: Duration = Duration::from_secs(2);

/// Bytes at which agents split the lines of container logs.
const LOG_LINE: usize = 16 << 10;

/// One condition of the node's runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    /// "RuntimeReady" …
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// CamelCase word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// The runtime's conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusView {
    /// Conditions.
    pub conditions: Vec<Condition>,
    /// More, for people who ask.
    pub info: Option<Value>,
}

impl Service {
    /// Looks whether the daemon can do its work now.
    pub(crate) async fn status(&self, verbose: bool) -> StatusView {
        let conditions = vec![self.runtime_ready().await, self.network_ready().await];
        StatusView {
            conditions,
            info: verbose.then(|| self.info()),
        }
    }

    async fn runtime_ready(&self) -> Condition {
        let mut condition = Condition {
            kind: "RuntimeReady",
            holds: true,
            reason: "RuntimeIsReady",
            message: format!("pods have their state in {}", self.layout.state.display()),
        };
        let places = [
            ("StateNotWritable", self.layout.pods().join(".probe")),
            ("RootNotWritable", self.layout.layers().join(".probe")),
        ];
        for (reason, path) in places {
            if let Err(message) = probe(path).await {
                condition = Condition {
                    holds: false,
                    reason,
                    message,
                    ..condition
                };
                return condition;
            }
        }
        if let Err(error) = tokio::fs::metadata(&self.settings.agent).await {
            condition.holds = false;
            condition.reason = "AgentMissing";
            condition.message = format!(
                "the agent program {}: {error}",
                self.settings.agent.display()
            );
        }
        condition
    }

    /// Whether a pod could have the network that it is promised. What somebody has taken away of it
    /// is put back here.
    async fn network_ready(&self) -> Condition {
        let condition = |holds, reason, message| Condition {
            kind: "NetworkReady",
            holds,
            reason,
            message,
        };
        let Some(network) = self.network.clone() else {
            let message = "pods use the host's network, or one of their own with loopback alone";
            return condition(true, "LoopbackOnly", message.to_owned());
        };
        let subnets: Vec<String> = network.subnets().iter().map(ToString::to_string).collect();
        let tended = blocking(move || network.tend());
        match tokio::time::timeout(PROBE, tended).await {
            Ok(Ok(())) => {
                let message = format!("pods get addresses from {}", subnets.join(" and "));
                condition(true, "Bridge", message)
            }
            Ok(Err(error)) => {
                let reason = match &error {
                    Error::Network(error) => network_reason(error),
                    _ => "NetworkError",
                };
                condition(false, reason, error.chain())
            }
            Err(_) => {
                let message = format!("the kernel does not answer within {PROBE:?}");
                condition(false, "NetworkTimeout", message)
            }
        }
    }

    fn info(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "config": self.config,
            "rootDir": self.layout.root,
            "stateDir": self.layout.state,
            "agent": self.settings.agent,
            "cgroupRoot": self.settings.cgroup_root,
            "cgroupDriver": "cgroupfs",
            "seccompProfileRoot": self.node.seccomp_root,
            "pods": self.pods.all().len(),
            "containers": self.containers.all().len(),
            "operations": self.running_pods.len() + self.running_creates.len(),
            "maxContainerLogLineSize": LOG_LINE,
            "acceptedWithoutEffect": crate::v1::ACCEPTED_WITHOUT_EFFECT
                .iter()
                .map(|(field, why)| json!({ "field": field, "why": why }))
                .collect::<Vec<_>>(),
        })
    }
}

fn network_reason(error: &network::Error) -> &'static str {
    match error {
        network::Error::Overlap { .. } => "SubnetOverlap",
        network::Error::ForeignBridge { .. } => "BridgeTaken",
        network::Error::Sysctl { .. } => "SysctlDenied",
        _ => "NetworkError",
    }
}

/// Writes and removes a file; the answer is the sentence that says why that can't be done.
async fn probe(path: PathBuf) -> Result<(), String> {
    let shown = path.parent().map_or_else(|| path.clone(), PathBuf::from);
    let write = tokio::task::spawn_blocking(move || {
        sys::atomic::write(&path, b"probe", 0o600, Durability::Process)?;
        std::fs::remove_file(&path)
    });
    match tokio::time::timeout(PROBE, write).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(Error::file("write in", shown)(error).chain()),
        Ok(Err(error)) => Err(format!("cannot write in {}: {error}", shown.display())),
        Err(_) => Err(format!(
            "writing in {} takes longer than {PROBE:?}",
            shown.display()
        )),
    }
}
