//! `coffer exec`: a command in a running container, to its end; its exit code is ours.

use std::path::Path;

use crate::{
    client::Daemon,
    error::{CallKind, Error},
    exit, out, parse, resolve,
    stream::{self, Ended, ExecTarget, Socket, Wiring},
    view::{Container, State},
};

/// Arguments of `exec`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The command ends with this program: Ctrl-C, a closed terminal or a broken pipe end it.
Exit codes: the command's; 124 timeout, 125 no such container, 126 not executable, 127 not found.

Examples:
  coffer exec -it web sh
  coffer exec web cat /etc/hosts
  coffer exec -i web sh -c 'cat > /tmp/file' < file
  coffer exec -u root -w /etc web ls -l")]
pub(crate) struct Args {
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// End the command after so many seconds; neither input, a terminal nor -u, -e, -w then
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        hide_default_value = true,
        conflicts_with_all = ["interactive", "tty", "user", "env", "workdir"]
    )]
    timeout: u32,
    /// User, by name or id, with :GROUP if that is another too [default: the container's]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Environment variable; without a value that of here
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = parse::env)]
    env: Vec<Option<(String, String)>>,
    /// Working directory [default: the container's]
    #[arg(short, long, visible_alias = "cwd", value_name = "DIR")]
    workdir: Option<String>,
    #[command(flatten)]
    unsaid: Unsaid,
    /// Name or id of a container
    container: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// What other tools can do and an exec here cannot.
#[derive(Debug, clap::Args)]
struct Unsaid {
    #[arg(short, long, hide = true)]
    detach: bool,
    #[arg(long, hide = true)]
    privileged: bool,
}

impl Unsaid {
    fn check(&self) -> Result<(), Error> {
        let table = [
            (
                self.detach,
                "-d",
                "the command ends with its client; in there: setsid COMMAND &",
            ),
            (
                self.privileged,
                "--privileged",
                "it has what its container has",
            ),
        ];
        match table.into_iter().find(|(given, ..)| *given) {
            None => Ok(()),
            Some((_, flag, instead)) => Err(Error::State {
                message: format!("{flag} is not available for exec"),
                hint: instead.to_owned(),
            }),
        }
    }
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    run_coded(args, socket)
        .await
        .map_err(|error| error.coded(exit::CONTAINER))
}

async fn run_coded(args: Args, socket: &Path) -> Result<u8, Error> {
    args.unsaid.check()?;
    let daemon = Daemon::connect(socket).await?;
    let container = resolve::container(&daemon, &args.container).await?;
    if container.state != State::Running {
        let word = container.state.word();
        return Err(Error::State {
            message: format!("container {} is {word}, not running", container.name),
            hint: "`coffer ps` shows those that run".to_owned(),
        });
    }
    if args.timeout > 0 {
        return collected(&daemon, &container, &args).await;
    }
    let target = ExecTarget {
        id: &container.id,
        name: &container.name,
        command: &args.command,
        stdin: args.interactive,
        tty: args.tty,
        user: args.user.as_deref().unwrap_or_default(),
        env: &environment(&args),
        working_dir: args.workdir.as_deref().unwrap_or_default(),
    };
    let url = daemon.exec_url(&target).await.map_err(coded)?;
    let what = format!(
        "run {:?} in container {}",
        args.command.join(" "),
        container.name
    );
    let socket = Socket::open(&what, &url).await?;
    let wiring = Wiring {
        stdin: args.interactive,
        tty: args.tty,
        ..Wiring::default()
    };
    let failed = |cause| Error::Call {
        what: what.clone(),
        cause,
        kind: CallKind::Other,
    };
    match stream::converse(socket, wiring).await? {
        Ended::Code(code) => Ok(code_of(code)),
        Ended::Failed(cause) => Err(coded(failed(cause))),
        Ended::Lost(cause) => Err(failed(format!("{cause}; the command was ended"))),
        Ended::Detached => Ok(0),
        Ended::Signal(number) => Ok(exit::of_signal(number)),
    }
}

/// The variables to set. A terminal has the kind that it has here; what is said later wins.
fn environment(args: &Args) -> Vec<(String, String)> {
    let kind = args
        .tty
        .then(|| ("TERM".to_owned(), crate::terminal::kind()));
    kind.into_iter()
        .chain(args.env.iter().flatten().cloned())
        .collect()
}

/// With a time limit: CRI's ExecSync, which has one, and shows the output at the end.
async fn collected(daemon: &Daemon, container: &Container, args: &Args) -> Result<u8, Error> {
    let result = daemon
        .exec(&container.id, &container.name, &args.command, args.timeout)
        .await
        .map_err(coded)?;
    out::raw(&result.stdout)?;
    out::raw_error(&result.stderr)?;
    Ok(code_of(result.exit_code))
}

/// A command that did not start, with the code that people know for why.
fn coded(error: Error) -> Error {
    match &error {
        Error::Call {
            kind: CallKind::Deadline,
            ..
        } => error.coded(exit::TIMEOUT),
        Error::Call { what, cause, kind } => {
            let code = exit::of_start(cause);
            // Whose business a command that is not there was, on the way here, is nobody's here.
            let cause = cause
                .find("exec: \"")
                .map_or(cause.as_str(), |at| &cause[at..]);
            let short = Error::Call {
                what: what.clone(),
                cause: cause.to_owned(),
                kind: *kind,
            };
            short.coded(code)
        }
        _ => error,
    }
}

/// Exit codes of processes are 0 to 255; anything else is a failure of some kind.
pub(crate) fn code_of(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(255)
}
