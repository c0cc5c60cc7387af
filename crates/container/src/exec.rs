//! exec: one more process in a running container.
//!
//! Its namespaces are entered by the pidfd of the first process (setns, Linux 5.8), so a pid that was
//! used again is never entered.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci::runtime::{self as spec, NamespaceType};
use rustix::fs::{Mode, OFlags};

use crate::{
    Error as CoreError, ErrorKind,
    create::{check_preserved, home_of, state},
    engine::Engine,
    launch::{self, Answers, Opened},
    plan::{self, Join, Options},
    request::{ContainerRef, ExecRequest, Process},
    resctrl, seccomp, stdio,
};

/// Entering a container that failed before anything ran.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its first process is gone.
    #[error("cannot exec in a stopped container: container not running")]
    NotRunning,
    /// A process that waits for its start, of another user namespace than ours.
    #[error(
        "its process waits for its start, and without CAP_SYS_PTRACE one may enter a program's namespaces only: \
         start the container first"
    )]
    Hidden,
    /// It is frozen: whatever entered it would stop before it could answer.
    #[error("cannot exec in a paused container: resume it first")]
    Paused,
}

impl Error {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::NotRunning | Self::Hidden | Self::Paused => ErrorKind::State,
        }
    }
}

struct Parent<'a>(&'a ContainerRef<'a>);

impl Answers for Parent<'_> {
    fn state(&mut self, _: spec::Status, _: i32) -> Result<Vec<u8>, CoreError> {
        Err(launch::Error::Protocol.into())
    }

    fn place(&mut self, pid: i32) -> Result<(), CoreError> {
        let linux = self.0.spec.linux.as_ref();
        match linux.and_then(|l| l.intel_rdt.as_ref()) {
            Some(rdt) => {
                let root = resctrl::mounted()?;
                Ok(resctrl::Group::join(&root, rdt, self.0.id.as_str(), pid)?)
            }
            None => Ok(()),
        }
    }

    fn hooks(&mut self, _: i32) -> Result<(), CoreError> {
        Err(launch::Error::Protocol.into())
    }

    fn listener(&mut self, pid: i32, listener: OwnedFd) -> Result<(), CoreError> {
        let ContainerRef {
            id, spec, bundle, ..
        } = *self.0;
        let state = state(
            id.as_str(),
            spec,
            bundle,
            spec::Status::Running,
            self.0.init_pid,
        );
        Ok(seccomp::hand_on(spec, &state, pid, &listener)?)
    }
}

pub(crate) fn exec(
    engine: &Engine,
    container: &ContainerRef<'_>,
    request: ExecRequest<'_>,
) -> Result<Process, CoreError> {
    check_preserved(request.preserve_fds)?;
    let pidfd = container.init_pidfd.ok_or(Error::NotRunning)?;
    let own_pids = own_pids();
    let join = join(container, own_pids.is_some())?;
    let home = home_of(
        request.process,
        &request.extra_env,
        root(container.init_pid),
    );
    // Everything by number so far was its: it still lives.
    running(pidfd)?;
    if !request.ignore_paused && container.cgroup.frozen()? {
        return Err(Error::Paused.into());
    }
    let owner = stdio::owner(container.spec, &request.process.user);
    let (stdio, streams) = stdio::streams(request.stdio, owner);
    let into = container.cgroup.dir_fd()?;
    let joins = container.cgroup.join_fds()?;
    let options = Options {
        id: container.id.to_string(),
        stdio,
        gate: plan::Gate::Open,
        preserve_fds: request.preserve_fds,
        no_new_keyring: request.no_new_keyring,
        extra_env: request.extra_env,
        clamp_capabilities: request.clamp_capabilities,
        joins: joins.len(),
        unified: into.is_some(),
        home,
        said: engine.annotations.said(&container.spec.annotations),
        ..Options::new(container.bundle)
    };
    let plan = plan::exec(
        &engine.host.facts,
        container.spec,
        request.process,
        join,
        &options,
    )?;
    for note in plan.notes() {
        tracing::warn!(container = %container.id, "{note}");
    }
    let filter = match &plan.seccomp {
        Some(profile) => Some(seccomp::compile(profile, engine.seccomp_cache.as_deref())?),
        None => None,
    };
    let mut opened = Opened {
        proc: Some(engine.host.proc.as_fd()),
        cgroup: Some(container.cgroup),
        joins,
        rootfs: None,
        streams,
        fifo: None,
        init_pidfd: Some(pidfd),
        own_pids: own_pids.as_ref().map(AsFd::as_fd),
        foreign_proc: engine.host.foreign_proc,
        setgroups: engine.host.facts.setgroups,
    };
    let launched = launch::launch(
        &plan,
        &mut opened,
        into.as_ref().map(AsFd::as_fd),
        filter.as_ref(),
        request.preserve_fds,
        &mut Parent(container),
    )
    .map_err(|error| ended_meanwhile(error, pidfd))?;
    let (pid, pidfd) = launched.child.into_parts();
    Ok(Process {
        pid,
        pidfd,
        console: launched.console,
    })
}

/// Nobody is born in a pid namespace whose first process has ended: the clone fails.
fn ended_meanwhile(error: CoreError, first: BorrowedFd<'_>) -> CoreError {
    match error {
        CoreError::Launch(launch::Error::Io { act: "clone", .. }) if running(first).is_err() => {
            Error::NotRunning.into()
        }
        other => other,
    }
}

fn running(pidfd: BorrowedFd<'_>) -> Result<(), CoreError> {
    match sys::pidfd::alive(pidfd) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::NotRunning.into()),
        Err(e) => Err(launch::Error::io("look at", "the container's process", e).into()),
    }
}

/// The namespaces of the document; the user namespace only if it is not our own, which setns refuses.
fn join(container: &ContainerRef<'_>, pids_by_clone: bool) -> Result<Join, CoreError> {
    let list = container
        .spec
        .linux
        .as_ref()
        .map(|l| l.namespaces.as_slice())
        .unwrap_or_default();
    let mut flags = 0;
    for namespace in list {
        if namespace.type_ == NamespaceType::User {
            let theirs = inode(&format!("/proc/{}/ns/user", container.init_pid));
            let Some(theirs) = theirs else {
                // It has ended if we can't look, or is not yet what an ordinary user may look at.
                container.init_pidfd.map_or(Ok(()), running)?;
                return Err(Error::Hidden.into());
            };
            if Some(theirs) == inode("/proc/self/ns/user") {
                continue;
            }
        }
        flags |= plan::namespace_flag(namespace.type_);
    }
    Ok(Join {
        flags,
        pids_by_clone,
    })
}

/// Our pid namespace for children, if we may come back to it once we have left it: it may belong to a
/// user namespace in which we are nobody.
fn own_pids() -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::open("/proc/thread-self/ns/pid", flags, Mode::empty()).ok()?;
    let only = Some(rustix::thread::LinkNameSpaceType::ProcessID);
    rustix::thread::move_into_link_name_space(own.as_fd(), only).ok()?;
    Some(own)
}

fn inode(path: &str) -> Option<u64> {
    rustix::fs::stat(path).ok().map(|stat| stat.st_ino)
}

fn root(pid: i32) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty()).ok()
}
