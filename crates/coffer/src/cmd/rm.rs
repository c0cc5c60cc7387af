//! `coffer rm`: removes containers, and pods with all that is in them.

use std::path::Path;

use crate::{
    client::Daemon,
    error::Error,
    out,
    resolve::{self, Kind, Target},
    view::{ANNOTATION_LOGS, Container, Pod, State},
};

/// Arguments of `rm`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coffer rm web
  coffer rm -f pod/web
  coffer rm --all")]
pub(crate) struct Args {
    /// Also what still runs
    #[arg(short, long)]
    force: bool,
    /// Everything that does not run; with --force everything
    #[arg(short, long)]
    all: bool,
    /// Accepted as habit: what a container wrote always goes with it
    #[arg(short, long, hide = true)]
    volumes: bool,
    /// Names or ids of containers or pods
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "NAME"
    )]
    names: Vec<String>,
}

pub(crate) async fn run(args: Args, kind: Kind, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let words = if args.all {
        every(&daemon, kind, args.force).await?
    } else {
        args.names
    };
    super::each(&words, |word| remove(&daemon, kind, word, args.force)).await
}

/// Ids of what `--all` means: containers, then pods without any.
async fn every(daemon: &Daemon, kind: Kind, force: bool) -> Result<Vec<String>, Error> {
    let pods = daemon.pods().await?;
    let containers = daemon.containers_of(&pods).await?;
    let runs = |pod: &Pod| {
        let mut inside = containers.iter().filter(|one| one.pod_id == pod.id);
        inside.any(|one| one.state == State::Running)
    };
    if kind == Kind::Pod {
        let pods = pods.iter().filter(|pod| force || !runs(pod));
        return Ok(pods.map(|pod| pod.id.clone()).collect());
    }
    let ended = containers
        .iter()
        .filter(|one| force || one.state != State::Running);
    Ok(ended.map(|one| one.id.clone()).collect())
}

async fn remove(daemon: &Daemon, kind: Kind, word: String, force: bool) -> Result<(), Error> {
    let found = match resolve::targeted(daemon, kind, &word).await {
        // What is gone already need not be forced to go.
        Err(Error::Unknown { .. }) if force => return out::line(&word),
        found => found?,
    };
    match found {
        Target::Container(container) => remove_container(daemon, &container, force).await?,
        Target::Pod(pod) => {
            let all = daemon.containers().await?;
            let running = all
                .iter()
                .find(|one| one.pod_id == pod.id && one.state == State::Running);
            if let (Some(container), false) = (running, force) {
                return Err(still_running(
                    &format!("container {} of pod", container.name),
                    &word,
                ));
            }
            remove_pod(daemon, &pod).await?;
        }
    }
    out::line(&word)
}

/// Removes a container. A pod that `coffer run` made goes with its last container.
pub(crate) async fn remove_container(
    daemon: &Daemon,
    container: &Container,
    force: bool,
) -> Result<(), Error> {
    if container.state == State::Running && !force {
        return Err(still_running("container", &container.name));
    }
    daemon.remove(&container.id, &container.name).await?;
    let others = daemon.containers().await?;
    let others = others.iter().any(|other| other.pod_id == container.pod_id);
    let pod = daemon
        .pods()
        .await?
        .into_iter()
        .find(|pod| pod.id == container.pod_id);
    match pod {
        Some(pod) if pod.is_ours() && !others => remove_pod(daemon, &pod).await,
        _ => Ok(()),
    }
}

/// Removes a pod, what is in it, and the log directory that `coffer run` made for it.
pub(crate) async fn remove_pod(daemon: &Daemon, pod: &Pod) -> Result<(), Error> {
    daemon.stop_pod(&pod.id).await?;
    daemon.remove_pod(&pod.id).await?;
    let Some(logs) = pod.annotations.get(ANNOTATION_LOGS).map(Path::new) else {
        return Ok(());
    };
    // Only a directory that is named after this very pod is ours.
    if !pod.is_ours() || logs.file_name() != Some(pod.uid.as_ref()) {
        return Ok(());
    }
    match std::fs::remove_dir_all(logs) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            let what = format!("remove the log directory {}", logs.display());
            Err(Error::Io { what, source })
        }
        _ => Ok(()),
    }
}

fn still_running(kind: &str, name: &str) -> Error {
    Error::State {
        message: format!("cannot remove {name}: {kind} {name} still runs"),
        hint: format!("stop it first (`coffer stop {name}`), or use `coffer rm -f {name}`"),
    }
}
