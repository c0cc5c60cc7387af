//! `create`: a container whose process waits for `start`.
//!
//! ```text
//!  read and check the bundle ─► reserve the name ─► core makes the container ─► record
//!                                                                   ─► console socket ─► pid file
//! ```
//! A failure undoes all that came before it.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use container::{Container, CreateRequest, Engine, Gate, Rootfs, Stdio, trace};

use super::{engine, write_pid_file};
use crate::args::{Create, Global};
use crate::bundle::Bundle;
use crate::descriptor_socket;
use crate::error::Error;
use crate::inherited;
use crate::notify::{self, Notify};
use crate::record::{NewRecord, Record, StateDir};
use crate::terminal::raw;
use crate::{status, time};

#[inline(never)]
pub(crate) fn command(global: &Global, args: &Create) -> Result<i32, Error> {
    let made = make(global, args, Mode::Create)?;
    write_pid_file(args.pid_file.as_deref(), made.container.init.pid)
        .or_else(|error| made.undo(error))?;
    Ok(0)
}

/// The annotation by which crun knows `--pidfd-socket`.
const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";

/// Who waits for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nobody; `start` opens the gate.
    Create,
    /// Nobody; we open the gate.
    Detached,
    /// We do.
    Foreground,
}

/// A created container, recorded; its name stays locked until this is dropped.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) dir: StateDir,
    pub(crate) container: Container,
    pub(crate) record: Record,
    /// Bound, unless `start` will do it.
    pub(crate) notify: Option<Notify>,
    _lock: std::fs::File,
}

impl Made {
    /// Ends the container and removes what was made of it.
    pub(crate) fn end(&self) -> Result<(), Error> {
        let container = self
            .container
            .as_ref(&self.record.config, &self.record.bundle);
        let destroyed = container::destroy(&container).map_err(Error::core("remove", &self.dir.id));
        // The record goes in any case: a container without processes is of no use to anybody.
        self.dir.remove().and(destroyed)
    }

    /// After a failure: as [`Made::end`], and the failure is what is told.
    pub(crate) fn undo<T>(&self, error: Error) -> Result<T, Error> {
        let _ = self.end();
        Err(error)
    }
}

/// Makes a container and records it.
pub(crate) fn make(global: &Global, args: &Create, mode: Mode) -> Result<Made, Error> {
    let inherited = inherited::collect(args.preserve_fds)?;
    let engine = engine(global)?;
    trace::mark("host looked at");
    let mut bundle = Bundle::load(args.bundle.as_deref(), args.config.as_deref())?;
    trace::mark("document read");
    let terminal = bundle
        .spec
        .process
        .as_ref()
        .is_some_and(|process| process.terminal);
    let socket = console(terminal, args, mode)?;
    let receiver = bundle.spec.annotations.get(PIDFD_RECEIVER);
    let pidfd_socket = args
        .pidfd_socket
        .as_deref()
        .or(receiver.map(Path::new))
        .map(descriptor_socket::connect)
        .transpose()?;
    if mode == Mode::Foreground
        && terminal
        && let Some(process) = &mut bundle.change().process
    {
        // What the process sees is our terminal, so its size counts.
        process.console_size = raw::console_size().or(process.console_size.take());
    }
    let dir = StateDir::new(&global.root, &args.id)?;
    // A scope of systemd's ends with the processes in it: nothing of it needs to be found again.
    let cgroup = (!global.systemd_cgroup).then(|| container::cgroup_path(&dir.id, &bundle.spec));
    let lock = dir.reserve(cgroup.as_deref())?;
    notify::offer(&dir, &mut bundle)?;
    trace::mark("name reserved");
    let request = CreateRequest {
        id: &dir.id,
        spec: &bundle.spec,
        bundle: &bundle.path,
        rootfs: Rootfs::Path(bundle.rootfs.clone()),
        stdio: if terminal {
            Stdio::Terminal
        } else {
            Stdio::Inherit
        },
        gate: if mode == Mode::Create {
            Gate::Fifo(dir.fifo())
        } else {
            Gate::Pipe
        },
        preserve_fds: inherited.count,
        no_pivot: args.no_pivot,
        no_new_keyring: args.no_new_keyring,
        extra_env: inherited.env,
        cgroup_path: cgroup,
        clamp_capabilities: false,
    };
    let container = match create(&engine, request, &dir) {
        Ok(container) => container,
        Err(error) => {
            let _ = dir.remove();
            return Err(error);
        }
    };
    let record = Record::new(NewRecord {
        id: &dir.id,
        created: time::now(),
        bundle: &bundle.path,
        rootfs: &bundle.rootfs,
        pid: container.init.pid,
        start: status::start_time(container.init.pid).unwrap_or(0),
        cgroup: container.cgroup.record(),
        config: bundle.spec,
    });
    let mut made = Made {
        dir,
        container,
        record,
        notify: None,
        _lock: lock,
    };
    let text = bundle.text.as_deref();
    let told = tell(&mut made, text, socket.as_ref(), pidfd_socket.as_ref());
    let bound = told.and_then(|()| match mode {
        Mode::Create => Ok(None),
        _ => Notify::bind(&made.dir),
    });
    made.notify = bound.or_else(|error| made.undo(error))?;
    Ok(made)
}

/// The record first: from then on the process may outlive us.
fn tell(
    made: &mut Made,
    text: Option<&[u8]>,
    console: Option<&UnixStream>,
    pidfd: Option<&UnixStream>,
) -> Result<(), Error> {
    made.dir.write(&made.record, text)?;
    made.dir.link();
    trace::mark("recorded");
    made.container
        .recorded()
        .map_err(Error::core("create", &made.dir.id))?;
    let init = &made.container.init;
    if let (Some(socket), Some(master)) = (console, &init.console) {
        descriptor_socket::send(socket, descriptor_socket::TERMINAL, master.as_fd())?;
    }
    if let Some(socket) = pidfd {
        descriptor_socket::send(socket, descriptor_socket::CREATED, init.pidfd.as_fd())?;
    }
    Ok(())
}

fn create(engine: &Engine, request: CreateRequest<'_>, dir: &StateDir) -> Result<Container, Error> {
    let id = &dir.id;
    tracing::debug!("nsexec container setup: clone the process of {id} into its namespaces");
    let container = engine.create(request).map_err(Error::core("create", id))?;
    let pid = container.init.pid;
    tracing::debug!("child process in init(): {pid} of {id} is set up, but for its program");
    tracing::debug!("init: closing the pipe to signal completion; {pid} waits for its start");
    Ok(container)
}

/// A terminal needs somebody at its other end: us in the foreground, else the console socket.
fn console(terminal: bool, args: &Create, mode: Mode) -> Result<Option<UnixStream>, Error> {
    let foreground = mode == Mode::Foreground;
    match (&args.console_socket, terminal) {
        (None, true) if !foreground => Err(Error::Console(
            "cannot allocate tty if coffer-oci will detach without setting console socket: \
             give --console-socket, or set process.terminal to false"
                .to_owned(),
        )),
        (Some(_), _) if foreground || !terminal => Err(Error::Console(
            "cannot use console socket if coffer-oci will not detach or allocate tty: \
             leave --console-socket out, or set process.terminal to true and detach"
                .to_owned(),
        )),
        (Some(path), _) => descriptor_socket::connect(path).map(Some),
        (None, _) => Ok(None),
    }
}
