//! `coffer-oci`: the command line of the OCI runtime specification, as runc and crun have it.
//!
//! ```text
//!  words ─► args ─► command ─► container (the core) ─► exit code
//!                      └─► record and status: what is on disk, what the kernel says
//! ```
//! One thread, no async runtime. `create`, `run` and `exec` first execute themselves again from a
//! read-only view of their own file, so that a container can never write to it (CVE-2019-5736).

#![forbid(unsafe_code)]

mod args;
mod bundle;
mod commands;
mod descriptor_socket;
mod error;
mod inherited;
mod log;
mod messages;
mod notices;
mod notify;
mod pattern;
mod record;
mod signal;
mod status;
mod terminal;
mod time;

use std::process::ExitCode;
use std::sync::Arc;

use args::{Command, Global};
use commands::{
    checkpoint, create, delete, events, exec, features, freeze, kill, list, mounts, plan, ps,
    restore, run, spec, start, state, update,
};
use error::Error;
use log::Log;

#[global_allocator]
static HEAP: sys::heap::Heap = sys::heap::Heap::new();

/// Exit code of a command that failed, as runc has it.
const FAILED: i32 = 1;
/// Exit code of an `exec` that failed itself; any other is that of its process.
const EXEC_FAILED: i32 = 255;

fn main() -> ExitCode {
    let (global, command) = args::parse(std::env::args_os().skip(1));
    let log = match Log::open(global.log.as_deref(), global.log_format, global.log_level) {
        Ok(log) => Arc::new(log),
        Err(error) => {
            Log::default().fatal(&error.chain());
            return exit_code(FAILED);
        }
    };
    notices::send_to(&log);
    if global.trace {
        container::trace::start();
    }
    let failed = if matches!(command, Ok(Command::Exec(_))) {
        EXEC_FAILED
    } else {
        FAILED
    };
    // By reference: each arm would have a copy of its own on the stack, which is as long as the command.
    let ended = match &command {
        Ok(command) => dispatch(&global, command, &log).map_err(|error| error.chain()),
        Err(error) => Err(error.chain()),
    };
    if global.trace {
        container::trace::mark("end");
        eprint!("{}", container::trace::report());
    }
    match ended {
        Ok(code) => exit_code(code),
        Err(text) => {
            log.fatal(&text);
            exit_code(failed)
        }
    }
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

#[inline(never)]
fn dispatch(global: &Global, command: &Command, log: &Log) -> Result<i32, Error> {
    if matches!(
        command,
        Command::Create(_) | Command::Run(_) | Command::Exec(_)
    ) {
        sys::self_exe::protect().map_err(Error::io("protect our own program file"))?;
        tracing::debug!(
            "runc exeseal: using /proc/self/exe clone, which no container can write to"
        );
    }
    if !matches!(
        command,
        Command::Spec(_) | Command::Features | Command::Version | Command::Print(_)
    ) {
        container::cgroup::hold_root();
    }
    match command {
        Command::Create(args) => create::command(global, args),
        Command::Run(args) => run::command(global, args),
        Command::Exec(args) => exec::command(global, args),
        Command::Start(id) => start::command(global, id),
        Command::State(id) => state::command(global, id),
        Command::Kill(args) => kill::command(global, args, log),
        Command::Delete(args) => delete::command(global, args, log),
        Command::Spec(args) => spec::command(args),
        Command::Plan(args) => plan::command(global, args),
        Command::List(args) => list::command(global, *args, log),
        Command::Ps(args) => ps::command(global, args),
        Command::Pause(id) => freeze::pause(global, id),
        Command::Resume(id) => freeze::resume(global, id),
        Command::Update(args) => update::command(global, args),
        Command::Mounts(args) => mounts::command(global, args),
        Command::Events(args) => events::command(global, args),
        Command::Checkpoint(args) => checkpoint::command(global, args),
        Command::Restore(args) => restore::command(global, args),
        Command::Features => features::command(),
        Command::Version => commands::version(),
        Command::Print(text) => commands::text(text),
    }
}
