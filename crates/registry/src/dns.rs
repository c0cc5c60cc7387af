//! Names to addresses, without the C library's resolver: a static program cannot load the modules
//! that it wants (nsswitch.conf). `/etc/hosts` and `/etc/resolv.conf` count, as they are now.

use std::net::SocketAddr;

use hickory_resolver::TokioResolver;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Dns;

impl Resolve for Dns {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Read anew: a laptop changes its network, a container its resolv.conf. Connections are
            // kept, so this is rare.
            let resolver = TokioResolver::builder_tokio()?.build()?;
            let found = resolver.lookup_ip(name.as_str()).await?;
            let addresses: Vec<SocketAddr> = found.iter().map(|ip| (ip, 0).into()).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
