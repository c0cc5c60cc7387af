//! Streams between a client, in chunks on a bounded channel, and a thread that blocks.

use std::io::{self, Read, Write};

use tokio::sync::mpsc;

use crate::error::Error;

/// The chunks as one stream.
pub(super) struct Chunks {
    chunks: mpsc::Receiver<Result<Vec<u8>, io::Error>>,
    current: Vec<u8>,
    at: usize,
}

impl Chunks {
    /// Reads `chunks` in order; an error among them is the read's own.
    pub(super) fn new(chunks: mpsc::Receiver<Result<Vec<u8>, io::Error>>) -> Chunks {
        Chunks {
            chunks,
            current: Vec::new(),
            at: 0,
        }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            match self.chunks.blocking_recv() {
                Some(chunk) => (self.current, self.at) = (chunk?, 0),
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len() - self.at);
        buffer[..length].copy_from_slice(&self.current[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// Bytes of one chunk to a client.
const CHUNK: usize = 256 << 10;

/// What is written goes to the client in chunks; an error when it is gone.
pub(super) struct Sink {
    chunks: mpsc::Sender<Result<Vec<u8>, Error>>,
    buffer: Vec<u8>,
}

impl Sink {
    /// Writes to `chunks`; follow with [`Sink::flush`].
    pub(super) fn new(chunks: mpsc::Sender<Result<Vec<u8>, Error>>) -> Sink {
        Sink {
            chunks,
            buffer: Vec::new(),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        let length = data.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&data[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.buffer);
        let sent = self.chunks.blocking_send(Ok(chunk));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
