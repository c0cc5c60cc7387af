//! From the words on the command line to a [`Cli`]. A slip gets the nearest right word (clap does
//! that) and the usage in full; a word that other tools have and this one does not gets a sentence
//! that says what to do. `help COMMAND` is `COMMAND --help`.

use std::{ffi::OsString, io::Write};

use clap::{
    FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{cli::Cli, exit, help, nearest, operands};

/// Commands of podman, docker, nerdctl and crictl that are not here, and why.
const FOREIGN: [(&[&str], &str); 9] = [
    (
        &["login", "logout"],
        "credentials are read from auth.json or config.json (`registry.auth_files`), as podman login and docker login write them; `coffer pull --creds` says them once",
    ),
    (
        &["search"],
        "registries have no common search: ask the registry's own site",
    ),
    (
        &["build", "commit", "history", "diff"],
        "images are made elsewhere: `coffer import FILE` reads an archive, `coffer pull` a registry",
    ),
    (
        &["create", "runp"],
        "`coffer run -d` makes and starts a container; --pod NAME puts it into a pod that is there",
    ),
    (
        &["restart"],
        "a container runs once, as CRI has it: `coffer rm -f NAME`, then `coffer run` again",
    ),
    (
        &[
            "rename",
            "pause",
            "unpause",
            "update",
            "checkpoint",
            "restore",
        ],
        "CRI has no such call; `coffer --help` lists what there is",
    ),
    (
        &["network", "volume"],
        "networks and volumes are not objects here: see --network, --publish and --volume of `coffer run`",
    ),
    (&["port"], "`coffer ps -o wide` shows published ports"),
    (
        &["system", "daemon", "service"],
        "`coffer serve` is the daemon; `coffer info` and `coffer doctor` tell about it and this node",
    ),
];

/// What was asked, or the exit code after it was said why that makes no sense.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, u8> {
    let words = help_last(words.into_iter().collect());
    let mut command = help::command();
    command.build();
    let words = operands::separated(&command, words);
    let parsed = command
        .try_get_matches_from(&words)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let mut error = match parsed {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    if !error.use_stderr() {
        // Help or version, to standard output; whoever reads it may stop reading.
        let _ = error.print();
        return Err(0);
    }
    suggest(&mut error);
    explain(&mut error, &words);
    if let Some(said) = foreign(&error) {
        let _ = writeln!(std::io::stderr().lock(), "{said}");
    } else if let Some(help) = help_of_lacking(&error, &words) {
        let _ = write!(std::io::stderr().lock(), "{help}");
    } else {
        let _ = error.print();
    }
    Err(code(&words))
}

/// `coffer help run` is what people type who do not know `coffer run --help` yet.
fn help_last(mut words: Vec<OsString>) -> Vec<OsString> {
    if words.get(1).is_some_and(|word| word == "help") {
        words.remove(1);
        words.push("--help".into());
    }
    words
}

/// The usage in full: clap's own leaves out what was not given and shows what the environment did.
/// And no advice to pass a slip on as a value where an option was probably meant.
fn explain(error: &mut clap::Error, words: &[OsString]) {
    // After a word that is no command nobody knows whose the others are.
    let known = error.kind() != ErrorKind::InvalidSubcommand;
    if known && error.get(ContextKind::Usage).is_some() {
        let usage = named(&mut help::command(), words).render_usage();
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    if error.get(ContextKind::SuggestedArg).is_some() {
        error.insert(ContextKind::Suggested, ContextValue::None);
    }
}

/// The command that the words name, with those below it built.
fn named<'a>(command: &'a mut clap::Command, words: &[OsString]) -> &'a mut clap::Command {
    command.build();
    let mut at = command;
    let mut words = words.iter().skip(1).filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            if operands::awaiting(at, word).is_some() {
                words.next();
            }
            continue;
        }
        if at.find_subcommand(word).is_none() {
            break;
        }
        #[expect(clippy::unwrap_used, reason = "it has just been found")]
        let inner = at.find_subcommand_mut(word).unwrap();
        at = inner;
    }
    at
}

/// `run` and `exec` keep small numbers for the command that they run.
fn code(words: &[OsString]) -> u8 {
    match named(&mut help::command(), words).get_name() {
        "run" | "exec" => exit::CONTAINER,
        _ => exit::USAGE,
    }
}

/// The help of the command that lacks another one behind it. Without any option clap shows it
/// itself, but a variable of the environment counts as an option there.
fn help_of_lacking(error: &clap::Error, words: &[OsString]) -> Option<String> {
    if error.kind() != ErrorKind::MissingSubcommand {
        return None;
    }
    Some(named(&mut help::command(), words).render_help().to_string())
}

/// Replaces clap's guesses, which count neither swapped letters nor what is hidden, by the command
/// that was probably meant.
fn suggest(error: &mut clap::Error) {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    let (word, command) = (word.clone(), help::command());
    let names: Vec<&str> = command
        .get_subcommands()
        .filter(|one| !one.is_hide_set())
        .map(clap::Command::get_name)
        .collect();
    if let Some(meant) = nearest::of(&word, names) {
        error.insert(
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(vec![meant]),
        );
    }
}

fn foreign(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let ContextValue::String(word) = error.get(ContextKind::InvalidSubcommand)? else {
        return None;
    };
    let (_, hint) = FOREIGN
        .iter()
        .find(|(words, _)| words.contains(&word.as_str()))?;
    Some(format!(
        "coffer: there is no command {word:?}\ncoffer: {hint}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(words: &[&str]) -> clap::Error {
        let words = std::iter::once("coffer").chain(words.iter().copied());
        help::command().try_get_matches_from(words).unwrap_err()
    }

    #[test]
    fn a_slip_gets_the_nearest_word() {
        for (words, meant) in [
            (&["imags"][..], "images"),
            (&["ps", "--al"], "--all"),
            (&["ps", "-o", "jsn"], "json"),
            (&["contianer", "ls"], "container"),
        ] {
            let text = error(words).to_string();
            assert!(text.contains(meant), "{words:?}: {text}");
        }
    }

    #[test]
    fn swapped_letters_mean_the_command_that_is_shown() {
        for (word, meant) in [
            ("stpo", "'stop'"),
            ("lgos", "'logs'"),
            ("imgaes", "'images'"),
        ] {
            let mut error = error(&[word]);
            suggest(&mut error);
            let text = error.to_string();
            assert!(text.contains(meant) && !text.contains("inspectp"), "{text}");
        }
    }

    #[test]
    fn the_usage_is_that_of_the_command_in_full() {
        let said = |line: &[&str]| {
            let words = std::iter::once("coffer").chain(line.iter().copied());
            let words: Vec<OsString> = words.map(OsString::from).collect();
            let mut error = error(line);
            explain(&mut error, &words);
            error.to_string()
        };
        for (line, usage) in [
            (
                &["run", "-it"][..],
                "coffer run [OPTIONS] <IMAGE> [COMMAND]...",
            ),
            (
                &["--socket", "/s", "logs", "-f"],
                "coffer logs [OPTIONS] <NAME>...",
            ),
            (&["contianer", "ls"], "coffer [OPTIONS] <COMMAND>"),
            (
                &["container", "rm"],
                "coffer container rm [OPTIONS] [NAME]...",
            ),
            (
                &["run", "--nmae", "x", "box"],
                "coffer run [OPTIONS] <IMAGE> [COMMAND]...",
            ),
        ] {
            let text = said(line);
            assert!(
                text.contains(&format!("Usage: {usage}\n")),
                "{line:?}: {text}"
            );
        }
        let text = said(&["run", "--nmae", "x", "box"]);
        assert!(
            text.contains("'--name'") && !text.contains("-- --nmae"),
            "{text}"
        );
    }

    #[test]
    fn help_is_a_word_too() {
        let words = |line: &[&str]| -> Vec<OsString> {
            std::iter::once(&"coffer")
                .chain(line)
                .map(OsString::from)
                .collect()
        };
        for (line, meant) in [
            (&["help"][..], &["--help"][..]),
            (&["help", "run"], &["run", "--help"]),
            (&["help", "pod", "ls"], &["pod", "ls", "--help"]),
            (&["run", "box", "help"], &["run", "box", "help"]),
        ] {
            assert_eq!(help_last(words(line)), words(meant));
        }
    }

    #[test]
    fn words_of_other_tools_are_answered() {
        for word in ["login", "restart", "rename", "network", "build"] {
            let said = foreign(&error(&[word])).unwrap();
            assert!(said.contains(word) && said.lines().count() == 2, "{said}");
        }
        assert_eq!(foreign(&error(&["frobnicate"])), None);
        assert_eq!(foreign(&error(&["ps", "pull"])), None);
    }

    #[test]
    fn no_foreign_word_is_a_command_here() {
        let command = help::command();
        for word in FOREIGN.iter().flat_map(|(words, _)| *words) {
            assert!(command.find_subcommand(word).is_none(), "{word}");
        }
    }

    #[test]
    fn options_after_the_image_are_the_containers() {
        for line in [
            &["run", "--rm", "box", "-c", "ls"][..],
            &["run", "--rm", "box", "--rm"],
            &["run", "--rm", "box", "--", "-c"],
        ] {
            let words = std::iter::once("coffer").chain(line.iter().copied());
            let cli = parse(words.map(OsString::from)).expect("it parses");
            let crate::cli::Command::Run(args) = cli.command else {
                unreachable!("{line:?}")
            };
            assert_eq!(args.command, line[3..]);
        }
    }

    #[test]
    fn usage_errors_of_run_leave_the_containers_codes_free() {
        let words =
            |words: &[&str]| -> Vec<OsString> { words.iter().map(OsString::from).collect() };
        assert_eq!(code(&words(&["coffer", "run", "--nope"])), 125);
        assert_eq!(code(&words(&["coffer", "--color=never", "exec"])), 125);
        assert_eq!(code(&words(&["coffer", "--socket", "/s", "run"])), 125);
        assert_eq!(code(&words(&["coffer", "--socket", "run", "ps"])), 2);
        assert_eq!(code(&words(&["coffer", "ps", "--nope"])), 2);
    }
}
