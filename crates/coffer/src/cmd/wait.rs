//! `coffer wait`: until containers have ended; prints their exit codes in the order of the names.

use std::{path::Path, time::Duration};

use crate::{
    client::Daemon,
    error::{CallKind, Error},
    out, resolve,
    view::{State, Status},
};

/// How often the daemon is asked.
const ASK: Duration = Duration::from_millis(100);

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
    match ended(daemon, &container.id).await? {
        Some(status) => out::line(&status.exit_code.to_string()),
        None => Err(Error::State {
            message: format!("container {} was removed while it ran", container.name),
            hint: "its exit code went with it".to_owned(),
        }),
    }
}

/// The status after the end; `None` when it was removed. The daemon may go away and come back.
async fn ended(daemon: &Daemon, id: &str) -> Result<Option<Status>, Error> {
    loop {
        match daemon.status(id, false).await {
            Ok(status) if status.state == State::Exited => return Ok(Some(status)),
            Ok(_) => {}
            Err(Error::Call {
                kind: CallKind::NotFound,
                ..
            }) => return Ok(None),
            Err(Error::Call {
                kind: CallKind::Unavailable,
                ..
            }) => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(ASK).await;
    }
}
