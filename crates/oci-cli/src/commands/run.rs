//! `run`: create and start; in the foreground also wait for the end and remove.

use std::os::fd::AsFd;

use sys::signal_fd::SignalFd;

use super::create::{self, Made, Mode};
use super::write_pid_file;
use crate::args::{Global, Run};
use crate::error::Error;
use crate::terminal::{raw, relay};

#[inline(never)]
pub(crate) fn command(global: &Global, args: &Run) -> Result<i32, Error> {
    let pid_file = args.create.pid_file.as_deref();
    if args.detach {
        let mut made = create::make(global, &args.create, Mode::Detached)?;
        let pid = made.container.init.pid;
        write_pid_file(pid_file, pid).or_else(|error| made.undo(error))?;
        start(&mut made)?;
        if let Some(notify) = made.notify {
            notify.wait(pid.unsigned_abs(), made.container.init.pidfd.as_fd());
        }
        return Ok(0);
    }
    if !args.no_subreaper {
        // Orphans of a container without a pid namespace of its own come to us, not to init.
        rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))
            .map_err(|errno| Error::io("become a child subreaper")(errno.into()))?;
    }
    // Before the process exists: a signal from now on is passed on, not lost.
    let signals = SignalFd::block_all().map_err(Error::io("block signals"))?;
    let mut made = create::make(global, &args.create, Mode::Foreground)?;
    write_pid_file(pid_file, made.container.init.pid).or_else(|error| made.undo(error))?;
    if let Some(console) = &made.container.init.console {
        // Before the program can write a line.
        raw::plain_lines(console)
            .map_err(Error::io("set the terminal's line ends"))
            .or_else(|error| made.undo(error))?;
    }
    let begun = made.container.begin();
    let begun = or_undo(&made, begun)?;
    if begun.is_none() {
        start(&mut made)?;
    }
    let code = wait(&mut made, &signals).or_else(|error| made.undo(error))?;
    if let Some(begun) = begun {
        // Whether it was the program that has ended.
        or_undo(&made, begun.outcome())?;
    }
    container::trace::mark("the program has ended");
    if !args.keep {
        made.end()?;
    }
    Ok(code)
}

fn start(made: &mut Made) -> Result<(), Error> {
    let started = made.container.start();
    or_undo(made, started)
}

/// A container that cannot be started is not kept.
fn or_undo<T>(made: &Made, started: Result<T, container::Error>) -> Result<T, Error> {
    let started = started.map_err(Error::core("start", &made.dir.id));
    started.or_else(|error| made.undo(error))
}

fn wait(made: &mut Made, signals: &SignalFd) -> Result<i32, Error> {
    let init = &mut made.container.init;
    let pidfd = init
        .pidfd
        .as_fd()
        .try_clone_to_owned()
        .map_err(Error::io("duplicate the process' descriptor"))?;
    let process = container::Process {
        pid: init.pid,
        pidfd,
        console: init.console.take(),
    };
    relay::run(process, signals, made.notify.take())
}
