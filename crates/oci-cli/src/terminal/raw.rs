//! Our own terminal in raw mode while a container's is relayed, and as it was afterwards.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::termios::{
    OptionalActions, OutputModes, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};

/// Restores the terminal on stdin when dropped.
#[derive(Debug)]
pub(crate) struct RawMode {
    saved: Termios,
}

impl RawMode {
    /// Makes the terminal on stdin raw; `None` if that is no terminal.
    pub(crate) fn enter() -> Option<Self> {
        let stdin = rustix::stdio::stdin();
        let saved = tcgetattr(stdin).ok()?;
        let mut raw = saved.clone();
        raw.make_raw();
        // Line ends are ours to expand: the container's terminal does not, see `plain_newlines`.
        raw.output_modes |= OutputModes::OPOST;
        tcsetattr(stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self { saved })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.saved);
    }
}

/// Keeps the container's terminal from turning `\n` into `\r\n`: our own does it, and a pipe wants
/// none.
pub(crate) fn plain_newlines(master: impl AsFd) {
    if let Ok(mut modes) = tcgetattr(&master) {
        modes.output_modes.remove(OutputModes::ONLCR);
        let _ = tcsetattr(&master, OptionalActions::Now, &modes);
    }
}

/// Gives the container's terminal the size of ours, if we have one.
pub(crate) fn copy_size(master: impl AsFd) {
    if let Some(size) = own_size() {
        let _ = tcsetwinsize(master, size);
    }
}

fn own_size() -> Option<Winsize> {
    let streams: [BorrowedFd<'static>; 3] = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    let terminal = streams.into_iter().find(|stream| isatty(stream))?;
    tcgetwinsize(terminal).ok()
}
