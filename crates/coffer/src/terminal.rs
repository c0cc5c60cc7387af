//! The terminal that a person sits at: its size, and raw mode while a program in a container has it.
//!
//! ```text
//! cooked ── Raw::enter ──► raw      every byte goes to the program: Ctrl-C is 0x03, no signal
//!    ▲                      │
//!    └───────── drop ───────┘       on every way out: return, error, panic, a signal that was caught
//! ```

use std::os::fd::AsFd;

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::error::Error;

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: u16,
    pub(crate) rows: u16,
}

/// Whether standard input is a terminal.
pub(crate) fn at_stdin() -> bool {
    isatty(std::io::stdin())
}

/// Whether standard output is a terminal.
pub(crate) fn at_stdout() -> bool {
    isatty(std::io::stdout())
}

/// The size of the terminal that is standard output, else of that which is standard input; `None`
/// where neither is one, or it has no size yet.
pub(crate) fn size() -> Option<Size> {
    let (stdout, stdin) = (std::io::stdout(), std::io::stdin());
    [stdout.as_fd(), stdin.as_fd()]
        .into_iter()
        .filter(|fd| isatty(fd))
        .filter_map(|fd| tcgetwinsize(fd).ok())
        .map(|size| Size {
            columns: size.ws_col,
            rows: size.ws_row,
        })
        .find(|size| size.columns > 0 && size.rows > 0)
}

/// What programs should take the terminal for; `xterm` where nobody says.
pub(crate) fn kind() -> String {
    std::env::var("TERM")
        .ok()
        .filter(|kind| !kind.is_empty())
        .unwrap_or_else(|| "xterm".to_owned())
}

/// Standard input in raw mode, until this is dropped.
#[derive(Debug)]
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Makes standard input, which must be a terminal, raw.
    ///
    /// # Errors
    /// [`Error::Io`] if the kernel refuses.
    pub(crate) fn enter() -> Result<Raw, Error> {
        let failed = |errno: rustix::io::Errno| Error::Io {
            what: "switch the terminal to raw mode".to_owned(),
            source: errno.into(),
        };
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Flush, &raw).map_err(failed)?;
        Ok(Raw { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Drain: what the program wrote last is shown as it meant it.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.before);
    }
}
