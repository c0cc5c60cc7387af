//! The texts of `--help`, from the table.

use std::fmt::Write;

use super::table::{NONE, Opt, Verb};
use super::verbs::{GLOBAL, VERBS};

/// The text of the program.
pub(super) fn global() -> String {
    let mut text = "coffer-oci - run containers by the OCI runtime specification\n\n\
         usage: coffer-oci [global options] command [options] [arguments]\n\ncommands:\n"
        .to_owned();
    for verb in VERBS {
        let _ = writeln!(text, "  {:<11} {}", verb.name, verb.about);
    }
    text.push_str("\nglobal options:\n");
    options(&mut text, GLOBAL.iter());
    text
}

/// The text of a command.
pub(super) fn of(verb: &Verb) -> String {
    let mut text = usage(verb);
    let _ = write!(text, "\n\n{}\n", sentence(verb.about));
    if !verb.more.is_empty() {
        let _ = writeln!(text, "{}", verb.more);
    }
    if verb.options().next().is_some() {
        text.push_str("\noptions:\n");
        options(&mut text, verb.options());
    }
    text
}

/// The usage line.
pub(super) fn usage(verb: &Verb) -> String {
    let options = match verb.options().next() {
        Some(_) => " [options]",
        None => "",
    };
    format!("usage: coffer-oci {}{options} {}", verb.name, verb.words)
        .trim_end()
        .to_owned()
}

/// A line as a sentence.
pub(super) fn sentence(line: &str) -> String {
    let mut letters = line.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// An option as it is written: `-b, --bundle DIR`.
pub(super) fn written(opt: &Opt) -> String {
    let mut text = String::new();
    if opt.short != NONE {
        let _ = write!(text, "-{}, ", opt.short);
    }
    let _ = write!(text, "--{} {}", opt.long, opt.value);
    text.trim_end().to_owned()
}

fn options(text: &mut String, list: impl Iterator<Item = &'static Opt>) {
    for opt in list.filter(|opt| !opt.help.is_empty()) {
        let _ = writeln!(text, "  {:<28} {}", written(opt), opt.help);
    }
}
