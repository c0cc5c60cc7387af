//! Our own terminal in raw mode while a container's is relayed, and as it was afterwards.

use std::os::fd::{AsFd, BorrowedFd};

use oci::runtime::ConsoleSize;
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
    /// Makes the terminal on stdin raw, but for line ends, which [`plain_lines`] leaves to it; `None`
    /// if that is no terminal.
    pub(crate) fn enter() -> Option<Self> {
        let stdin = rustix::stdio::stdin();
        let saved = tcgetattr(stdin).ok()?;
        let mut raw = saved.clone();
        raw.make_raw();
        raw.output_modes
            .insert(saved.output_modes & (OutputModes::OPOST | OutputModes::ONLCR));
        tcsetattr(stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self { saved })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.saved);
    }
}

/// Has the container's terminal write `\n` as it is: our own terminal adds the `\r`, and where stdout
/// is a file or a pipe none belongs there.
pub(crate) fn plain_lines(master: impl AsFd) -> std::io::Result<()> {
    let mut modes = tcgetattr(&master)?;
    modes.output_modes.remove(OutputModes::ONLCR);
    Ok(tcsetattr(&master, OptionalActions::Now, &modes)?)
}

/// Gives the container's terminal the size of ours, if we have one.
pub(crate) fn copy_size(master: impl AsFd) {
    if let Some(size) = own_size() {
        let _ = tcsetwinsize(master, size);
    }
}

/// The size of our terminal for a process that is to have one of the same size from its start.
pub(crate) fn console_size() -> Option<ConsoleSize> {
    let size = own_size()?;
    Some(ConsoleSize {
        height: size.ws_row.into(),
        width: size.ws_col.into(),
    })
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
