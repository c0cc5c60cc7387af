//! coffer-agent: runs the containers of one pod.
//!
//! ```text
//!   daemon --ttRPC, one socket--> agent ----clone3----> containers
//!                                   |  <-pidfd, SIGCHLD-- (a child subreaper: orphans are its own)
//!                                   +--> log files, exit.json
//! ```
//! One thread runs the event loop; calls of the core run on a pool that is empty when nothing happens.
//! It outlives the daemon, holds the pod's namespaces, and goes away by DestroySandbox.
#![forbid(unsafe_code)]

mod agent;
mod args;
mod clock;
mod config_file;
mod connection;
mod container;
mod convert;
mod device;
mod error;
mod exit_record;
pub mod fuzzing;
mod guest;
mod guest_hooks;
mod listen;
mod logging;
mod machine;
mod namespaces;
mod net;
mod oom;
mod ops;
mod pod_reaper;
mod policy;
mod ports;
mod process;
mod reaper;
mod rest;
mod rootfs;
mod rpc;
mod serve;
mod setup;
mod spec_fixup;
mod stdio;
mod storage;
mod table;
mod toml;
mod tool;
mod users;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

/// The whole program.
pub fn main() -> ExitCode {
    sys::malloc::tune();
    if guest::is_init(std::env::args_os().next().as_deref()) {
        let served = guest::start()
            .map_err(Into::into)
            .and_then(|args| serve::run(&args));
        // Without a first process the kernel would panic.
        let code = served.map_or_else(|e| failed(&*e), |()| ExitCode::SUCCESS);
        guest::power_off();
        return code;
    }
    let command = match args::parse(std::env::args_os(), |name| std::env::var(name).ok()) {
        Ok(command) => command,
        Err(error) => return failed(&error),
    };
    let text = match command {
        args::Command::Serve(args) => {
            return serve::run(&args).map_or_else(|e| failed(&*e), |()| ExitCode::SUCCESS);
        }
        args::Command::Help => args::USAGE.to_owned(),
        args::Command::Version => format!("coffer-agent {}\n", env!("CARGO_PKG_VERSION")),
    };
    // Nothing is left to do about a standard output that is closed.
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::SUCCESS
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    drop(
        std::io::stderr()
            .write_all(format!("coffer-agent: {}\n", logging::chain(error)).as_bytes()),
    );
    ExitCode::FAILURE
}
