//! `kill`: sends a signal to the container's process, or to all of its processes.

use oci::runtime::{NamespaceType, Status};

use super::to_each_match;
use crate::args::{Global, Kill};
use crate::error::Error;
use crate::log::Log;
use crate::signal;
use crate::status::Live;

/// ESRCH, which rustix names as well: the process was reaped between our look and the signal.
const ESRCH: i32 = 3;

#[inline(never)]
pub(crate) fn command(global: &Global, args: &Kill, log: &Log) -> Result<i32, Error> {
    let number = args
        .signal
        .as_deref()
        .map_or(Ok(signal::TERM), signal::parse)?;
    if args.regex {
        return to_each_match(global, &args.id, log, |id| {
            kill(global, id, number, args.all)
        });
    }
    kill(global, &args.id, number, args.all)?;
    Ok(0)
}

fn kill(global: &Global, id: &str, number: i32, wants_all: bool) -> Result<(), Error> {
    let live = Live::find(&global.root, id)?;
    // Without a pid namespace of its own nothing else ends with the process.
    let all = wants_all || number == signal::KILL && !has_own_pids(&live);
    if all {
        if live.status == Status::Stopped && live.cgroup.pids()?.is_empty() && !wants_all {
            return Err(Error::NotRunning {
                act: "signal",
                id: id.to_owned(),
            });
        }
        live.cgroup.signal_all(number)?;
        return Ok(());
    }
    let Some(init) = live.init() else {
        return Err(Error::NotRunning {
            act: "signal",
            id: id.to_owned(),
        });
    };
    sys::pidfd::send_signal(init, number).map_err(|source| match source.raw_os_error() {
        Some(ESRCH) => Error::Finished { id: id.to_owned() },
        _ => Error::Io {
            act: "send the signal",
            source,
        },
    })?;
    if number == signal::KILL && live.status == Status::Paused {
        // cgroup v1: a frozen process only dies once it is thawed.
        live.cgroup.thaw()?;
    }
    Ok(())
}

fn has_own_pids(live: &Live) -> bool {
    let linux = live.record.config.linux.as_ref();
    linux
        .and_then(|linux| linux.namespace(NamespaceType::Pid))
        .is_some_and(|pid| pid.join_path().is_none())
}
