//! `pause` and `resume`: the freezer of the container's cgroup.

use oci::runtime::Status;

use crate::args::Global;
use crate::error::Error;
use crate::status::Live;

#[inline(never)]
pub(crate) fn pause(global: &Global, id: &str) -> Result<i32, Error> {
    let live = Live::find(&global.root, id)?;
    match live.status {
        Status::Running | Status::Created => live.cgroup.freeze()?,
        status => {
            return Err(Error::WrongState {
                act: "pause",
                id: id.to_owned(),
                status,
            });
        }
    }
    Ok(0)
}

#[inline(never)]
pub(crate) fn resume(global: &Global, id: &str) -> Result<i32, Error> {
    let live = Live::find(&global.root, id)?;
    match live.status {
        Status::Paused => live.cgroup.thaw()?,
        status => {
            return Err(Error::WrongState {
                act: "resume",
                id: id.to_owned(),
                status,
            });
        }
    }
    Ok(0)
}
