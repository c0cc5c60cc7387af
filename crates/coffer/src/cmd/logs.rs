//! `coffer logs`: what a container wrote, from the file that its status names.

use std::{path::Path, time::Duration};

use crate::{
    client::Daemon,
    error::{CallKind, Error},
    follow::{self, Follower},
    resolve::{self, Kind},
    view::{State, Status},
};

/// How often a followed file is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How often the daemon is asked whether the container still runs.
const ASK: u32 = 5;

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(long, short = 'n', value_name = "COUNT")]
    tail: Option<usize>,
    /// Name or id of a container
    container: String,
}

pub(crate) async fn run(args: Args, _: Kind, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let container = resolve::container(&daemon, &args.container).await?;
    let status = daemon.status(&container.id, false).await?;
    let mut follower = open(&status)?;
    match args.tail {
        Some(count) => {
            let last = follow::tail(&mut follower, count)?;
            last.iter().try_for_each(|line| follow::print(line))?;
        }
        None => drop(follower.drain(&mut follow::print)?),
    }
    if args.follow {
        to_the_end(&daemon, &container.id, &mut follower).await?;
    }
    Ok(0)
}

/// The log file of a container; a container without one says so.
pub(crate) fn open(status: &Status) -> Result<Follower, Error> {
    if status.log_path.is_empty() {
        return Err(Error::State {
            message: format!("container {} has no log file", status.name),
            hint: "its pod was made without a log directory".to_owned(),
        });
    }
    Ok(Follower::new(Path::new(&status.log_path)))
}

/// Prints what comes until the container has ended and its file is read to the end. The daemon may
/// go away and come back meanwhile: containers do not care, and neither does this. The last status
/// is the result, or `None` when the container was removed.
pub(crate) async fn to_the_end(
    daemon: &Daemon,
    id: &str,
    follower: &mut Follower,
) -> Result<Option<Status>, Error> {
    let mut quiet = 0;
    loop {
        let new = follower.drain(&mut follow::print)?;
        quiet = if new { 0 } else { quiet + 1 };
        if quiet % ASK == 1 {
            let status = match daemon.status(id, false).await {
                Ok(status) => Some(status),
                Err(Error::Call {
                    kind: CallKind::NotFound,
                    ..
                }) => None,
                Err(Error::Call {
                    kind: CallKind::Unavailable,
                    ..
                }) => {
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let ended = status
                .as_ref()
                .is_none_or(|status| status.state == State::Exited);
            if ended {
                follower.drain(&mut follow::print)?;
                return Ok(status);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
