//! `coffer explain`: what pods and containers are doing, what they wait on, what failed last and who
//! tries again. Without a daemon the same from its records.
//!
//! ```text
//! daemon answers ─────────────► coffer.v1 Explain
//! nobody answers ─► stderr: why ─► cri::offline, read only, from the state directory
//! ```

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cri::offline::{self, LastDaemon};

use crate::{
    client::Daemon,
    doctor::{Form, Paragraph},
    error::{CallKind, Error},
    human, out,
    paint::{self, Paint},
    places,
    table::{printable, terminal_width},
    view::{Explanation, Time},
};

/// How long the daemon may take to answer before its records are read instead.
const PATIENCE: Duration = Duration::from_secs(5);

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names or ids of pods or containers; none: every pod, those that failed to start too
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Form,
    /// State directory of a daemon that does not run [default: the socket's, or that of the
    /// configuration]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let words = if args.names.is_empty() {
        vec![String::new()]
    } else {
        args.names
    };
    let mut all = Vec::new();
    match asked(&words, socket).await {
        Ok(told) => all = told,
        Err(error) if is_daemons_absence(&error) => {
            let state = places::state(args.state, socket)?;
            notice(&state, socket, &error)?;
            for word in &words {
                let told = offline::explain(&state, word).map_err(|error| Error::State {
                    message: error.chain(),
                    hint: "`coffer explain` without a name tells of all that is known".to_owned(),
                })?;
                all.extend(told.into_iter().map(Explanation::from));
            }
        }
        Err(error) => return Err(error),
    }
    // Two words may mean the same pod.
    let mut seen: Vec<Explanation> = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    match args.output {
        Form::Json => out::json(&seen)?,
        Form::Yaml => out::yaml(&seen)?,
        Form::Table if seen.is_empty() => out::line("no pod is there, and no start has failed")?,
        Form::Table => {
            let width = terminal_width();
            let texts: Vec<String> = seen.iter().map(|one| shown(one, width)).collect();
            out::raw(texts.join("\n").as_bytes())?;
        }
    }
    Ok(0)
}

/// Asks the daemon.
async fn asked(words: &[String], socket: &Path) -> Result<Vec<Explanation>, Error> {
    let asking = async {
        let daemon = Daemon::connect(socket).await?;
        let mut all = Vec::new();
        for word in words {
            all.extend(daemon.explain(word).await?);
        }
        Ok(all)
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(told) => told,
        Err(_) => Err(Error::Call {
            what: "ask the daemon".to_owned(),
            cause: format!("it did not answer within {PATIENCE:?}"),
            kind: CallKind::Deadline,
        }),
    }
}

fn is_daemons_absence(error: &Error) -> bool {
    match error {
        // Whoever may not use the socket may not read the records either.
        Error::Connect { source, .. } => source.kind() != std::io::ErrorKind::PermissionDenied,
        Error::Call { kind, .. } => matches!(kind, CallKind::Unavailable | CallKind::Deadline),
        _ => false,
    }
}

/// Says on standard error why what follows is not the daemon's word.
fn notice(state: &Path, socket: &Path, error: &Error) -> Result<(), Error> {
    let text = match offline::last_daemon(state, socket) {
        Ok(last) => sentence(&last, state, socket),
        Err(cause) => format!("{error}: {}", cause.chain()),
    };
    out::raw_error(format!("coffer: {text}\n").as_bytes())
}

/// What became of the daemon, and where what follows comes from.
pub(crate) fn sentence(last: &LastDaemon, state: &Path, socket: &Path) -> String {
    let dir = state.display();
    match last {
        LastDaemon::Never => format!(
            "no daemon runs, and none ever had its state in {dir}; --state names another directory"
        ),
        LastDaemon::Lives { pid } => format!(
            "the daemon, process {pid}, does not answer on {}: this is what its records in {dir} \
             and the kernel say",
            socket.display()
        ),
        LastDaemon::Ended {
            pid,
            started_at_ns,
            killed,
        } => format!(
            "the daemon is down: process {pid}, started {}, {}; this is what its records in {dir} \
             and the kernel say. `coffer serve` starts it again; pods do not need it to go on",
            human::ago(*started_at_ns),
            if *killed {
                "was killed or crashed"
            } else {
                "ended in good order"
            }
        ),
    }
}

fn shown(pod: &Explanation, width: Option<usize>) -> String {
    let mut text = one(pod, "", width);
    for container in &pod.containers {
        text.push_str(&one(container, "  ", width));
    }
    text
}

fn one(told: &Explanation, indent: &str, width: Option<usize>) -> String {
    let mut title = format!(
        "{indent}{} {}",
        told.kind,
        Paint::Bold.on(&printable(&told.name), paint::on_stdout())
    );
    if told.kind == "pod" && !told.namespace.is_empty() {
        title.push_str(&format!(" in {}", printable(&told.namespace)));
    }
    if !told.id.is_empty() {
        title.push_str(&format!("  {}", human::short(&told.id)));
    }
    let at = |Time(ns): Time| match human::ago(ns) {
        ago if ago.is_empty() => String::new(),
        ago => format!(", {ago}"),
    };
    let since = match human::ago(told.since.0) {
        ago if ago.is_empty() => String::new(),
        ago => format!(", for {}", ago.trim_end_matches(" ago")),
    };
    let or = |text: &str, none: &str| {
        if text.is_empty() {
            none.to_owned()
        } else {
            text.to_owned()
        }
    };
    let mut error = or(&told.last_error, "none");
    if !told.last_error.is_empty() {
        error.push_str(&at(told.last_error_at));
    }
    let rows = [
        ("stage", format!("{}{since}", told.stage)),
        ("waiting on", or(&told.waiting_on, "nothing")),
        ("last error", error),
        ("next try", or(&told.next_try, "none needed")),
    ];
    let mut text = format!("{title}\n");
    for (label, said) in rows {
        let paragraph = Paragraph {
            first: &format!("{indent}  {label:<12}"),
            rest: indent.len() + 14,
            width,
        };
        text.push_str(&paragraph.fill(&printable(&said)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_has_a_line_and_long_ones_are_wrapped() {
        let told = Explanation {
            kind: "pod".to_owned(),
            name: "web".to_owned(),
            namespace: "default".to_owned(),
            stage: "Ready".to_owned(),
            last_error: "CreateContainer of container app: image \"x\" is not on this node"
                .to_owned(),
            ..Explanation::default()
        };
        let text = one(&told, "", Some(40));
        assert!(
            text.starts_with("pod web in default\n  stage       Ready\n  waiting on  nothing\n")
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 40),
            "{text}"
        );
        assert!(text.ends_with("  next try    none needed\n"), "{text}");
    }

    #[test]
    fn a_daemon_that_is_down_is_told_how_it_ended() {
        let last = LastDaemon::Ended {
            pid: 7,
            started_at_ns: human::now_ns() - 120_000_000_000,
            killed: true,
        };
        let text = sentence(
            &last,
            Path::new("/run/coffer"),
            Path::new("/run/coffer/coffer.sock"),
        );
        assert!(
            text.contains("process 7, started 2 minutes ago, was killed or crashed"),
            "{text}"
        );
    }
}
