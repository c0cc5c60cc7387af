//! A layer blob, decompressed in its own thread.
//!
//! ```text
//!  producer thread                              the caller's thread
//!  blob -> gunzip / unzstd -> chunk  ==4==>  Pipe: BufRead -> untar
//!       ^   \                                    |   \
//!  progress  ratio, size limits                 /     sha256 of what came out
//!       memory of chunks  <==digests.rs========
//! ```
//! Four chunks of 256 KiB at most are on their way, whatever the layer's size. The digest is taken
//! where there is time: with gzip the producer is the slower side, so the caller's thread hashes;
//! with zstd and plain tar the producer does.

use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use crate::{
    Limits,
    digests::{Chunk, Digests, Stream},
    zstd_frames::Frames,
};

const CHUNKS: usize = 4;
/// What comes later than this is another chunk's.
const PATIENCE: Duration = Duration::from_millis(20);
/// A chunk that is not the last has so many bytes, enough to see how content is packed.
const LEAST: usize = 512;

/// Something that stops a stream and is not the disk's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error("cancelled")]
    Cancelled,
    #[error("{0}")]
    Limit(String),
}

impl Stop {
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// Two reasons to stop: the caller's wish, and the failure of another layer of the same import.
#[derive(Debug)]
pub(crate) struct Cancel<'a> {
    caller: &'a AtomicBool,
    failed: AtomicBool,
}

impl<'a> Cancel<'a> {
    pub(crate) fn new(caller: &'a AtomicBool) -> Self {
        Self {
            caller,
            failed: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.caller.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

/// How content is packed, told by its first bytes: media types in the wild are not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    pub(crate) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame may come first (zstd:chunked, pzstd).
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// Undoes whatever packing `src` has. `may_go_on`: see [`Frames`].
pub(crate) fn unpacked<'a, R: BufRead + 'a>(
    mut src: R,
    may_go_on: &'a dyn Fn() -> io::Result<()>,
) -> io::Result<(Packing, Box<dyn Read + 'a>)> {
    let packing = Packing::of(src.fill_buf()?);
    Ok((
        packing,
        match packing {
            Packing::Plain => Box::new(src),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(src)),
            Packing::Zstd => Box::new(Frames::new(src, may_go_on)),
        },
    ))
}

/// The caller's end of a decompressed layer.
pub(crate) struct Pipe<'a> {
    chunks: Receiver<io::Result<Message>>,
    chunk: Arc<Chunk>,
    at: usize,
    digests: &'a Digests,
    hashed: Option<Stream<'a>>,
    digest: Option<String>,
    cancel: &'a Cancel<'a>,
    /// Called for each chunk that arrives.
    tick: &'a dyn Fn(),
}

#[derive(Debug)]
enum Message {
    /// Here the consumer learns, before any content, whether the digest is its work.
    Start {
        consumer_hashes: bool,
    },
    Chunk(Arc<Chunk>),
    End {
        digest: Option<String>,
    },
}

/// The other end, for the producer thread: see [`Producer::run`].
#[derive(Debug)]
pub(crate) struct Producer<'a> {
    chunks: SyncSender<io::Result<Message>>,
    digests: &'a Digests,
}

/// Both ends.
pub(crate) fn pipe<'a>(
    cancel: &'a Cancel<'a>,
    digests: &'a Digests,
    tick: &'a dyn Fn(),
) -> (Producer<'a>, Pipe<'a>) {
    let (chunks_in, chunks) = sync_channel(CHUNKS);
    let producer = Producer {
        chunks: chunks_in,
        digests,
    };
    let pipe = Pipe {
        chunks,
        chunk: Arc::default(),
        at: 0,
        digests,
        hashed: None,
        digest: None,
        cancel,
        tick,
    };
    (producer, pipe)
}

impl Producer<'_> {
    /// Decompresses `blob` until its end, a limit, or the other end's disappearance. `consumed`
    /// tells how much of the blob is read; `may_go_on`: see [`Frames`]. What follows the packed
    /// content is read too, so that a blob on its way in is whole.
    pub(crate) fn run(
        self,
        blob: impl BufRead,
        limits: &Limits,
        consumed: &AtomicU64,
        may_go_on: &dyn Fn() -> io::Result<()>,
    ) {
        if let Err(error) = self.produce(blob, limits, consumed, may_go_on) {
            // A consumer that has gone needs no error.
            let _ = self.chunks.send(Err(error));
        }
    }

    fn produce(
        &self,
        blob: impl BufRead,
        limits: &Limits,
        consumed: &AtomicU64,
        may_go_on: &dyn Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        let counted = Counted {
            inner: blob,
            left: 0,
            count: consumed,
        };
        let (packing, mut src) = unpacked(counted, may_go_on)?;
        let hashed = (packing != Packing::Gzip).then(|| self.digests.stream());
        if !self.send(Message::Start {
            consumer_hashes: hashed.is_none(),
        }) {
            return Ok(());
        }
        let mut total = 0u64;
        loop {
            let mut memory = self.digests.memory();
            let length = fill(&mut src, &mut memory)?;
            if length == 0 {
                let digest = hashed.map(Stream::finish);
                self.send(Message::End { digest });
                return Ok(());
            }
            total += length as u64;
            check(total, consumed.load(Ordering::Relaxed), packing, limits)?;
            let chunk = self.digests.chunk(memory, length);
            if let Some(hashed) = &hashed {
                hashed.add(&chunk);
                self.digests.work();
            }
            if !self.send(Message::Chunk(chunk)) {
                return Ok(());
            }
        }
    }

    fn send(&self, message: Message) -> bool {
        self.chunks.send(Ok(message)).is_ok()
    }
}

/// Reads until the memory is full or the source at its end, or so slow that who watches it should see it move.
pub(crate) fn fill(src: &mut dyn Read, memory: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    let begun = Instant::now();
    while filled < memory.len() && (filled < LEAST || begun.elapsed() < PATIENCE) {
        match src.read(&mut memory[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn check(out: u64, read: u64, packing: Packing, limits: &Limits) -> io::Result<()> {
    if out > limits.layer_bytes {
        let text = format!("it unpacks to more than {} bytes", limits.layer_bytes);
        return Err(io::Error::other(Stop::Limit(text)));
    }
    let packed = packing != Packing::Plain;
    if packed && out > limits.ratio_free_bytes && out / limits.ratio > read {
        let text = format!(
            "it unpacks to more than {} times its size ({out} bytes out of {read})",
            limits.ratio
        );
        return Err(io::Error::other(Stop::Limit(text)));
    }
    Ok(())
}

impl Pipe<'_> {
    /// Digest of all that came out, once the end was read.
    pub(crate) fn digest(&mut self) -> Option<String> {
        self.digest
            .take()
            .or_else(|| self.hashed.take().map(Stream::finish))
    }

    fn receive(&mut self) -> io::Result<()> {
        if self.cancel.is_set() {
            return Err(io::Error::other(Stop::Cancelled));
        }
        let gone = || io::Error::other("the decompressing thread has ended early");
        match self.chunks.recv().map_err(|_| gone())?? {
            Message::Start { consumer_hashes } => {
                self.hashed = consumer_hashes.then(|| self.digests.stream());
            }
            Message::Chunk(chunk) => {
                if let Some(hashed) = &self.hashed {
                    hashed.add(&chunk);
                    self.digests.work();
                }
                (self.chunk, self.at) = (chunk, 0);
                (self.tick)();
            }
            Message::End { digest } => {
                self.digest = digest.or_else(|| self.hashed.take().map(Stream::finish));
            }
        }
        Ok(())
    }
}

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Pipe<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.chunk.bytes().len() && self.digest.is_none() {
            self.receive()?;
        }
        Ok(&self.chunk.bytes()[self.at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.chunk.bytes().len());
    }
}

/// Counts what is read.
struct Counted<'a, R> {
    inner: R,
    /// Bytes that are counted and not taken yet.
    left: usize,
    count: &'a AtomicU64,
}

impl<R: BufRead> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Counted<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let available = self.inner.fill_buf()?;
        if self.left == 0 {
            self.left = available.len();
            self.count.fetch_add(self.left as u64, Ordering::Relaxed);
        }
        Ok(available)
    }

    fn consume(&mut self, bytes: usize) {
        self.inner.consume(bytes);
        self.left -= bytes;
    }
}

/// `sha256:` and the hex digits.
pub(crate) fn digest_of(hasher: Sha256) -> String {
    format!("sha256:{}", hex::encode(hasher.finalize()))
}
