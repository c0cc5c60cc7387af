//! The agent as the first process of a micro-VM: `/init` of its initramfs, or `/sbin/init` of its disk.
//!
//! ```text
//!  kernel ─► /init ─► move to a tmpfs ─► mount ─► load modules ─► lo up ─► parameters ─► serve ─► power off
//!                     only from the first root                            /proc/cmdline  as elsewhere
//! ```
//! Everything else of the agent is the same as on a host. What fails here before it serves ends the machine:
//! nobody could be told but the console.

pub(crate) mod modules;
mod mounts;
mod params;
mod root;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;

use rustix::system::RebootCommand;

use crate::args::{Address, Args, Forms, Rules, State};
use crate::config_file;
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
    #[error(transparent)]
    Config(#[from] crate::config_file::Error),
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
    if let Some(path) = params.config_file.take() {
        params.overlay(config_file::read(&path)?);
    }
    // The kernel hands what it does not know itself on to us in the environment.
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(level) = env("KATA_AGENT_LOG_LEVEL") {
        params.log_level = crate::args::log_level(Some(&level))?;
    }
    params.server_addr = env("KATA_AGENT_SERVER_ADDR").or(params.server_addr);
    crate::logging::start(params.log_level);
    mounts::cgroups(params.unified_cgroups)?;
    modules::load_listed();
    sys::loopback::up().map_err(Error::io("bring up", "lo"))?;
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
        pipe_size: params.pipe_size,
        dev_mode: params.dev_mode,
        passfd_port: params.passfd_port,
        rules: Rules::find(env, params.allowed)?,
        unsupported: params.unsupported,
    })
}

/// Reads a kernel command line, for fuzzers.
pub(crate) fn fuzz(line: &str) {
    drop(Params::parse(line));
}

/// The end of the machine; returns only if the kernel refuses.
pub(crate) fn power_off() {
    rustix::fs::sync();
    let refused = rustix::system::reboot(RebootCommand::PowerOff);
    log::error!("cannot power off: {refused:?}");
}
