//! The command line: what was said, turned into what it means.
//!
//! ```text
//! coffer-agent [--listen unix:///path | --listen fd://0 | --listen vsock://CID:PORT
//!               | --listen unix://@name --abstract]
//!              [--state DIR] [--cgroup PATH] [--seccomp-cache DIR]
//!              [--hotplug-timeout SECONDS] [--forms current|kata-3.2]
//!              [--log-level error|warn|info|debug|trace]
//! ```
//! `KATA_AGENT_SERVER_ADDR` and `KATA_AGENT_LOG_LEVEL` stand in for `--listen` and `--log-level`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::machine::Machine;

/// Usage text, printed for `--help`.
pub(crate) const USAGE: &str = "\
coffer-agent: runs the containers of one pod and serves grpc.AgentService over ttRPC

  --listen ADDR      unix:///path, fd://0 (a listening socket inherited as standard input),
                     vsock://CID:PORT (CID -1: any), or unix://@name with --abstract
                     [env KATA_AGENT_SERVER_ADDR]
  --abstract         allow an abstract socket name: anyone in this network namespace may then connect
  --state DIR        where exit records are written  [default: the socket's path + \".d\"]
  --cgroup PATH      cgroup that the agent moves itself into, relative to the cgroup mounts
  --seccomp-cache DIR  root-only directory of compiled seccomp filters, shared by all agents
                     [default: none, each container's profile is compiled]
  --hotplug-timeout SECONDS  how long a declared device may take to appear  [default: 3]
  --forms FORMS      current, or kata-3.2 for shims of that time  [default: current]
  --log-level LEVEL  error, warn, info, debug or trace  [default: info; env KATA_AGENT_LOG_LEVEL]
  --version, --help
";

/// Where the agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket file that the agent makes, mode 0600, and removes at its end.
    Path(PathBuf),
    /// A name without a file; has no permissions.
    Abstract(String),
    /// A listening socket inherited as standard input.
    Stdin,
    /// A port of this machine's virtio socket: whoever runs the machine may connect.
    Vsock { cid: u32, port: u32 },
}

/// Why the command line was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("--listen is needed: unix:///path or fd://0 (or set KATA_AGENT_SERVER_ADDR)")]
    NoAddress,
    #[error(
        "cannot listen at {0:?}: expected unix:///path, unix://@name, vsock://CID:PORT or fd://0"
    )]
    Address(String),
    #[error(
        "the abstract address {0:?} needs --abstract: any process of this network namespace may connect to it"
    )]
    Abstract(String),
    #[error("--listen {0} needs --state DIR for the exit records")]
    NoState(String),
    #[error("unknown forms {0:?}: expected current or kata-3.2")]
    Forms(String),
    #[error("--hotplug-timeout {0:?}: expected a number of seconds over 0")]
    Timeout(String),
    #[error("unknown log level {0:?}: expected error, warn, info, debug or trace")]
    Level(String),
    #[error("{0} must be an absolute path, not {1:?}")]
    Relative(&'static str, PathBuf),
    #[error(transparent)]
    Syntax(#[from] lexopt::Error),
}

/// The meaning of a command line.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) address: Address,
    pub(crate) state: State,
    /// Cgroup path of the agent itself, relative to the cgroup mounts.
    pub(crate) cgroup: Option<String>,
    /// Directory of compiled seccomp filters.
    pub(crate) seccomp_cache: Option<PathBuf>,
    pub(crate) log_level: log::LevelFilter,
    pub(crate) machine: Machine,
    pub(crate) forms: Forms,
    /// The policy that is in force from the start.
    pub(crate) policy: Option<String>,
}

/// The answers that clients of one time expect where those of another are told otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Forms {
    #[default]
    Current,
    /// Shims of Kata 3.2: the end of a stream is an error, a missing terminal is UNAVAILABLE, and an
    /// empty exec id means a container's first process to SignalProcess too.
    Kata32,
}

/// The directory of the exit records.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) dir: PathBuf,
    /// Nobody named the directory: it is the agent's own, and goes away with it.
    pub(crate) own: bool,
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Serve(Box<Args>),
    Help,
    Version,
}

/// Reads the command line; `env` looks a variable up.
pub(crate) fn parse(
    argv: impl IntoIterator<Item = OsString>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Command, Error> {
    use lexopt::prelude::{Long, Short, ValueExt as _};

    let mut listen = env("KATA_AGENT_SERVER_ADDR");
    let mut level = env("KATA_AGENT_LOG_LEVEL");
    let (mut abstract_ok, mut state, mut cgroup) = (false, None::<PathBuf>, None);
    let mut seccomp_cache = None;
    let mut machine = Machine::here(false);
    let mut forms = Forms::default();
    let mut parser = lexopt::Parser::from_iter(argv);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => listen = Some(parser.value()?.string()?),
            Long("abstract") => abstract_ok = true,
            Long("state") => state = Some(parser.value()?.into()),
            Long("cgroup") => cgroup = Some(parser.value()?.string()?),
            Long("seccomp-cache") => {
                let dir = PathBuf::from(parser.value()?);
                if !dir.is_absolute() {
                    return Err(Error::Relative("--seccomp-cache", dir));
                }
                seccomp_cache = Some(dir);
            }
            Long("forms") => {
                forms = match parser.value()?.string()?.as_str() {
                    "current" => Forms::Current,
                    "kata-3.2" => Forms::Kata32,
                    other => return Err(Error::Forms(other.to_owned())),
                };
            }
            Long("hotplug-timeout") => {
                let text = parser.value()?.string()?;
                let seconds = text.parse().ok().filter(|s| *s > 0);
                let seconds = seconds.ok_or(Error::Timeout(text))?;
                machine.hotplug_timeout = Duration::from_secs(seconds);
            }
            Long("log-level") => level = Some(parser.value()?.string()?),
            Long("help") | Short('h') => return Ok(Command::Help),
            Long("version") | Short('V') => return Ok(Command::Version),
            other => return Err(other.unexpected().into()),
        }
    }
    let listen = listen.filter(|l| !l.is_empty()).ok_or(Error::NoAddress)?;
    let address = address(&listen, abstract_ok)?;
    let state = match (state, &address) {
        (Some(dir), _) if !dir.is_absolute() => return Err(Error::Relative("--state", dir)),
        (Some(dir), _) => State { dir, own: false },
        (None, Address::Path(socket)) => {
            let mut dir = socket.clone().into_os_string();
            dir.push(".d");
            State {
                dir: dir.into(),
                own: true,
            }
        }
        (None, _) => return Err(Error::NoState(listen)),
    };
    Ok(Command::Serve(Box::new(Args {
        address,
        state,
        cgroup,
        seccomp_cache,
        log_level: log_level(level.as_deref())?,
        machine,
        forms,
        policy: None,
    })))
}

pub(crate) fn address(text: &str, abstract_ok: bool) -> Result<Address, Error> {
    let wrong = || Error::Address(text.to_owned());
    if text == "fd://0" {
        return Ok(Address::Stdin);
    }
    if let Some(rest) = text.strip_prefix("vsock://") {
        return vsock(rest).ok_or_else(wrong);
    }
    let rest = text.strip_prefix("unix://").ok_or_else(wrong)?;
    match rest.strip_prefix('@') {
        Some("") => Err(wrong()),
        Some(_) if !abstract_ok => Err(Error::Abstract(text.to_owned())),
        Some(name) => Ok(Address::Abstract(name.to_owned())),
        None => {
            let path = PathBuf::from(rest);
            match path.file_name() {
                Some(_) if path.is_absolute() => Ok(Address::Path(path)),
                Some(_) => Err(Error::Relative("the socket", path)),
                None => Err(wrong()),
            }
        }
    }
}

/// `CID:PORT`; -1 is any address of this machine, and any port.
fn vsock(text: &str) -> Option<Address> {
    let number = |text: &str| match text {
        "-1" => Some(u32::MAX),
        text => text.parse().ok(),
    };
    let (cid, port) = text.split_once(':')?;
    Some(Address::Vsock {
        cid: number(cid)?,
        port: number(port)?,
    })
}

/// Logrus names ("warning", "critical") are understood too: shims pass them on.
pub(crate) fn log_level(text: Option<&str>) -> Result<log::LevelFilter, Error> {
    Ok(match text.unwrap_or("info") {
        "critical" | "fatal" | "panic" | "error" => log::LevelFilter::Error,
        "warn" | "warning" => log::LevelFilter::Warn,
        "info" => log::LevelFilter::Info,
        "debug" => log::LevelFilter::Debug,
        "trace" => log::LevelFilter::Trace,
        other => return Err(Error::Level(other.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str], env: Option<&str>) -> Result<Command, Error> {
        let argv = std::iter::once("coffer-agent").chain(args.iter().copied());
        parse(argv.map(OsString::from), |name| {
            (name == "KATA_AGENT_SERVER_ADDR")
                .then(|| env.map(str::to_owned))
                .flatten()
        })
    }

    fn serve(args: &[&str], env: Option<&str>) -> Args {
        match run(args, env).unwrap() {
            Command::Serve(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_flag_wins_over_the_environment() {
        let args = serve(&["--listen", "unix:///run/a"], Some("unix:///run/b"));
        assert_eq!(args.address, Address::Path("/run/a".into()));
        assert_eq!(args.state.dir, PathBuf::from("/run/a.d"));
        assert!(args.state.own);
        let args = serve(&[], Some("unix:///run/b"));
        assert_eq!(args.address, Address::Path("/run/b".into()));
    }

    #[test]
    fn an_inherited_socket_needs_a_state_directory() {
        assert!(matches!(
            run(&["--listen", "fd://0"], None),
            Err(Error::NoState(_))
        ));
        let args = serve(
            &[
                "--listen",
                "fd://0",
                "--state",
                "/s",
                "--log-level",
                "warning",
            ],
            None,
        );
        assert_eq!(args.address, Address::Stdin);
        assert_eq!(args.log_level, log::LevelFilter::Warn);
        assert!(!args.state.own);
    }

    #[test]
    fn a_virtio_socket_has_a_cid_and_a_port() {
        for (text, cid) in [("vsock://-1:1024", u32::MAX), ("vsock://3:1024", 3)] {
            let args = serve(&["--listen", text, "--state", "/s"], None);
            assert_eq!(args.address, Address::Vsock { cid, port: 1024 });
        }
    }

    #[test]
    fn wrong_addresses_are_refused_with_a_reason() {
        for (text, part) in [
            ("vsock://1024", "expected unix"),
            ("vsock://-1:port", "expected unix"),
            ("unix://", "expected unix"),
            ("unix:///", "expected unix"),
            ("unix://@", "expected unix"),
            ("unix://rel/a", "absolute"),
            ("unix://@name", "--abstract"),
            ("fd://7", "expected unix"),
        ] {
            let error = run(&["--listen", text], None).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(matches!(run(&[], None), Err(Error::NoAddress)));
        assert!(matches!(
            run(&["--listen", "unix:///a", "--log-level", "loud"], None),
            Err(Error::Level(_))
        ));
    }
}
