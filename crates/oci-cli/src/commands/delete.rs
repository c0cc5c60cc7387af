//! `delete`: removes a container and what it holds.
//!
//! ```text
//!  no directory                 error, fine with --force
//!  directory without a record   what an aborted create left (its process has ended with it):
//!                               removed with its cgroup, then as above
//!  stopped, created             removed (the waiting process of a created one is killed)
//!  running, paused              error, killed and removed with --force
//! ```

use container::cgroup::{Cgroup, Hierarchy};
use oci::runtime::Status;

use super::to_each_match;
use crate::args::{Delete, Global};
use crate::error::Error;
use crate::log::Log;
use crate::record::StateDir;
use crate::status::Live;

#[inline(never)]
pub(crate) fn command(global: &Global, args: &Delete, log: &Log) -> Result<i32, Error> {
    if args.regex {
        return to_each_match(global, &args.id, log, |id| delete(global, id, args.force));
    }
    delete(global, &args.id, args.force)?;
    Ok(0)
}

fn delete(global: &Global, id: &str, force: bool) -> Result<(), Error> {
    let dir = StateDir::new(&global.root, id)?;
    if !dir.exists() {
        return if force { Ok(()) } else { Err(dir.not_there()) };
    }
    let _lock = match dir.lock() {
        // Another delete was faster.
        Err(Error::NoContainer { .. }) if force => return Ok(()),
        other => other?,
    };
    match Live::find(&global.root, id) {
        Ok(live) => remove(&live, force)?,
        Err(error @ Error::NoContainer { .. }) => {
            remove_cgroup(&dir)?;
            dir.remove()?;
            if !force {
                return Err(error);
            }
        }
        Err(Error::Record { .. }) if force => dir.remove()?,
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Removes the cgroup of an aborted create, if nobody is in it: it may have been there before.
fn remove_cgroup(dir: &StateDir) -> Result<(), Error> {
    let Some(path) = dir.intended() else {
        return Ok(());
    };
    match Cgroup::open(&Hierarchy::probe()?, &path) {
        Ok(cgroup) if cgroup.pids()?.is_empty() => Ok(cgroup.remove()?),
        _ => Ok(()),
    }
}

/// Removes a container whose state directory is locked.
pub(super) fn remove(live: &Live, force: bool) -> Result<(), Error> {
    let gentle = matches!(live.status, Status::Stopped | Status::Created);
    if !gentle && !force {
        return Err(Error::NotStopped {
            id: live.dir.id.to_string(),
            status: live.status,
        });
    }
    let destroyed = container::destroy(&live.as_ref()).map_err(Error::core("remove", &live.dir.id));
    // A record is kept while processes may be left, so that delete can be tried again.
    match destroyed {
        Err(error) if live.cgroup.pids().is_ok_and(|pids| !pids.is_empty()) => Err(error),
        other => live.dir.remove().and(other),
    }
}
