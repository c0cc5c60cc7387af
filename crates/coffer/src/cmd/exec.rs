//! `coffer exec`: a command in a running container, to its end; its exit code is ours.

use std::path::Path;

use crate::{
    client::Daemon,
    error::{CallKind, Error},
    exit, out, resolve,
    view::State,
};

/// Arguments of `exec`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End the command after so many seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true
    )]
    timeout: u32,
    #[arg(short, long, hide = true)]
    interactive: bool,
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Name or id of a container
    container: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    run_coded(args, socket)
        .await
        .map_err(|error| error.coded(exit::CONTAINER))
}

async fn run_coded(args: Args, socket: &Path) -> Result<u8, Error> {
    super::run::refuse_terminal(args.interactive, args.tty)?;
    let daemon = Daemon::connect(socket).await?;
    let container = resolve::container(&daemon, &args.container).await?;
    if container.state != State::Running {
        let word = container.state.word();
        return Err(Error::State {
            message: format!("container {} is {word}, not running", container.name),
            hint: "`coffer ps` shows those that run".to_owned(),
        });
    }
    let result = daemon
        .exec(&container.id, &container.name, &args.command, args.timeout)
        .await;
    let result = result.map_err(|error| match &error {
        Error::Call {
            kind: CallKind::Deadline,
            ..
        } => error.coded(124),
        Error::Call { cause, .. } => {
            let code = exit::of_start(cause);
            error.coded(code)
        }
        _ => error,
    })?;
    out::raw(&result.stdout)?;
    out::raw_error(&result.stderr)?;
    Ok(code_of(result.exit_code))
}

/// Exit codes of processes are 0 to 255; anything else is a failure of some kind.
pub(crate) fn code_of(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(255)
}
