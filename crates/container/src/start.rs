//! start: opens the gate, and learns whether the program runs.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use init::{Kind, MESSAGE_SIZE, Message};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::{
    Error,
    create::{remove_fifos, state},
    hooks, launch, plan,
    request::{Container, ContainerRef},
};

impl Container {
    /// Lets what waits at [`crate::Gate::Fifo`] outlive us: call it once others can find the
    /// container. Until then the process ends with us.
    ///
    /// # Errors
    /// The channel fails; the second time nothing happens.
    pub fn recorded(&mut self) -> Result<(), Error> {
        let Some(channel) = self.unrecorded.take() else {
            return Ok(());
        };
        channel
            .go()
            .map_err(|e| launch::Error::io("let wait", "the container's process", e).into())
    }

    /// Starts what waits at [`crate::Gate::Pipe`], then runs poststart hooks.
    ///
    /// # Errors
    /// [`launch::Error::NotCreated`] the second time, `Gone` when the process has ended; else the
    /// step that failed, and the process is ending.
    pub fn start(&mut self) -> Result<(), Error> {
        self.open_gate()?.outcome()?;
        crate::trace::mark("the program runs");
        self.poststart()
    }

    /// The first half of [`Container::start`], for who waits for the process' end and need not be woken before.
    /// `None`, and nothing is started: there are poststart hooks, which wait for the program, or times are taken.
    ///
    /// # Errors
    /// [`launch::Error::NotCreated`] the second time, `Gone` when the process has ended.
    pub fn begin(&mut self) -> Result<Option<Begun>, Error> {
        let hooks = self.hooks.as_ref();
        if hooks.is_some_and(|hooks| !hooks.poststart.is_empty()) || crate::trace::is_on() {
            return Ok(None);
        }
        self.open_gate().map(Some)
    }

    fn open_gate(&mut self) -> Result<Begun, Error> {
        let (channel, plan, words) = self.gate.take().ok_or(launch::Error::NotCreated)?;
        let alive = sys::pidfd::alive(self.init.pidfd.as_fd())
            .map_err(|e| launch::Error::io("look at", "the container's process", e))?;
        if !alive {
            return Err(launch::Error::Gone.into());
        }
        channel.go().map_err(failed)?;
        Ok(Begun {
            channel,
            plan,
            words,
        })
    }
}

fn failed(e: io::Error) -> launch::Error {
    launch::Error::io("start", "the container's process", e)
}

/// A process on its way to be the program.
#[derive(Debug)]
pub struct Begun {
    channel: launch::Channel,
    plan: plan::Plan,
    words: launch::Words,
}

impl Begun {
    /// Waits until it is that, or has ended.
    ///
    /// # Errors
    /// The step that failed.
    pub fn outcome(self) -> Result<(), Error> {
        match self.channel.receive().map_err(failed)? {
            None => Ok(()),
            Some((message, _)) if message.kind == Kind::Failed => {
                let words = |name: &str| self.words.of(name);
                Err(launch::Error::from_message(&self.plan, message, &words).into())
            }
            Some(_) => Err(launch::Error::Protocol.into()),
        }
    }
}

/// Starts what waits at [`crate::Gate::Fifo`], from any process, then runs poststart hooks.
///
/// # Errors
/// As [`Container::start`].
pub fn start_by_fifo(container: &ContainerRef<'_>, fifo: &Path) -> Result<(), Error> {
    let mut status_path = fifo.as_os_str().to_owned();
    status_path.push(".status");
    let status = open(Path::new(&status_path), OFlags::RDONLY)?;
    let gate = open(fifo, OFlags::WRONLY)?;
    let hooks = hook_words(container);
    rustix::io::write(&gate, b"g")
        .map_err(|e| launch::Error::io("write", fifo.display().to_string(), e))?;
    drop(gate);
    let answer = read_status(&status)
        .map_err(|e| launch::Error::io("read", Path::new(&status_path).display().to_string(), e))?;
    remove_fifos(fifo);
    if let Some(bytes) = answer {
        let message = Message::from_bytes(bytes).ok_or(launch::Error::Protocol)?;
        let plan = plan::after_gate(container.spec)?;
        let error = launch::Error::from_message(&plan, message, &|name| hooks.of(name));
        if plan.is_hook(message.step) {
            // Other runtimes' start is over with the gate: there, poststart hooks run after a
            // startContainer hook that fails, too, and some undo in them what the others did.
            let _ = poststart(container);
        }
        return Err(error.into());
    }
    poststart(container)
}

/// What startContainer hooks will have printed: their process, which holds it, is gone when it is asked for.
fn hook_words(container: &ContainerRef<'_>) -> launch::Words {
    let mut words = launch::Words::default();
    let hooks = container.spec.hooks.as_ref();
    let hooks = hooks.map_or(0, |hooks| hooks.start_container.len());
    for name in (0..hooks).map(plan::start_container_hook) {
        let pidfd = container.init_pidfd;
        let file = pidfd.and_then(|pidfd| launch::held_by(container.init_pid, pidfd, &name));
        if let Some(file) = file {
            words.push(name, file);
        }
    }
    words
}

fn poststart(container: &ContainerRef<'_>) -> Result<(), Error> {
    let Some(h) = &container.spec.hooks else {
        return Ok(());
    };
    let state = state(
        container.id.as_str(),
        container.spec,
        container.bundle,
        oci::runtime::Status::Running,
        container.init_pid,
    );
    hooks::run("poststart", &h.poststart, &state, container.annotations).inspect_err(|_| {
        // As in [`Container::poststart`].
        if let Some(init) = container.init_pidfd {
            let _ = sys::pidfd::send_signal(init, 9);
        }
    })
}

/// A missing fifo was taken away by an earlier start; one without the other side is a dead child.
fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, Error> {
    let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|e| match e {
        Errno::NOENT => launch::Error::NotCreated.into(),
        Errno::NXIO => launch::Error::Gone.into(),
        e => launch::Error::io("open", path.display().to_string(), e).into(),
    })
}

/// What the child says before it becomes the program; `None`: it has.
fn read_status(status: &OwnedFd) -> io::Result<Option<[u8; MESSAGE_SIZE]>> {
    let mut bytes = [0; MESSAGE_SIZE];
    loop {
        let mut fds = [PollFd::new(status, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        match rustix::io::read(status, &mut bytes) {
            Ok(0) => return Ok(None),
            // Messages are far below PIPE_BUF: never in parts.
            Ok(MESSAGE_SIZE) => return Ok(Some(bytes)),
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
