//! `coffer image prune` and `coffer prune`: what nobody needs any more goes.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
};

use crate::{
    client::Daemon,
    cmd::rm,
    error::Error,
    human, out,
    view::{Container, Pod, State},
};

/// Arguments of `prune`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Never goes: what runs, containers and pods of other clients (a kubelet), pinned images (`coffer image pin`),
images that a container is made of.

Examples:
  coffer prune
  coffer prune -af
  coffer image prune")]
pub(crate) struct Args {
    /// Also images that have a tag
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// What is pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Images alone.
    Images,
    /// Ended containers that `coffer run` made, with their pods; then images.
    All,
}

pub(crate) async fn run(args: Args, what: What, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    if !args.force && !agreed(what, args.all)? {
        return Ok(1);
    }
    let mut failed = 0;
    let mut total = 0;
    if what == What::All {
        for container in ended(&daemon).await? {
            total += 1;
            match rm::remove_container(&daemon, &container, false).await {
                Ok(()) => out::line(&format!("container {}", container.name))?,
                // Somebody else may have been faster: the others go all the same.
                Err(error) => {
                    crate::report(&error);
                    failed += 1;
                }
            }
        }
    }
    let pruned = daemon.prune_images(args.all).await?;
    for image in &pruned.images {
        for name in &image.names {
            out::line(&format!("image {name}"))?;
        }
        if image.names.is_empty() {
            out::line(&format!("image {}", image.id))?;
        }
    }
    out::line(&format!("freed {}", human::bytes(pruned.freed)))?;
    match failed {
        0 => Ok(0),
        failed => Err(Error::Some { failed, total }),
    }
}

/// Containers in pods of ours that have ended.
async fn ended(daemon: &Daemon) -> Result<Vec<Container>, Error> {
    let pods = daemon.pods().await?;
    let ours = |id: &str| pods.iter().any(|pod: &Pod| pod.id == id && pod.is_ours());
    let all = daemon.containers_of(&pods).await?.into_iter();
    Ok(all
        .filter(|one| one.state == State::Exited && ours(&one.pod_id))
        .collect())
}

/// Asks on a terminal; elsewhere nobody could answer.
fn agreed(what: What, all: bool) -> Result<bool, Error> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        let text = "nobody can be asked here: say -f (--force) if it is meant";
        return Err(Error::Usage(text.to_owned()));
    }
    let images = if all {
        "all images that no container uses"
    } else {
        "images without a tag that no container uses"
    };
    let sentence = match what {
        What::Images => format!("This removes {images}."),
        What::All => format!("This removes ended containers of `coffer run`, and {images}."),
    };
    let failed = |source| Error::Io {
        what: "ask".to_owned(),
        source,
    };
    let mut stderr = io::stderr().lock();
    write!(stderr, "{sentence} Go on? [y/N] ").map_err(failed)?;
    stderr.flush().map_err(failed)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}
