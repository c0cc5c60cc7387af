//! `coffer ps`: the containers of the node.

use std::path::Path;

use crate::{
    client::Daemon,
    error::Error,
    human,
    out::{self, Format},
    table::Table,
    view::State,
};

/// Arguments of `ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let mut containers = Daemon::connect(socket).await?.containers().await?;
    containers.retain(|container| args.all || container.state == State::Running);
    containers.sort_by_key(|container| std::cmp::Reverse(container.created_at));
    if args.quiet {
        containers
            .iter()
            .try_for_each(|container| out::line(&container.id))?;
    } else if args.output == Format::Json {
        out::json(&containers)?;
    } else {
        let mut table = Table::new(&["CONTAINER ID", "NAME", "POD", "IMAGE", "STATE", "CREATED"]);
        for container in &containers {
            table.row(vec![
                human::short(&container.id).to_owned(),
                container.name.clone(),
                container.pod_name.clone(),
                image_name(&container.image),
                container.state.word().to_owned(),
                human::ago(container.created_at.0),
            ]);
        }
        table.print()?;
    }
    Ok(0)
}

/// A bare id says no more in 64 digits than in twelve.
fn image_name(image: &str) -> String {
    if image.starts_with("sha256:") {
        human::short(image).to_owned()
    } else {
        image.to_owned()
    }
}
