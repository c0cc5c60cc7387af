//! Namespaces, identities and confinement, as a client asks for them.

use serde::{Deserialize, Serialize};

/// Whose namespace something runs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceMode {
    /// The pod's, shared by its containers.
    #[default]
    Pod,
    /// The container's own.
    Container,
    /// The host's.
    Node,
    /// That of another container ([`Namespaces::target_id`]).
    Target,
}

/// Namespaces of a pod or a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Network: pod or node.
    pub network: NamespaceMode,
    /// Pid.
    pub pid: NamespaceMode,
    /// Ipc: pod or node.
    pub ipc: NamespaceMode,
    /// The container that `pid: target` means; else empty.
    pub target_id: String,
}

/// What a pod's sandbox may do. There is no pause process: identity and seccomp profile of the
/// sandbox have nothing to apply to and are kept only to tell a repeated request from another one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodSecurity {
    /// Namespaces.
    pub namespaces: Namespaces,
    /// Privileged containers are allowed in this pod.
    pub privileged: bool,
    /// No process to apply it to.
    pub run_as_user: Option<i64>,
    /// No process to apply it to.
    pub run_as_group: Option<i64>,
    /// No root filesystem to apply it to.
    pub readonly_rootfs: bool,
    /// No process to apply it to.
    pub supplemental_groups: Vec<i64>,
    /// No process to apply it to.
    pub supplemental_groups_policy: GroupsPolicy,
    /// No process to apply it to.
    pub seccomp: Option<SecurityProfile>,
    /// No process to apply it to.
    pub apparmor: Option<SecurityProfile>,
}

/// Confinement of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSecurity {
    /// All eight privileges at once (CRI): needs a privileged pod.
    pub privileged: bool,
    /// Changes to the default set.
    pub capabilities: Capabilities,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// User id.
    pub run_as_user: Option<i64>,
    /// Primary group id; needs a user.
    pub run_as_group: Option<i64>,
    /// User name in the image's passwd; empty: unset.
    pub run_as_username: String,
    /// The root filesystem is read-only.
    pub readonly_rootfs: bool,
    /// Groups on top of the primary one.
    pub supplemental_groups: Vec<i64>,
    /// Whether the image's groups of the user count too.
    pub supplemental_groups_policy: GroupsPolicy,
    /// Set no_new_privs.
    pub no_new_privs: bool,
    /// Paths that are hidden.
    pub masked_paths: Vec<String>,
    /// Paths that are read-only.
    pub readonly_paths: Vec<String>,
    /// Seccomp profile; `None`: not said.
    pub seccomp: Option<SecurityProfile>,
    /// AppArmor profile; `None`: not said.
    pub apparmor: Option<SecurityProfile>,
}

/// Changes to the default capabilities. Names without or with `CAP_`, any case; `ALL` is all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Added.
    pub add: Vec<String>,
    /// Dropped.
    pub drop: Vec<String>,
    /// Added, and in the ambient set too.
    pub add_ambient: Vec<String>,
}

/// Which supplemental groups a process gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GroupsPolicy {
    /// Those asked for and those that the image's `/etc/group` gives the user.
    #[default]
    Merge,
    /// Those asked for only.
    Strict,
}

/// A seccomp or AppArmor profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityProfile {
    /// The runtime's own.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// A profile on this host: a file (seccomp) or a loaded profile's name (AppArmor).
    Localhost(String),
}
