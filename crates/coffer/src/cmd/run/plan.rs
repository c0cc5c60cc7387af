//! What was said, as a pod and a container to be made. Nothing is done here.

use std::collections::BTreeMap;

use super::{
    args::{Args, Network},
    words::{self, SecurityOption},
};
use crate::{
    error::Error,
    launch::{Dns, Limits, Namespaces, NewContainer, NewPod, Pid, Published, Security},
    view::{ANNOTATION_LOGS, ANNOTATION_PORTS, Image, LABEL_CREATED_BY, PodStatus},
};

/// Annotation of a pod that gets loopback and nothing else.
const ANNOTATION_NETWORK: &str = "io.coffer.network";

/// Refuses what cannot be done, before anything is.
pub(super) fn check(args: &Args) -> Result<(), Error> {
    if let Some((flag, instead)) = args.unsaid.given() {
        return Err(Error::State {
            message: format!("{flag} is not available: CRI has no word for it"),
            hint: instead.to_owned(),
        });
    }
    let wants_name = |pid: &Pid| matches!(pid, Pid::Of(_));
    if args.pod.is_none() && args.pid.as_ref().is_some_and(wants_name) {
        return Err(Error::State {
            message: "--pid container:NAME needs --pod: both must be in one pod".to_owned(),
            hint: "name the pod of that container with --pod".to_owned(),
        });
    }
    let (message, hint) = match args.network {
        Some(Network::None) if !args.publish.is_empty() => (
            "-p has nothing to publish with --network none",
            "leave one of the two out",
        ),
        Some(Network::Host) if !args.publish.is_empty() => (
            "-p has nothing to publish with --network host: ports there are the host's own",
            "leave one of the two out",
        ),
        Some(Network::Host) if args.hostname.is_some() => (
            "--hostname has no effect with --network host: the name is the host's, too",
            "leave one of the two out",
        ),
        _ => return Ok(()),
    };
    Err(Error::State {
        message: message.to_owned(),
        hint: hint.to_owned(),
    })
}

/// The pod for a container that joins none. `logs` is the directory of its logs; `ports` are those of
/// [`Args`] with their host ports decided.
pub(super) fn pod(
    args: &Args,
    name: String,
    uid: String,
    logs: &str,
    ports: Vec<Published>,
) -> NewPod {
    let mut annotations: BTreeMap<String, String> = args.annotation.iter().cloned().collect();
    annotations.insert(ANNOTATION_LOGS.to_owned(), logs.to_owned());
    if args.network == Some(Network::None) {
        annotations.insert(ANNOTATION_NETWORK.to_owned(), "none".to_owned());
    }
    if !ports.is_empty() {
        annotations.insert(ANNOTATION_PORTS.to_owned(), shown(&ports));
    }
    let dns = Dns {
        servers: args.dns.iter().map(ToString::to_string).collect(),
        searches: args.dns_search.clone(),
        options: args.dns_option.clone(),
    };
    let host_network = args.network == Some(Network::Host);
    NewPod {
        hostname: match &args.hostname {
            Some(hostname) => hostname.clone(),
            None if host_network => String::new(),
            None => name.clone(),
        },
        name,
        uid,
        log_directory: logs.to_owned(),
        namespaces: Namespaces {
            host_network,
            host_ipc: args.ipc.as_deref() == Some("host"),
            pid: args.pid.clone().unwrap_or_default(),
        },
        privileged: args.privileged,
        ports,
        dns: (dns != Dns::default()).then_some(dns),
        sysctls: args.sysctl.iter().cloned().collect(),
        labels: labels(args),
        annotations,
        handler: args.runtime.clone().unwrap_or_default(),
    }
}

fn labels(args: &Args) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = args.label.iter().cloned().collect();
    labels.insert(LABEL_CREATED_BY.to_owned(), "coffer-run".to_owned());
    labels
}

/// `0.0.0.0:8080->80/tcp`, as `ps` shows it.
fn shown(ports: &[Published]) -> String {
    let one = |port: &Published| {
        let ip = match port.ip.as_str() {
            "" => "0.0.0.0".to_owned(),
            six if six.contains(':') => format!("[{six}]"),
            four => four.to_owned(),
        };
        let (host, container, protocol) = (port.host, port.container, port.protocol.word());
        format!("{ip}:{host}->{container}/{protocol}")
    };
    ports.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The container. `target` is the id of the container whose processes it is to see.
pub(super) fn container(
    args: &Args,
    name: String,
    pod: &PodStatus,
    image: &Image,
    target: Option<String>,
) -> Result<NewContainer, Error> {
    let has_logs = pod.pod.annotations.contains_key(ANNOTATION_LOGS);
    let (command, arguments) = match args.entrypoint.as_deref() {
        None => (Vec::new(), args.command.clone()),
        // No entrypoint: what follows is the whole command.
        Some("") => (args.command.clone(), Vec::new()),
        Some(program) => (vec![program.to_owned()], args.command.clone()),
    };
    Ok(NewContainer {
        image_id: image.id.clone(),
        image: args.image.clone(),
        command,
        args: arguments,
        working_dir: args.workdir.clone(),
        env: environment(args)?,
        volumes: args.volume.iter().chain(&args.mount).cloned().collect(),
        devices: args.device.clone(),
        stdin: args.interactive,
        // A pipe has one writer; a terminal can be left and joined again.
        stdin_once: args.interactive && !args.tty && !args.detach,
        tty: args.tty,
        limits: Limits {
            memory: args.memory.unwrap_or(0),
            cpu_quota: args.cpus.unwrap_or(0),
            cpu_shares: args.cpu_shares.unwrap_or(0),
            cpuset: args.cpuset_cpus.clone().unwrap_or_default(),
            pids: args.pids_limit.unwrap_or(0),
            oom_score_adj: args.oom_score_adj.unwrap_or(0),
        },
        security: security(args),
        namespaces: Namespaces {
            host_network: pod.network == "host",
            host_ipc: pod.ipc == "host",
            pid: match (target, &args.pid, pod.pid.as_str()) {
                (Some(id), ..) => Pid::Of(id),
                (None, Some(pid), _) => pid.clone(),
                (None, None, "host") => Pid::Host,
                (None, None, "pod") => Pid::Pod,
                (None, None, _) => Pid::Container,
            },
        },
        stop_signal: args.stop_signal,
        log_path: if has_logs {
            format!("{name}.log")
        } else {
            String::new()
        },
        labels: labels(args),
        annotations: args.annotation.iter().cloned().collect(),
        name,
    })
}

fn security(args: &Args) -> Security {
    let mut security = Security {
        user: args.user.clone(),
        groups: args.group_add.clone(),
        privileged: args.privileged,
        read_only: args.read_only,
        capabilities_added: args.cap_add.clone(),
        capabilities_dropped: args.cap_drop.clone(),
        ..Security::default()
    };
    for option in &args.security_opt {
        match option {
            SecurityOption::Seccomp(profile) => security.seccomp = Some(profile.clone()),
            SecurityOption::AppArmor(profile) => security.apparmor = Some(profile.clone()),
            SecurityOption::NoNewPrivileges(on) => security.no_new_privileges = *on,
        }
    }
    security
}

/// Files first, then -e, then what a terminal is called: later ones win.
fn environment(args: &Args) -> Result<Vec<(String, String)>, Error> {
    let mut all = Vec::new();
    if args.tty {
        all.push(("TERM".to_owned(), crate::terminal::kind()));
    }
    for path in &args.env_file {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Io {
            what: format!("read the environment file {}", path.display()),
            source,
        })?;
        let lines = words::env_file(&text)
            .map_err(|why| Error::Usage(format!("{}: {why}", path.display())))?;
        all.extend(lines);
    }
    all.extend(args.env.iter().flatten().cloned());
    // Each key once: the last word counts.
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    for (at, (key, _)) in all.iter().enumerate() {
        last.insert(key.clone(), at);
    }
    Ok(all
        .into_iter()
        .enumerate()
        .filter(|(at, (key, _))| last.get(key) == Some(at))
        .map(|(_, pair)| pair)
        .collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn said(words: &[&str]) -> Args {
        let all = ["run"].into_iter().chain(words.iter().copied());
        Line::try_parse_from(all).unwrap().args
    }

    fn refusal(words: &[&str]) -> String {
        check(&said(words)).unwrap_err().to_string()
    }

    #[test]
    fn what_cri_cannot_say_is_refused_by_name() {
        assert!(refusal(&["--tmpfs", "/tmp", "image"]).contains("--tmpfs"));
        assert!(refusal(&["-P", "image"]).contains("-P"));
        assert!(refusal(&["--restart", "always", "image"]).contains("--restart"));
        assert!(refusal(&["--pid", "container:web", "image"]).contains("--pod"));
        for (network, flag, value) in [
            ("none", "-p", "1:1"),
            ("host", "-p", "1:1"),
            ("host", "--hostname", "web"),
        ] {
            let said = refusal(&["--network", network, flag, value, "image"]);
            assert!(said.starts_with(flag) && said.contains(network), "{said}");
        }
    }

    #[test]
    fn a_pod_as_it_was_said() {
        let args = said(&[
            "--network",
            "none",
            "--ipc",
            "host",
            "--dns",
            "1.1.1.1",
            "--sysctl",
            "net.core.somaxconn=9",
            "--privileged",
            "--annotation",
            "a=b",
            "image",
        ]);
        let pod = pod(&args, "web".into(), "uid".into(), "/logs", Vec::new());
        assert_eq!(pod.annotations["io.coffer.network"], "none");
        assert_eq!(pod.annotations["a"], "b");
        assert!(pod.namespaces.host_ipc && !pod.namespaces.host_network && pod.privileged);
        assert_eq!(pod.dns.unwrap().servers, ["1.1.1.1"]);
        assert_eq!(pod.sysctls["net.core.somaxconn"], "9");
        assert_eq!(pod.hostname, "web");
    }

    #[test]
    fn ports_are_shown_as_people_write_them() {
        let ports = words::ports("[::1]:8080:80/udp").unwrap();
        assert_eq!(shown(&ports), "[::1]:8080->80/udp");
        let args = said(&["image"]);
        let pod = pod(&args, "web".into(), "uid".into(), "/logs", ports);
        assert_eq!(pod.annotations["io.coffer.ports"], "[::1]:8080->80/udp");
    }

    #[test]
    fn the_last_word_on_a_variable_counts() {
        let args = said(&["-t", "-e", "TERM=dumb", "-e", "A=1", "-e", "A=2", "image"]);
        let env = environment(&args).unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(env, [pair("TERM", "dumb"), pair("A", "2")]);
    }
}
