//! `coffer doctor`: what pods need of this machine, each with a verdict and a fix. Ends with 1 when
//! something fails that pods need. Works with the daemon down; a daemon that answers is asked where
//! it has its state and which configuration it was started with.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cri::offline::{self, LastDaemon};
use serde_json::Value;

use crate::{
    client::{Daemon, Details},
    config::Said,
    doctor::{self, Finding, Form, Subject, Verdict},
    error::Error,
    exit, out, paint,
    table::terminal_width,
    view::Condition,
};

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Form,
    /// Only what is not as it should be
    #[arg(short, long)]
    quiet: bool,
    /// Durable state of the daemon [default: the daemon's word, or that of the configuration]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// State of the daemon's pods [default: the daemon's word, the socket's directory, or that of the configuration]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Configuration [default: the daemon's, or /etc/coffer/config.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// First part of the names of cgroups [default: the daemon's word, or that of the configuration]
    #[arg(long, value_name = "NAME")]
    cgroup_root: Option<String>,
    /// Be the child of the trial of user namespaces
    #[arg(long, hide = true)]
    inside: bool,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    if args.inside {
        return doctor::run_inside()
            .map(|()| 0)
            .map_err(|source| Error::Io {
                what: "be the child of a trial".to_owned(),
                source,
            });
    }
    let asked = tokio::time::timeout(PATIENCE, ask(socket)).await;
    let details = match &asked {
        Ok(Ok((_, _, details))) => details.get("info"),
        _ => None,
    };
    let subject = subject(&args, details, socket)?;
    let daemon = match &asked {
        Ok(Ok((version, conditions, _))) => doctor::daemon_says(version, conditions),
        Ok(Err(error)) => silent(&subject, &error.to_string()),
        Err(_) => silent(&subject, &format!("it did not answer within {PATIENCE:?}")),
    };
    let mut findings = doctor::examine(&subject, daemon);
    let failed = findings.iter().any(|one| one.verdict == Verdict::Fail);
    let count = doctor::counted(&findings);
    if args.quiet {
        findings.retain(|one| one.verdict != Verdict::Ok);
    }
    match args.output {
        Form::Json => out::json(&findings)?,
        Form::Yaml => out::yaml(&findings)?,
        Form::Table => {
            let text = doctor::shown(&findings, terminal_width(), paint::on_stdout());
            out::raw(text.as_bytes())?;
            out::line(&count)?;
        }
    }
    Ok(if failed { exit::FAILURE } else { 0 })
}

/// What is looked at: the flags say it, then the daemon, if there is one, then the configuration.
fn subject(args: &Args, daemon: Option<&Value>, socket: &Path) -> Result<Subject, Error> {
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    let told = |key: &str| Some(daemon?.get(key)?.as_str()?.to_owned());
    let mut said = Said::default();
    said.say("root", args.root.as_ref().map(path).or(told("rootDir")));
    let cgroups = args.cgroup_root.clone().or(told("cgroupRoot"));
    said.say("cgroup_root", cgroups);
    said.say("agent", told("agent"));
    let state = args.state.clone().or(told("stateDir").map(PathBuf::from));
    let state = crate::places::state(state, socket)?;
    said.say("state", Some(path(&state)));
    said.say("socket", Some(socket.display().to_string()));
    let config = told("config").map(PathBuf::from);
    // One that is gone by now can't be asked any more.
    let config = args.config.clone().or(config.filter(|file| file.exists()));
    let said = said.or(Said::read(config.as_deref())?);
    Ok(Subject {
        root: said.text("root").into(),
        state,
        cgroup_root: said.text("cgroup_root"),
        socket: socket.to_owned(),
        said,
    })
}

async fn ask(socket: &Path) -> Result<(String, Vec<Condition>, Details), Error> {
    let daemon = Daemon::connect(socket).await?;
    let version = daemon.version().await?;
    let (conditions, details) = daemon.conditions().await?;
    let name = format!("{} {}", version.runtime_name, version.runtime_version);
    Ok((name, conditions, details))
}

/// The daemon does not answer: what is known of it.
fn silent(subject: &Subject, why: &str) -> Vec<Finding> {
    let last = offline::last_daemon(&subject.state, &subject.socket);
    let lives = matches!(last, Ok(LastDaemon::Lives { .. }));
    let known = match &last {
        Ok(LastDaemon::Never) => "none ever had its state there".to_owned(),
        Ok(LastDaemon::Lives { pid }) => format!("process {pid} has the state directory"),
        Ok(LastDaemon::Ended { pid, killed, .. }) => {
            let how = if *killed {
                "was killed or crashed"
            } else {
                "ended in good order"
            };
            format!("the last one, process {pid}, {how}")
        }
        Err(error) => error.chain(),
    };
    doctor::daemon_silent(format!("{why}; {known}"), lives)
}
