//! Out-of-memory kills: told by the kernel at once, counted exactly.
//!
//! A notification only says "look": v1 sends one when the cgroup *goes into* OOM, before the victim
//! is counted, and merges several into one; v2 signals any change of `memory.events`. So the count
//! is always read again (`oom_kill` of memory.oom_control or memory.events), and after a v1
//! notification without a new kill the caller looks once more a little later.
//!
//! ```text
//! loop { poll(watch, timeout = watch.recheck_after()); kills += watch.drain()?; }
//! ```
//! The machine's own OOM killer (not the cgroup's limit) counts too, but v1 does not notify then:
//! when a process died by SIGKILL, ask [`OomWatch::drain`] again. v1 counts the cgroup itself, v2
//! what is below too.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;
use rustix::io::Errno;

use super::error::Error;
use super::file;
use super::group::{Cgroup, Version};

/// The victim is counted within microseconds of the notification; a loaded machine gets more.
const RECHECK: Duration = Duration::from_millis(10);
/// So often a notification without a kill is looked at again (the victim may be slow to choose, or
/// the OOM killer off).
const RECHECKS: u32 = 20;

/// Watches one cgroup. Readable (poll it) when there may be news.
#[derive(Debug)]
pub struct OomWatch {
    notify: OwnedFd,
    version: Version,
    counter: PathBuf,
    seen: u64,
    rechecks: u32,
}

impl Cgroup {
    /// Starts to watch. Kills before this moment are not reported.
    pub fn oom_watch(&self) -> Result<OomWatch, Error> {
        let dir = self.dir_of("memory").ok_or_else(no_memory_controller)?;
        let (counter, notify) = match dir.version {
            Version::V1 => {
                let counter = dir.path.join("memory.oom_control");
                let notify = watch_v1(&counter, &dir.path.join("cgroup.event_control"))?;
                (counter, notify)
            }
            Version::V2 => {
                let counter = dir.path.join("memory.events");
                let notify = watch_v2(&counter)?;
                (counter, notify)
            }
        };
        let mut watch = OomWatch {
            notify,
            version: dir.version,
            counter,
            seen: 0,
            rechecks: 0,
        };
        watch.seen = watch.count()?.unwrap_or(0);
        Ok(watch)
    }

    /// How many processes of the cgroup the OOM killer has taken so far.
    pub fn oom_kills(&self) -> Result<u64, Error> {
        let dir = self.dir_of("memory").ok_or_else(no_memory_controller)?;
        let name = match dir.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        };
        let path = dir.path.join(name);
        Ok(file::value_of(&file::read(&path)?, "oom_kill").unwrap_or(0))
    }
}

impl OomWatch {
    /// Takes the notifications that are there and returns how many processes were killed since the
    /// last call. 0 if none, or if the cgroup is gone. Does not block.
    pub fn drain(&mut self) -> Result<u64, Error> {
        let notified = self.take_notifications()?;
        let Some(now) = self.count()? else {
            self.rechecks = 0;
            return Ok(0);
        };
        let new = now.saturating_sub(self.seen);
        self.seen = now;
        self.rechecks = match (new, notified, self.version) {
            (0, true, Version::V1) => RECHECKS,
            (0, false, _) => self.rechecks.saturating_sub(1),
            // One notification may stand for several victims.
            (_, _, Version::V1) => 2,
            _ => 0,
        };
        Ok(new)
    }

    /// When to call [`OomWatch::drain`] again even without a notification, if at all.
    pub fn recheck_after(&self) -> Option<Duration> {
        (self.rechecks > 0).then_some(RECHECK)
    }

    fn take_notifications(&self) -> Result<bool, Error> {
        let mut any = false;
        let mut buffer = [0_u8; 4096];
        loop {
            match rustix::io::read(&self.notify, &mut buffer) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(any),
                // An eventfd is empty after one read; the next would only answer EAGAIN.
                Ok(_) if self.version == Version::V1 => return Ok(true),
                Ok(_) => any = true,
                Err(Errno::INTR) => {}
                Err(e) => return Err(Error::file("read OOM notifications of", &self.counter, e)),
            }
        }
    }

    fn count(&self) -> Result<Option<u64>, Error> {
        match file::read(&self.counter) {
            Ok(text) => Ok(Some(file::value_of(&text, "oom_kill").unwrap_or(0))),
            Err(e)
                if [Errno::NOENT, Errno::NODEV]
                    .iter()
                    .any(|n| e.raw_os_error() == Some(n.raw_os_error())) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.notify.as_fd()
    }
}

fn watch_v1(counter: &std::path::Path, event_control: &std::path::Path) -> Result<OwnedFd, Error> {
    let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
    let notify = eventfd(0, flags).map_err(|e| Error::file("make an eventfd for", counter, e))?;
    let control = OpenOptions::new()
        .read(true)
        .open(counter)
        .map_err(|e| Error::file("open", counter, e))?;
    let line = format!("{} {}", notify.as_raw_fd(), control.as_raw_fd());
    file::write(event_control, &line)
        .map_err(|e| Error::file("ask for OOM notifications by", event_control, e))?;
    // The kernel has looked at it: it unregisters when the eventfd is closed.
    drop(control);
    Ok(notify)
}

fn watch_v2(counter: &std::path::Path) -> Result<OwnedFd, Error> {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let notify =
        inotify::init(flags).map_err(|e| Error::file("make an inotify for", counter, e))?;
    let mask = inotify::WatchFlags::MODIFY | inotify::WatchFlags::DELETE_SELF;
    inotify::add_watch(&notify, counter, mask).map_err(|e| Error::file("watch", counter, e))?;
    Ok(notify)
}

fn no_memory_controller() -> Error {
    Error::Unsupported {
        setting: "OOM events".to_owned(),
        reason: "the memory controller is not mounted".to_owned(),
    }
}
