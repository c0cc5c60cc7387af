//! The CRI log format:
//!
//! ```text
//! 2026-01-02T03:04:05.000000006Z stdout F a whole line
//! 2026-01-02T03:04:05.000000007Z stderr P a part: the line goes on in the next record of this stream
//! ```
//! A line longer than [`PART`] is cut into parts of that size, the last one tagged `F`. What a stream
//! leaves unterminated at its end is a part too: readers then add no newline that was never written.
//! Bytes are passed through as they are.

use crate::clock::RFC3339_LEN;

/// Longest content of one record, bytes.
pub(crate) const PART: usize = 16 * 1024;
/// Length of what a record begins with: time, stream and tag.
const HEAD: usize = RFC3339_LEN + " stdout F ".len();

/// Which stream a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// Whether a record ends its line.
#[derive(Debug, Clone, Copy)]
enum Tag {
    Full,
    Part,
}

/// Turns one stream's bytes into records.
#[derive(Debug)]
pub(crate) struct Lines {
    stream: Stream,
    /// Begun and not ended: at most [`PART`] bytes.
    partial: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            partial: Vec::new(),
        }
    }

    pub(crate) fn stream(&self) -> Stream {
        self.stream
    }

    /// Appends the records that `data` completes to `out`.
    pub(crate) fn push(&mut self, mut data: &[u8], at: &[u8; RFC3339_LEN], out: &mut Vec<u8>) {
        let whole = self.head(Tag::Full, at);
        while let Some(end) = memchr::memchr(b'\n', data) {
            let (line, rest) = data.split_at(end + 1);
            data = rest;
            // Most lines: one that came whole brings the record's newline along.
            if self.partial.is_empty() && end <= PART {
                out.extend_from_slice(&whole);
                out.extend_from_slice(line);
                continue;
            }
            let tail = self.parts(&line[..end], at, out);
            self.record(Tag::Full, tail, at, out);
        }
        let tail = self.parts(data, at, out);
        self.partial.extend_from_slice(tail);
    }

    /// Appends what is begun and not ended as a part.
    pub(crate) fn flush(&mut self, at: &[u8; RFC3339_LEN], out: &mut Vec<u8>) {
        if !self.partial.is_empty() {
            self.record(Tag::Part, &[], at, out);
            self.partial = Vec::new();
        }
    }

    /// Emits parts while what is begun and `data` together are longer than one; returns the rest of
    /// `data`.
    fn parts<'a>(
        &mut self,
        mut data: &'a [u8],
        at: &[u8; RFC3339_LEN],
        out: &mut Vec<u8>,
    ) -> &'a [u8] {
        while self.partial.len() + data.len() > PART {
            let (head, rest) = data.split_at(PART - self.partial.len());
            self.record(Tag::Part, head, at, out);
            data = rest;
        }
        data
    }

    /// Emits what is begun, followed by `tail`, as one record; nothing is begun afterwards.
    fn record(&mut self, tag: Tag, tail: &[u8], at: &[u8; RFC3339_LEN], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head(tag, at));
        out.extend_from_slice(&self.partial);
        out.extend_from_slice(tail);
        out.push(b'\n');
        self.partial.clear();
    }

    /// What a record begins with.
    fn head(&self, tag: Tag, at: &[u8; RFC3339_LEN]) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..RFC3339_LEN].copy_from_slice(at);
        head[RFC3339_LEN..].copy_from_slice(match (self.stream, tag) {
            (Stream::Stdout, Tag::Full) => b" stdout F ",
            (Stream::Stdout, Tag::Part) => b" stdout P ",
            (Stream::Stderr, Tag::Full) => b" stderr F ",
            (Stream::Stderr, Tag::Part) => b" stderr P ",
        });
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::rfc3339;

    fn records(pushes: &[&[u8]]) -> Vec<(u8, Vec<u8>)> {
        let (at, mut out) = (rfc3339(0), Vec::new());
        let mut lines = Lines::new(Stream::Stdout);
        for data in pushes {
            lines.push(data, &at, &mut out);
        }
        lines.flush(&at, &mut out);
        let head = RFC3339_LEN + " stdout ".len();
        out.strip_suffix(b"\n").map_or(Vec::new(), |out| {
            out.split(|b| *b == b'\n')
                .map(|r| (r[head], r[head + 2..].to_vec()))
                .collect()
        })
    }

    #[test]
    fn a_line_may_arrive_in_pieces() {
        assert_eq!(
            records(&[b"a", b"b\nc\n", b"\nd"]),
            [
                (b'F', b"ab".to_vec()),
                (b'F', b"c".to_vec()),
                (b'F', vec![]),
                (b'P', b"d".to_vec())
            ]
        );
        assert_eq!(records(&[b""]), []);
    }

    #[test]
    fn long_lines_are_cut_at_the_same_places_however_they_arrive() {
        let mut text: Vec<u8> = (0..40_000u32)
            .map(|i| b'a' + u8::try_from(i % 26).unwrap())
            .collect();
        text[20] = 0xff;
        text.push(b'\n');
        let whole = records(&[&text]);
        assert_eq!(
            whole.iter().map(|r| (r.0, r.1.len())).collect::<Vec<_>>(),
            [(b'P', PART), (b'P', PART), (b'F', 40_000 - 2 * PART)]
        );
        for piece in [1, 7, 16_383, 16_384, 16_385, 30_000] {
            assert_eq!(
                records(&text.chunks(piece).collect::<Vec<_>>()),
                whole,
                "{piece}"
            );
        }
        let joined: Vec<u8> = whole.iter().flat_map(|r| r.1.clone()).collect();
        assert_eq!(joined, text[..40_000]);
    }

    #[test]
    fn a_line_of_exactly_one_part_is_whole() {
        let mut text = vec![b'x'; PART];
        text.push(b'\n');
        assert_eq!(records(&[&text]), [(b'F', text[..PART].to_vec())]);
    }
}
