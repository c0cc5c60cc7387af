//! Clients with an odd `:authority`.
//!
//! Old gRPC clients send the socket's path ("/run/coffer/coffer.sock", or with %2F) as the
//! `:authority` of a request. That is no authority, and the HTTP/2 library resets such a stream
//! before anybody can look at it. Nothing here uses the value, so this filter, between the socket and
//! the library, writes a harmless one in its place:
//!
//! ```text
//! preface, 24 bytes ───────────────────────────────► as they are
//! frame header, 9 bytes ─┬─ HEADERS: the whole frame ► :authority's value becomes "u"
//!                        └─ any other: its payload ──► as it is
//! ```
//! HPACK (RFC 7541) is not decoded: only lengths are read. The new value is never longer than the
//! old, so the decoder's dynamic table holds at least what the encoder believes it holds, and
//! indexes, which count from the newest entry, keep their meaning. A block that continues in another
//! frame is filtered as far as its first frame goes: pseudo headers come first.

use tokio::io::ReadBuf;

const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// The largest frame that a peer may send unless told otherwise; the library refuses larger ones.
const FRAME_MAX: usize = 16_384;
/// Index of `:authority` in HPACK's static table.
const AUTHORITY: usize = 1;
const AUTHORITY_NAME: &[u8] = b":authority";
/// The same name in HPACK's Huffman code.
const AUTHORITY_HUFFMAN: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];
/// The new value: one byte, as the old one has at least.
const VALUE: &[u8] = &[1, b'u'];

/// The filter of one connection.
#[derive(Debug)]
pub(super) struct Filter {
    state: State,
    /// What of the current unit has come.
    held: Vec<u8>,
    /// What is to be read, from `at` on.
    ready: Vec<u8>,
    at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes go on as they are.
    Pass(usize),
    /// So many bytes make a frame header (9), or a HEADERS frame with its header.
    Hold(usize),
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            state: State::Pass(PREFACE),
            held: Vec::new(),
            ready: Vec::new(),
            at: 0,
        }
    }
}

impl Filter {
    /// Hands out what is ready; false when there is nothing.
    pub(super) fn take(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let length = out.remaining().min(self.ready.len() - self.at);
        if length == 0 {
            return false;
        }
        out.put_slice(&self.ready[self.at..self.at + length]);
        self.at += length;
        if self.at == self.ready.len() {
            // Small again between requests: a connection that idles holds nothing.
            (self.ready, self.at) = (Vec::new(), 0);
        }
        true
    }

    /// How many bytes can go from the socket to the reader directly.
    pub(super) fn passes(&self) -> usize {
        match self.state {
            State::Pass(left) => left,
            State::Hold(_) => 0,
        }
    }

    /// So many bytes went directly.
    pub(super) fn passed(&mut self, bytes: usize) {
        if let State::Pass(left) = self.state {
            self.state = after(left.saturating_sub(bytes));
        }
    }

    /// How many bytes are missing to the current unit.
    pub(super) fn wants(&self) -> usize {
        match self.state {
            State::Pass(_) => 0,
            State::Hold(whole) => whole.saturating_sub(self.held.len()),
        }
    }

    /// Takes bytes of the current unit: no more than [`Filter::wants`].
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        let State::Hold(whole) = self.state else {
            return;
        };
        if self.held.len() < whole {
            return;
        }
        let frame = std::mem::take(&mut self.held);
        if whole > FRAME_HEADER {
            self.ready = rewrite(frame);
            self.state = after(0);
            return;
        }
        let length =
            usize::from(frame[0]) << 16 | usize::from(frame[1]) << 8 | usize::from(frame[2]);
        if frame[3] == HEADERS && (1..=FRAME_MAX).contains(&length) {
            self.held = frame;
            self.state = State::Hold(FRAME_HEADER + length);
        } else {
            self.ready = frame;
            self.state = after(length);
        }
    }

    /// The connection has ended: what is held is handed out as it is. False when there is nothing.
    pub(super) fn finish(&mut self) -> bool {
        self.ready.append(&mut self.held);
        self.at < self.ready.len()
    }
}

fn after(left: usize) -> State {
    if left == 0 {
        State::Hold(FRAME_HEADER)
    } else {
        State::Pass(left)
    }
}

/// A HEADERS frame with `:authority`'s value replaced; as it is where it makes no sense.
fn rewrite(frame: Vec<u8>) -> Vec<u8> {
    let flags = frame[4];
    let mut start = FRAME_HEADER;
    let mut end = frame.len();
    if flags & PADDED != 0 {
        let padding = frame.get(start).map_or(0, |length| usize::from(*length));
        start += 1;
        end = end.saturating_sub(padding);
    }
    if flags & PRIORITY != 0 {
        start += 5;
    }
    let Some(value) = frame.get(start..end).and_then(authority_value) else {
        return frame;
    };
    let value = start + value.start..start + value.end;
    let mut new = Vec::with_capacity(frame.len());
    new.extend_from_slice(&frame[..value.start]);
    new.extend_from_slice(VALUE);
    new.extend_from_slice(&frame[value.end..]);
    let Ok(length) = u32::try_from(new.len() - FRAME_HEADER) else {
        return frame;
    };
    new[..3].copy_from_slice(&length.to_be_bytes()[1..]);
    new
}

/// Where in a header block the value (length and bytes) of the literal `:authority` is; `None` when
/// there is none, or an empty one, or the block ends before it.
fn authority_value(block: &[u8]) -> Option<std::ops::Range<usize>> {
    let mut at = 0;
    loop {
        let first = *block.get(at)?;
        // 1: indexed; 001: table size; 01 (with indexing), 0000, 0001 (without): literals.
        let prefix = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let literal = !matches!(prefix, 7 | 5);
        let (index, next) = integer(block, at, prefix)?;
        at = next;
        if !literal {
            continue;
        }
        let mut is_authority = index == AUTHORITY;
        if index == 0 {
            let (name, next) = string(block, at)?;
            let huffman = block[at] & 0x80 != 0;
            is_authority = name
                == if huffman {
                    AUTHORITY_HUFFMAN
                } else {
                    AUTHORITY_NAME
                };
            at = next;
        }
        let (value, next) = string(block, at)?;
        if is_authority {
            return (!value.is_empty()).then_some(at..next);
        }
        at = next;
    }
}

/// An integer with a prefix of `bits` bits at `at`, and where it ends (RFC 7541, 5.1).
fn integer(block: &[u8], at: usize, bits: u32) -> Option<(usize, usize)> {
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(*block.get(at)?) & mask;
    let mut next = at + 1;
    if value < mask {
        return Some((value, next));
    }
    let mut shift = 0;
    loop {
        let byte = *block.get(next)?;
        next += 1;
        // No length or index of a 16 KiB frame needs more.
        if shift > 14 {
            return None;
        }
        value += usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some((value, next));
        }
    }
}

/// A string's bytes as they are coded, and where it ends (RFC 7541, 5.2).
fn string(block: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (length, start) = integer(block, at, 7)?;
    let end = start.checked_add(length)?;
    Some((block.get(start..end)?, end))
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
