//! `start`: opens the gate of a created container.

use oci::runtime::Status;

use super::delete;
use crate::args::Global;
use crate::error::Error;
use crate::notify::Notify;
use crate::status::Live;

#[inline(never)]
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
    let notify = Notify::bind(&live.dir)?;
    match container::start_by_fifo(&live.as_ref(), &live.dir.fifo()) {
        Ok(()) => {
            if let (Some(notify), Some(init)) = (notify, live.init()) {
                notify.wait(live.pid().unsigned_abs(), init);
            }
            Ok(0)
        }
        Err(error) => {
            // A poststart hook that fails ends the container and all that was made of it (1.2).
            if matches!(error, container::Error::Hook(_)) {
                let _ = live
                    .dir
                    .lock()
                    .and_then(|_lock| delete::remove(&live, true));
            }
            Err(Error::core("start", &live.dir.id)(error))
        }
    }
}
