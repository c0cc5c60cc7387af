//! `coffer completion SHELL`: a few lines for the shell, which ask `coffer __complete` for each word.
//! What can stand there comes from the definition of the command line and from the daemon, so there
//! is no second list of commands and options.

use std::path::Path;

use crate::{candidates, error::Error, out};

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coffer completion bash > /etc/bash_completion.d/coffer
  coffer completion zsh > /usr/local/share/zsh/site-functions/_coffer
  coffer completion fish > ~/.config/fish/completions/coffer.fish
  source <(coffer completion bash)")]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Arguments of `__complete`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompleteArgs {
    /// The words after `coffer`; the last is being typed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<u8, Error> {
    let script = match args.shell {
        Shell::Bash => include_str!("completion/coffer.bash"),
        Shell::Zsh => include_str!("completion/coffer.zsh"),
        Shell::Fish => include_str!("completion/coffer.fish"),
    };
    out::raw(script.as_bytes())?;
    Ok(0)
}

/// A candidate a line, with a tab and what it means; `:files` where the shell knows better.
pub(crate) async fn complete(args: CompleteArgs, socket: &Path) -> Result<u8, Error> {
    for candidate in candidates::of(&args.words, socket).await {
        match candidate.about.lines().next() {
            Some(about) => out::line(&format!("{}\t{about}", candidate.word))?,
            None => out::line(&candidate.word)?,
        }
    }
    Ok(0)
}
