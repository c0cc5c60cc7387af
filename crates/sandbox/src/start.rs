//! Starting, finding and ending the agent of a pod.

use std::{path::Path, time::Duration};

use crate::{Error, LostPod, PodSpec, Sandbox, Settings};

/// Starts the agent of a pod: socket, process, handshake, record, CreateSandbox.
///
/// # Errors
/// The step that failed. Nothing is left behind then: no socket, process, cgroup or record.
pub async fn start(settings: &Settings, spec: &PodSpec) -> Result<Sandbox, Error> {
    let _ = (settings, spec);
    Err(Error::Cgroups {
        what: "in the making".to_owned(),
    })
}

/// Finds the agent that an earlier run of the daemon has started for the pod in `dir`.
///
/// # Errors
/// [`Error::is_agent_gone`] when there is none any more: then [`kill_pod`] cleans up.
pub async fn connect(settings: &Settings, dir: &Path) -> Result<Sandbox, Error> {
    let _ = (settings, dir);
    Err(Error::Cgroups {
        what: "in the making".to_owned(),
    })
}

/// Ends a pod in good order: every container is removed, the agent ends, its socket, record and
/// cgroups go. When the agent does not manage it within `limit` it is ended by force, as by
/// [`kill_pod`].
///
/// # Errors
/// What could not be removed.
pub async fn destroy(
    settings: &Settings,
    sandbox: &Sandbox,
    pod: &LostPod,
    limit: Duration,
) -> Result<(), Error> {
    let _ = settings;
    let _ = pod;
    sandbox.destroy_sandbox(limit).await
}

/// Ends by force what a lost agent left behind: the agent's process if it still lives, every
/// process in the pod's cgroups, the cgroups, the socket and the record. Can be repeated; a pod of
/// which nothing is left is success. Blocks for as long as processes take to die, a few seconds at
/// most: call it from a thread that may block.
///
/// # Errors
/// What could not be killed or removed; all the rest has been tried.
pub fn kill_pod(settings: &Settings, pod: &LostPod) -> Result<(), Error> {
    let _ = (settings, pod);
    Err(Error::Cgroups {
        what: "in the making".to_owned(),
    })
}
