//! Names to addresses, without the C library's resolver: a static program cannot load the modules
//! that it wants (nsswitch.conf). `/etc/hosts` and `/etc/resolv.conf` count, as they are now.

use std::{net::SocketAddr, time::Duration};

use hickory_resolver::{
    TokioResolver, config::ResolverConfig, net::runtime::TokioRuntimeProvider,
    system_conf::read_system_conf,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Dns {
    patience: Duration,
}

/// A lookup that failed, in a sentence that says who was asked.
#[derive(Debug, thiserror::Error)]
#[error("look up {name}: {problem}")]
struct Failed {
    name: String,
    problem: String,
}

impl Dns {
    /// Lookups end after so long, whatever `/etc/resolv.conf` says of patience.
    pub(crate) fn within(patience: Duration) -> Self {
        Self { patience }
    }
}

impl Resolve for Dns {
    fn resolve(&self, name: Name) -> Resolving {
        let patience = self.patience;
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let addresses = lookup(&name, patience)
                .await
                .map_err(|problem| Failed { name, problem })?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

async fn lookup(name: &str, patience: Duration) -> Result<Vec<SocketAddr>, String> {
    // Read anew: a laptop changes its network, a container its resolv.conf. Connections are kept, so
    // this is rare.
    let (config, mut options) =
        read_system_conf().map_err(|error| format!("read /etc/resolv.conf: {error}"))?;
    let asked = asked(&config);
    // So that a second and a third server get their turn.
    options.timeout = options.timeout.min(patience / 3);
    let resolver = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .map_err(|error| error.to_string())?;
    match tokio::time::timeout(patience, resolver.lookup_ip(name)).await {
        Ok(Ok(found)) => Ok(found.iter().map(|ip| (ip, 0).into()).collect()),
        Ok(Err(error)) => Err(format!("{error} ({asked})")),
        Err(_) => Err(format!(
            "no answer in {} s ({asked})",
            patience.as_secs_f32()
        )),
    }
}

/// Who is asked, and where that is set.
fn asked(config: &ResolverConfig) -> String {
    let servers = config.name_servers().iter();
    let servers: Vec<String> = servers.map(|server| server.ip.to_string()).collect();
    match servers.as_slice() {
        [] => "/etc/resolv.conf names no server".to_owned(),
        servers => format!(
            "asked {}, of /etc/resolv.conf: is there a route to them?",
            servers.join(", ")
        ),
    }
}
