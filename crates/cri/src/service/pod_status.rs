//! PodSandboxStatus.

use std::{net::IpAddr, sync::Arc};

use serde_json::{Value, json};

use super::{ContainerView, Service};
use crate::{
    domain::PodPhase,
    error::Error,
    state::{Agent, Pod, PodState, now_ns},
};

/// A pod and its containers, at a moment.
#[derive(Debug)]
pub(crate) struct PodView {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Whether it can hold running containers.
    pub phase: PodPhase,
    /// Its containers.
    pub containers: Vec<ContainerView>,
    /// When, nanoseconds since the epoch.
    pub at_ns: i64,
    /// More, for people who ask.
    pub info: Option<Value>,
}

impl PodView {
    /// The addresses that a status tells. None on the host's network, whose addresses are the client's to
    /// tell, and of a pod that has ended: a kubelet warns where the whole part is missing. `None`, the part is
    /// missing: the pod has loopback alone. Of an empty address in a network of its own a kubelet thinks that
    /// it was lost, and makes the pod again and again.
    pub(crate) fn addresses(&self) -> Option<Vec<IpAddr>> {
        if self.pod.facts().host_network() || self.phase != PodPhase::Ready {
            return Some(Vec::new());
        }
        let addresses = self.pod.addresses();
        (!addresses.is_empty()).then_some(addresses)
    }
}

impl Service {
    /// What is known of a pod.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`].
    pub(crate) fn pod_sandbox_status(&self, id: &str, verbose: bool) -> Result<PodView, Error> {
        let pod = self.pods.resolve(id)?;
        let containers = self.containers_of(pod.id());
        Ok(PodView {
            phase: pod.phase(),
            containers: containers.into_iter().map(ContainerView::now).collect(),
            at_ns: now_ns(),
            info: verbose.then(|| info(&pod)),
            pod,
        })
    }
}

fn info(pod: &Pod) -> Value {
    let facts = pod.facts();
    let state = pod.state();
    let reason = match &state {
        PodState::Stopping { reason } | PodState::Stopped { reason, .. } => Some(reason.word()),
        _ => None,
    };
    let netns = (!facts.host_network()).then(|| pod.netns_path());
    let agent = match pod.agent() {
        Agent::Here(sandbox) => json!({
            "pid": sandbox.record().pid,
            "version": sandbox.record().agent_version,
            "cgroup": sandbox.record().agent_cgroup,
            "log": pod.dir().join("agent.log"),
        }),
        Agent::Unknown => json!("not reached yet"),
        Agent::Gone => Value::Null,
    };
    json!({
        "state": state.name(),
        "reason": reason,
        "dir": pod.dir(),
        "hostname": facts.hostname,
        "cgroupParent": facts.cgroup_parent,
        "addresses": pod.addresses(),
        "ports": pod.lease().map(|lease| lease.ports),
        "netns": netns,
        // There is no process and no document: this is where tools look for the network's file.
        "runtimeSpec": {
            "linux": {
                "namespaces": netns.iter().map(|path| json!({ "type": "network", "path": path }))
                    .collect::<Vec<_>>(),
            },
        },
        "agent": agent,
        "config": facts.config,
    })
}
