//! The freezer of both versions, with one meaning: the whole subtree stands still, or runs.
//!
//! v1: `freezer.state` goes THAWED -> FREEZING -> FROZEN, and FREEZING may never become FROZEN while
//! tasks fork (they are born thawed) or sit in the kernel; the state is then written again, and from
//! time to time the tree is thawed for a moment. v2: `cgroup.freeze`, done when `cgroup.events` says
//! so. Neither waits by itself.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::error::Error;
use super::file;
use super::group::{Cgroup, Dir, Version};

/// A task in uninterruptible sleep holds the freezer up; two seconds are beyond any honest wait.
const FREEZE_FOR: Duration = Duration::from_secs(2);
/// Every so many looks a v1 tree that is stuck in FREEZING is thawed once.
const SHAKE_EVERY: u32 = 50;

impl Cgroup {
    /// Stops every task of the subtree; returns when all stand still. On failure it is thawed
    /// again.
    pub fn freeze(&self) -> Result<(), Error> {
        let (dir, file) = self.freezer()?;
        let path = dir.path.join(file);
        let began = Instant::now();
        set(dir, &path, true)?;
        let mut looks = 0;
        while !is_frozen(dir)? {
            looks += 1;
            if began.elapsed() > FREEZE_FOR {
                let state = file::read(&path).unwrap_or_default().trim().to_owned();
                set(dir, &path, false)?;
                let waited_ms = began.elapsed().as_millis();
                return Err(Error::Freezer {
                    path: dir.path.clone(),
                    state,
                    waited_ms,
                });
            }
            sleep(Duration::from_micros(if looks < 20 { 20 } else { 1000 }));
            if dir.version == Version::V1 {
                if looks % SHAKE_EVERY == 0 {
                    set(dir, &path, false)?;
                    sleep(Duration::from_millis(1));
                }
                set(dir, &path, true)?;
            }
        }
        Ok(())
    }

    /// Lets the subtree run again. A removed cgroup has nobody to thaw.
    pub fn thaw(&self) -> Result<(), Error> {
        let (dir, file) = self.freezer()?;
        match set(dir, &dir.path.join(file), false) {
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NOENT.raw_os_error()) => Ok(()),
            other => other,
        }
    }

    /// True if the subtree is frozen or on its way there, by itself or by a cgroup above.
    pub fn frozen(&self) -> Result<bool, Error> {
        let Ok((dir, file)) = self.freezer() else {
            return Ok(false);
        };
        let Some(state) = file::read_optional(&dir.path.join(file))? else {
            return Ok(false);
        };
        Ok(match dir.version {
            Version::V1 => state.trim() != "THAWED",
            Version::V2 => state.trim() == "1" || is_frozen(dir)?,
        })
    }

    /// Refuses a cgroup that is frozen, by itself or by one above: what is started in it would stand
    /// still before it could say that it has.
    pub(crate) fn refuse_frozen(&self) -> Result<(), Error> {
        // Below a hierarchy's root, which never is, one that was made a moment ago runs.
        let runs = |(dir, _): (&Dir, _)| dir.is_own_top();
        if self.freezer().is_ok_and(runs) || !self.frozen()? {
            return Ok(());
        }
        let (dir, _) = self.freezer()?;
        Err(Error::Frozen {
            path: dir.path.clone(),
        })
    }

    /// Refuses a cgroup of somebody else's processes: limits and signals for the container would be
    /// theirs as well.
    pub(crate) fn refuse_used(&self) -> Result<(), Error> {
        if !self.was_joined() || self.unit().is_some() {
            return Ok(());
        }
        match self.pids()?.len() {
            0 => Ok(()),
            count => Err(Error::Used {
                path: self.path().to_owned(),
                count,
            }),
        }
    }

    /// The v1 freezer, or the one of cgroup2 where v1 has none.
    fn freezer(&self) -> Result<(&Dir, &'static str), Error> {
        let dir = self.dir_of("freezer").or_else(|| self.unified());
        let dir = dir.ok_or_else(|| Error::Unsupported {
            setting: "freeze".to_owned(),
            reason: "the freezer controller is not mounted".to_owned(),
        })?;
        Ok((
            dir,
            if dir.version == Version::V1 {
                "freezer.state"
            } else {
                "cgroup.freeze"
            },
        ))
    }
}

fn set(dir: &Dir, path: &Path, frozen: bool) -> Result<(), Error> {
    let value = match (dir.version, frozen) {
        (Version::V1, true) => "FROZEN",
        (Version::V1, false) => "THAWED",
        (Version::V2, true) => "1",
        (Version::V2, false) => "0",
    };
    file::write(path, value)
        .map_err(|e| Error::file(if frozen { "freeze by" } else { "thaw by" }, path, e))
}

fn is_frozen(dir: &Dir) -> Result<bool, Error> {
    match dir.version {
        Version::V1 => Ok(file::read(&dir.path.join("freezer.state"))?.trim() == "FROZEN"),
        Version::V2 => {
            let events = file::read(&dir.path.join("cgroup.events"))?;
            Ok(file::value_of(&events, "frozen") == Some(1))
        }
    }
}
