//! What callers hand to the engine, and what they get back.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use oci::runtime as spec;

use crate::{annotations::Annotations, cgroup::Cgroup, id::ContainerId};

/// The root filesystem of a container.
#[derive(Debug)]
pub enum Rootfs {
    /// A directory of ours; the container gets a private bind of it.
    Path(PathBuf),
    /// A detached mount (fsmount, open_tree): attached only inside the container's mount namespace,
    /// so that nothing is ever mounted on the host.
    Mount(OwnedFd),
}

/// Standard input, output and error of a process.
#[derive(Debug)]
pub enum Stdio {
    /// Ours.
    Inherit,
    /// These; a missing one is `/dev/null`.
    Fds {
        /// Descriptor 0.
        stdin: Option<OwnedFd>,
        /// Descriptor 1.
        stdout: Option<OwnedFd>,
        /// Descriptor 2.
        stderr: Option<OwnedFd>,
    },
    /// A new pseudo terminal of the container's devpts; its master comes back in
    /// [`Process::console`].
    Terminal,
}

/// What the first process waits for before it becomes the user's program.
#[derive(Debug, Clone)]
pub enum Gate {
    /// Nothing: it runs at once.
    None,
    /// [`Container::start`] in this very process. If we die first, it exits.
    Pipe,
    /// A fifo at this path, made by `create`; a byte written by [`crate::start_by_fifo`], from any
    /// process, opens the gate. A second fifo, `<path>.status`, carries a late failure back.
    /// If we die before [`Container::recorded`], it exits.
    Fifo(PathBuf),
}

/// Everything that `create` needs.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    /// The container's name; hooks see it.
    pub id: &'a ContainerId,
    /// The document, validated.
    pub spec: &'a spec::Spec,
    /// The bundle's directory, absolute; relative paths of the document start there.
    pub bundle: &'a Path,
    /// The root filesystem; `spec.root.path` is not looked at.
    pub rootfs: Rootfs,
    /// Standard streams. `spec.process.terminal` is the caller's to honour, by [`Stdio::Terminal`].
    pub stdio: Stdio,
    /// What the process waits for.
    pub gate: Gate,
    /// Descriptors 3 to 3+n-1 reach the process; they must be open and not CLOEXEC.
    pub preserve_fds: u32,
    /// Move the root over `/` and chroot instead of pivot_root.
    pub no_pivot: bool,
    /// Keep our session keyring instead of a new one.
    pub no_new_keyring: bool,
    /// Appended to the process' environment, `NAME=value` (LISTEN_FDS …).
    pub extra_env: Vec<String>,
    /// cgroup path instead of `linux.cgroupsPath`; neither: `/<id>`.
    pub cgroup_path: Option<String>,
    /// Clamp capabilities that we do not have instead of refusing them (privileged containers).
    pub clamp_capabilities: bool,
}

/// Everything that `exec` needs.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The process to run.
    pub process: &'a spec::Process,
    /// Standard streams.
    pub stdio: Stdio,
    /// As in [`CreateRequest`].
    pub preserve_fds: u32,
    /// As in [`CreateRequest`].
    pub no_new_keyring: bool,
    /// As in [`CreateRequest`].
    pub extra_env: Vec<String>,
    /// As in [`CreateRequest`].
    pub clamp_capabilities: bool,
    /// Also in a frozen container: then it returns when somebody thaws that.
    pub ignore_paused: bool,
}

/// A process of a container. The caller reaps it.
#[derive(Debug)]
pub struct Process {
    /// Its pid in our pid namespace.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// Master of its pseudo terminal.
    pub console: Option<OwnedFd>,
}

/// A created container.
#[derive(Debug)]
pub struct Container {
    /// Its name.
    pub id: ContainerId,
    /// Its first process.
    pub init: Process,
    /// Its cgroup.
    pub cgroup: Cgroup,
    /// Open while it waits at the gate: the channel, the plan that explains what comes, and what hooks to
    /// come print.
    pub(crate) gate: Option<(
        crate::launch::Channel,
        crate::plan::Plan,
        crate::launch::Words,
    )>,
    /// Open while it waits for [`Container::recorded`].
    pub(crate) unrecorded: Option<crate::launch::Channel>,
    pub(crate) hooks: Option<Box<spec::Hooks>>,
    pub(crate) annotations: Annotations,
    pub(crate) state: spec::State,
}

/// A container as others need to know it: made of a [`Container`] or of a record on disk.
#[derive(Debug, Clone, Copy)]
pub struct ContainerRef<'a> {
    /// Its name.
    pub id: &'a ContainerId,
    /// Its document.
    pub spec: &'a spec::Spec,
    /// The bundle's directory.
    pub bundle: &'a Path,
    /// Pid of the first process; 0 when it is gone.
    pub init_pid: i32,
    /// pidfd of the first process; `None` when it is gone.
    pub init_pidfd: Option<BorrowedFd<'a>>,
    /// Its cgroup.
    pub cgroup: &'a Cgroup,
    /// Whether its annotations count for hooks to come.
    pub annotations: Annotations,
}

impl Container {
    /// This container for `exec` and `destroy`.
    #[must_use]
    pub fn as_ref<'a>(&'a self, spec: &'a spec::Spec, bundle: &'a Path) -> ContainerRef<'a> {
        ContainerRef {
            id: &self.id,
            spec,
            bundle,
            init_pid: self.init.pid,
            init_pidfd: Some(self.init.pidfd.as_fd()),
            cgroup: &self.cgroup,
            annotations: self.annotations,
        }
    }
}
