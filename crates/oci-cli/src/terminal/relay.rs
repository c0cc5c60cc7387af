//! Waits for a process in the foreground: its terminal is relayed, signals are passed on, its exit
//! code comes back.
//!
//! ```text
//!  our stdin  ──► pending ──► master ═ pty ═ process
//!  our stdout ◄────────────── master
//!  signals    ──► pidfd      SIGWINCH sets the size; SIGCHLD reaps orphans (we are a subreaper)
//!  pidfd readable: what the terminal still holds is written out, the process reaped, done
//! ```
//! One thread, one poll. stdin is only read when the container has taken what came before, so that
//! nothing piles up; no write to the terminal blocks, so that output flows while input waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use container::Process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use sys::signal_fd::SignalFd;

use super::raw::{self, RawMode};
use crate::error::Error;
use crate::notify::Notify;
use crate::signal;

const BUFFER: usize = 8192;

/// Relays until the process has ended; its exit code as shells tell it.
pub(crate) fn run(
    mut process: Process,
    signals: &SignalFd,
    notify: Option<Notify>,
) -> Result<i32, Error> {
    let console = process.console.take().map(Console::new).transpose()?;
    let mut relay = Relay {
        process,
        signals,
        console,
        notify,
    };
    relay.run()
}

struct Relay<'a> {
    process: Process,
    signals: &'a SignalFd,
    console: Option<Console>,
    /// While it is not ready.
    notify: Option<Notify>,
}

/// The container's terminal and ours.
struct Console {
    master: OwnedFd,
    /// Bytes from stdin that the terminal has not taken yet.
    pending: Vec<u8>,
    stdin_open: bool,
    output_open: bool,
    _raw: Option<RawMode>,
}

impl Relay<'_> {
    fn run(&mut self) -> Result<i32, Error> {
        loop {
            let ready = self.wait()?;
            if ready.signal {
                self.pass_signals()?;
            }
            if let Some(console) = &mut self.console {
                console.turn(ready)?;
            }
            // In the foreground it is we who are watched.
            let told = |notify: &mut Notify| ready.notify && notify.pass(std::process::id());
            self.notify.take_if(told);
            if ready.exit {
                if let Some(console) = &mut self.console {
                    console.drain();
                }
                let ended = sys::wait::wait(self.process.pidfd.as_fd())
                    .map_err(Error::io("wait for the process"))?;
                return Ok(ended.exit.code());
            }
        }
    }

    fn wait(&self) -> Result<Ready, Error> {
        let mut fds = vec![
            PollFd::new(self.signals, PollFlags::IN),
            PollFd::new(&self.process.pidfd, PollFlags::IN),
        ];
        let stdin = rustix::stdio::stdin();
        if let Some(console) = &self.console {
            let (from_terminal, from_stdin) = console.interest();
            fds.push(PollFd::from_borrowed_fd(
                console.master.as_fd(),
                from_terminal,
            ));
            // An entry without interest would still report a hang-up, without end.
            if !from_stdin.is_empty() {
                fds.push(PollFd::from_borrowed_fd(stdin, from_stdin));
            }
        }
        if self
            .console
            .as_ref()
            .is_some_and(|console| !console.output_open)
        {
            fds.truncate(2);
        }
        let notify_at = fds.len();
        let notify = self.notify.iter();
        fds.extend(notify.map(|socket| PollFd::new(socket, PollFlags::IN)));
        match poll(&mut fds, None) {
            Err(Errno::INTR) => return Ok(Ready::default()),
            other => other.map_err(|errno| Error::io("wait for events")(errno.into()))?,
        };
        let (fds, notify) = fds.split_at(notify_at);
        let event = |at: usize| fds.get(at).map_or(PollFlags::empty(), PollFd::revents);
        let hang_up = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        Ok(Ready {
            notify: notify.iter().any(|fd| fd.revents().contains(PollFlags::IN)),
            signal: event(0).intersects(PollFlags::IN),
            exit: event(1).intersects(PollFlags::IN),
            output: event(2).intersects(PollFlags::IN | hang_up),
            writable: event(2).intersects(PollFlags::OUT),
            input: event(3).intersects(PollFlags::IN | hang_up),
        })
    }

    fn pass_signals(&self) -> Result<(), Error> {
        while let Some(number) = self.signals.read().map_err(Error::io("read signals"))? {
            match number {
                signal::CHLD => self.reap_orphans(),
                signal::WINCH if self.console.is_some() => {
                    if let Some(console) = &self.console {
                        raw::copy_size(&console.master);
                    }
                }
                // Go programs among our callers send it to their own threads.
                signal::URG => {}
                // The process may have ended in the meantime: then there is nobody to tell.
                _ => drop(sys::pidfd::send_signal(self.process.pidfd.as_fd(), number)),
            }
        }
        Ok(())
    }

    /// Reaps what was handed to us as a subreaper; the process itself is left to [`Relay::run`].
    fn reap_orphans(&self) {
        while let Ok(Some(ended)) = sys::wait::peek_any() {
            // A look always shows the same child first: once that is ours, its exit is at hand.
            if ended.pid == self.process.pid || sys::wait::reap(ended.pid).is_err() {
                break;
            }
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Ready {
    notify: bool,
    signal: bool,
    exit: bool,
    output: bool,
    writable: bool,
    input: bool,
}

impl Console {
    fn new(master: OwnedFd) -> Result<Self, Error> {
        rustix::io::ioctl_fionbio(&master, true)
            .map_err(|errno| Error::io("make the terminal non-blocking")(errno.into()))?;
        raw::plain_lines(&master).map_err(Error::io("set the terminal's line ends"))?;
        Ok(Self {
            master,
            pending: Vec::new(),
            stdin_open: true,
            output_open: true,
            _raw: RawMode::enter(),
        })
    }

    /// What to wait for: on the master, on stdin.
    fn interest(&self) -> (PollFlags, PollFlags) {
        let empty = self.pending.is_empty();
        let write = if empty {
            PollFlags::empty()
        } else {
            PollFlags::OUT
        };
        let read = self.stdin_open && empty;
        (
            PollFlags::IN | write,
            if read {
                PollFlags::IN
            } else {
                PollFlags::empty()
            },
        )
    }

    fn turn(&mut self, ready: Ready) -> Result<(), Error> {
        if ready.output {
            self.output_open = self.copy_out();
        }
        if ready.input {
            self.copy_in()?;
        }
        if ready.writable || ready.input {
            self.flush();
        }
        Ok(())
    }

    // Its buffer is not in the frame of who waits without a terminal.
    #[inline(never)]
    fn copy_in(&mut self) -> Result<(), Error> {
        let mut buffer = [0; BUFFER];
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) | Err(Errno::IO) => self.stdin_open = false,
            Ok(n) => self.pending.extend_from_slice(&buffer[..n]),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(errno) => return Err(Error::io("read stdin")(errno.into())),
        }
        Ok(())
    }

    fn flush(&mut self) {
        match rustix::io::write(&self.master, &self.pending) {
            Ok(n) => drop(self.pending.drain(..n)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // The other side is closed: nobody will ever read it.
            Err(_) => self.pending.clear(),
        }
    }

    /// Copies what the terminal holds; false once its other side is closed.
    #[inline(never)]
    fn copy_out(&self) -> bool {
        let mut buffer = [0; BUFFER];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(0) | Err(Errno::IO) => false,
            Ok(n) => {
                let _ = write_all(rustix::stdio::stdout(), &buffer[..n]);
                true
            }
            Err(_) => true,
        }
    }

    /// After the process has ended: what is left, without waiting for others that hold the
    /// terminal open.
    fn drain(&self) {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        loop {
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            match poll(&mut fds, Some(&now)) {
                Ok(0) | Err(_) => return,
                Ok(_) if !self.copy_out() => return,
                Ok(_) => {}
            }
        }
    }
}

fn write_all(stream: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(stream, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            // stdout may be a terminal that somebody made non-blocking.
            Err(Errno::AGAIN) => {
                let mut fds = [PollFd::from_borrowed_fd(stream, PollFlags::OUT)];
                let _ = poll(&mut fds, None);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}
