//! GetVolumeStats and ResizeVolume.

use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, fstatfs, fstatvfs, open, statx};

use crate::agent::Agent;
use crate::error::Error;

const EXT4: u64 = 0xef53;
const XFS: u64 = 0x5846_5342;
const BTRFS: u64 = 0x9123_683e;
/// Between two looks at a device whose new size is awaited.
const LOOK: Duration = Duration::from_millis(20);

/// What there is of something: bytes, or inodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) total: u64,
    /// For users who may not take the reserve.
    pub(crate) available: u64,
    pub(crate) used: u64,
}

/// Bytes and inodes of the filesystem at `path`. A filesystem that hangs delays its own callers, and
/// so many at most that others are not kept.
///
/// # Errors
/// It does not exist; too many calls hang already.
pub(crate) async fn stats(agent: &Arc<Agent>, path: String) -> Result<[Usage; 2], Error> {
    let path = absolute(path)?;
    agent
        .slow(move || {
            let failed =
                |act, e: rustix::io::Errno| Error::io(act, format!("volume {}", path.display()), e);
            let fd = open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
                .map_err(|e| failed("open", e))?;
            let s = fstatvfs(&fd).map_err(|e| failed("look at", e))?;
            Ok([
                Usage {
                    total: s.f_blocks * s.f_frsize,
                    available: s.f_bavail * s.f_frsize,
                    used: s.f_blocks.saturating_sub(s.f_bfree) * s.f_frsize,
                },
                Usage {
                    total: s.f_files,
                    available: s.f_favail,
                    used: s.f_files.saturating_sub(s.f_ffree),
                },
            ])
        })
        .await
}

/// Grows the mounted filesystem at `path` to `size` bytes; 0: to the size of its device.
///
/// # Errors
/// A filesystem that cannot grow, a device that is too small; on a node, one that is no storage of
/// this sandbox.
pub(crate) async fn resize(agent: &Arc<Agent>, path: String, size: u64) -> Result<(), Error> {
    let path = absolute(path)?;
    if !agent.machine.own && !agent.mounts.covers(&path) {
        let why = "is not in a storage of this sandbox: others are not the agent's to grow";
        return Err(Error::Precondition(format!(
            "volume {} {why}",
            path.display()
        )));
    }
    let machine = agent.machine.clone();
    agent
        .slow(move || grow(&machine.sys, machine.hotplug_timeout, &path, size))
        .await
}

fn grow(sys: &Path, limit: Duration, path: &Path, size: u64) -> Result<(), Error> {
    let what = || format!("volume {}", path.display());
    let failed = |act, e: std::io::Error| Error::io(act, what(), e);
    let file = std::fs::File::open(path).map_err(|e| failed("open", e))?;
    let of = fstatfs(&file).map_err(|e| failed("look at", e.into()))?;
    let kind = u64::try_from(of.f_type).unwrap_or(0);
    if ![EXT4, XFS, BTRFS].contains(&kind) {
        let why = "only ext4, xfs and btrfs are grown";
        return Err(Error::invalid(what(), why));
    }
    let meta = file.metadata().map_err(|e| failed("look at", e))?;
    let device = device(sys, path, kind, meta.dev())?;
    let size = match size {
        0 => bytes_of(&device).map_err(|e| failed("find the size of the device of", e))?,
        size => {
            let has = await_size(&device, size, limit)
                .map_err(|e| failed("find the size of the device of", e))?;
            if has < size {
                let why = format!("its device has {has} bytes, {size} were asked for");
                return Err(Error::Precondition(format!("{}: {why}", what())));
            }
            size
        }
    };
    let grown = match kind {
        EXT4 => {
            let block = u64::try_from(of.f_bsize).unwrap_or(4096).max(1024);
            sys::grow::ext4(file.as_fd(), size / block)
        }
        XFS => sys::grow::xfs(file.as_fd(), size),
        _ => sys::grow::btrfs(file.as_fd(), size),
    };
    grown.map_err(|e| failed("grow", e))?;
    log::info!("volume {} grown to {size} bytes", path.display());
    Ok(())
}

/// The device's directory in sysfs. A btrfs has numbers of its own: its first device is asked for.
fn device(sys: &Path, path: &Path, kind: u64, number: u64) -> Result<PathBuf, Error> {
    if kind != BTRFS {
        let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
        return Ok(sys.join(format!("dev/block/{major}:{minor}")));
    }
    let failed = |e: std::io::Error| {
        Error::io(
            "find the device of",
            format!("volume {}", path.display()),
            e,
        )
    };
    let mount = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID);
    let mount = mount.map_err(|e| failed(e.into()))?.stx_mnt_id.to_string();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").map_err(failed)?;
    let source = mounts.lines().find_map(|line| {
        let (before, filesystem) = line.split_once(" - ")?;
        let same = before.split(' ').next()? == mount;
        let mut words = filesystem.split(' ');
        (same && words.next()? == "btrfs").then(|| words.next())?
    });
    let name = source.and_then(|s| Path::new(s).file_name());
    let name = name.ok_or_else(|| {
        let why = "its device is not in /proc/self/mountinfo";
        Error::Internal(format!("volume {}: {why}", path.display()))
    })?;
    Ok(sys.join("class/block").join(name))
}

fn bytes_of(device: &Path) -> std::io::Result<u64> {
    let sectors = std::fs::read_to_string(device.join("size"))?;
    let sectors: u64 = sectors
        .trim()
        .parse()
        .map_err(|_| std::io::ErrorKind::InvalidData)?;
    Ok(sectors * 512)
}

/// The machine hears of a device's new size a little later than who grew it.
fn await_size(device: &Path, size: u64, limit: Duration) -> std::io::Result<u64> {
    let until = Instant::now() + limit;
    loop {
        let has = bytes_of(device)?;
        if has >= size || Instant::now() >= until {
            return Ok(has);
        }
        std::thread::sleep(LOOK);
    }
}

fn absolute(path: String) -> Result<PathBuf, Error> {
    let path = PathBuf::from(path);
    match path.is_absolute() {
        true => Ok(path),
        false => Err(Error::invalid(
            format!("volume {path:?}"),
            "must be an absolute path",
        )),
    }
}
