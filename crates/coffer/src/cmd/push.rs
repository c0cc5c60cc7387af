//! `coffer push`: images to their registries.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::pull::credentials;
use crate::{
    client::{Daemon, PushWanted, Transfer},
    error::Error,
    human, out,
};

/// Arguments of `push`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What the registry has already is not sent again. Of an image for several platforms the one that is here
is pushed.")]
pub(crate) struct Args {
    /// Name and password for the registry, in place of those that the node has in its files
    #[arg(
        long,
        value_name = "USER:PASSWORD",
        env = "COFFER_CREDS",
        hide_env_values = true
    )]
    creds: Option<String>,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    /// Name or id of an image
    image: String,
    /// Its name at the registry [default: IMAGE]
    #[arg(value_name = "NAME")]
    to: Option<String>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let (username, password) = credentials(args.creds.as_deref())?;
    let daemon = Daemon::connect(socket).await?;
    let to = args.to.unwrap_or_default();
    let what = match to.as_str() {
        "" => format!("push {}", args.image),
        to => format!("push {} to {to}", args.image),
    };
    let terminal = io::stderr().is_terminal();
    let bar = ProgressBar::no_length();
    let template = "{prefix:12} {bar:30} {bytes:>10} / {total_bytes}  {binary_bytes_per_sec}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    if args.quiet || !terminal {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let heard = |blob: Transfer| {
        let digest = human::short(&blob.digest);
        if !blob.done {
            bar.set_prefix(digest.to_owned());
            bar.set_length(blob.total);
            bar.set_position(blob.bytes);
            return;
        }
        let word = if blob.existed {
            "already there"
        } else {
            "pushed"
        };
        let line = format!("blob {digest} {word}");
        match (args.quiet, terminal) {
            (true, _) => {}
            (false, true) => bar.println(line),
            (false, false) => {
                let _ = writeln!(io::stderr().lock(), "{line}");
            }
        }
    };
    let wanted = PushWanted {
        image: args.image.clone(),
        to,
        username,
        password,
    };
    let pushed = daemon.push(&what, wanted, heard).await;
    bar.finish_and_clear();
    out::line(&format!("pushed {}", pushed?))?;
    Ok(0)
}
