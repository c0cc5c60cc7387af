//! The agent as the first process of a micro-VM: `/init` of its initramfs, or `/sbin/init` of its disk.
//!
//! ```text
//!  kernel ─► /init ─► move to a tmpfs ─► mount ─► load modules ─► lo up ─► parameters ─► serve ─► power off
//!                     only from the first root                            /proc/cmdline  as elsewhere
//! ```
//! Everything else of the agent is the same as on a host. What fails here before it serves ends the machine:
//! nobody could be told but the console.

mod config;
pub(crate) mod modules;
mod mounts;
mod params;
mod root;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use rustix::system::RebootCommand;

use crate::args::{Address, Args, Forms, State};
use crate::machine::Machine;
use params::Params;

/// Exit records, bundles and the journal of storages.
const STATE: &str = "/run/coffer-agent";

/// Why the machine cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot {act} {what}")]
    Io {
        act: &'static str,
        what: String,
        source: io::Error,
    },
    #[error("kernel parameter {name}={value}: expected {expected}")]
    Parameter {
        name: &'static str,
        value: String,
        expected: &'static str,
    },
    #[error("configuration file {path}: {why}")]
    Config { path: String, why: String },
    #[error(transparent)]
    Address(#[from] crate::args::Error),
}

impl Error {
    fn io(act: &'static str, what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { act, what, source }
    }
}

/// Whether this process is a machine's init: the first one, and called so.
pub(crate) fn is_init(program: Option<&OsStr>) -> bool {
    let name = program.map(Path::new).and_then(Path::file_name);
    std::process::id() == 1 && name.is_some_and(|name| name == "init")
}

/// Makes the machine usable; returns how to serve.
///
/// # Errors
/// A mount is refused, or a parameter is wrong. Modules that cannot be loaded are logged only: what
/// needs them says so.
pub(crate) fn start() -> Result<Args, Error> {
    root::leave_first()?;
    mounts::system()?;
    let line = fs::read_to_string("/proc/cmdline").map_err(Error::io("read", "/proc/cmdline"))?;
    let mut params = Params::parse(&line)?;
    if let Some(path) = params.config_file.clone() {
        let text =
            fs::read_to_string(&path).map_err(Error::io("read configuration file", &path))?;
        config::read(&text, &mut params).map_err(|why| Error::Config { path, why })?;
    }
    crate::logging::start(params.log_level);
    mounts::cgroups(params.unified_cgroups)?;
    modules::load_listed();
    sys::loopback::up().map_err(Error::io("bring up", "lo"))?;
    for name in &params.unsupported {
        log::warn!("parameter {name} is not supported and has no effect");
    }
    let address = match &params.server_addr {
        Some(text) => crate::args::address(text, true)?,
        None => Address::Vsock {
            cid: libc::VMADDR_CID_ANY,
            port: 1024,
        },
    };
    log::info!("init of this machine; {params}");
    Ok(Args {
        address,
        state: State {
            dir: STATE.into(),
            own: true,
        },
        cgroup: None,
        seccomp_cache: None,
        log_level: params.log_level,
        machine: Machine {
            hotplug_timeout: params.hotplug_timeout,
            ..Machine::here(true)
        },
        forms: Forms::Current,
        policy: params.policy,
    })
}

/// The end of the machine; returns only if the kernel refuses.
pub(crate) fn power_off() {
    rustix::fs::sync();
    let refused = rustix::system::reboot(RebootCommand::PowerOff);
    log::error!("cannot power off: {refused:?}");
}
