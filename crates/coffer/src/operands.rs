//! Which words of a command line are operands, and where those of the container begin.
//!
//! ```text
//! coffer run --rm -p 80:80 busybox -c 'ls'      an option after the image is the container's own
//!        │   └──────┬────┘ └──┬──┘^
//!        │     options and    │   └─ `--` is put here, so that nothing behind it is read as ours
//!        │     their values   operand before the trailing one
//!        └─ subcommand
//! ```
//! clap by itself stops at the first word of the trailing operand, so `-c` right after the image
//! would be taken for `--cpu-shares`.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

/// `words`, program name first, with `--` after the last operand that is read here, if a trailing
/// one follows it in the definition.
pub(crate) fn separated(root: &Command, mut words: Vec<OsString>) -> Vec<OsString> {
    if let Some(at) = trailing(root, &words) {
        words.insert(at, "--".into());
    }
    words
}

/// The index of the first word that belongs to the trailing operand.
fn trailing(root: &Command, words: &[OsString]) -> Option<usize> {
    let (mut command, mut operands) = (root, 0);
    let mut rest = words.iter().enumerate().skip(1);
    while let Some((at, word)) = rest.next() {
        let word = word.to_string_lossy();
        if word == "--" {
            return None;
        }
        if word.len() > 1 && word.starts_with('-') {
            if awaiting(command, &word).is_some() {
                rest.next();
            }
            continue;
        }
        if operands == 0
            && let Some(inner) = command.find_subcommand(word.as_ref())
        {
            command = inner;
            continue;
        }
        operands += 1;
        let next = operand(command, operands);
        if next.is_some_and(Arg::is_trailing_var_arg_set) {
            return Some(at + 1);
        }
    }
    None
}

/// The operand at `index`; the last one may repeat.
pub(crate) fn operand(command: &Command, index: usize) -> Option<&Arg> {
    let all: Vec<&Arg> = command.get_positionals().collect();
    let repeats = |arg: &&Arg| matches!(arg.get_action(), ArgAction::Append);
    all.get(index)
        .copied()
        .or_else(|| all.last().copied().filter(repeats))
}

/// The option whose value is the next word.
pub(crate) fn awaiting<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let takes = |arg: &&Arg| arg.get_action().takes_values();
    if word.starts_with("--") {
        return long(command, word).filter(takes);
    }
    // Of a group of short ones (-it, -n20) the first that takes a value has the rest, or the next word.
    let letters: Vec<char> = word.chars().skip(1).collect();
    for (at, letter) in letters.iter().enumerate() {
        let mut options = command.get_opts();
        if let Some(arg) = options.find(|arg| arg.get_short() == Some(*letter)) {
            return Some(arg).filter(|_| at + 1 == letters.len());
        }
    }
    None
}

pub(crate) fn long<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let name = word.strip_prefix("--")?;
    let fits = |arg: &&Arg| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(name) || aliases.contains(&name)
    };
    command.get_arguments().find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help;

    fn line(text: &str) -> String {
        let mut command = help::command();
        command.build();
        let words = text.split(' ').map(OsString::from).collect();
        let words = separated(&command, words);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn what_follows_the_image_is_the_containers() {
        for (typed, read) in [
            ("coffer run box -c ls", "coffer run box -- -c ls"),
            (
                "coffer --socket /s run -it --rm -p 80:80 --name=web box -c x",
                "coffer --socket /s run -it --rm -p 80:80 --name=web box -- -c x",
            ),
            ("coffer run -dp 80:80 box", "coffer run -dp 80:80 box --"),
            ("coffer run box -- ls", "coffer run box -- -- ls"),
            ("coffer run -- box -c", "coffer run -- box -c"),
            (
                "coffer container run box -m",
                "coffer container run box -- -m",
            ),
            ("coffer exec -it web -l", "coffer exec -it web -- -l"),
            ("coffer run --rm", "coffer run --rm"),
            ("coffer ps -a", "coffer ps -a"),
            ("coffer logs web -f", "coffer logs web -f"),
        ] {
            assert_eq!(line(typed), read, "{typed}");
        }
    }
}
