//! destroy: what is left of a container goes.

use crate::{
    Error,
    cgroup::{self, Cgroup},
    create::state,
    hooks,
    request::ContainerRef,
};

const SIGKILL: i32 = 9;

fn end_all(cgroup: &Cgroup) -> Result<(), cgroup::Error> {
    // A cgroup that was there before may hold others' processes.
    if !cgroup.was_joined() {
        cgroup.signal_all(SIGKILL)?;
    }
    cgroup.remove()
}

/// Kills what is left of the container, removes its cgroup, runs poststop hooks. What is gone
/// already is fine. The first process is the caller's to reap.
///
/// # Errors
/// A process that does not die, a cgroup that stays busy. Poststop hooks have run then too; their own
/// failures are logged only.
pub fn destroy(container: &ContainerRef<'_>) -> Result<(), Error> {
    if let Some(pidfd) = container.init_pidfd {
        let _ = sys::pidfd::send_signal(pidfd, SIGKILL);
    }
    let cgroup = container.cgroup;
    // Mostly nobody is left: then there is nobody to look for, in any of a dozen directories.
    let removed = if cgroup.remove_if_idle() {
        Ok(())
    } else {
        end_all(cgroup)
    };
    if let Err(e) = crate::resctrl::remove(container.spec, container.id.as_str()) {
        tracing::warn!(container = %container.id, error = &e as &dyn std::error::Error, "resctrl");
    }
    crate::trace::mark("cgroup removed");
    let id = container.id.as_str();
    let hooks = container.spec.hooks.as_ref();
    hooks::poststop(id, hooks, container.annotations, || {
        let stopped = oci::runtime::Status::Stopped;
        state(id, container.spec, container.bundle, stopped, 0)
    });
    Ok(removed?)
}
