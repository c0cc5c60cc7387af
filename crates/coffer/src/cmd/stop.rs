//! `coffer stop`: ends containers, and pods with all that is in them.

use std::path::Path;

use crate::{
    client::Daemon,
    error::Error,
    out,
    resolve::{self, Kind, Target},
    view::{Container, Pod, State},
};

/// Arguments of `stop`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coffer stop web
  coffer stop -t 0 pod/web")]
pub(crate) struct Args {
    /// Seconds between the polite signal and SIGKILL
    #[arg(
        short = 't',
        long = "time",
        value_name = "SECONDS",
        default_value_t = 10
    )]
    seconds: u32,
    /// Every running container
    #[arg(short, long)]
    all: bool,
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
    let words = match (args.all, kind) {
        (false, _) => args.names,
        (true, Kind::Pod) => super::ready_pods(&daemon).await?,
        (true, _) => super::running(&daemon).await?,
    };
    super::each(&words, |word| stop(&daemon, kind, word, args.seconds)).await
}

async fn stop(daemon: &Daemon, kind: Kind, word: String, seconds: u32) -> Result<(), Error> {
    match resolve::targeted(daemon, kind, &word).await? {
        Target::Container(container) => stop_container(daemon, &container, seconds).await?,
        Target::Pod(pod) => stop_pod(daemon, &pod, seconds).await?,
    }
    out::line(&word)
}

/// Stops a container. A pod that `coffer run` made stops with the last one that runs in it.
pub(crate) async fn stop_container(
    daemon: &Daemon,
    container: &Container,
    seconds: u32,
) -> Result<(), Error> {
    daemon.stop(&container.id, &container.name, seconds).await?;
    let others = daemon.containers().await?.into_iter().any(|other| {
        other.pod_id == container.pod_id
            && other.id != container.id
            && matches!(other.state, State::Running | State::Created)
    });
    let pod = daemon
        .pods()
        .await?
        .into_iter()
        .find(|pod| pod.id == container.pod_id);
    match pod {
        Some(pod) if pod.is_ours() && !others => daemon.stop_pod(&pod.id).await,
        _ => Ok(()),
    }
}

/// Stops the containers of a pod politely, then the pod.
pub(crate) async fn stop_pod(daemon: &Daemon, pod: &Pod, seconds: u32) -> Result<(), Error> {
    for container in daemon.containers().await? {
        if container.pod_id == pod.id && container.state == State::Running {
            daemon.stop(&container.id, &container.name, seconds).await?;
        }
    }
    daemon.stop_pod(&pod.id).await
}
