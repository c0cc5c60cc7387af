//! The manual page, from the table, in roff's man macros.

use std::fmt::Write;

use super::help::{sentence, written};
use super::table::Opt;
use super::verbs::{GLOBAL, VERBS};

/// coffer-oci(8).
pub(super) fn page() -> String {
    let mut text = format!(
        ".TH COFFER\\-OCI 8 \"\" \"coffer-oci {}\"\n.SH NAME\n\
         coffer\\-oci \\- run containers by the OCI runtime specification\n\
         .SH SYNOPSIS\n.B coffer\\-oci\n[global options] command [options] [arguments]\n\
         .SH GLOBAL OPTIONS\n",
        env!("CARGO_PKG_VERSION")
    );
    options(&mut text, GLOBAL.iter());
    text.push_str(".SH COMMANDS\n");
    for verb in VERBS {
        let line = format!("coffer-oci {} {}", verb.name, verb.words);
        let _ = writeln!(text, ".SS {}", escaped(line.trim_end()));
        let _ = writeln!(text, "{}", escaped(&sentence(verb.about)));
        if !verb.more.is_empty() {
            let _ = writeln!(text, "{}", escaped(verb.more));
        }
        options(&mut text, verb.options());
    }
    text.push_str(
        ".SH EXIT STATUS\nThat of the process for run and exec in the foreground, 128 + n for \
         signal n; 1 for a failure of coffer\\-oci, 255 for one of its exec.\n\
         .SH FILES\n.TP\n/run/coffer\\-oci\nWhere containers are recorded.\n",
    );
    text
}

fn options(text: &mut String, list: impl Iterator<Item = &'static Opt>) {
    for opt in list.filter(|opt| !opt.help.is_empty()) {
        let _ = writeln!(
            text,
            ".TP\n.B {}\n{}.",
            escaped(&written(opt)),
            escaped(opt.help)
        );
    }
}

/// A dash of roff's is a hyphen, and a dot or quote that begins a line a command.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\\\").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}
