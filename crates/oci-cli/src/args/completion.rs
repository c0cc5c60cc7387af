//! Completion scripts for bash, zsh and fish, from the table.
//!
//! Each offers the commands, their options, the words or files that an option takes, and the ids of
//! the containers that there are.

use std::fmt::Write;

use super::table::{NONE, Opt, Verb};
use super::verbs::{GLOBAL, VERBS};
use crate::error::Error;

/// The script for a shell.
pub(super) fn script(shell: Option<&str>) -> Result<String, Error> {
    match shell {
        Some("bash") => Ok(bash()),
        Some("zsh") => Ok(zsh()),
        Some("fish") => Ok(fish()),
        _ => Err(Error::Usage(
            "completion is for bash, zsh or fish".to_owned(),
        )),
    }
}

/// What an option's value, or a command's first word, can be.
enum Takes {
    Nothing,
    Words(String),
    Files,
    Anything,
}

fn takes(value: &str) -> Takes {
    match value {
        "" => Takes::Nothing,
        "DIR" | "FILE" | "FILE|-" | "PATH" | "[BUNDLE]" => Takes::Files,
        words if words.contains('|') => {
            // `[add|remove] CONTAINER FILE`: the first.
            let first = words.split(' ').next().unwrap_or_default();
            Takes::Words(first.trim_matches(['[', ']']).replace('|', " "))
        }
        _ => Takes::Anything,
    }
}

fn names(options: impl Iterator<Item = &'static Opt>) -> String {
    let mut text = String::new();
    for opt in options {
        let _ = write!(text, "--{} ", opt.long);
    }
    text
}

/// `--option)` branches of a case statement for those that take something.
fn bash_values(text: &mut String, options: impl Iterator<Item = &'static Opt>) {
    let mut seen: Vec<&str> = Vec::new();
    for opt in options {
        if seen.contains(&opt.long) {
            continue;
        }
        seen.push(opt.long);
        let reply = match takes(opt.value) {
            Takes::Nothing => continue,
            Takes::Words(words) => format!("COMPREPLY=($(compgen -W '{words}' -- \"$cur\"))"),
            Takes::Files => "COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
            Takes::Anything => "COMPREPLY=()".to_owned(),
        };
        let short = match opt.short {
            NONE => String::new(),
            letter => format!("|-{letter}"),
        };
        let _ = writeln!(text, "    --{}{short}) {reply}; return;;", opt.long);
    }
}

fn bash() -> String {
    let mut text = "_coffer_oci() {\n  \
         local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb= at word\n  \
         for ((at = 1; at < COMP_CWORD; at++)); do\n    word=${COMP_WORDS[at]}\n    \
         case $word in\n"
        .to_owned();
    let with_value = GLOBAL.iter().filter(|opt| !opt.value.is_empty());
    let list: Vec<String> = with_value.map(|opt| format!("--{}", opt.long)).collect();
    let _ = writeln!(text, "    {}) ((at++));;", list.join("|"));
    text.push_str(
        "    -*) ;;\n    *) verb=$word; break;;\n    esac\n  done\n  case $verb in\n  '')\n    case $prev in\n",
    );
    bash_values(&mut text, GLOBAL.iter());
    let verbs: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
    let _ = writeln!(
        text,
        "    esac\n    COMPREPLY=($(compgen -W '{} {}' -- \"$cur\"));;",
        verbs.join(" "),
        names(GLOBAL.iter())
    );
    for verb in VERBS {
        let _ = writeln!(text, "  {})\n    case $prev in", verb.name);
        bash_values(&mut text, verb.options());
        let _ = writeln!(
            text,
            "    esac\n    case $cur in\n    -*) COMPREPLY=($(compgen -W '{}--help' -- \"$cur\"));;\n    *) {};;\n    esac;;",
            names(verb.options()),
            bash_words(verb)
        );
    }
    text.push_str("  esac\n}\ncomplete -F _coffer_oci coffer-oci\n");
    text
}

fn bash_words(verb: &Verb) -> String {
    if verb.takes_container() {
        return "COMPREPLY=($(compgen -W \"$(coffer-oci list -q 2>/dev/null)\" -- \"$cur\"))"
            .into();
    }
    match takes(verb.words) {
        Takes::Words(words) => format!("COMPREPLY=($(compgen -W '{words}' -- \"$cur\"))"),
        Takes::Files => "COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
        Takes::Nothing | Takes::Anything => "COMPREPLY=()".to_owned(),
    }
}

/// A text within single quotes and, for zsh, within `[…]` and before `:`.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '\'' => out.push_str("'\\''"),
            '[' | ']' | ':' => {
                out.push('\\');
                out.push(letter);
            }
            other => out.push(other),
        }
    }
    out
}

fn zsh_options(text: &mut String, options: impl Iterator<Item = &'static Opt>) {
    for opt in options {
        let value = match takes(opt.value) {
            Takes::Nothing => String::new(),
            Takes::Words(words) => format!(":value:({words})"),
            Takes::Files => ":file:_files".to_owned(),
            Takes::Anything => ":value: ".to_owned(),
        };
        let _ = write!(
            text,
            " \\\n      '*--{}[{}]{value}'",
            opt.long,
            quoted(opt.help)
        );
        if opt.short != NONE {
            let _ = write!(
                text,
                " \\\n      '*-{}[{}]{value}'",
                opt.short,
                quoted(opt.help)
            );
        }
    }
}

fn zsh() -> String {
    let mut text = "#compdef coffer-oci\n_coffer_oci_containers() {\n  \
         compadd -- ${(f)\"$(coffer-oci list -q 2>/dev/null)\"}\n}\n_coffer_oci() {\n  \
         local curcontext=$curcontext state line\n  typeset -A opt_args\n  _arguments -C"
        .to_owned();
    zsh_options(&mut text, GLOBAL.iter());
    text.push_str(
        " \\\n      '1:command:->command' '*::argument:->argument'\n  case $state in\n  command)\n    local -a verbs=(\n",
    );
    for verb in VERBS {
        let _ = writeln!(text, "      '{}:{}'", verb.name, quoted(verb.about));
    }
    text.push_str("    )\n    _describe command verbs;;\n  argument)\n    case $words[1] in\n");
    for verb in VERBS {
        let _ = write!(text, "    {})\n      _arguments", verb.name);
        zsh_options(&mut text, verb.options());
        let word = if verb.takes_container() {
            " \\\n      '1:container:_coffer_oci_containers'".to_owned()
        } else {
            match takes(verb.words) {
                Takes::Words(words) => format!(" \\\n      '1:word:({words})'"),
                Takes::Files => " \\\n      '1:bundle:_files -/'".to_owned(),
                Takes::Nothing | Takes::Anything => String::new(),
            }
        };
        let _ = writeln!(
            text,
            "{word} \\\n      '--help[print the help of this command]';;"
        );
    }
    text.push_str(
        "    esac;;\n  esac\n}\nif [[ $funcstack[1] = _coffer_oci ]]; then\n  _coffer_oci \"$@\"\n\
         else\n  compdef _coffer_oci coffer-oci\nfi\n",
    );
    text
}

fn fish_options(text: &mut String, when: &str, options: impl Iterator<Item = &'static Opt>) {
    for opt in options {
        let _ = write!(text, "complete -c coffer-oci -n '{when}' -l {}", opt.long);
        if opt.short != NONE {
            let _ = write!(text, " -s {}", opt.short);
        }
        match takes(opt.value) {
            Takes::Nothing => {}
            Takes::Words(words) => drop(write!(text, " -x -a '{words}'")),
            Takes::Files => text.push_str(" -r -F"),
            Takes::Anything => text.push_str(" -x"),
        }
        let _ = writeln!(text, " -d '{}'", opt.help.replace('\'', "\\'"));
    }
}

fn fish() -> String {
    let mut text = "complete -c coffer-oci -f\n".to_owned();
    let none = "__fish_use_subcommand";
    fish_options(&mut text, none, GLOBAL.iter());
    for verb in VERBS {
        let _ = writeln!(
            text,
            "complete -c coffer-oci -n {none} -a {} -d '{}'",
            verb.name,
            verb.about.replace('\'', "\\'")
        );
        let seen = format!("__fish_seen_subcommand_from {}", verb.name);
        fish_options(&mut text, &seen, verb.options());
        let words = if verb.takes_container() {
            "-a '(coffer-oci list -q 2>/dev/null)'".to_owned()
        } else {
            match takes(verb.words) {
                Takes::Words(words) => format!("-a '{words}'"),
                Takes::Files => "-F".to_owned(),
                Takes::Nothing | Takes::Anything => continue,
            }
        };
        let _ = writeln!(text, "complete -c coffer-oci -n '{seen}' {words}");
    }
    text
}
