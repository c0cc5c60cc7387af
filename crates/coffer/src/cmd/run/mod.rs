//! `coffer run`: a container from an image, in a pod of its own or in one that is there.
//!
//! ```text
//! words.rs, args.rs ─► plan.rs: NewPod, NewContainer        what is to be made
//!
//! image there? ─► pod (new, or --pod) ─► create ─► join its streams ─► start ─► -d: print the id
//!                   └──────────── undone when a later step fails ──────┘  else: attend.rs, pass the
//!                                                                         exit code on, --rm
//! ```

mod args;
mod attend;
mod interrupts;
mod plan;
mod ports;
mod words;

use std::{path::Path, time::Duration};

pub(crate) use self::args::Args;
use self::{
    args::Pull,
    attend::{Outcome, Started},
    interrupts::Interrupts,
};
use crate::{
    client::{Daemon, PullWanted},
    error::Error,
    exit,
    launch::Pid,
    names, out, resolve,
    view::{ANNOTATION_LOGS, Container, Image, Pod, PodState, PodStatus, State, Status},
};

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    run_coded(args, socket).await.map_err(|error| match &error {
        Error::Call { cause, .. } => {
            let code = exit::of_start(cause);
            error.coded(code)
        }
        _ => error.coded(exit::CONTAINER),
    })
}

async fn run_coded(args: Args, socket: &Path) -> Result<u8, Error> {
    plan::check(&args)?;
    let daemon = Daemon::connect(socket).await?;
    let image = find_image(&daemon, &args.image, args.pull).await?;
    // From here on Ctrl-C waits until there is something that can be stopped.
    let mut interrupts = (!args.detach).then(Interrupts::catch).transpose()?;
    let (pod, made) = match &args.pod {
        Some(word) => (join_pod(&daemon, word).await?, false),
        None => (new_pod(&daemon, &args).await?, true),
    };
    let started = match start(&daemon, &pod, &image, &args).await {
        Ok(started) => started,
        Err(error) => {
            if made && let Err(undo) = super::rm::remove_pod(&daemon, &pod.pod).await {
                crate::report(&undo);
            }
            return Err(error);
        }
    };
    let Some(interrupts) = interrupts.as_mut() else {
        out::line(&started.id)?;
        return Ok(0);
    };
    let (id, name) = (started.id.clone(), started.name.clone());
    let ended = attend::attend(&daemon, started, args.detach_keys.clone(), interrupts).await;
    match ended {
        Ok(Outcome::Left) => {
            say_left(&name);
            return Ok(0);
        }
        // It has a terminal of its own, and is left with it, unless it was to be thrown away.
        Ok(Outcome::Signal(number)) if !args.rm => return Ok(exit::of_signal(number)),
        _ => {}
    }
    let tidied = tidy(&daemon, &id, &pod.pod, made, args.rm).await;
    let ended = ended?;
    tidied?;
    match ended {
        Outcome::Ended(status) => {
            explain(&status);
            Ok(super::exec::code_of(status.exit_code))
        }
        Outcome::Signal(number) => Ok(exit::of_signal(number)),
        Outcome::Left => Ok(0),
        Outcome::Removed => Err(Error::State {
            message: format!("container {name} was removed while it ran"),
            hint: "its exit code went with it".to_owned(),
        }),
    }
}

async fn find_image(daemon: &Daemon, name: &str, policy: Pull) -> Result<Image, Error> {
    if policy != Pull::Always
        && let Some(image) = daemon.image(name).await?
    {
        return Ok(image);
    }
    let pulled = match policy {
        Pull::Never => None,
        Pull::Missing | Pull::Always => {
            let wanted = PullWanted {
                image: name.to_owned(),
                ..PullWanted::default()
            };
            if policy == Pull::Missing {
                // A registry that does not answer is waited for: for what is to be known then.
                out::raw_error(
                    format!("coffer: image {name} is not here: pulling it\n").as_bytes(),
                )?;
            }
            Some(super::pull::pull(daemon, wanted, false).await)
        }
    };
    match pulled {
        Some(Ok(pulled)) => {
            if let Some(image) = daemon.image(&pulled.id).await? {
                return Ok(image);
            }
            Err(Error::State {
                message: format!("image {name} was removed right after it was pulled"),
                hint: "run the command again".to_owned(),
            })
        }
        Some(Err(error)) if policy == Pull::Always => Err(error),
        failed => {
            let images = daemon.images().await?.into_iter();
            let names = images.flat_map(|image| image.names).collect();
            let unknown = resolve::unknown("image", name, names);
            let message = match failed {
                Some(Err(error)) => format!("{unknown}; {error}"),
                _ => unknown.to_string(),
            };
            Err(Error::State {
                message,
                hint: "`coffer import FILE` reads one from an archive".to_owned(),
            })
        }
    }
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
    let ports = ports::decided(args.publish.iter().flatten())?;
    let logs = log_directory(daemon, &uid).await?;
    let new = plan::pod(args, name, uid, &logs, ports);
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

/// Creates the container, joins its streams and starts it; one that cannot start is removed again.
async fn start(
    daemon: &Daemon,
    pod: &PodStatus,
    image: &Image,
    args: &Args,
) -> Result<Started, Error> {
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
    let target = match &args.pid {
        Some(Pid::Of(word)) => Some(resolve::container(daemon, word).await?.id),
        _ => None,
    };
    let logs = pod
        .pod
        .annotations
        .get(ANNOTATION_LOGS)
        .cloned()
        .unwrap_or_default();
    let new = plan::container(args, name, pod, image, target)?;
    let id = daemon.create(pod, &logs, &new).await?;
    let mut started = Started {
        id,
        name: new.name,
        has_log: !new.log_path.is_empty(),
        tty: new.tty,
        stdin: new.stdin,
        session: None,
    };
    let begun = async {
        if !args.detach {
            attend::join(daemon, &mut started).await?;
        }
        daemon.start(&started.id, &started.name).await
    };
    if let Err(error) = begun.await {
        if let Err(undo) = daemon.remove(&started.id, &started.name).await {
            crate::report(&undo);
        }
        return Err(error);
    }
    Ok(started)
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
            && matches!(other.state, State::Running | State::Created)
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

/// Said when the person has left by keys: where it went.
fn say_left(name: &str) {
    let text =
        format!("\ncoffer: container {name} runs on; `coffer attach {name}` joins it again\n");
    // Nobody may be left to read it.
    let _ = out::raw_error(text.as_bytes());
}
