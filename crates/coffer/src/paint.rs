//! Colours, on a terminal only: `--color`, then NO_COLOR and CLICOLOR_FORCE, then what the stream is.

use std::{io::IsTerminal, sync::OnceLock};

/// What `--color` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

/// How a word looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Paint {
    /// As it is.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// Needs a look.
    Warn,
    /// Went wrong.
    Bad,
    /// Of less interest.
    Dim,
    /// A heading.
    Bold,
}

static CHOSEN: OnceLock<Color> = OnceLock::new();

/// Takes the choice of the command line; the first one counts.
pub(crate) fn choose(color: Color) {
    let _ = CHOSEN.set(color);
}

/// Whether standard output is painted.
pub(crate) fn on_stdout() -> bool {
    wanted(std::io::stdout().is_terminal())
}

fn wanted(terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    decide(
        CHOSEN.get().copied().unwrap_or_default(),
        set("NO_COLOR"),
        set("CLICOLOR_FORCE"),
        terminal && !dumb,
    )
}

fn decide(chosen: Color, no_color: bool, force: bool, terminal: bool) -> bool {
    match chosen {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !no_color && (force || terminal),
    }
}

impl Paint {
    /// `text` in this paint; as it is when `on` is false.
    pub(crate) fn on(self, text: &str, on: bool) -> String {
        let code = match self {
            Paint::Plain => return text.to_owned(),
            Paint::Good => "32",
            Paint::Warn => "33",
            Paint::Bad => "31",
            Paint::Dim => "2",
            Paint::Bold => "1",
        };
        if on && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_wins_over_the_environment_and_that_over_the_stream() {
        assert!(decide(Color::Auto, false, false, true));
        assert!(!decide(Color::Auto, false, false, false), "a pipe");
        assert!(!decide(Color::Auto, true, true, true), "NO_COLOR");
        assert!(decide(Color::Auto, false, true, false), "CLICOLOR_FORCE");
        assert!(decide(Color::Always, true, false, false));
        assert!(!decide(Color::Never, false, true, true));
    }

    #[test]
    fn paint_ends_where_the_word_ends() {
        assert_eq!(Paint::Good.on("up", true), "\x1b[32mup\x1b[0m");
        assert_eq!(Paint::Good.on("up", false), "up");
        assert_eq!(Paint::Bad.on("", true), "");
    }
}
