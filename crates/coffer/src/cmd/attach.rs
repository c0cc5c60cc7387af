//! `coffer attach`: our streams joined to those of a container's first process.

use std::path::Path;

use crate::{
    client::Daemon,
    error::Error,
    exit, resolve,
    stream::{self, DetachKeys, Ended, Socket, Wiring},
    view::{State, Status},
};

/// Arguments of `attach`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Ctrl-P Ctrl-Q leaves a terminal and lets the container run; without a terminal Ctrl-C does.

Examples:
  coffer attach web
  coffer attach --no-stdin web
  coffer attach --detach-keys ctrl-x,x web")]
pub(crate) struct Args {
    /// Only watch: pass no input on
    #[arg(long)]
    no_stdin: bool,
    /// Keys that leave the container's terminal; empty for none
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q", value_parser = stream::detach_keys)]
    detach_keys: DetachKeys,
    /// Name or id of a container
    container: String,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    run_coded(args, socket)
        .await
        .map_err(|error| error.coded(exit::CONTAINER))
}

async fn run_coded(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let container = resolve::container(&daemon, &args.container).await?;
    if container.state != State::Running {
        let word = container.state.word();
        return Err(Error::State {
            message: format!("container {} is {word}, not running", container.name),
            hint: format!("`coffer logs {}` shows what it wrote", container.name),
        });
    }
    let status = daemon.status(&container.id, true).await?;
    let streams = Streams::of(&status);
    let stdin = streams.stdin && !args.no_stdin;
    let url = daemon
        .attach_url(&container.id, &container.name, stdin, streams.tty, true)
        .await?;
    let socket = Socket::open(&format!("attach to container {}", container.name), &url).await?;
    let wiring = Wiring {
        stdin,
        tty: streams.tty,
        detach: streams.tty.then_some(args.detach_keys),
        redraw: true,
        deaf: false,
    };
    match stream::converse(socket, wiring).await? {
        Ended::Detached | Ended::Signal(_) => Ok(0),
        Ended::Code(_) => Ok(last_code(&daemon, &container.id).await),
        other => Err(broken(&container.name, other)),
    }
}

/// The exit code of a container whose streams have ended; 0 where it still runs or is gone already.
pub(crate) async fn last_code(daemon: &Daemon, id: &str) -> u8 {
    // The streams end a moment before the exit is on record.
    for _ in 0..100 {
        match daemon.status(id, false).await {
            Ok(status) if status.state == State::Exited => {
                return super::exec::code_of(status.exit_code);
            }
            Ok(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            Err(_) => return 0,
        }
    }
    0
}

/// The error for a session that broke off; the container does not care.
pub(crate) fn broken(name: &str, ended: Ended) -> Error {
    let cause = match ended {
        Ended::Lost(cause) | Ended::Failed(cause) => cause,
        Ended::Code(_) | Ended::Detached | Ended::Signal(_) => "it ended".to_owned(),
    };
    Error::State {
        message: format!("lost the streams of container {name}: {cause}"),
        hint: format!(
            "the container runs on: `coffer attach {name}` joins it again, `coffer logs {name}` shows \
             what it wrote"
        ),
    }
}

/// Which streams a container was made with, as the daemon's verbose answer says.
struct Streams {
    stdin: bool,
    tty: bool,
}

impl Streams {
    fn of(status: &Status) -> Streams {
        let config = status.info.get("info").and_then(|info| info.get("config"));
        let said = |key: &str| {
            config
                .and_then(|config| config.get(key))
                .and_then(serde_json::Value::as_bool)
                .unwrap_or(false)
        };
        Streams {
            stdin: said("stdin"),
            tty: said("tty"),
        }
    }
}
