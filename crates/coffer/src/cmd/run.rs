//! `coffer run`: a container from an image, in a pod of its own or in one that is there.
//!
//! ```text
//! image there? ─► pod (new, or --pod) ─► create ─► start ─► -d: print the id
//!                   └──── undone when a later step fails ───┘  else: follow the log to the end,
//!                                                              pass the exit code on, --rm
//! ```

use std::{collections::BTreeMap, path::Path, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    client::Daemon,
    error::Error,
    exit, names, out, parse, resolve,
    view::{
        ANNOTATION_LOGS, Container, Image, LABEL_CREATED_BY, NewContainer, NewPod, Pod, PodState,
        PodStatus, Status, User, Volume,
    },
};

/// Seconds between the polite signal and SIGKILL when Ctrl-C ends a container.
const GRACE: u32 = 10;

/// Which network a new pod gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Network {
    /// The host's own
    Host,
    /// One of its own with nothing but loopback
    None,
}

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name for the container, and for its pod when that is new
    #[arg(long)]
    name: Option<String>,
    /// Put the container into this pod, by name or id
    #[arg(long, value_name = "POD", conflicts_with_all = ["network", "hostname"])]
    pod: Option<String>,
    /// Remove the container, and the pod made for it, when it has ended
    #[arg(long, conflicts_with = "detach")]
    pub(crate) rm: bool,
    /// Print the id and leave the container running
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Network of a new pod [default: none]
    #[arg(long, value_enum)]
    network: Option<Network>,
    /// Hostname of a new pod; its name if not given
    #[arg(long)]
    hostname: Option<String>,
    /// Environment variable, KEY=VALUE or KEY to pass ours on
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = parse::env)]
    env: Vec<Option<(String, String)>>,
    /// Working directory
    #[arg(
        short,
        long,
        value_name = "DIR",
        default_value = "",
        hide_default_value = true
    )]
    workdir: String,
    /// User: a name of the image, UID or UID:GID
    #[arg(short, long, value_parser = parse::user)]
    user: Option<User>,
    /// Mount a host path, HOST:CONTAINER[:ro]
    #[arg(short, long, value_name = "HOST:CONTAINER[:ro]", value_parser = parse::volume)]
    volume: Vec<Volume>,
    /// Memory limit, such as 64m or 1g
    #[arg(short, long, value_name = "SIZE", value_parser = parse::memory)]
    memory: Option<i64>,
    /// CPU limit, such as 0.5
    #[arg(long, value_name = "COUNT", value_parser = parse::cpus)]
    cpus: Option<i64>,
    /// Use this instead of the image's entrypoint
    #[arg(long, value_name = "COMMAND")]
    entrypoint: Option<String>,
    /// Make the root filesystem read-only
    #[arg(long)]
    read_only: bool,
    /// Label for container and new pod, KEY=VALUE
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse::label)]
    label: Vec<(String, String)>,
    #[arg(short, long, hide = true)]
    interactive: bool,
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Name or id of an image
    image: String,
    /// Arguments for the image's entrypoint, instead of its own
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    run_coded(args, socket).await.map_err(|error| match &error {
        Error::Call { cause, .. } => {
            let code = exit::of_start(cause);
            error.coded(code)
        }
        _ => error.coded(exit::CONTAINER),
    })
}

/// `-i` and `-t` are habit; what they need is not there yet.
pub(crate) fn refuse_terminal(interactive: bool, tty: bool) -> Result<(), Error> {
    if interactive || tty {
        return Err(Error::Usage(
            "-i and -t need the streaming server, which this version does not have: commands get \
             no standard input and no terminal"
                .to_owned(),
        ));
    }
    Ok(())
}

async fn run_coded(args: Args, socket: &Path) -> Result<u8, Error> {
    refuse_terminal(args.interactive, args.tty)?;
    let daemon = Daemon::connect(socket).await?;
    let image = find_image(&daemon, &args.image).await?;
    // From here on Ctrl-C waits until there is something that can be stopped.
    let mut interrupts = (!args.detach).then(Interrupts::catch).transpose()?;
    let (pod, made) = match &args.pod {
        Some(word) => (join_pod(&daemon, word).await?, false),
        None => (new_pod(&daemon, &args).await?, true),
    };
    let started = start(&daemon, &pod, &image, &args).await;
    let (id, name) = match started {
        Ok(started) => started,
        Err(error) => {
            if made && let Err(undo) = super::rm::remove_pod(&daemon, &pod.pod).await {
                crate::report(&undo);
            }
            return Err(error);
        }
    };
    let Some(interrupts) = interrupts.as_mut() else {
        out::line(&id)?;
        return Ok(0);
    };
    let ended = attend(&daemon, &id, &name, interrupts).await;
    let tidied = tidy(&daemon, &id, &pod.pod, made, args.rm).await;
    let ended = ended?;
    tidied?;
    match ended {
        Some(status) => {
            explain(&status);
            Ok(super::exec::code_of(status.exit_code))
        }
        None => Err(Error::State {
            message: format!("container {name} was removed while it ran"),
            hint: "its exit code went with it".to_owned(),
        }),
    }
}

async fn find_image(daemon: &Daemon, name: &str) -> Result<Image, Error> {
    if let Some(image) = daemon.image(name).await? {
        return Ok(image);
    }
    let names: Vec<String> = daemon
        .images()
        .await?
        .into_iter()
        .flat_map(|image| image.names)
        .collect();
    let unknown = resolve::unknown("image", name, names);
    Err(Error::State {
        message: unknown.to_string(),
        hint: "`coffer import FILE` reads one from an archive".to_owned(),
    })
}

/// A pod that is there and can take a container.
async fn join_pod(daemon: &Daemon, word: &str) -> Result<PodStatus, Error> {
    let pod = resolve::pod(daemon, word).await?;
    if pod.state != PodState::Ready {
        return Err(Error::State {
            message: format!("pod {} is stopped and takes no more containers", pod.name),
            hint: "`coffer pods` shows those that are ready".to_owned(),
        });
    }
    daemon.pod_status(&pod.id).await
}

async fn new_pod(daemon: &Daemon, args: &Args) -> Result<PodStatus, Error> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => names::random()?,
    };
    if daemon.pods().await?.iter().any(|pod| pod.name == name) {
        return Err(Error::State {
            message: format!("there is a pod named {name} already"),
            hint: format!(
                "remove it (`coffer rm -f pod/{name}`), choose another --name, or run in it with \
                 --pod {name}"
            ),
        });
    }
    let uid = names::uid()?;
    let logs = log_directory(daemon, &uid).await?;
    let mut labels: BTreeMap<String, String> = args.label.iter().cloned().collect();
    labels.insert(LABEL_CREATED_BY.to_owned(), "coffer-run".to_owned());
    let new = NewPod {
        hostname: match (&args.hostname, args.network) {
            (Some(hostname), _) => hostname.clone(),
            (None, Some(Network::Host)) => String::new(),
            (None, _) => name.clone(),
        },
        name,
        uid,
        log_directory: logs.clone(),
        host_network: args.network == Some(Network::Host),
        labels,
        annotations: BTreeMap::from([(ANNOTATION_LOGS.to_owned(), logs.clone())]),
    };
    let made = async {
        let id = daemon.run_pod(&new).await?;
        daemon.pod_status(&id).await
    };
    made.await
        .inspect_err(|_| drop(std::fs::remove_dir_all(&logs)))
}

/// Makes a directory for the pod's logs below the daemon's own state: CRI leaves its place, and its
/// removal, to the client.
async fn log_directory(daemon: &Daemon, uid: &str) -> Result<String, Error> {
    let info = daemon.info().await?;
    let root = info.get("info").and_then(|info| info.get("rootDir"));
    let Some(root) = root.and_then(serde_json::Value::as_str) else {
        return Err(Error::Answer {
            what: "find a place for logs".to_owned(),
            missing: "a root",
        });
    };
    let path = Path::new(root).join("logs").join(uid);
    let failed = |source| Error::Io {
        what: format!("make the log directory {}", path.display()),
        source,
    };
    std::fs::create_dir_all(&path).map_err(failed)?;
    Ok(path.display().to_string())
}

/// Creates and starts the container; a container that cannot start is removed again.
async fn start(
    daemon: &Daemon,
    pod: &PodStatus,
    image: &Image,
    args: &Args,
) -> Result<(String, String), Error> {
    let name = match (&args.name, &args.pod) {
        (Some(name), _) => name.clone(),
        (None, Some(_)) => names::random()?,
        (None, None) => pod.pod.name.clone(),
    };
    if daemon
        .containers()
        .await?
        .iter()
        .any(|one| one.pod_id == pod.pod.id && one.name == name)
    {
        return Err(Error::State {
            message: format!("pod {} has a container named {name} already", pod.pod.name),
            hint: format!("remove it with `coffer rm -f {name}`, or choose another --name"),
        });
    }
    let logs = pod
        .pod
        .annotations
        .get(ANNOTATION_LOGS)
        .cloned()
        .unwrap_or_default();
    let mut labels: BTreeMap<String, String> = args.label.iter().cloned().collect();
    labels.insert(LABEL_CREATED_BY.to_owned(), "coffer-run".to_owned());
    let new = NewContainer {
        image_id: image.id.clone(),
        image: args.image.clone(),
        command: args.entrypoint.iter().cloned().collect(),
        args: args.command.clone(),
        working_dir: args.workdir.clone(),
        env: args.env.iter().flatten().cloned().collect(),
        volumes: args.volume.clone(),
        user: args.user.clone(),
        read_only: args.read_only,
        memory: args.memory.unwrap_or(0),
        cpu_quota: args.cpus.unwrap_or(0),
        log_path: if logs.is_empty() {
            String::new()
        } else {
            format!("{name}.log")
        },
        labels,
        name,
    };
    let id = daemon.create(pod, &logs, &new).await?;
    if let Err(error) = daemon.start(&id, &new.name).await {
        if let Err(undo) = daemon.remove(&id, &new.name).await {
            crate::report(&undo);
        }
        return Err(error);
    }
    Ok((id, new.name))
}

/// Shows the log until the container has ended. Ctrl-C (or SIGTERM) stops the container politely;
/// a second one ends it at once.
async fn attend(
    daemon: &Daemon,
    id: &str,
    name: &str,
    interrupts: &mut Interrupts,
) -> Result<Option<Status>, Error> {
    let status = daemon.status(id, false).await?;
    let mut follower = super::logs::open(&status)?;
    let following = super::logs::to_the_end(daemon, id, &mut follower);
    tokio::pin!(following);
    let mut grace = GRACE;
    loop {
        tokio::select! {
            ended = &mut following => return ended,
            () = interrupts.next() => {}
        }
        let stopping = daemon.stop(id, name, grace);
        grace = 0;
        tokio::select! {
            ended = &mut following => return ended,
            stopped = stopping => stopped?,
            () = interrupts.next() => daemon.stop(id, name, 0).await?,
        }
    }
}

/// SIGINT and SIGTERM, which no longer end this program by themselves.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn catch() -> Result<Interrupts, Error> {
        let failed = |source| Error::Io {
            what: "wait for signals".to_owned(),
            source,
        };
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        Ok(Interrupts {
            interrupt,
            terminate,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// After a container in the foreground: `--rm` removes it; else a pod that was made for it gives its
/// resources back, and what it wrote and how it ended stay readable.
async fn tidy(daemon: &Daemon, id: &str, pod: &Pod, made: bool, rm: bool) -> Result<(), Error> {
    let Some(container) = daemon
        .containers()
        .await?
        .into_iter()
        .find(|one| one.id == id)
    else {
        return Ok(());
    };
    if rm {
        return super::rm::remove_container(daemon, &container, true).await;
    }
    if made && !others_run(daemon, &container).await? {
        // Let stop's own order hold: the last container first, then the pod.
        tokio::time::timeout(Duration::from_secs(60), daemon.stop_pod(&pod.id))
            .await
            .map_err(|_| Error::State {
                message: format!("pod {} does not stop", pod.name),
                hint: format!("try `coffer stop pod/{}`", pod.name),
            })??;
    }
    Ok(())
}

async fn others_run(daemon: &Daemon, container: &Container) -> Result<bool, Error> {
    let all = daemon.containers().await?;
    Ok(all.iter().any(|other| {
        other.pod_id == container.pod_id
            && other.id != container.id
            && matches!(
                other.state,
                crate::view::State::Running | crate::view::State::Created
            )
    }))
}

/// An exit that the container did not choose is worth a line.
fn explain(status: &Status) {
    if status.reason == "OOMKilled" {
        crate::report(&Error::State {
            message: format!("container {} ran out of memory and was killed", status.name),
            hint: "give it more with --memory".to_owned(),
        });
    }
}
