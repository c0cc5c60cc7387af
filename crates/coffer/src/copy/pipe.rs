//! Bytes between a task and a thread that reads or writes them the blocking way.

use std::io::{self, Read, Write};

use tokio::sync::mpsc;

/// Bytes of one piece.
pub(super) const PIECE: usize = 256 << 10;
const WAITING: usize = 4;

/// Both ends.
pub(crate) fn pipe() -> (Writer, Reader) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let writer = Writer {
        sender,
        buffer: Vec::with_capacity(PIECE),
    };
    let reader = Reader {
        receiver,
        piece: Vec::new(),
        at: 0,
    };
    (writer, reader)
}

/// The end that is written to: from a thread by [`Write`], from a task by [`Writer::send`]. What
/// [`Write`] has buffered goes with a flush.
#[derive(Debug)]
pub(crate) struct Writer {
    sender: mpsc::Sender<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Writer {
    /// Passes a piece on; false when nobody reads any more.
    pub(crate) async fn send(&self, piece: Vec<u8>) -> bool {
        self.sender.send(piece).await.is_ok()
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        if self.buffer.len() == PIECE {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.sender
            .blocking_send(full)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The end that is read: from a thread by [`Read`], from a task by [`Reader::next`].
#[derive(Debug)]
pub(crate) struct Reader {
    receiver: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Reader {
    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        self.receiver.recv().await
    }

    /// The pieces as a stream.
    pub(crate) fn pieces(self) -> tokio_stream::wrappers::ReceiverStream<Vec<u8>> {
        self.receiver.into()
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let Some(piece) = self.receiver.blocking_recv() else {
                return Ok(0);
            };
            (self.piece, self.at) = (piece, 0);
        }
        let rest = &self.piece[self.at..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let (mut writer, mut reader) = pipe();
        let all: Vec<u8> = (0..=250).cycle().take(3 * PIECE + 7).collect();
        let sent = all.clone();
        let thread = std::thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.flush().unwrap();
        });
        let mut came = Vec::new();
        reader.read_to_end(&mut came).unwrap();
        thread.join().unwrap();
        assert!(came == all);
    }

    #[test]
    fn a_reader_that_has_gone_is_noticed() {
        let (mut writer, reader) = pipe();
        drop(reader);
        let error = writer.write_all(&vec![0; PIECE]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
