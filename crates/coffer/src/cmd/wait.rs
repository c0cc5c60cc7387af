//! `coffer wait`: until containers have ended; prints their exit codes in the order of the names.

use std::path::Path;

use crate::{client::Daemon, ending, error::Error, out, resolve};

/// Arguments of `wait`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coffer wait web\n  test \"$(coffer wait job)\" = 0")]
pub(crate) struct Args {
    /// Names or ids of containers
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    super::each(&args.containers, |word| wait(&daemon, word)).await
}

async fn wait(daemon: &Daemon, word: String) -> Result<(), Error> {
    let container = resolve::container(daemon, &word).await?;
    match ending::of(daemon, &container.id).await? {
        Some(status) => out::line(&status.exit_code.to_string()),
        None => Err(Error::State {
            message: format!("container {} was removed while it ran", container.name),
            hint: "its exit code went with it".to_owned(),
        }),
    }
}
