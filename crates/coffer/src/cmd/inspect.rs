//! `coffer inspect`: everything that the daemon says about containers and pods.

use std::path::Path;

use serde::Serialize;

use crate::{
    client::Daemon,
    error::Error,
    out,
    resolve::{self, Target},
    view::{PodStatus, Status},
};

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or ids of containers or pods
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Found {
    Container(Box<Status>),
    Pod(Box<PodStatus>),
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let mut found = Vec::new();
    for word in &args.names {
        found.push(match resolve::target(&daemon, word).await? {
            Target::Container(container) => {
                Found::Container(Box::new(daemon.status(&container.id, true).await?))
            }
            Target::Pod(pod) => Found::Pod(Box::new(daemon.pod_status(&pod.id).await?)),
        });
    }
    out::json(&found)?;
    Ok(0)
}
