//! `coffer kill`: a signal to the first process of each container.

use std::path::Path;

use crate::{client::Daemon, error::Error, out, resolve, signals, view::State};

/// Arguments of `kill`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  coffer kill web\n  coffer kill -s HUP web db")]
pub(crate) struct Args {
    /// Signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL", value_parser = signals::parse)]
    signal: u32,
    /// Every running container
    #[arg(short, long)]
    all: bool,
    /// Names or ids of containers
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "CONTAINER"
    )]
    containers: Vec<String>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let words = if args.all {
        super::running(&daemon).await?
    } else {
        args.containers
    };
    super::each(&words, |word| kill(&daemon, word, args.signal)).await
}

async fn kill(daemon: &Daemon, word: String, signal: u32) -> Result<(), Error> {
    let container = resolve::container(daemon, &word).await?;
    if container.state != State::Running {
        let word = container.state.word();
        return Err(Error::State {
            message: format!("container {} is {word}, not running", container.name),
            hint: "`coffer ps` shows those that run".to_owned(),
        });
    }
    daemon
        .signal(&container.id, &container.name, signal)
        .await?;
    out::line(&word)
}
