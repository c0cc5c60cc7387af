//! The help of `coffer` itself: commands in groups, by what one wants to do. Clap makes the rest.

use clap::CommandFactory;

use crate::cli::Cli;

/// Every visible command, in the order in which people meet them.
pub(crate) const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Run",
        &[
            "run",
            "exec",
            "attach",
            "cp",
            "port-forward",
            "start",
            "stop",
            "kill",
            "wait",
            "rm",
        ],
    ),
    (
        "Look",
        &[
            "ps", "pods", "logs", "top", "stats", "events", "inspect", "explain",
        ],
    ),
    (
        "Images",
        &[
            "images", "pull", "push", "tag", "import", "export", "rmi", "prune",
        ],
    ),
    (
        "This node",
        &["doctor", "info", "version", "serve", "completion", "man"],
    ),
];

/// What is worth knowing before the first command.
const NOTES: &str = "\
Names and unique prefixes of ids mean containers and pods; pod/NAME and container/NAME say which.
`coffer COMMAND --help` shows options and examples.";

/// The definition with its grouped help.
pub(crate) fn command() -> clap::Command {
    let command = Cli::command();
    let list = grouped(&command);
    let command = ["container", "pod", "image"]
        .into_iter()
        .fold(command, |command, group| {
            command.mut_subcommand(group, |group| group.arg_required_else_help(true))
        });
    command.arg_required_else_help(true).help_template(format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{list}Options:\n{{options}}\n\n{NOTES}\n"
    ))
}

fn grouped(command: &clap::Command) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        text.push_str(&format!("{title}:\n"));
        for name in names {
            let about = command
                .find_subcommand(name)
                .and_then(clap::Command::get_about)
                .map(ToString::to_string)
                .unwrap_or_default();
            text.push_str(&format!("  {name:<13} {about}\n"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_command_is_in_one_group() {
        let command = command();
        let mut visible: Vec<&str> = command
            .get_subcommands()
            .filter(|one| !one.is_hide_set())
            .map(clap::Command::get_name)
            .collect();
        let mut grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        visible.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(grouped, visible);
    }

    #[test]
    fn the_help_fits_eighty_columns() {
        let text = command().render_help().to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
        assert!(text.contains("Look:\n  ps "), "{text}");
    }
}
