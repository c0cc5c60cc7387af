//! Places a container in its pod: which namespaces it joins and which cgroup it gets. The spec's own
//! entries for ipc, uts, network and pid give way to what the sandbox has; nothing is ever named twice.

use std::path::{Path, PathBuf};

use oci::runtime::{Linux, LinuxNamespace, NamespaceType, Spec};

use crate::agent::Pod;
use crate::container::Container;
use crate::error::Error;
use crate::namespaces::path_of;

/// The pid namespace that a container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pid {
    /// A new one.
    Container,
    /// The pod's, whose first process is the agent's reaper.
    Pod,
    /// The agent's own.
    Node,
    /// That of another container of the pod.
    Target(String),
}

/// Where a container goes.
#[derive(Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) id: &'a str,
    /// None: no CreateSandbox yet; the spec's own namespaces stay, without their paths.
    pub(crate) pod: Option<&'a Pod>,
    pub(crate) pid: &'a Pid,
    /// The container whose pid namespace is joined.
    pub(crate) target: Option<&'a Container>,
}

/// Rewrites `spec` for its place.
///
/// # Errors
/// The pod has no shared pid namespace to join, or the target has ended.
pub(crate) fn place(spec: &mut Spec, placed: &Placed<'_>) -> Result<(), Error> {
    let linux = spec.linux.get_or_insert_with(Linux::default);
    cgroup(linux, placed);
    namespaces(&mut linux.namespaces, placed)
}

/// An empty cgroup path is the container's id below the pod's cgroup.
fn cgroup(linux: &mut Linux, placed: &Placed<'_>) {
    if linux.cgroups_path.as_deref().is_none_or(str::is_empty) {
        let parent = placed
            .pod
            .and_then(|p| p.cgroup.as_ref())
            .map_or("", |c| c.path());
        linux.cgroups_path = Some(format!("{}/{}", parent.trim_end_matches('/'), placed.id));
    }
}

fn namespaces(list: &mut Vec<LinuxNamespace>, placed: &Placed<'_>) -> Result<(), Error> {
    let mut set = |kind: NamespaceType, namespace: Option<Option<PathBuf>>| {
        list.retain(|n| n.type_ != kind);
        if let Some(path) = namespace {
            let path = path.map(|p| p.display().to_string());
            list.push(LinuxNamespace { type_: kind, path });
        }
    };
    if let Some(pod) = placed.pod {
        let shared = &pod.namespaces;
        for (kind, fd) in [
            (NamespaceType::Ipc, &shared.ipc),
            (NamespaceType::Uts, &shared.uts),
            (NamespaceType::Network, &shared.net),
        ] {
            // Absent: the agent's own namespace, which is the node's.
            set(kind, fd.as_ref().map(|fd| Some(path_of(fd))));
        }
    }
    let of_process = |pid: i32| Path::new("/proc").join(pid.to_string()).join("ns/pid");
    let pid = match placed.pid {
        Pid::Node => None,
        Pid::Container => Some(None),
        Pid::Pod => {
            let reaper = placed.pod.and_then(|p| p.reaper.as_ref()).ok_or_else(|| {
                let why = "the sandbox was created without a shared pid namespace";
                Error::Precondition(format!("container {}: {why}", placed.id))
            })?;
            if reaper.process.exited().is_some() {
                let why = "the first process of the pod's pid namespace has ended";
                return Err(Error::Precondition(format!(
                    "container {}: {why}",
                    placed.id
                )));
            }
            Some(Some(of_process(reaper.process.pid)))
        }
        Pid::Target(name) => {
            let target = placed.target.filter(|t| t.init.exited().is_none());
            let target = target.ok_or_else(|| {
                let why = format!("container {name}, whose pid namespace it joins, has ended");
                Error::Precondition(format!("container {}: {why}", placed.id))
            })?;
            Some(Some(of_process(target.init.pid)))
        }
    };
    set(NamespaceType::Pid, pid);
    Ok(())
}
