//! The commands, one file each.
//!
//! None is inlined into what calls them all: their frames would be one, of 14 KiB, for every command, and the
//! process that waits for its start keeps what it was cloned on.

pub(crate) mod checkpoint;
pub(crate) mod create;
mod criu;
pub(crate) mod delete;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod features;
pub(crate) mod freeze;
pub(crate) mod kill;
pub(crate) mod list;
pub(crate) mod mounts;
pub(crate) mod plan;
pub(crate) mod ps;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod spec;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod update;

use std::io::Write;
use std::path::Path;

use container::{Annotations, CgroupManager, CgroupNeed, Engine, EngineOptions};

use crate::args::{self, Global};
use crate::error::Error;
use crate::log::{Level, Log};
use crate::pattern::Pattern;
use crate::record;

/// Compiled system call filters, below the root; no container's id has a `~`.
const SECCOMP_CACHE: &str = "seccomp~";

/// The core, as the global options want it.
fn engine(global: &Global) -> Result<Engine, Error> {
    let options = EngineOptions {
        seccomp_cache: Some(global.root.join(SECCOMP_CACHE)),
        cgroup_manager: if global.systemd_cgroup {
            CgroupManager::Systemd
        } else {
            CgroupManager::Cgroupfs
        },
        cgroup_need: if global.rootless == Some(false) {
            CgroupNeed::Always
        } else {
            CgroupNeed::IfNamed
        },
        annotations: Annotations::Honoured,
        bus: None,
    };
    Engine::probe(options).map_err(|source| Error::Core {
        act: "look at the host for",
        id: String::new(),
        source: Box::new(source),
    })
}

/// Does it to every container whose id the expression is found in, as crun does: one that fails is told
/// of, and the others have their turn.
fn to_each_match(
    global: &Global,
    regex: &str,
    log: &Log,
    act: impl Fn(&str) -> Result<(), Error>,
) -> Result<i32, Error> {
    let pattern = Pattern::new(regex)?;
    let ids = record::ids(&global.root)?;
    // Our own directories are no containers.
    let containers = ids
        .iter()
        .filter(|id| container::ContainerId::new(id).is_ok());
    for id in containers.filter(|id| pattern.is_in(id)) {
        if let Err(error) = act(id) {
            log.write(Level::Warning, &error.chain());
        }
    }
    Ok(0)
}

/// Prints to stdout, whose reader may be gone.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .map_err(Error::io("write to stdout"))?;
    stdout.flush().map_err(Error::io("write to stdout"))
}

/// Writes a process id for `--pid-file`.
fn write_pid_file(path: Option<&Path>, pid: i32) -> Result<(), Error> {
    let Some(path) = path else { return Ok(()) };
    // A bare file name has an empty parent, which cannot be opened.
    let path = std::path::absolute(path).map_err(Error::file("find", path))?;
    sys::atomic::write(
        &path,
        pid.to_string().as_bytes(),
        0o644,
        sys::atomic::Durability::Process,
    )
    .map_err(Error::file("write the pid file", &path))
}

pub(crate) fn text(text: &str) -> Result<i32, Error> {
    print(text)?;
    Ok(0)
}

/// Three lines, as docker reads them of runc.
pub(crate) fn version() -> Result<i32, Error> {
    print(&format!(
        "{} version {}\ncommit: {}\nspec: {}\n",
        args::program(),
        env!("CARGO_PKG_VERSION"),
        option_env!("COFFER_COMMIT").unwrap_or("unknown"),
        oci::runtime::VERSION
    ))?;
    Ok(0)
}
