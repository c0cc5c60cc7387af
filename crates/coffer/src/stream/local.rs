//! Our own standard streams, read and written by threads: a reader or writer that hangs must hold
//! up neither the other direction nor the end of this program.

use std::io::{self, Read, Write};

use tokio::sync::{mpsc, oneshot};

use crate::error::Error;

/// Bytes of one read.
const CHUNK: usize = 32 << 10;
/// Pieces that wait to be sent or written.
const WAITING: usize = 16;

/// Standard input, piece by piece; the channel ends with the input. The thread is never waited for:
/// a read from a terminal has no end.
pub(super) fn input() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut buffer = vec![0; CHUNK];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody else that has this terminal or pipe made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    use rustix::event::{PollFd, PollFlags, poll};
                    let stdin = io::stdin();
                    let _ = poll(&mut [PollFd::new(&stdin, PollFlags::IN)], None);
                }
                Err(_) => return,
            }
        }
    });
    receiver
}

/// One of our output streams.
#[derive(Debug)]
pub(super) struct Output {
    pieces: Option<mpsc::Sender<Vec<u8>>>,
    done: Option<oneshot::Receiver<io::Result<()>>>,
}

impl Output {
    /// Writes to standard output.
    pub(super) fn stdout() -> Output {
        Output::to(io::stdout())
    }

    /// Writes to standard error.
    pub(super) fn stderr() -> Output {
        Output::to(io::stderr())
    }

    fn to(mut stream: impl Write + Send + 'static) -> Output {
        let (sender, mut pieces) = mpsc::channel::<Vec<u8>>(WAITING);
        let (result, done) = oneshot::channel();
        std::thread::spawn(move || {
            let mut all = Ok(());
            while let Some(piece) = pieces.blocking_recv() {
                all = stream.write_all(&piece).and_then(|()| stream.flush());
                if all.is_err() {
                    break;
                }
            }
            drop(pieces);
            let _ = result.send(all);
        });
        Output {
            pieces: Some(sender),
            done: Some(done),
        }
    }

    /// Hands `piece` on, when there is room.
    ///
    /// # Errors
    /// [`Error::Closed`] when the reader has gone, [`Error::Io`].
    pub(super) async fn write(&mut self, piece: Vec<u8>) -> Result<(), Error> {
        let gone = match &self.pieces {
            Some(pieces) => pieces.send(piece).await.is_err(),
            None => true,
        };
        if gone { self.finish().await } else { Ok(()) }
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// As [`Output::write`].
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        self.pieces = None;
        let Some(done) = self.done.take() else {
            return Ok(());
        };
        match done.await {
            Ok(Err(source)) => Err(failed(source)),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }
}

fn failed(source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::BrokenPipe {
        Error::Closed
    } else {
        Error::Io {
            what: "write to standard output".to_owned(),
            source,
        }
    }
}
