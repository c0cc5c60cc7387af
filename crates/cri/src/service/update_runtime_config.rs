//! UpdateRuntimeConfig: the pod CIDR of the node.

use super::Service;
use crate::{
    error::Error,
    pod_network::pod_cidr::{self, PodCidr},
    task::blocking,
};

impl Service {
    /// From now on new pods get addresses from these subnets: `ADDRESS/PREFIX`, or two with a comma.
    /// Empty changes nothing. It outlives the daemon and the boot.
    ///
    /// # Errors
    /// [`Error::InvalidField`]; [`Error::File`] when it can't be kept, and then nothing is changed.
    pub(crate) async fn update_runtime_config(&self, text: String) -> Result<(), Error> {
        let Some(cidr) = PodCidr::parse(&text)? else {
            return Ok(());
        };
        let (root, network) = (self.layout.root.clone(), self.network.clone());
        tracing::info!(pod_cidr = text, "the subnets of new pods are set");
        blocking(move || {
            pod_cidr::write(&root, &text)?;
            if let Some(network) = network {
                network.set_subnets(cidr.ipv4, cidr.ipv6);
            }
            Ok::<_, Error>(())
        })
        .await
    }
}
