//! `coffer start`: starts containers that were created and not started. A container runs once.

use std::path::Path;

use crate::{client::Daemon, error::Error, out, resolve, view::State};

/// Arguments of `start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or ids of containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    super::each(&args.containers, |word| start(&daemon, word)).await
}

async fn start(daemon: &Daemon, word: String) -> Result<(), Error> {
    let container = resolve::container(daemon, &word).await?;
    let name = &container.name;
    match container.state {
        State::Running => {}
        State::Exited => {
            return Err(Error::State {
                message: format!("container {name} has ended, and a container runs once"),
                hint: format!("`coffer rm {name}`, then `coffer run` makes a new one"),
            });
        }
        State::Created | State::Unknown => daemon.start(&container.id, name).await?,
    }
    out::line(&word)
}
