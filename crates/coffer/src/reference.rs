//! Manual pages and the reference in `docs/reference/`, made from the definition of the command line,
//! the table of configuration keys and that of exit codes. Equal input gives equal bytes.

use std::{fmt::Write as _, io};

use clap::{Arg, Command};
use clap_mangen::Man;

use crate::{
    config::{Fallback, KEYS},
    exit, help,
};

/// A file to write: its path below the directory, and its text.
pub(crate) type Page = (String, String);

/// Where the pages come from, for those who want to change them.
const ORIGIN: &str =
    "<!-- Made from the program's own tables: `coffer __reference docs/reference`. -->\n\n";

/// The definition with everything filled in.
fn definition() -> Command {
    let mut command = help::command();
    command.build();
    command
}

fn commands(root: &Command) -> impl Iterator<Item = &Command> {
    help::GROUPS
        .iter()
        .flat_map(|(_, names)| *names)
        .filter_map(|name| root.find_subcommand(name))
}

/// `coffer.1` and a page for each command.
pub(crate) fn manual() -> io::Result<Vec<Page>> {
    let root = definition();
    let mut pages = vec![("coffer.1".to_owned(), root_page(&root)?)];
    for command in commands(&root) {
        let name = format!("coffer-{}", command.get_name());
        let mut text = head(command, &name)?;
        for section in Section::all(command) {
            text.push_str(&section.roff());
        }
        text.push_str(".SH SEE ALSO\n\\fBcoffer\\fR(1)\n");
        pages.push((format!("{name}.1"), text));
    }
    Ok(pages)
}

fn head(command: &Command, name: &str) -> io::Result<String> {
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("1")
        .source(format!("coffer {}", env!("CARGO_PKG_VERSION")))
        .manual("Coffer");
    let mut bytes = Vec::new();
    man.render_title(&mut bytes)?;
    man.render_name_section(&mut bytes)?;
    man.render_synopsis_section(&mut bytes)?;
    man.render_description_section(&mut bytes)?;
    man.render_options_section(&mut bytes)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

fn root_page(root: &Command) -> io::Result<String> {
    let mut text = head(root, "coffer")?;
    for (title, names) in help::GROUPS {
        let _ = writeln!(text, ".SH {}", escaped(&title.to_uppercase()));
        for name in names {
            let about = about(root.find_subcommand(name));
            let _ = writeln!(
                text,
                ".TP\n\\fBcoffer\\-{}\\fR(1)\n{}",
                escaped(name),
                escaped(&about)
            );
        }
    }
    text.push_str(".SH EXIT STATUS\n");
    for (code, meaning) in exit::TABLE {
        let _ = writeln!(text, ".TP\n{}\n{}", escaped(code), escaped(meaning));
    }
    Ok(text)
}

fn about(command: Option<&Command>) -> String {
    command
        .and_then(Command::get_about)
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Text that roff takes as it is.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

/// A block of what stands after the options: `Examples:` and indented lines, or a paragraph.
struct Section {
    title: String,
    lines: Vec<String>,
    verbatim: bool,
}

impl Section {
    fn all(command: &Command) -> Vec<Section> {
        let after = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let blocks = after.split("\n\n").filter(|block| !block.is_empty());
        blocks
            .map(|block| {
                let mut lines: Vec<String> = block.lines().map(str::to_owned).collect();
                let title = match lines.first().and_then(|first| first.strip_suffix(':')) {
                    Some(title) if lines.len() > 1 => {
                        let title = title.to_owned();
                        lines.remove(0);
                        title
                    }
                    _ => "Notes".to_owned(),
                };
                let verbatim = lines.iter().all(|line| line.starts_with("  "));
                if verbatim {
                    lines = lines.iter().map(|line| line[2..].to_owned()).collect();
                }
                Section {
                    title,
                    lines,
                    verbatim,
                }
            })
            .collect()
    }

    fn roff(&self) -> String {
        let lines: Vec<String> = self.lines.iter().map(|line| escaped(line)).collect();
        let lines = lines.join("\n");
        let title = escaped(&self.title.to_uppercase());
        if self.verbatim {
            format!(".SH {title}\n.nf\n{lines}\n.fi\n")
        } else {
            format!(".SH {title}\n{lines}\n")
        }
    }

    fn markdown(&self) -> String {
        let lines = self.lines.join("\n");
        match (self.verbatim, self.title.as_str()) {
            (true, "Examples") => format!("\n## Examples\n\n```console\n{lines}\n```\n"),
            (true, title) => format!("\n## {title}\n\n```\n{lines}\n```\n"),
            (false, title) => format!("\n## {title}\n\n{lines}\n"),
        }
    }
}

/// `docs/reference/`: a page for each command, an index, and the configuration.
pub(crate) fn reference() -> Vec<Page> {
    let root = definition();
    let mut pages = vec![
        ("commands/README.md".to_owned(), index(&root)),
        ("configuration.md".to_owned(), configuration()),
        ("cri.md".to_owned(), cri_fields()),
    ];
    for command in commands(&root) {
        pages.push((format!("commands/{}.md", command.get_name()), page(command)));
    }
    pages
}

fn index(root: &Command) -> String {
    let mut text = format!("# Commands\n\n{ORIGIN}");
    for (title, names) in help::GROUPS {
        let _ = write!(text, "## {title}\n\n| command | what |\n|---|---|\n");
        for name in names {
            let _ = writeln!(
                text,
                "| [`coffer {name}`]({name}.md) | {} |",
                about(root.find_subcommand(name))
            );
        }
        text.push('\n');
    }
    text.push_str(
        "`coffer container`, `coffer pod` and `coffer image` group the same commands by what they work \
         on: `coffer pod rm`,\n`coffer image ls`.\n\n## Everywhere\n\n",
    );
    text.push_str(&options(root, |arg| arg.is_global_set()));
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (code, meaning) in exit::TABLE {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
    text
}

fn page(command: &Command) -> String {
    let name = command.get_name();
    let mut text = format!("# coffer {name}\n\n{ORIGIN}{}.\n\n", about(Some(command)));
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    let _ = write!(text, "```\n{usage}\n```\n");
    let aliases: Vec<String> = command
        .get_visible_aliases()
        .map(|alias| format!("`{alias}`"))
        .collect();
    if !aliases.is_empty() {
        let _ = write!(text, "\nAlso: {}\n", aliases.join(", "));
    }
    let operands = operands(command);
    if !operands.is_empty() {
        let _ = write!(text, "\n## Operands\n\n{operands}");
    }
    let options = options(command, |arg| !arg.is_global_set());
    if !options.is_empty() {
        let _ = write!(text, "\n## Options\n\n{options}");
    }
    for section in Section::all(command) {
        text.push_str(&section.markdown());
    }
    text
}

fn operands(command: &Command) -> String {
    let mut rows = String::new();
    for arg in command.get_positionals().filter(|arg| !arg.is_hide_set()) {
        let _ = writeln!(rows, "| `{}` | {} |", value_name(arg), meaning(arg));
    }
    table("operand", &rows)
}

fn options(command: &Command, wanted: impl Fn(&Arg) -> bool) -> String {
    let mut rows = String::new();
    let shown = command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.is_hide_set() && wanted(arg))
        .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"));
    for arg in shown {
        let short = arg.get_short().map(|letter| format!("-{letter}"));
        let long = arg.get_long().map(|word| format!("--{word}"));
        let aliases = arg.get_visible_aliases().unwrap_or_default().into_iter();
        let aliases = aliases.map(|word| format!("--{word}"));
        let mut names: Vec<String> = short.into_iter().chain(long).chain(aliases).collect();
        if arg.get_action().takes_values()
            && let Some(last) = names.last_mut()
        {
            let _ = write!(last, " {}", value_name(arg));
        }
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let _ = writeln!(rows, "| {} | {} |", names.join(", "), meaning(arg));
    }
    table("option", &rows)
}

fn table(head: &str, rows: &str) -> String {
    if rows.is_empty() {
        String::new()
    } else {
        format!("| {head} | meaning |\n|---|---|\n{rows}")
    }
}

fn value_name(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    names.join(" ").replace('|', "\\|")
}

/// What an option means, with its values, default and variable.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let mut text = help
        .map(ToString::to_string)
        .unwrap_or_default()
        .replace('\n', " ");
    let values = arg.get_possible_values();
    if arg.get_action().takes_values() && !values.is_empty() {
        let names: Vec<String> = values
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let _ = write!(text, ": {}", names.join(", "));
    }
    if arg.get_action().takes_values()
        && !arg.is_hide_default_value_set()
        && let Some(default) = arg.get_default_values().first()
    {
        let _ = write!(text, " (default `{}`)", default.to_string_lossy());
    }
    if let Some(variable) = arg.get_env() {
        let _ = write!(text, " (variable `{}`)", variable.to_string_lossy());
    }
    text.replace('|', "\\|")
}

fn configuration() -> String {
    let mut text = format!("# Configuration\n\n{ORIGIN}{INTRODUCTION}");
    text.push_str("| key | type | default | flag | meaning |\n|---|---|---|---|---|\n");
    for key in KEYS {
        let default = match key.default {
            Fallback::Is(text) => format!("`{}`", if text.is_empty() { "\"\"" } else { text }),
            Fallback::Found(phrase) => phrase.to_owned(),
        };
        let flags = key
            .flag
            .unwrap_or_default()
            .split(", ")
            .filter(|flag| !flag.is_empty());
        let flags: Vec<String> = flags.map(|flag| format!("`{flag}`")).collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | {default} | {} | {} |",
            key.name,
            key.kind.name(),
            flags.join(", "),
            key.doc.replace('|', "\\|")
        );
    }
    text.push_str(EXAMPLE);
    text
}

/// The fields of CRI that are accepted although nothing comes of them.
fn cri_fields() -> String {
    let rows: String = cri::v1::ACCEPTED_WITHOUT_EFFECT
        .iter()
        .map(|(field, why)| format!("| `{}` | {why} |\n", field.replace('|', "\\|")))
        .collect();
    let head = "| field | why nothing comes of it |\n|---|---|\n";
    format!("# CRI\n\n{ORIGIN}{CRI}{head}{rows}")
}

const CRI: &str = "\
Both versions, `runtime.v1` and the older `runtime` (v1alpha1), are served on one socket by one service. A call that
is not there answers UNIMPLEMENTED with its name. A field that cannot be honoured is an error that names it
(INVALID_ARGUMENT), never ignored, but for those below. They are told by `coffer info -o json`, too.

";

const INTRODUCTION: &str = "\
`coffer serve` reads `/etc/coffer/config.toml`, or the file that `--config` names. The default file need not
exist; a file that was named must. An unknown key is an error that names it and the one that was probably
meant. A flag wins over the file. Paths are absolute. A key with a dot is in the table before the dot.

";

const EXAMPLE: &str = "
```toml
root = \"/srv/coffer\"
log_level = \"warn\"

[network]
ipv4 = \"10.88.0.0/16\"
ipv6 = \"\"
```

Two daemons on one node need different `root`, `state`, `cgroup_root` and `network.bridge`; a second one on the
same `root` is refused with the pid of the first.

Clients take `--socket PATH` or `COFFER_SOCKET`.
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_checked_in_is_what_the_tables_say() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
        let pages = reference();
        for (name, text) in &pages {
            let there = std::fs::read_to_string(docs.join(name)).unwrap_or_default();
            assert_eq!(
                &there, text,
                "docs/reference/{name} is out of date: run `coffer __reference docs/reference`"
            );
        }
        let files = std::fs::read_dir(docs.join("commands")).unwrap();
        for file in files.map(|entry| entry.unwrap().file_name()) {
            let name = format!("commands/{}", file.to_string_lossy());
            assert!(
                pages.iter().any(|(page, _)| *page == name),
                "{name} has no command"
            );
        }
    }

    #[test]
    fn every_page_of_the_manual_is_whole() {
        let pages = manual().unwrap();
        assert_eq!(
            pages.len(),
            1 + help::GROUPS
                .iter()
                .map(|(_, names)| names.len())
                .sum::<usize>()
        );
        for (name, text) in pages {
            assert!(
                text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"),
                "{name}"
            );
            let stray = text
                .lines()
                .find(|line| line.starts_with('.') && line.starts_with(". "));
            assert_eq!(stray, None, "{name}");
        }
    }

    #[test]
    fn every_option_and_operand_says_what_it_means() {
        let root = definition();
        for command in commands(&root) {
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(
                    arg.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    arg.get_id()
                );
            }
            let about = about(Some(command));
            assert!(
                !about.is_empty() && !about.ends_with('.'),
                "{}: {about}",
                command.get_name()
            );
        }
    }
}
