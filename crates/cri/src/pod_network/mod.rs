//! A pod and the built-in network: what it was given is written down before it has an effect, and
//! the note goes after the effect is undone.
//!
//! ```text
//! RunPodSandbox   reserve ─► pods/<id>/network.json ─► (namespace) ─► attach
//! StopPodSandbox  detach ─► network.json removed ─► release
//! daemon start    network.json of every pod ─► adopt ─► bridge and rules set right, strays removed
//! ```

pub(crate) mod pod_cidr;
mod record;

use std::sync::Arc;

use network::{Lease, Network, Port};

use crate::{error::Error, service::Service, state::Pod, task::blocking};

/// The annotation with which a client asks for a pod without the built-in network.
pub(crate) const ANNOTATION: &str = "io.coffer.network";

impl Service {
    /// Takes addresses and ports for a pod and writes them down.
    ///
    /// # Errors
    /// [`Error::Network`] when there are none; [`Error::File`].
    pub(crate) async fn reserve_network(
        &self,
        pod: &Arc<Pod>,
        ports: Vec<Port>,
    ) -> Result<(), Error> {
        let Some(network) = self.network.clone() else {
            return Ok(());
        };
        let of = Arc::clone(pod);
        let lease = blocking(move || {
            let lease = network.reserve(of.id().as_str(), &label(&of), &ports)?;
            sys::failpoint!("run_pod.lease.before");
            record::write(of.dir(), &lease)?;
            sys::failpoint!("run_pod.lease.after");
            Ok::<_, Error>(lease)
        })
        .await?;
        pod.set_lease(Some(lease));
        Ok(())
    }

    /// Connects a pod that has its namespace, if it has a lease.
    ///
    /// # Errors
    /// [`Error::Network`]: the step that failed; giving back takes away what there may be.
    pub(crate) async fn attach_network(&self, pod: &Pod) -> Result<(), Error> {
        let Some((network, lease)) = self.network_and_lease(pod) else {
            return Ok(());
        };
        let (id, pin) = (pod.id().clone(), pod.netns_path());
        blocking(move || network.attach(id.as_str(), &pin, &lease)).await
    }

    /// Takes away what a pod has of the network. A pod that has nothing is success.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::File`]: the call can be repeated.
    pub(crate) async fn give_back_network(&self, pod: &Arc<Pod>) -> Result<(), Error> {
        let held = self.network_and_lease(pod);
        let (network, of) = (self.network.clone(), Arc::clone(pod));
        blocking(move || {
            if let Some((network, lease)) = held {
                network.detach(of.id().as_str(), &lease)?;
            }
            sys::failpoint!("stop_pod.lease.before");
            record::remove(of.dir())?;
            sys::failpoint!("stop_pod.lease.after");
            if let Some(network) = network {
                network.release(of.id().as_str());
            }
            Ok::<_, Error>(())
        })
        .await?;
        pod.set_lease(None);
        Ok(())
    }

    /// Reads what a pod had before the daemon started. Blocks.
    pub(crate) fn adopt_network(&self, pod: &Pod) {
        match record::read(pod.dir()) {
            Ok(Some(lease)) => {
                if let Some(network) = &self.network {
                    network.adopt(pod.id().as_str(), &label(pod), lease.clone());
                }
                pod.set_lease(Some(lease));
            }
            Ok(None) => {}
            Err(error) => {
                // Its interface and its rules belong to nobody then, and go.
                tracing::error!(pod = %pod.id(), error = error.chain(), "its network is not known");
            }
        }
    }

    /// Sets bridge and rules right for the pods that were adopted. Pods go on when that fails, and
    /// Status says why.
    pub(crate) async fn start_network(&self) {
        let Some(network) = self.network.clone() else {
            return;
        };
        if let Err(error) = blocking(move || network.start()).await {
            tracing::error!(
                error = error.chain(),
                "the pods' network could not be set right"
            );
        }
    }

    fn network_and_lease(&self, pod: &Pod) -> Option<(Arc<Network>, Lease)> {
        Some((self.network.clone()?, pod.lease()?))
    }
}

/// The pod, in an error of another one.
fn label(pod: &Pod) -> String {
    let metadata = &pod.facts().config.metadata;
    let id = pod.id().as_str();
    let short = id.get(..12).unwrap_or(id);
    format!("pod {}/{} ({short})", metadata.namespace, metadata.name)
}
