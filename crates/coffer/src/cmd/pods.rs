//! `coffer pods`: the pods of the node.

use std::path::Path;

use crate::{
    client::Daemon,
    error::Error,
    human,
    out::{self, Format},
    table::Table,
    view::{PodState, State},
};

/// Arguments of `pods`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let mut pods = daemon.pods().await?;
    pods.sort_by_key(|pod| std::cmp::Reverse(pod.created_at));
    if args.quiet {
        pods.iter().try_for_each(|pod| out::line(&pod.id))?;
    } else if args.output == Format::Json {
        out::json(&pods)?;
    } else {
        let containers = daemon.containers().await?;
        let mut table = Table::new(&[
            "POD ID",
            "NAME",
            "NAMESPACE",
            "STATE",
            "CONTAINERS",
            "CREATED",
        ]);
        for pod in &pods {
            let inside = containers
                .iter()
                .filter(|container| container.pod_id == pod.id);
            let running = inside
                .clone()
                .filter(|one| one.state == State::Running)
                .count();
            table.row(vec![
                human::short(&pod.id).to_owned(),
                pod.name.clone(),
                pod.namespace.clone(),
                if pod.state == PodState::Ready {
                    "ready"
                } else {
                    "stopped"
                }
                .to_owned(),
                format!("{running}/{} running", inside.count()),
                human::ago(pod.created_at.0),
            ]);
        }
        table.print()?;
    }
    Ok(0)
}
