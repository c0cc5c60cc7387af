//! The texts of `--help`, from the table.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::table::{NONE, Opt, Verb};
use super::verbs::{GLOBAL, VERBS};

/// The name that we were called by: under another runtime's name (`runc`) callers look for that one.
pub(crate) fn program() -> String {
    let called = std::env::args_os().next().map(PathBuf::from);
    let name = called.as_deref().and_then(Path::file_name);
    match name.map(|name| name.to_string_lossy().into_owned()) {
        Some(name) if !name.is_empty() => name,
        _ => "coffer-oci".to_owned(),
    }
}

/// The text of the program.
pub(super) fn global() -> String {
    let mut text = format!(
        "NAME:\n   {0} - Open Container Initiative runtime\n\n\
         Usage: {0} [OPTION...] COMMAND [OPTION...]\n\ncommands:\n",
        program()
    );
    for verb in VERBS {
        let _ = writeln!(text, "  {:<11} {}", verb.name, verb.about);
    }
    text.push_str("\nglobal options:\n");
    options(&mut text, GLOBAL.iter());
    text
}

/// The text of a command.
pub(super) fn of(verb: &Verb) -> String {
    let mut text = format!(
        "NAME:\n   {0} {1} - {2}\n\n{3}\n\n{4}\n",
        program(),
        verb.name,
        verb.about,
        usage(&program(), verb),
        sentence(verb.about)
    );
    if !verb.more.is_empty() {
        let _ = writeln!(text, "{}", verb.more);
    }
    if verb.options().next().is_some() {
        text.push_str("\noptions:\n");
        options(&mut text, verb.options());
    }
    text
}

/// The usage line, as crun writes it: tests of its users look for that.
fn usage(program: &str, verb: &Verb) -> String {
    format!("Usage: {program} [OPTION...] {} {}", verb.name, verb.words)
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
