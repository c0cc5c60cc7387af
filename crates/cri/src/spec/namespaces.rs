//! Namespaces of a container: its own mount and cgroup namespaces, the pod's for the rest.
//!
//! The document says what there will be; the agent puts the pod's ipc, uts and network namespaces in
//! and decides pid by what is told beside the document.

use oci::runtime::{LinuxNamespace, NamespaceType};

use super::{PodInput, SpecError};
use crate::domain::{ContainerSecurity, NamespaceMode, Namespaces};

const FIELD: &str = "linux.security_context.namespace_options";

/// Whose pid namespace a container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PidNamespace {
    /// Its own.
    Container,
    /// The pod's shared one.
    Pod,
    /// The host's.
    Node,
    /// That of the container with this id.
    Target(String),
}

/// The pid namespace that a container asks for, in a pod that has asked for its own.
pub(super) fn pid(container: &Namespaces, pod: &Namespaces) -> Result<PidNamespace, SpecError> {
    let field = || format!("{FIELD}.pid");
    match (container.pid, pod.pid) {
        (NamespaceMode::Container, _) => Ok(PidNamespace::Container),
        (NamespaceMode::Pod, NamespaceMode::Pod) => Ok(PidNamespace::Pod),
        // POD is also what a client says that says nothing: it gets what its pod has.
        (NamespaceMode::Pod, NamespaceMode::Node) => Ok(PidNamespace::Node),
        (NamespaceMode::Pod, _) => Ok(PidNamespace::Container),
        (NamespaceMode::Node, NamespaceMode::Node) => Ok(PidNamespace::Node),
        (NamespaceMode::Node, _) => Err(SpecError::invalid(
            field(),
            "is NODE in a pod that does not share the host's",
        )),
        (NamespaceMode::Target, _) if container.target_id.is_empty() => Err(SpecError::invalid(
            format!("{FIELD}.target_id"),
            "is empty, and pid is TARGET",
        )),
        (NamespaceMode::Target, _) => Ok(PidNamespace::Target(container.target_id.clone())),
    }
}

/// The namespaces of the document, and a check that the container asks for no more than its pod has.
pub(super) fn namespaces(
    security: &ContainerSecurity,
    pod: &PodInput<'_>,
    pid: &PidNamespace,
) -> Result<Vec<LinuxNamespace>, SpecError> {
    let asked = &security.namespaces;
    let has = &pod.config.security.namespaces;
    for (name, asked, has) in [
        ("network", asked.network, has.network),
        ("ipc", asked.ipc, has.ipc),
    ] {
        match asked {
            NamespaceMode::Pod => {}
            NamespaceMode::Node if has == NamespaceMode::Node => {}
            NamespaceMode::Node => {
                let what = "is NODE in a pod that does not share the host's";
                return Err(SpecError::invalid(format!("{FIELD}.{name}"), what));
            }
            NamespaceMode::Container | NamespaceMode::Target => {
                let what = "is neither POD nor NODE";
                return Err(SpecError::invalid(format!("{FIELD}.{name}"), what));
            }
        }
    }
    let new = |type_| LinuxNamespace { type_, path: None };
    let mut namespaces = vec![new(NamespaceType::Mount)];
    if !security.privileged {
        namespaces.push(new(NamespaceType::Cgroup));
    }
    if let Some(pin) = pod.netns {
        let path = Some(pin.to_string_lossy().into_owned());
        namespaces.push(LinuxNamespace {
            type_: NamespaceType::Network,
            path,
        });
        namespaces.push(new(NamespaceType::Uts));
    }
    if has.ipc != NamespaceMode::Node {
        namespaces.push(new(NamespaceType::Ipc));
    }
    if *pid != PidNamespace::Node {
        namespaces.push(new(NamespaceType::Pid));
    }
    Ok(namespaces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use NamespaceMode::{Container, Node, Pod, Target};

    fn with_pid(pid: NamespaceMode, target: &str) -> Namespaces {
        Namespaces {
            pid,
            target_id: target.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn the_pid_namespace_follows_container_and_pod() {
        let table = [
            (Container, Pod, Some(PidNamespace::Container)),
            (Container, Node, Some(PidNamespace::Container)),
            (Pod, Pod, Some(PidNamespace::Pod)),
            (Pod, Container, Some(PidNamespace::Container)),
            (Pod, Node, Some(PidNamespace::Node)),
            (Node, Node, Some(PidNamespace::Node)),
            (Node, Pod, None),
            (Node, Container, None),
        ];
        for (container, pod, expected) in table {
            let got = pid(&with_pid(container, ""), &with_pid(pod, ""));
            assert_eq!(got.ok(), expected, "{container:?} in a pod with {pod:?}");
        }
        let target = pid(&with_pid(Target, "c0"), &with_pid(Pod, "")).unwrap();
        assert_eq!(target, PidNamespace::Target("c0".to_owned()));
        let error = pid(&with_pid(Target, ""), &with_pid(Pod, ""))
            .unwrap_err()
            .to_string();
        assert!(error.contains("target_id"), "{error}");
    }
}
