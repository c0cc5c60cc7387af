//! What the agent makes of its own process before it serves: its own session, the parent of orphans,
//! closed to inspection, in its own cgroup.

use std::io;

use container::cgroup::{Cgroup, Hierarchy};
use rustix::process::{self, DumpableBehavior, Resource, Rlimit};

/// Why the agent could not settle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot {0}")]
    Process(&'static str, #[source] io::Error),
    #[error("cannot move the agent into cgroup {path}")]
    Cgroup {
        path: String,
        source: container::cgroup::Error,
    },
}

/// The agent's cgroup, and where it was before.
#[derive(Debug)]
pub(crate) struct Home {
    cgroup: Cgroup,
    before: Cgroup,
}

/// Settles the process; returns the agent's cgroup if it was given one. In `dev_mode` what crashes
/// leaves a core.
///
/// # Errors
/// The cgroup cannot be made or entered, or the kernel refuses (seccomp profiles do).
pub(crate) fn settle(cgroup: Option<&str>, dev_mode: bool) -> Result<Option<Home>, Error> {
    if dev_mode {
        // Containers without a limit of their own inherit it.
        let unlimited = Rlimit {
            current: None,
            maximum: None,
        };
        process::setrlimit(Resource::Core, unlimited)
            .map_err(|e| Error::Process("lift the limit of core files", e.into()))?;
    }
    // EPERM: a process group leader (started from a shell) already heads a session or can't; either
    // way it is not torn down with a terminal of the daemon's.
    match process::setsid() {
        Ok(_) | Err(rustix::io::Errno::PERM) => {}
        Err(e) => return Err(Error::Process("start a session", e.into())),
    }
    // Started through a descriptor, the kernel would call it by that number.
    rustix::thread::set_name(c"coffer-agent")
        .map_err(|e| Error::Process("set the process's name", e.into()))?;
    process::set_child_subreaper(Some(process::getpid()))
        .map_err(|e| Error::Process("become the reaper of orphans", e.into()))?;
    process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|e| Error::Process("become non-dumpable", e.into()))?;
    std::env::set_current_dir("/").map_err(|e| Error::Process("change to /", e))?;
    let Some(path) = cgroup else { return Ok(None) };
    let failed = |source| Error::Cgroup {
        path: path.to_owned(),
        source,
    };
    let hierarchy = Hierarchy::probe().map_err(failed)?;
    let pid = process::getpid().as_raw_nonzero().get();
    let before = Cgroup::of_process(&hierarchy, pid).map_err(failed)?;
    let cgroup = Cgroup::create(&hierarchy, path).map_err(failed)?;
    cgroup.add(pid).map_err(failed)?;
    Ok(Some(Home { cgroup, before }))
}

/// Goes back to where the agent came from and removes its cgroup, as the last thing before the end.
pub(crate) fn leave(home: Option<Home>) {
    let Some(Home { cgroup, before }) = home.filter(|h| !h.cgroup.was_joined()) else {
        return;
    };
    let pid = process::getpid().as_raw_nonzero().get();
    if let Err(e) = before.add(pid).and_then(|()| cgroup.remove()) {
        log::debug!(
            "the agent's cgroup {} stays: {}",
            cgroup.path(),
            crate::logging::chain(&e)
        );
    }
}
