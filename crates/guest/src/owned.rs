//! A process that never outlives its owner.
//!
//! ```text
//!  owner                waiting thread               setpriv, sh, then the program (one process)
//!    │ start ───────────► spawn ──────────────────────► asks for SIGKILL when the thread ends
//!    │                    │ "go" ─────────────────────► only then becomes the program
//!    │ wait ◄─ status ─── │ waits ◄──────────────────── ends
//!    │ drop: SIGKILL by pidfd, joins the thread
//! ```
//! The owner may be killed at any moment: the kernel then kills the program, and one that had not asked for
//! that yet reads the end of the file instead of "go".

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::Error;

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Owned {
    pid: i32,
    pidfd: OwnedFd,
    ended: Receiver<io::Result<ExitStatus>>,
    status: Option<ExitStatus>,
    waiter: Option<JoinHandle<()>>,
}

impl Owned {
    /// Starts `words`, the program first, with nothing to read; what it says goes to `log`.
    ///
    /// # Errors
    /// util-linux' `setpriv` is not there. That the program is not shows in its exit status.
    pub fn start(words: &[OsString], log: File) -> Result<Self, Error> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "/bin/sh", "-c"]);
        command.args(["read -r go && exec \"$@\" </dev/null", "sh"]);
        command.args(words);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log);
        let (started, start) = channel();
        let (end, ended) = channel();
        let failed = |e: &dyn std::fmt::Display| Error::Program {
            program: words
                .first()
                .map(|w| w.to_string_lossy().into_owned())
                .unwrap_or_default(),
            why: e.to_string(),
            hint: "package util-linux",
        };
        let waiter = std::thread::Builder::new().name("owned".into());
        let waiter = waiter.spawn(move || match spawn(&mut command) {
            Ok((mut child, pidfd)) => {
                let pid = i32::try_from(child.id()).unwrap_or(0);
                drop(started.send(Ok((pid, pidfd))));
                drop(end.send(child.wait()));
            }
            Err(e) => drop(started.send(Err(e))),
        });
        let waiter = waiter.map_err(|e| failed(&e))?;
        let (pid, pidfd) = start
            .recv()
            .map_err(|e| failed(&e))?
            .map_err(|e| failed(&e))?;
        Ok(Self {
            pid,
            pidfd,
            ended,
            status: None,
            waiter: Some(waiter),
        })
    }

    /// The process.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Its exit status, once it ends; None if that takes longer than `within`.
    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            match self.ended.recv_timeout(within) {
                Ok(status) => self.status = Some(status.unwrap_or_default()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.status = Some(ExitStatus::default()),
            }
        }
        self.status
    }

    /// Kills it.
    pub fn kill(&self) {
        // It may have ended.
        let _ = pidfd_send_signal(self.pidfd.as_fd(), Signal::KILL);
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.kill();
        if let Some(waiter) = self.waiter.take() {
            // It only waits for the process that was killed.
            drop(waiter.join());
        }
    }
}

/// Starts the process and lets it go on once it is bound to this thread.
fn spawn(command: &mut Command) -> io::Result<(Child, OwnedFd)> {
    let mut child = command.spawn()?;
    let bound = |child: &mut Child| -> io::Result<OwnedFd> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        let mut go = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        go.write_all(b"go\n")?;
        Ok(pidfd)
    };
    match bound(&mut child) {
        Ok(pidfd) => Ok((child, pidfd)),
        Err(e) => {
            drop(child.kill());
            drop(child.wait());
            Err(e)
        }
    }
}
