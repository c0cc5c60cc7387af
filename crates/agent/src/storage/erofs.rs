//! Several EROFS layers as one tree.
//!
//! ```text
//!  <scratch>/layers/0   top layer    \
//!  <scratch>/layers/1                 > overlay, read-only, at the mount point
//!  <scratch>/layers/2   bottom layer /  (or with <scratch>/upper and work, where writing is asked for)
//! ```
//! One layer alone is mounted as it is.

use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, unmount};

use super::options::Options;
use super::{Disk, Storage, make};
use crate::error::Error;
use crate::machine::Machine;

/// What is mounted, in order.
pub(super) fn points(scratch: &Path, layers: usize, point: PathBuf) -> Vec<PathBuf> {
    let below = (0..layers).map(|n| layer(scratch, n));
    below.chain([point]).collect()
}

fn layer(scratch: &Path, n: usize) -> PathBuf {
    scratch.join("layers").join(n.to_string())
}

/// Mounts the layers and the overlay; a failure unmounts what was mounted.
pub(super) fn mount(
    machine: &Machine,
    storage: &Storage,
    layers: &[Disk],
    options: &Options,
    scratch: &Path,
) -> Result<(), Error> {
    let mut mounted = Vec::new();
    let done = all(machine, storage, layers, options, scratch, &mut mounted);
    if done.is_err() {
        for point in mounted.iter().rev() {
            let _ = unmount(point, UnmountFlags::DETACH);
        }
    }
    done
}

fn all(
    machine: &Machine,
    storage: &Storage,
    layers: &[Disk],
    options: &Options,
    scratch: &Path,
    mounted: &mut Vec<PathBuf>,
) -> Result<(), Error> {
    let failed = |act, e: std::io::Error| make::failure(storage, act, e);
    for (n, disk) in layers.iter().enumerate() {
        let node = make::disk(machine, disk)?;
        let point = layer(scratch, n);
        std::fs::create_dir_all(&point).map_err(|e| failed("make a layer's directory for", e))?;
        let flags = MountFlags::RDONLY | options.flags;
        rustix::mount::mount(&node, &point, "erofs", flags, None)
            .map_err(|e| failed("mount a layer of", e.into()))?;
        mounted.push(point);
    }
    let mut data: Vec<String> = Vec::new();
    if options.overlay_writable {
        for (word, name) in [("upperdir", "upper"), ("workdir", "work")] {
            let dir = scratch.join(name);
            std::fs::create_dir_all(&dir).map_err(|e| failed("make an upper layer for", e))?;
            data.push(format!("{word}={}", dir.display()));
        }
    }
    // An overlay that cannot be written needs two layers: an empty one stands below a single one.
    let empty = scratch.join("empty");
    let mut lowers: Vec<_> = mounted.iter().map(|p| p.display().to_string()).collect();
    if lowers.len() == 1 && !options.overlay_writable {
        std::fs::create_dir_all(&empty).map_err(|e| failed("make a layer's directory for", e))?;
        lowers.push(empty.display().to_string());
    }
    data.push(format!("lowerdir={}", lowers.join(":")));
    let mut overlay = options.clone();
    overlay.data = data;
    make::attach(storage, Path::new("overlay"), "overlay", &overlay)
}
