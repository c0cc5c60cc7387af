//! What a request for a pod means: checked whole before anything is done.

use std::collections::BTreeMap;

use super::plan_network;
use crate::{
    domain::{Id, NamespaceMode, PodConfig},
    error::Error,
};

/// Linux's limit of a hostname (`__NEW_UTS_LEN`).
const HOSTNAME_MAX: usize = 64;

/// How a pod is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodPlan {
    /// A network namespace of its own; else the host's.
    pub own_network: bool,
    /// The ports that the built-in network publishes for it; `None`: it has no part in this pod.
    pub built_in: Option<Vec<network::Port>>,
    /// What its containers see as hostname.
    pub hostname: String,
    /// Cgroup below which its containers are.
    pub cgroup_parent: String,
    /// Shared memory and an ipc namespace of its own; else the host's.
    pub own_ipc: bool,
    /// The pid namespace of containers that do not say otherwise.
    pub pid: sandbox::PidMode,
    /// Sysctls of its own namespaces, by their dotted names.
    pub sysctls: BTreeMap<String, String>,
}

pub(super) fn invalid(field: &str, why: impl Into<String>) -> Error {
    Error::InvalidField {
        field: field.to_owned(),
        why: why.into(),
    }
}

/// Checks a request and decides what is to be made. `own_cgroup` is the cgroup for a pod that has
/// been given none, `node` the host's name, `built_in` whether there is a built-in network.
///
/// # Errors
/// [`Error::InvalidField`] and [`Error::Unsupported`], naming the field.
pub(crate) fn pod(
    config: &PodConfig,
    own_cgroup: impl FnOnce() -> String,
    node: &str,
    built_in: bool,
) -> Result<PodPlan, Error> {
    if !config.runtime_handler.is_empty() {
        return Err(Error::Unsupported {
            field: "runtime_handler".to_owned(),
            why: format!(
                "there is no handler {:?}; only \"\" is",
                config.runtime_handler
            ),
        });
    }
    let own_network = own_or_host("network", config.security.namespaces.network)?;
    let own_ipc = own_or_host("ipc", config.security.namespaces.ipc)?;
    let pid = match config.security.namespaces.pid {
        NamespaceMode::Pod => sandbox::PidMode::Pod,
        NamespaceMode::Container => sandbox::PidMode::Container,
        NamespaceMode::Node => sandbox::PidMode::Host,
        NamespaceMode::Target => {
            let field = "config.linux.security_context.namespace_options.pid";
            return Err(invalid(
                field,
                "is TARGET, which only a container can ask for",
            ));
        }
    };
    let built_in = plan_network::built_in(config, own_network, built_in)?;
    plan_network::dns(config)?;
    log_directory(config)?;
    Ok(PodPlan {
        own_network,
        built_in,
        hostname: if own_network {
            hostname(config)?
        } else {
            node.to_owned()
        },
        cgroup_parent: cgroup_parent(config, own_cgroup)?,
        own_ipc,
        pid,
        sysctls: crate::spec::pod_sysctls(config)?,
    })
}

fn own_or_host(name: &str, mode: NamespaceMode) -> Result<bool, Error> {
    match mode {
        NamespaceMode::Pod => Ok(true),
        NamespaceMode::Node => Ok(false),
        NamespaceMode::Container | NamespaceMode::Target => Err(invalid(
            &format!("config.linux.security_context.namespace_options.{name}"),
            "must be POD or NODE",
        )),
    }
}

fn log_directory(config: &PodConfig) -> Result<(), Error> {
    let dir = &config.log_directory;
    let dots = || {
        dir.components()
            .any(|part| part == std::path::Component::ParentDir)
    };
    if dir.as_os_str().is_empty() || dir.is_absolute() && !dots() {
        return Ok(());
    }
    Err(invalid(
        "config.log_directory",
        format!("is {:?}, not an absolute path", dir.display()),
    ))
}

fn hostname(config: &PodConfig) -> Result<String, Error> {
    let said = &config.hostname;
    if said.is_empty() {
        return Ok(default_hostname(&config.metadata.name));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if said.len() > HOSTNAME_MAX || !said.chars().all(fits) {
        let why = format!("is {said:?}, not a hostname of at most {HOSTNAME_MAX} characters");
        return Err(invalid("config.hostname", why));
    }
    Ok(said.clone())
}

/// The pod's name, made a hostname.
fn default_hostname(name: &str) -> String {
    let fits = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let text: String = name.chars().map(fits).take(63).collect();
    let text = text.trim_matches('-');
    if text.is_empty() {
        "pod".to_owned()
    } else {
        text.to_owned()
    }
}

fn cgroup_parent(config: &PodConfig, own: impl FnOnce() -> String) -> Result<String, Error> {
    let said = &config.cgroup_parent;
    if said.is_empty() {
        return Ok(own());
    }
    let field = "config.linux.cgroup_parent";
    if said.ends_with(".slice") && !said.contains('/') {
        let why = "systemd slices are not supported: the cgroup driver is cgroupfs";
        return Err(Error::Unsupported {
            field: field.to_owned(),
            why: why.to_owned(),
        });
    }
    let plain = |part: &str| part != "." && part != ".." && !part.contains('\0');
    if !said.starts_with('/') || !said.split('/').all(plain) {
        return Err(invalid(
            field,
            format!("is {said:?}, not an absolute cgroup path"),
        ));
    }
    Ok(said.clone())
}

/// The default cgroup of a pod.
pub(crate) fn own_cgroup(settings: &sandbox::Settings, pod: &Id) -> String {
    settings.pod_cgroup(pod.as_str())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
