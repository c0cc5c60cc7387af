//! `events`: figures at intervals, and word of kills for want of memory, until the container ends.
//!
//! ```text
//!  {"type":"stats","id":"c1","data":{…}}     every interval
//!  {"type":"oom","id":"c1"}                  one for each process that was killed
//! ```
//! One poll waits for the three things that can happen: a notification, the end, the interval.

mod figures;

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use container::cgroup::OomWatch;
use oci::runtime::Status;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::Serialize;

use self::figures::Figures;
use super::print;
use crate::args::{Events, Global};
use crate::error::Error;
use crate::status::Live;

#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Figures>,
}

#[inline(never)]
pub(crate) fn command(global: &Global, args: &Events) -> Result<i32, Error> {
    let live = Live::find(&global.root, &args.id)?;
    let init = live.init().filter(|_| live.status != Status::Stopped);
    let init = init.ok_or_else(|| Error::NotRunning {
        act: "watch",
        id: args.id.clone(),
    })?;
    if args.stats {
        tell_figures(&live)?;
        return Ok(0);
    }
    // Figures are told without the memory controller too.
    let mut watch = match live.cgroup.oom_watch() {
        Ok(watch) => Some(watch),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "no word of kills");
            None
        }
    };
    let mut next = Instant::now() + args.interval;
    loop {
        let ended = wait(
            watch.as_ref(),
            init,
            next.saturating_duration_since(Instant::now()),
        )?;
        if let Some(watch) = &mut watch {
            for _ in 0..watch.drain()? {
                tell(&live, "oom", None)?;
            }
        }
        if ended {
            return Ok(0);
        }
        if Instant::now() >= next {
            tell_figures(&live)?;
            next += args.interval;
        }
    }
}

/// Waits for news; true once the container's process has ended.
fn wait(watch: Option<&OomWatch>, init: BorrowedFd<'_>, most: Duration) -> Result<bool, Error> {
    let mut fds = vec![PollFd::from_borrowed_fd(init, PollFlags::IN)];
    fds.extend(watch.map(|watch| PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)));
    let most = watch
        .and_then(OomWatch::recheck_after)
        .map_or(most, |recheck| most.min(recheck));
    let timeout = Timespec {
        tv_sec: i64::try_from(most.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: most.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(!fds[0].revents().is_empty()),
        Err(errno) => Err(Error::io("wait for events")(errno.into())),
    }
}

fn tell_figures(live: &Live) -> Result<(), Error> {
    let stats = live.cgroup.stats()?;
    let cpuset = live.cgroup.cpuset_stats()?;
    tell(live, "stats", Some(Figures::new(stats, cpuset)))
}

fn tell(live: &Live, kind: &str, data: Option<Figures>) -> Result<(), Error> {
    let event = Event {
        kind,
        id: &live.record.id,
        data,
    };
    print(&(serde_json::to_string(&event)? + "\n"))
}
