//! A zstd stream, frame by frame, so that a frame's window is known before memory is given to it.
//!
//! ```text
//!  window of the frame      what happens
//!  <= 8 MiB                 decoded at once, by any number of layers side by side
//!  <= 128 MiB               one at a time in this process; the decoder is dropped after the frame
//!  more                     refused (zstd's own tools need --long for these too)
//! ```
//! Who waits for a large window has waited for the layers below before, so that the one who has it
//! never waits for one who wants it.
//!
//! Frame layout and window size: RFC 8878, sections 3.1.1 and 3.1.2.

use std::{
    io::{self, BufRead, Read},
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::pipe::Stop;

/// Windows up to this are everybody's.
const SMALL: u64 = 8 << 20;
const LARGEST_LOG: u32 = 27;
const LARGEST: u64 = 1 << LARGEST_LOG;
const MAGIC: u64 = 0xfd2f_b528;
/// Magic number, descriptor, window, dictionary id and content size at their largest.
const HEADER_MAX: usize = 18;

/// Whether a large window is in use.
static LARGE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// The right to one large window.
#[derive(Debug)]
struct Permit;

impl Permit {
    fn wait(may_go_on: &dyn Fn() -> io::Result<()>) -> io::Result<Self> {
        let (taken, bell) = &LARGE;
        loop {
            may_go_on()?;
            let guard = taken.lock().unwrap_or_else(PoisonError::into_inner);
            let step = Duration::from_millis(50);
            let wait = bell.wait_timeout_while(guard, step, |taken| *taken);
            let (mut taken, time) = wait.unwrap_or_else(PoisonError::into_inner);
            if !time.timed_out() {
                *taken = true;
                return Ok(Self);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let (taken, bell) = &LARGE;
        *taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        bell.notify_one();
    }
}

/// Decodes what `src` holds.
pub(crate) struct Frames<'a, R> {
    src: R,
    /// Asked before a large window is taken, again and again: returns when the layers below are
    /// done, fails when the work is cancelled.
    may_go_on: &'a dyn Fn() -> io::Result<()>,
    /// Bytes of the current frame's header that were taken from `src` and not given to the decoder.
    head: Vec<u8>,
    decoder: Option<Decoder<'static>>,
    permit: Option<Permit>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a frame, or at the end.
    Between,
    /// Within one.
    Inside,
    /// Within one that is to be skipped: so many bytes are left.
    Skipping(u64),
}

impl<'a, R: BufRead> Frames<'a, R> {
    pub(crate) fn new(src: R, may_go_on: &'a dyn Fn() -> io::Result<()>) -> Self {
        Self {
            src,
            may_go_on,
            head: Vec::with_capacity(HEADER_MAX),
            decoder: None,
            permit: None,
            state: State::Between,
        }
    }

    /// Takes bytes until the header has `length`; false at the stream's end.
    fn head(&mut self, length: usize) -> io::Result<bool> {
        while self.head.len() < length {
            let data = self.src.fill_buf()?;
            if data.is_empty() {
                return Ok(false);
            }
            let take = data.len().min(length - self.head.len());
            self.head.extend_from_slice(&data[..take]);
            self.src.consume(take);
        }
        Ok(true)
    }

    /// Reads the next frame's header; false when there is none.
    fn begin(&mut self) -> io::Result<bool> {
        self.head.clear();
        if !self.head(4)? {
            return if self.head.is_empty() {
                Ok(false)
            } else {
                Err(cut())
            };
        }
        let magic = little(&self.head);
        if magic & 0xffff_fff0 == 0x184d_2a50 {
            if !self.head(8)? {
                return Err(cut());
            }
            self.state = State::Skipping(little(&self.head[4..8]));
            self.head.clear();
            return Ok(true);
        }
        if magic != MAGIC {
            return Err(invalid("what follows a zstd frame is none"));
        }
        let window = self.window()?;
        if window > LARGEST {
            let text = format!(
                "its zstd window has {window} bytes, more than {LARGEST}: compress it without --long \
                 and --ultra"
            );
            return Err(io::Error::other(Stop::Limit(text)));
        }
        if window > SMALL {
            self.permit = Some(Permit::wait(self.may_go_on)?);
        }
        if self.decoder.is_none() {
            let mut decoder = Decoder::new()?;
            decoder.set_parameter(DParameter::WindowLogMax(LARGEST_LOG))?;
            self.decoder = Some(decoder);
        }
        self.state = State::Inside;
        Ok(true)
    }

    /// The window that the frame declares; reads its header up to there.
    fn window(&mut self) -> io::Result<u64> {
        if !self.head(5)? {
            return Err(cut());
        }
        let descriptor = self.head[4];
        let single_segment = descriptor & 0x20 != 0;
        if !single_segment {
            if !self.head(6)? {
                return Err(cut());
            }
            let byte = u64::from(self.head[5]);
            let base = 1u64 << (10 + (byte >> 3));
            return Ok(base + base / 8 * (byte & 7));
        }
        // The window is the content.
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size = [1, 2, 4, 8][usize::from(descriptor >> 6)];
        let at = 5 + dictionary;
        if !self.head(at + size)? {
            return Err(cut());
        }
        let content = little(&self.head[at..at + size]);
        Ok(if size == 2 { content + 256 } else { content })
    }

    fn ended(&mut self) {
        self.state = State::Between;
        // A large window goes back at once, with the decoder that holds it.
        if self.permit.is_some() {
            self.decoder = None;
            self.permit = None;
        }
    }

    fn decode(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(decoder) = &mut self.decoder else {
            return Err(invalid("no zstd frame has begun"));
        };
        let mut out = OutBuffer::around(out);
        let mut ended = false;
        while out.pos() == 0 && !ended {
            if !self.head.is_empty() {
                let mut input = InBuffer::around(&self.head);
                ended = decoder.run(&mut input, &mut out)? == 0;
                let taken = input.pos();
                self.head.drain(..taken);
                continue;
            }
            let data = self.src.fill_buf()?;
            let at_end = data.is_empty();
            let mut input = InBuffer::around(data);
            ended = decoder.run(&mut input, &mut out)? == 0;
            let taken = input.pos();
            self.src.consume(taken);
            if at_end && !ended && out.pos() == 0 {
                return Err(cut());
            }
        }
        let made = out.pos();
        if ended {
            self.ended();
        }
        Ok(made)
    }
}

impl<R: BufRead> Read for Frames<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::Between => {
                    if !self.begin()? {
                        return Ok(0);
                    }
                }
                State::Skipping(0) => self.state = State::Between,
                State::Skipping(left) => {
                    let available = self.src.fill_buf()?.len();
                    if available == 0 {
                        return Err(cut());
                    }
                    let take = available.min(usize::try_from(left).unwrap_or(usize::MAX));
                    self.src.consume(take);
                    self.state = State::Skipping(left - take as u64);
                }
                State::Inside => match self.decode(buffer)? {
                    // A frame may be empty.
                    0 => {}
                    length => return Ok(length),
                },
            }
        }
    }
}

fn little(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn cut() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the zstd stream ends within a frame",
    )
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(data: &[u8], window_log: u32, sized: bool) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        if sized {
            encoder
                .set_pledged_src_size(Some(data.len() as u64))
                .unwrap();
            encoder.include_contentsize(true).unwrap();
        }
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn all(stream: &[u8], chunk: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let src = io::BufReader::with_capacity(chunk, stream);
        Frames::new(src, &|| Ok(())).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn frames_follow_one_another_and_skippable_ones_are_skipped() {
        let data: Vec<u8> = (0..300_000u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        let mut stream = Vec::from([0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        stream.extend(packed(&data, 20, true));
        stream.extend(packed(b"", 20, true));
        stream.extend(packed(&data, 25, false));
        stream.extend([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
        let whole = [data.clone(), data].concat();
        for chunk in [1, 7, 4096, 1 << 20] {
            assert!(all(&stream, chunk).unwrap() == whole, "by {chunk} bytes");
        }
    }

    #[test]
    fn a_cut_or_foreign_stream_is_an_error() {
        let stream = packed(&[7; 100_000], 20, true);
        for length in [1, 4, 5, 9, stream.len() / 2, stream.len() - 1] {
            let error = all(&stream[..length], 64).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
        }
        let mut tail = stream;
        tail.extend(b"tail");
        assert_eq!(
            all(&tail, 64).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }

    #[test]
    fn a_window_of_more_than_128_mib_is_refused_before_memory_is_given() {
        // Magic, no content size, window descriptor: 2^28 bytes.
        let stream = [0x28, 0xb5, 0x2f, 0xfd, 0x00, (28 - 10) << 3, 0, 0, 0];
        let error = all(&stream, 64).unwrap_err();
        assert!(matches!(Stop::of(&error), Some(Stop::Limit(_))), "{error}");
        // A single segment that says 1 TiB.
        let mut stream = vec![0x28, 0xb5, 0x2f, 0xfd, 0xe0];
        stream.extend((1u64 << 40).to_le_bytes());
        let error = all(&stream, 64).unwrap_err();
        assert!(matches!(Stop::of(&error), Some(Stop::Limit(_))), "{error}");
    }

    #[test]
    fn large_windows_are_used_one_at_a_time() {
        let data = vec![3u8; 20 << 20];
        let stream = packed(&data, 26, false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| assert!(all(&stream, 1 << 16).unwrap() == data));
            }
        });
        assert!(!*LARGE.0.lock().unwrap(), "the permit came back");
    }
}
