//! What can stand where a word is being typed, from the definition of the command line:
//!
//! ```text
//! coffer logs --since 10m w|      walk the words before: subcommands, options and their values
//!        │                        then, by what is expected at the cursor:
//!        ├─ an option's value     its possible values; files for paths; names for pods, containers …
//!        ├─ -                     options of the command
//!        └─ an operand            subcommands; names by the operand's own name (CONTAINER, IMAGE …)
//! ```
//! The daemon is asked for names, briefly; when it is down there are none.

use std::{path::Path, time::Duration};

use clap::{Arg, Command};

use crate::{
    client::Daemon,
    help,
    operands::{awaiting, long, operand},
    signals,
};

/// How long a shell waits for names.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A word that can stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) word: String,
    /// What it means; may be empty.
    pub(crate) about: String,
}

impl Candidate {
    fn new(word: impl Into<String>, about: impl ToString) -> Candidate {
        Candidate {
            word: word.into(),
            about: about.to_string(),
        }
    }
}

/// The candidates for the last of `words`.
pub(crate) async fn of(words: &[String], socket: &Path) -> Vec<Candidate> {
    let mut command = help::command();
    command.build();
    let (typed, before) = match words.split_last() {
        Some((typed, before)) => (typed.as_str(), before),
        None => ("", &[][..]),
    };
    let expected = walk(&command, before, typed);
    let mut found = match expected.place {
        Place::Nothing => Vec::new(),
        Place::Options(command) => options(command),
        Place::Value(arg) => value(arg, socket).await,
        Place::Operand(command, arg) => {
            let mut found = subcommands(command);
            if let Some(arg) = arg {
                found.extend(value(arg, socket).await);
            }
            found
        }
    };
    for candidate in &mut found {
        if candidate.word != FILES {
            candidate.word.insert_str(0, &expected.prefix);
        }
    }
    found.retain(|candidate| candidate.word == FILES || candidate.word.starts_with(typed));
    found
}

/// Tells the shell to complete a path.
const FILES: &str = ":files";

/// What can stand at the cursor.
struct Expected<'a> {
    place: Place<'a>,
    /// What of the word is there already and stays: `--since=`.
    prefix: String,
}

enum Place<'a> {
    Nothing,
    Options(&'a Command),
    Value(&'a Arg),
    Operand(&'a Command, Option<&'a Arg>),
}

fn walk<'a>(root: &'a Command, before: &[String], typed: &str) -> Expected<'a> {
    let mut command = root;
    let mut operands = 0;
    let mut only_operands = false;
    let mut words = before.iter();
    let plain = |place| Expected {
        place,
        prefix: String::new(),
    };
    while let Some(word) = words.next() {
        if only_operands || word == "-" || !word.starts_with('-') {
            if let Some(inner) = command.find_subcommand(word).filter(|_| operands == 0) {
                command = inner;
                continue;
            }
            operands += 1;
            // What follows the image of `run` is the container's own.
            only_operands |= operand(command, operands).is_some_and(Arg::is_trailing_var_arg_set);
        } else if word == "--" {
            only_operands = true;
        } else if let Some(arg) = awaiting(command, word)
            && words.next().is_none()
        {
            return plain(Place::Value(arg));
        }
    }
    if only_operands || !typed.starts_with('-') {
        return plain(Place::Operand(command, operand(command, operands)));
    }
    match typed.split_once('=') {
        Some((flag, _)) => match long(command, flag) {
            Some(arg) => Expected {
                place: Place::Value(arg),
                prefix: format!("{flag}="),
            },
            None => plain(Place::Nothing),
        },
        None => plain(Place::Options(command)),
    }
}

fn subcommands(command: &Command) -> Vec<Candidate> {
    let visible = command.get_subcommands().filter(|one| !one.is_hide_set());
    visible
        .map(|one| Candidate::new(one.get_name(), one.get_about().cloned().unwrap_or_default()))
        .collect()
}

fn options(command: &Command) -> Vec<Candidate> {
    let visible = command.get_arguments().filter(|arg| !arg.is_hide_set());
    visible
        .filter_map(|arg| {
            let word = format!("--{}", arg.get_long()?);
            Some(Candidate::new(
                word,
                arg.get_help().cloned().unwrap_or_default(),
            ))
        })
        .collect()
}

async fn value(arg: &Arg, socket: &Path) -> Vec<Candidate> {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        return shown
            .map(|value| {
                Candidate::new(
                    value.get_name(),
                    value.get_help().cloned().unwrap_or_default(),
                )
            })
            .collect();
    }
    let name = arg
        .get_value_names()
        .and_then(<[_]>::first)
        .map(|name| name.as_str());
    match name.unwrap_or_default() {
        "FILE" | "DIR" | "PATH" | "FILE|-|DIR" => vec![Candidate::new(FILES, "")],
        "SIGNAL" => signals::names()
            .map(|name| Candidate::new(name, ""))
            .collect(),
        "TIME" => ["5m", "1h", "24h"]
            .map(|word| Candidate::new(word, "ago"))
            .to_vec(),
        kind => names(kind, socket).await,
    }
}

/// Names of what there is, by the name of the operand.
async fn names(kind: &str, socket: &Path) -> Vec<Candidate> {
    let asked = async {
        let daemon = Daemon::connect(socket).await.ok()?;
        let mut found = Vec::new();
        if matches!(kind, "CONTAINER" | "NAME") {
            for one in daemon.containers().await.ok()? {
                let about = format!("container, {} ({})", one.state.word(), one.image);
                found.push(Candidate::new(one.name, about));
            }
        }
        if matches!(kind, "POD" | "NAME") {
            for pod in daemon.pods().await.ok()? {
                found.push(Candidate::new(pod.name, "pod"));
            }
        }
        if kind == "IMAGE" {
            for image in daemon.images().await.ok()? {
                found.extend(
                    image
                        .names
                        .into_iter()
                        .map(|name| Candidate::new(name, "image")),
                );
            }
        }
        Some(found)
    };
    let mut found = if matches!(kind, "CONTAINER" | "NAME" | "POD" | "IMAGE") {
        tokio::time::timeout(PATIENCE, asked)
            .await
            .ok()
            .flatten()
            .unwrap_or_default()
    } else {
        Vec::new()
    };
    found.sort_by(|a, b| a.word.cmp(&b.word));
    // A pod has the name of its container more often than not: one of them is enough.
    found.dedup_by(|a, b| a.word == b.word);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[&str]) -> Vec<String> {
        let line: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let found = runtime.block_on(of(&line, Path::new("/nonexistent/coffer.sock")));
        found.into_iter().map(|candidate| candidate.word).collect()
    }

    #[test]
    fn commands_options_and_values_come_from_the_definition() {
        assert_eq!(words(&["im"]), ["images", "import"]);
        assert!(words(&[]).contains(&"run".to_owned()));
        assert_eq!(words(&["ps", "--no-t"]), ["--no-trunc"]);
        assert_eq!(words(&["ps", "-o", "j"]), ["json"]);
        assert_eq!(words(&["ps", "--output=y"]), ["--output=yaml"]);
        assert_eq!(words(&["ps", "-ao", "w"]), ["wide"], "a group of letters");
        assert_eq!(words(&["kill", "-s", "US"]), ["USR1", "USR2"]);
        assert_eq!(words(&["import", ""]), [FILES]);
        assert_eq!(words(&["--color", "a"]), ["auto", "always"]);
        assert_eq!(words(&["--color", "never", "vers"]), ["version"]);
        assert_eq!(words(&["container", "ki"]), ["kill"]);
        assert_eq!(words(&["completion", ""]), ["bash", "zsh", "fish"]);
    }

    #[test]
    fn nothing_is_offered_that_is_the_containers_own() {
        assert!(words(&["run", "busybox", "--r"]).is_empty());
        assert!(words(&["run", "busybox", "ls", "--r"]).is_empty());
        assert!(words(&["run", "--r"]).contains(&"--rm".to_owned()));
        assert!(words(&["logs", "--nope=x"]).is_empty());
    }

    #[test]
    fn hidden_commands_and_a_daemon_that_is_down_offer_nothing() {
        assert!(words(&["__"]).is_empty());
        assert!(words(&["logs", ""]).is_empty());
    }
}
