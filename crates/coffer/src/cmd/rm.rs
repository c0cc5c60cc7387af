//! `coffer rm`: removes containers, and pods with all that is in them.

use std::path::Path;

use crate::{
    client::Daemon,
    error::Error,
    out,
    resolve::{self, Target},
    view::{ANNOTATION_LOGS, Container, Pod, State},
};

/// Arguments of `rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also what still runs
    #[arg(short, long)]
    force: bool,
    /// Names or ids of containers or pods
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    super::each(&args.names, |word| remove(&daemon, word, args.force)).await
}

async fn remove(daemon: &Daemon, word: String, force: bool) -> Result<(), Error> {
    match resolve::target(daemon, &word).await? {
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
