//! From a CRI request to a runtime-spec document.
//!
//! Pure: a request, its pod, its image and facts of the host go in, a document comes out. What must be
//! asked of the host (where a link leads, which device a path is) goes through [`Host`], so that
//! tests have a host of their own. A field that can't be honoured is an error that names it; the
//! few that are accepted without effect stand in [`crate::v1::ACCEPTED_WITHOUT_EFFECT`].
//!
//! ```text
//! ContainerInput ─┬─ args, env, user, capabilities, apparmor ──► process
//! HostFacts ──────┼─ mounts, devices ──────────────────────────► mounts, linux.devices
//! Host ───────────┼─ namespaces, resources, seccomp, paths ────► linux
//!                 └────────────────────────────────────────────► Facts: what the caller keeps
//! ```

mod annotations;
mod apparmor;
mod args;
mod capabilities;
mod devices;
mod env;
mod error;
mod exec;
mod host;
mod input;
mod mountinfo;
mod mounts;
mod namespaces;
mod paths;
mod process;
mod resources;
mod seccomp;
mod seccomp_default;
mod sysctls;
mod user;

#[cfg(test)]
mod golden_tests;

use std::path::PathBuf;

use oci::runtime::{Linux, Root, Spec};

pub use error::SpecError;
pub use exec::{Otherwise, exec_process};
pub use host::{Host, HostDevice, HostFacts, Peers, RealHost};
pub use input::{ContainerInput, ImageInput, NodeSettings, PodInput, RootfsFiles};
pub use mounts::ResolvedMount;
pub use namespaces::PidNamespace;
pub(crate) use paths::cgroup;
pub use resources::update;
pub use seccomp_default::runtime_default;
pub use sysctls::pod_sysctls;
pub use user::ResolvedUser;

/// Version of the runtime specification that the documents follow.
const OCI_VERSION: &str = "1.2.0";

/// A document, and what was decided on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The runtime-spec document.
    pub spec: Spec,
    /// What a caller keeps or tells.
    pub facts: Facts,
}

/// What was decided while a document was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Who runs the process.
    pub user: ResolvedUser,
    /// Whose pid namespace it gets: told to the agent beside the document.
    pub pid: PidNamespace,
    /// The request's mounts, behind all symbolic links.
    pub mounts: Vec<ResolvedMount>,
    /// The log file; `None`: none is written.
    pub log_path: Option<PathBuf>,
    /// The signal that stops it; `None`: SIGTERM.
    pub stop_signal: Option<i32>,
}

/// Builds the document of a container.
///
/// # Errors
/// [`SpecError`], which names the field.
pub fn container(
    input: &ContainerInput<'_>,
    facts: &HostFacts,
    host: &dyn Host,
) -> Result<Built, SpecError> {
    let config = input.config;
    let security = &config.security;
    if security.privileged && !input.pod.config.security.privileged {
        let what = "the pod's sandbox is not privileged (its security_context.privileged)";
        return Err(SpecError::invalid(
            "linux.security_context.privileged",
            what,
        ));
    }
    let user = user::resolve(security, input.image, input.files)?;
    let pid = namespaces::pid(&security.namespaces, &input.pod.config.security.namespaces)?;
    let process = process::process(input, &user, facts)?;
    let bounding = process.capabilities.clone().unwrap_or_default().bounding;
    let mounts = mounts::mounts(input, facts, host)?;
    let (devices, rules) = devices::devices(config, host)?;
    let mut resources = match &config.resources {
        Some(said) => resources::resources(said, facts)?,
        None => Default::default(),
    };
    resources.devices = rules;
    let (masked_paths, readonly_paths) = paths::hidden(security)?;
    let linux = Linux {
        resources: Some(resources),
        cgroups_path: Some(paths::cgroup(input.pod.cgroup_parent, input.id)),
        namespaces: namespaces::namespaces(security, input.pod, &pid)?,
        devices,
        seccomp: seccomp::seccomp(input, &bounding, host)?,
        rootfs_propagation: mounts.rootfs_propagation.map(str::to_owned),
        masked_paths,
        readonly_paths,
        ..Linux::default()
    };
    let spec = Spec {
        oci_version: OCI_VERSION.to_owned(),
        process: Some(process),
        root: Some(Root {
            path: "rootfs".to_owned(),
            readonly: security.readonly_rootfs,
        }),
        mounts: mounts.mounts,
        annotations: annotations::passed(input),
        linux: Some(linux),
        ..Spec::default()
    };
    let facts = Facts {
        user,
        pid,
        mounts: mounts.resolved,
        log_path: paths::log(&input.pod.config.log_directory, &config.log_path)?,
        stop_signal: args::stop_signal(config, input.image)?,
    };
    Ok(Built { spec, facts })
}
