//! `coffer port-forward`: local TCP ports that lead into a pod's network.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::{
    client::Daemon,
    error::{CallKind, Error, Known},
    out, resolve,
    resolve::Target,
    stream::forward::{self, Port},
    view::{Pod, PodState},
};

/// Arguments of `port-forward`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Runs until Ctrl-C. LOCAL may be left out (the same number) or empty (a free one).

Examples:
  coffer port-forward web 8080:80
  coffer port-forward web :80 9000
  coffer port-forward --address 0.0.0.0 web 8080:80")]
pub(crate) struct Args {
    /// Address to listen on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Name or id of a pod, or of a container in it
    pod: String,
    /// Ports
    #[arg(required = true, value_name = "[LOCAL:]REMOTE", value_parser = pair)]
    ports: Vec<(u16, u16)>,
}

/// `8080:80`, `80` or `:80`; a local 0 is any free port.
fn pair(text: &str) -> Result<(u16, u16), String> {
    let number = |digits: &str| {
        let port = digits.parse::<u16>().ok().filter(|port| *port > 0);
        let place = if digits == text {
            String::new()
        } else {
            format!(" in {text:?}")
        };
        port.ok_or_else(|| format!("{digits:?}{place} is no port (1 to 65535)"))
    };
    match text.split_once(':') {
        Some(("" | "0", remote)) => Ok((0, number(remote)?)),
        Some((local, remote)) => Ok((number(local)?, number(remote)?)),
        None => number(text).map(|port| (port, port)),
    }
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let pod = pod_of(&daemon, &args.pod).await?;
    if pod.state != PodState::Ready {
        return Err(Error::State {
            message: format!("pod {} is stopped: nothing in it listens", pod.name),
            hint: "`coffer pods` shows those that are ready".to_owned(),
        });
    }
    let mut listeners = Vec::new();
    for (local, remote) in &args.ports {
        listeners.push((
            listen(SocketAddr::new(args.address, *local)).await?,
            *remote,
        ));
    }
    let (connections, mut accepted) = mpsc::channel(16);
    for (listener, remote) in listeners {
        let at = listener.local_addr().map_err(|source| Error::Io {
            what: "ask for the local port".to_owned(),
            source,
        })?;
        out::line(&format!("Forwarding {at} -> {}:{remote}", pod.name))?;
        tokio::spawn(accept(listener, remote, connections.clone()));
    }
    let no_signals = |source| Error::Io {
        what: "wait for signals".to_owned(),
        source,
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let (failures, mut failed) = mpsc::channel(16);
    loop {
        tokio::select! {
            // A failure that was heard of is told before anything else.
            biased;
            Some(error) = failed.recv() => {
                // A port that nobody serves is one connection's trouble; a pod that has gone is ours.
                if !still_there(&daemon, &pod).await? {
                    return Err(Error::State {
                        message: format!("pod {} has stopped", pod.name),
                        hint: "the ports were its; start it again and forward anew".to_owned(),
                    });
                }
                crate::report(&error);
            }
            _ = interrupt.recv() => return Ok(0),
            _ = terminate.recv() => return Ok(0),
            connection = accepted.recv() => {
                let Some((mut connection, number)) = connection else { return Ok(0) };
                let port = Port { pod: pod.id.clone(), name: pod.name.clone(), number };
                let (daemon, failures) = (daemon.clone(), failures.clone());
                tokio::spawn(async move {
                    if let Err(error) = forward::carry(&daemon, &port, &mut connection).await {
                        let _ = failures.send(error).await;
                    }
                    // Only now: who sees the connection close may already press Ctrl-C.
                    drop(connection);
                });
            }
        }
    }
}

async fn pod_of(daemon: &Daemon, word: &str) -> Result<Pod, Error> {
    let pods = daemon.pods().await?;
    // Most often a pod and its container have one name: either way it is the pod.
    if let Some(pod) = pods.iter().find(|pod| pod.name == word) {
        return Ok(pod.clone());
    }
    match resolve::target(daemon, word).await? {
        Target::Pod(pod) => Ok(pod),
        Target::Container(container) => {
            let pod = pods.into_iter().find(|pod| pod.id == container.pod_id);
            pod.ok_or_else(|| Error::Unknown {
                kind: "pod",
                name: container.pod_name,
                known: Known::default(),
            })
        }
    }
}

async fn still_there(daemon: &Daemon, pod: &Pod) -> Result<bool, Error> {
    match daemon.pod_status(&pod.id).await {
        Ok(status) => Ok(status.pod.state == PodState::Ready),
        Err(Error::Call {
            kind: CallKind::NotFound,
            ..
        }) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn listen(at: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(at).await.map_err(|source| Error::Io {
        what: format!("listen on {at}"),
        source,
    })
}

async fn accept(listener: TcpListener, remote: u16, to: mpsc::Sender<(TcpStream, u16)>) {
    loop {
        match listener.accept().await {
            Ok((connection, _)) => {
                if to.send((connection, remote)).await.is_err() {
                    return;
                }
            }
            // Out of descriptors, most often: some will be given back.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_ports() {
        let table = [
            ("80", (80, 80)),
            ("8080:80", (8080, 80)),
            (":80", (0, 80)),
            ("0:80", (0, 80)),
        ];
        for (text, ports) in table {
            assert_eq!(pair(text), Ok(ports), "{text}");
        }
        for text in ["", "0", "80:", "65536", "80:0", "a:b", "1:2:3", "-1"] {
            assert!(pair(text).is_err(), "{text}");
        }
    }
}
