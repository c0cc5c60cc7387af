//! The engine: host facts probed once, and the operations of the core.

use std::path::{Path, PathBuf};

use oci::runtime as spec;

use crate::{
    Error,
    annotations::Annotations,
    cgroup,
    create::Prepared,
    host::Host,
    id::ContainerId,
    plan::{self, Plan},
    request::{Container, ContainerRef, CreateRequest, ExecRequest, Process},
};

/// Who manages cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupManager {
    /// Directories of the cgroup filesystem, by ourselves.
    #[default]
    Cgroupfs,
    /// systemd, over D-Bus: a transient scope for each container. Cgroup paths are then
    /// `slice:prefix:name`.
    Systemd,
}

/// Whether a container may run without a cgroup where none can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupNeed {
    /// Where the kernel denies it and the document sets no limit.
    #[default]
    IfPossible,
    /// Where, besides, the document names none.
    IfNamed,
    /// Never: what the kernel denies is an error.
    Always,
}

/// Settings of an [`Engine`].
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Root-only directory for compiled seccomp filters; `None` compiles each time.
    pub seccomp_cache: Option<PathBuf>,
    /// Who manages cgroups.
    pub cgroup_manager: CgroupManager,
    /// Whether a container must have one.
    pub cgroup_need: CgroupNeed,
    /// Whether annotations of documents change what is done.
    pub annotations: Annotations,
    /// Socket of the bus that systemd is on; `None`: the system's, for an ordinary user the
    /// session's.
    pub bus: Option<PathBuf>,
}

/// The core: probe once, use for every container, from any thread.
#[derive(Debug)]
pub struct Engine {
    pub(crate) host: Host,
    pub(crate) seccomp_cache: Option<PathBuf>,
    pub(crate) cgroup_need: CgroupNeed,
    pub(crate) annotations: Annotations,
    /// The bus of the manager, where systemd is it.
    pub(crate) systemd: Option<PathBuf>,
}

impl Engine {
    /// Learns about the host.
    ///
    /// # Errors
    /// No procfs at /proc. That systemd is there is seen when it is needed.
    pub fn probe(options: EngineOptions) -> Result<Self, Error> {
        let host = Host::probe()?;
        let systemd = match options.cgroup_manager {
            CgroupManager::Cgroupfs => None,
            CgroupManager::Systemd => Some(
                options
                    .bus
                    .unwrap_or_else(|| cgroup::default_bus(host.facts.rootless)),
            ),
        };
        Ok(Self {
            host,
            systemd,
            cgroup_need: options.cgroup_need,
            annotations: options.annotations,
            seccomp_cache: options.seccomp_cache,
        })
    }

    /// The cgroup hierarchy in use.
    #[must_use]
    pub fn hierarchy(&self) -> &cgroup::Hierarchy {
        &self.host.hierarchy
    }

    /// What `create` would make the child do, printable. Touches nothing.
    ///
    /// # Errors
    /// What the document asks for and cannot be.
    pub fn plan(&self, spec: &spec::Spec, bundle: &Path) -> Result<Plan, Error> {
        Ok(plan::create(
            &self.host.facts,
            spec,
            &plan::Options::new(bundle),
        )?)
    }

    /// Makes a container. What was made is undone whole on failure.
    ///
    /// # Errors
    /// A sentence of the step that failed, on what, and why.
    pub fn create(&self, request: CreateRequest<'_>) -> Result<Container, Error> {
        crate::create::create(self, request)
    }

    /// Makes the cgroup of a container whose processes somebody else makes, as criu does, with its limits.
    ///
    /// # Errors
    /// The kernel's or systemd's answer; nothing is left of it then.
    pub fn prepare(&self, id: &ContainerId, spec: &spec::Spec) -> Result<Prepared, Error> {
        crate::create::prepare(self, id, spec)
    }

    /// Runs a process in a running container: its namespaces, its cgroup, at once.
    ///
    /// # Errors
    /// The container is not running, or the failing step.
    pub fn exec(
        &self,
        container: &ContainerRef<'_>,
        request: ExecRequest<'_>,
    ) -> Result<Process, Error> {
        crate::exec::exec(self, container, request)
    }

    /// Makes the mounts of `container.spec` in a container that exists.
    ///
    /// # Errors
    /// The container is not there any more, or the failing step; what was mounted before that stays.
    pub fn mount(&self, container: &ContainerRef<'_>) -> Result<(), Error> {
        crate::live_mounts::add(self, container)
    }

    /// Takes the mounts of `container.spec` away from a container that exists, the last first.
    ///
    /// # Errors
    /// As [`Engine::mount`].
    pub fn unmount(&self, container: &ContainerRef<'_>) -> Result<(), Error> {
        crate::live_mounts::remove(self, container)
    }

    /// Ends what is left of a container: kills its processes, removes its cgroup, runs poststop
    /// hooks. What is gone already is fine.
    ///
    /// # Errors
    /// A process that does not die, a cgroup that stays busy.
    pub fn destroy(&self, container: &ContainerRef<'_>) -> Result<(), Error> {
        crate::destroy::destroy(container)
    }
}
