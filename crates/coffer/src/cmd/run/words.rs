//! Values of `run`'s flags: what was said, turned into what it means. Each error names the form that
//! was expected.

use std::net::IpAddr;

use crate::{
    launch::{Device, Pid, Profile, Protocol, Published},
    nearest, parse,
    view::{Propagation, Volume},
};

/// One `--security-opt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecurityOption {
    Seccomp(Profile),
    AppArmor(Profile),
    NoNewPrivileges(bool),
}

/// `[IP:][HOST:]CONTAINER[/tcp|udp|sctp]`, HOST and CONTAINER single or ranges of equal length. No
/// host port, or an empty one, is any that is free.
pub(super) fn ports(text: &str) -> Result<Vec<Published>, String> {
    let expected = || format!("{text:?} is not [IP:][HOST:]CONTAINER[/tcp|udp], such as 8080:80");
    let (mapping, protocol) = match text.split_once('/') {
        None | Some((_, "tcp")) => (text.split('/').next().unwrap_or(text), Protocol::Tcp),
        Some((mapping, "udp")) => (mapping, Protocol::Udp),
        Some((mapping, "sctp")) => (mapping, Protocol::Sctp),
        Some((_, other)) => {
            return Err(format!("{other:?} in {text:?} is none of tcp, udp, sctp"));
        }
    };
    let (ip, rest) = match mapping.strip_prefix('[') {
        Some(bracketed) => {
            let (ip, rest) = bracketed.split_once("]:").ok_or_else(expected)?;
            (ip, rest)
        }
        None => match mapping.matches(':').count() {
            0 | 1 => ("", mapping),
            2 => mapping.split_once(':').ok_or_else(expected)?,
            _ => {
                return Err(format!(
                    "{text:?} has too many parts; an IPv6 address goes in brackets, [::1]:8080:80"
                ));
            }
        },
    };
    if !ip.is_empty() {
        ip.parse::<IpAddr>()
            .map_err(|_| format!("{ip:?} in {text:?} is not an IP address"))?;
    }
    let (host, container) = match rest.split_once(':') {
        Some((host, container)) => (Some(host).filter(|host| !host.is_empty()), container),
        None => (None, rest),
    };
    let (first, last) = range(container, text)?;
    let hosts = match host {
        Some(host) => {
            let (low, high) = range(host, text)?;
            if high - low != last - first {
                return Err(format!("the two ranges of {text:?} differ in length"));
            }
            Some(low)
        }
        None => None,
    };
    Ok((first..=last)
        .map(|port| Published {
            ip: ip.to_owned(),
            host: hosts.map_or(0, |low| low + (port - first)),
            container: port,
            protocol,
        })
        .collect())
}

fn range(digits: &str, text: &str) -> Result<(u16, u16), String> {
    let port = |digits: &str| {
        let port = digits.parse::<u16>().ok().filter(|port| *port > 0);
        port.ok_or_else(|| format!("{digits:?} in {text:?} is no port (1 to 65535)"))
    };
    match digits.split_once('-') {
        None => port(digits).map(|port| (port, port)),
        Some((first, last)) => match (port(first)?, port(last)?) {
            (first, last) if first <= last => Ok((first, last)),
            _ => Err(format!("{digits:?} in {text:?} runs backwards")),
        },
    }
}

/// `-v`: as [`parse::volume`], with paths relative to here, and a sentence for names.
pub(super) fn volume(text: &str) -> Result<Volume, String> {
    let (host, rest) = text.split_once(':').unwrap_or((text, ""));
    if rest.is_empty() {
        return Err(format!(
            "{text:?} is not HOST:CONTAINER[:ro]: volumes without a place on the host do not exist \
             here"
        ));
    }
    if !host.starts_with('/') && !host.starts_with('.') {
        return Err(format!(
            "{host:?} in {text:?} would be a volume by name, and there are none: give a directory, \
             ./{host} or /…"
        ));
    }
    let host = absolute(host)?;
    parse::volume(&format!("{host}:{rest}"))
}

/// From here, where it is relative; what links and `..` mean is left to the kernel.
fn absolute(path: &str) -> Result<String, String> {
    let absolute = std::path::absolute(path).map_err(|e| format!("{path:?}: {e}"))?;
    Ok(absolute.to_string_lossy().into_owned())
}

/// `type=bind,src=/a,dst=/b[,ro][,bind-propagation=rslave]`.
pub(super) fn mount(text: &str) -> Result<Volume, String> {
    let (mut kind, mut source, mut target) = ("volume", None, None);
    let mut volume = Volume {
        host_path: String::new(),
        container_path: String::new(),
        read_only: false,
        propagation: Propagation::Private,
    };
    for part in text.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, "true"));
        match key {
            "type" => kind = value,
            "src" | "source" => source = Some(value),
            "dst" | "destination" | "target" => target = Some(value),
            "ro" | "readonly" => {
                volume.read_only = value
                    .parse()
                    .map_err(|_| format!("{value:?} in {text:?} is neither true nor false"))?;
            }
            "rw" => volume.read_only = false,
            "bind-propagation" => {
                volume.propagation = match value {
                    "private" | "rprivate" => Propagation::Private,
                    "slave" | "rslave" => Propagation::HostToContainer,
                    "shared" | "rshared" => Propagation::Bidirectional,
                    _ => {
                        return Err(format!(
                            "{value:?} in {text:?} is none of rprivate, rslave, rshared"
                        ));
                    }
                }
            }
            _ => {
                let keys = ["type", "source", "target", "readonly", "bind-propagation"];
                let meant = nearest::of(key, keys).map_or_else(
                    || keys.join(", "),
                    |meant| format!("did you mean {meant:?}"),
                );
                return Err(format!("{key:?} in {text:?} is not known: {meant}"));
            }
        }
    }
    if kind != "bind" {
        return Err(format!(
            "{text:?} has type {kind:?}; only type=bind can be done, with a path of the host"
        ));
    }
    let (Some(source), Some(target)) = (source, target) else {
        return Err(format!("{text:?} needs source= and target="));
    };
    volume.host_path = absolute(source)?;
    volume.container_path = target.to_owned();
    Ok(volume)
}

/// `/dev/fuse`, `/dev/sda:/dev/xvda`, `/dev/sda:/dev/xvda:r`, `/dev/sda:r`.
pub(super) fn device(text: &str) -> Result<Device, String> {
    let expected = || format!("{text:?} is not HOST[:CONTAINER][:rwm], such as /dev/fuse");
    let is_access = |word: &str| !word.is_empty() && word.chars().all(|c| "rwm".contains(c));
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, access) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, access] if is_access(access) => (*host, *host, *access),
        [host, container] => (*host, *container, "rwm"),
        [host, container, access] if is_access(access) => (*host, *container, *access),
        _ => return Err(expected()),
    };
    if !host.starts_with('/') || !container.starts_with('/') {
        return Err(expected());
    }
    Ok(Device {
        host_path: host.to_owned(),
        container_path: container.to_owned(),
        access: access.to_owned(),
    })
}

/// `seccomp=…`, `apparmor=…`, `no-new-privileges[=true]`; `:` is as good as `=`.
pub(super) fn security(text: &str) -> Result<SecurityOption, String> {
    let (key, value) = match text.find(['=', ':']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    match (key, value) {
        ("seccomp", Some(value)) if !value.is_empty() => Ok(SecurityOption::Seccomp(match value {
            "unconfined" => Profile::Unconfined,
            "runtime/default" | "default" | "builtin" => Profile::Default,
            path => Profile::Named(absolute(path)?),
        })),
        ("apparmor", Some(value)) if !value.is_empty() => {
            Ok(SecurityOption::AppArmor(match value {
                "unconfined" => Profile::Unconfined,
                "runtime/default" => Profile::Default,
                name => Profile::Named(name.to_owned()),
            }))
        }
        ("no-new-privileges", None | Some("true")) => Ok(SecurityOption::NoNewPrivileges(true)),
        ("no-new-privileges", Some("false")) => Ok(SecurityOption::NoNewPrivileges(false)),
        ("label", _) => Err("SELinux labels can't be set yet".to_owned()),
        _ => Err(format!(
            "{text:?} is none of seccomp=unconfined|FILE, apparmor=unconfined|PROFILE, \
             no-new-privileges"
        )),
    }
}

/// `NET_ADMIN`, `cap_net_admin` or `ALL`, as CRI has them: without the prefix.
pub(super) fn capability(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
        return Err(format!("{text:?} is not a capability such as NET_ADMIN"));
    }
    Ok(name.to_owned())
}

/// A group's number; names are the image's, and CRI takes none.
pub(super) fn group(text: &str) -> Result<i64, String> {
    text.parse::<u32>()
        .map(i64::from)
        .map_err(|_| format!("{text:?} is not a number: CRI takes further groups by number only"))
}

/// `private` (the container's own), `pod`, `host`, `container:NAME`.
pub(super) fn pid(text: &str) -> Result<Pid, String> {
    match (text, text.strip_prefix("container:")) {
        ("private" | "container", _) => Ok(Pid::Container),
        ("pod", _) => Ok(Pid::Pod),
        ("host", _) => Ok(Pid::Host),
        (_, Some(name)) if !name.is_empty() => Ok(Pid::Of(name.to_owned())),
        _ => Err(format!(
            "{text:?} is none of private, pod, host, container:NAME"
        )),
    }
}

/// Lines of an environment file: `KEY=VALUE`, or `KEY` for the value that this program has.
pub(super) fn env_file(text: &str) -> Result<Vec<(String, String)>, String> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let mut all = Vec::new();
    for (at, line) in lines {
        let found = parse::env(line).map_err(|why| format!("line {}: {why}", at + 1))?;
        all.extend(found);
    }
    Ok(all)
}

#[cfg(test)]
#[path = "words_tests.rs"]
mod tests;
