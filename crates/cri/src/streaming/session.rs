//! What a stream is, whatever protocol carries it.
//!
//! ```text
//!   protocol adapter (websocket/)            Session              what runs (exec.rs, attach.rs)
//!   ───────────────────────────────   ──────────────────────   ─────────────────────────────────
//!   client's bytes ──────────────────► stdin  (its end: closed) ──► process
//!   window sizes ────────────────────► size   (the newest only) ──► terminal
//!   client went away ────────────────► gone                     ──► end what only it wanted
//!   frames  ◄───────────────────────── output (Stdout, Stderr, Exit last) ◄── process
//! ```
//! Each channel holds [`PIECES`] pieces of at most [`PIECE`] bytes: whoever is slow holds the other
//! side up, and never memory. With what an adapter and the agent's calls hold, a client that does not
//! read keeps less than a megabyte of the daemon, and one that sends what nobody reads no more than
//! one message of the largest size beside it.

use tokio::sync::{mpsc, watch};

use bytes::Bytes;

/// Most bytes of one piece of output, and of one read from an agent.
pub(crate) const PIECE: usize = 64 << 10;
/// Pieces that wait in one channel.
pub(crate) const PIECES: usize = 2;

/// Size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub columns: u16,
    pub rows: u16,
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command ended by itself, with this code; for attach, 0: the container's output ended.
    Exited(i32),
    /// Something else came in its way.
    Failed(String),
}

/// What goes to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// The first word: from here on nothing is missed.
    Ready,
    /// Standard output; a terminal's only output.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// The last word.
    Exit(Outcome),
}

/// A stream to a process, as the process's side sees it.
#[derive(Debug)]
pub(crate) struct Session {
    /// What the client types; ends when it closes its standard input, or is gone.
    pub stdin: mpsc::Receiver<Bytes>,
    /// The client's terminal.
    pub size: watch::Receiver<Option<Size>>,
    /// Takes what the process writes. An error means that the client is gone.
    pub output: mpsc::Sender<Output>,
    /// Becomes true when the client is gone, or the daemon ends.
    pub gone: watch::Receiver<bool>,
}

/// The same stream, as a protocol's adapter sees it.
#[derive(Debug)]
pub(crate) struct Remote {
    pub stdin: mpsc::Sender<Bytes>,
    pub size: watch::Sender<Option<Size>>,
    pub output: mpsc::Receiver<Output>,
    pub gone: watch::Sender<bool>,
}

/// Both sides of a stream.
pub(crate) fn pair() -> (Session, Remote) {
    let (to_stdin, stdin) = mpsc::channel(PIECES);
    let (to_size, size) = watch::channel(None);
    let (output, from_output) = mpsc::channel(PIECES);
    let (to_gone, gone) = watch::channel(false);
    (
        Session {
            stdin,
            size,
            output,
            gone,
        },
        Remote {
            stdin: to_stdin,
            size: to_size,
            output: from_output,
            gone: to_gone,
        },
    )
}

/// Resolves when the client is gone.
pub(crate) async fn is_gone(gone: &watch::Receiver<bool>) {
    let mut gone = gone.clone();
    // An adapter that has dropped its side is gone, too.
    let _ = gone.wait_for(|gone| *gone).await;
}
