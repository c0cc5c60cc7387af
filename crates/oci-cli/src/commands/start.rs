//! `start`: opens the gate of a created container.

use oci::runtime::Status;

use crate::args::Global;
use crate::error::Error;
use crate::status::Live;

pub(crate) fn command(global: &Global, id: &str) -> Result<i32, Error> {
    let live = Live::find(&global.root, id)?;
    match live.status {
        Status::Created => {}
        Status::Running => return Err(Error::StartRunning { id: id.to_owned() }),
        Status::Stopped => return Err(Error::StartStopped { id: id.to_owned() }),
        status => {
            return Err(Error::WrongState {
                act: "start",
                id: id.to_owned(),
                status,
            });
        }
    }
    container::start_by_fifo(&live.as_ref(), &live.dir.fifo())
        .map_err(Error::core("start", &live.dir.id))?;
    Ok(0)
}
