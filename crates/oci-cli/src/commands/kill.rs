//! `kill`: sends a signal to the container's process, or to all of its processes.

use oci::runtime::{NamespaceType, Status};

use crate::args::{Global, Kill};
use crate::error::Error;
use crate::signal;
use crate::status::Live;

/// ESRCH, which rustix names as well: the process was reaped between our look and the signal.
const ESRCH: i32 = 3;

pub(crate) fn command(global: &Global, args: &Kill) -> Result<i32, Error> {
    let number = args
        .signal
        .as_deref()
        .map_or(Ok(signal::TERM), signal::parse)?;
    let live = Live::find(&global.root, &args.id)?;
    // Without a pid namespace of its own nothing else ends with the process.
    let all = args.all || number == signal::KILL && !has_own_pids(&live);
    if all {
        if live.status == Status::Stopped && live.cgroup.pids()?.is_empty() && !args.all {
            return Err(Error::NotRunning {
                act: "signal",
                id: args.id.clone(),
            });
        }
        live.cgroup.signal_all(number)?;
        return Ok(0);
    }
    let Some(init) = live.init() else {
        return Err(Error::NotRunning {
            act: "signal",
            id: args.id.clone(),
        });
    };
    sys::pidfd::send_signal(init, number).map_err(|source| match source.raw_os_error() {
        Some(ESRCH) => Error::Finished {
            id: args.id.clone(),
        },
        _ => Error::Io {
            act: "send the signal",
            source,
        },
    })?;
    if number == signal::KILL && live.status == Status::Paused {
        // cgroup v1: a frozen process only dies once it is thawed.
        live.cgroup.thaw()?;
    }
    Ok(0)
}

fn has_own_pids(live: &Live) -> bool {
    let linux = live.record.config.linux.as_ref();
    linux
        .and_then(|linux| linux.namespace(NamespaceType::Pid))
        .is_some_and(|pid| pid.join_path().is_none())
}
