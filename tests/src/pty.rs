//! A program in a terminal of its own, for tests of what a person sees and types.
//!
//! ```text
//! Pty ── master ◄──► slave ── stdin, stdout, stderr of the program, its controlling terminal
//!  └── a thread reads the master: `seen`
//! ```

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

/// A running program and its terminal. Dropping it ends the program.
#[derive(Debug)]
pub struct Pty {
    master: File,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
    /// How much of `seen` was consumed by [`Pty::expect`].
    passed: usize,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(20);

impl Pty {
    /// Starts `program` in a terminal of so many columns and rows. `TERM` is xterm; the variables are
    /// added to the environment.
    pub fn spawn(
        program: &Path,
        words: &[&str],
        variables: &[(&str, &str)],
        columns: u16,
        rows: u16,
    ) -> Pty {
        match Pty::try_spawn(program, words, variables, columns, rows) {
            Ok(pty) => pty,
            Err(error) => panic!(
                "cannot run {} {words:?} in a terminal: {error}",
                program.display()
            ),
        }
    }

    fn try_spawn(
        program: &Path,
        words: &[&str],
        variables: &[(&str, &str)],
        columns: u16,
        rows: u16,
    ) -> std::io::Result<Pty> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        tcsetwinsize(&master, size(columns, rows))?;
        let name = ptsname(&master, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = File::from(rustix::fs::open(name, flags, Mode::empty())?);
        // setsid(1) makes the terminal the controlling one, and then is the program.
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(program)
            .args(words)
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .envs(variables.iter().copied())
            .stdin(Stdio::from(slave.try_clone()?))
            .stdout(Stdio::from(slave.try_clone()?))
            .stderr(Stdio::from(slave))
            .spawn()?;
        let master = File::from(master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut from, to) = (master.try_clone()?, Arc::clone(&seen));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // An error is how a terminal says that nobody has it any more.
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                let mut seen = to.lock().unwrap_or_else(PoisonError::into_inner);
                seen.extend_from_slice(&bytes[..count]);
            }
        });
        Ok(Pty {
            master,
            child,
            seen,
            passed: 0,
            reader: Some(reader),
        })
    }

    /// Everything that was shown so far.
    pub fn seen(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Waits until `text` is shown, after what was expected before; gives what came up to it.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let new = &seen[self.passed..];
            let found = new
                .windows(text.len())
                .position(|window| window == text.as_bytes());
            if let Some(at) = found {
                let end = at + text.len();
                self.passed += end;
                return String::from_utf8_lossy(&new[..end]).into_owned();
            }
            assert!(
                Instant::now() < deadline,
                "{text:?} was not shown; the terminal has:\n{}",
                self.seen()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Types.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.master.write_all(bytes) {
            panic!("cannot type {bytes:?}: {error}");
        }
    }

    /// Gives the terminal another size; the program gets SIGWINCH.
    #[track_caller]
    pub fn resize(&self, columns: u16, rows: u16) {
        if let Err(error) = tcsetwinsize(&self.master, size(columns, rows)) {
            panic!("cannot resize: {error}");
        }
    }

    /// The terminal's modes.
    #[track_caller]
    pub fn modes(&self) -> Termios {
        match tcgetattr(&self.master) {
            Ok(modes) => modes,
            Err(error) => panic!("cannot read the terminal's modes: {error}"),
        }
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for the end of the program: its status and all that it showed.
    #[track_caller]
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    if let Some(reader) = self.reader.take() {
                        let _ = reader.join();
                    }
                    return (status, self.seen());
                }
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                other => panic!("no end ({other:?}); the terminal has:\n{}", self.seen()),
            }
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize {
        ws_col: columns,
        ws_row: rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
