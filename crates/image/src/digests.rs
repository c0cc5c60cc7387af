//! SHA-256 of several streams, two at a time.
//!
//! ```text
//!  blob 1  ──► chunk chunk ─┐
//!  blob 2  ──► chunk ───────┤   whoever comes to work takes the first chunks of two streams
//!  layer 1 ──► chunk ───────┤   and hashes them in one go: sys::sha256
//!  layer 2 ──► chunk chunk ─┘
//! ```
//! A processor's SHA-256 instructions wait for each other within a message, so that a second one
//! beside it costs little; and a pull has many streams: what is packed and what comes out, of each
//! layer. Chunks are shared, not copied, with those who go on to use them. A stream lets [`WAITING`]
//! chunks wait for another stream's, then they are hashed alone.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::block_api::compress256;
use sys::sha256::{Block, compress_two};

use crate::store::lock;

/// Chunks of one stream that wait for company.
const WAITING: usize = 3;
const BLOCK: usize = size_of::<Block>();

/// Bytes that are handed on at a time.
pub(crate) const CHUNK: usize = 256 << 10;

/// Bytes that several read.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    memory: Vec<u8>,
    length: usize,
    home: Home,
}

/// Memory of chunks that nobody reads any more, for the next ones.
type Home = Arc<Mutex<Vec<Vec<u8>>>>;

impl Chunk {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        lock(&self.home).push(std::mem::take(&mut self.memory));
    }
}

/// Streams that are hashed together.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    home: Home,
    lanes: Mutex<Vec<Lane>>,
    /// Somebody has put a state back.
    bell: Condvar,
    next: AtomicU64,
}

#[derive(Debug)]
struct Lane {
    id: u64,
    /// `None` while somebody is at it.
    state: Option<State>,
    /// What is to be hashed; of the first, from `at` on.
    chunks: VecDeque<Arc<Chunk>>,
    at: usize,
}

/// A stream of bytes whose digest is wanted.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    all: &'a Digests,
    id: u64,
}

/// The first chunk of a lane, and the state that it goes into.
struct Taken {
    id: u64,
    state: State,
    chunk: Arc<Chunk>,
    at: usize,
}

impl Digests {
    /// Memory for a chunk, [`CHUNK`] bytes with any content.
    pub(crate) fn memory(&self) -> Vec<u8> {
        let known = lock(&self.home).pop();
        known.unwrap_or_else(|| vec![0; CHUNK])
    }

    /// The first `length` bytes, to be shared; the memory comes back when nobody reads them any more.
    pub(crate) fn chunk(&self, memory: Vec<u8>, length: usize) -> Arc<Chunk> {
        Arc::new(Chunk {
            memory,
            length,
            home: self.home.clone(),
        })
    }

    pub(crate) fn stream(&self) -> Stream<'_> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.lanes).push(Lane {
            id,
            state: Some(State::new()),
            chunks: VecDeque::new(),
            at: 0,
        });
        Stream { all: self, id }
    }

    /// Hashes as long as two streams have something.
    pub(crate) fn work(&self) {
        loop {
            let mut lanes = lock(&self.lanes);
            let mut ready = lanes.iter_mut().filter(|lane| lane.is_ready());
            let (Some(one), Some(other)) = (ready.next(), ready.next()) else {
                return;
            };
            let (Some(one), Some(other)) = (one.take(), other.take()) else {
                return;
            };
            drop(lanes);
            self.hash(one, Some(other));
        }
    }

    fn hash(&self, mut one: Taken, other: Option<Taken>) {
        let Some(mut other) = other else {
            one.state.update(&one.chunk.bytes()[one.at..]);
            one.at = one.chunk.bytes().len();
            return self.put_back([one]);
        };
        let bytes = [
            &one.chunk.bytes()[one.at..],
            &other.chunk.bytes()[other.at..],
        ];
        let [first, second] = update_two([&mut one.state, &mut other.state], bytes);
        one.at += first;
        other.at += second;
        self.put_back([one, other]);
    }

    fn put_back<const N: usize>(&self, taken: [Taken; N]) {
        // Their last users' end gives chunks back: not under the lock.
        let mut read = Vec::with_capacity(N);
        let mut lanes = lock(&self.lanes);
        for one in taken {
            // Its stream may have gone meanwhile.
            let Some(lane) = lanes.iter_mut().find(|lane| lane.id == one.id) else {
                continue;
            };
            lane.state = Some(one.state);
            lane.at = one.at;
            if one.at == one.chunk.bytes().len() {
                lane.at = 0;
                read.push((lane.chunks.pop_front(), one.chunk));
            }
        }
        drop(lanes);
        self.bell.notify_all();
    }
}

impl Lane {
    fn is_ready(&self) -> bool {
        self.state.is_some() && !self.chunks.is_empty()
    }

    fn take(&mut self) -> Option<Taken> {
        let chunk = self.chunks.front()?.clone();
        Some(Taken {
            id: self.id,
            state: self.state.take()?,
            chunk,
            at: self.at,
        })
    }
}

impl Stream<'_> {
    /// The next bytes. Hashes only where too many wait already.
    pub(crate) fn add(&self, chunk: &Arc<Chunk>) {
        if !chunk.bytes().is_empty() {
            let mut lanes = lock(&self.all.lanes);
            if let Some(lane) = lanes.iter_mut().find(|lane| lane.id == self.id) {
                lane.chunks.push_back(chunk.clone());
            }
        }
        self.reduce(WAITING);
    }

    /// `sha256:` and the hex digits of all that was added.
    pub(crate) fn finish(self) -> String {
        self.reduce(0);
        let mut lanes = lock(&self.all.lanes);
        let lane = lanes.iter_mut().find(|lane| lane.id == self.id);
        let state = lane.and_then(|lane| lane.state.take());
        drop(lanes);
        let digest = state.unwrap_or_else(State::new).finish();
        format!("sha256:{}", hex::encode(digest))
    }

    /// Hashes, in company where there is some, until not more than `most` chunks wait.
    fn reduce(&self, most: usize) {
        loop {
            let mut lanes = lock(&self.all.lanes);
            let Some(at) = lanes.iter().position(|lane| lane.id == self.id) else {
                return;
            };
            if lanes[at].chunks.len() <= most {
                return;
            }
            let Some(own) = lanes[at].take() else {
                let lanes = self.all.bell.wait(lanes);
                drop(lanes.unwrap_or_else(PoisonError::into_inner));
                continue;
            };
            let mut others = lanes.iter_mut().filter(|lane| lane.is_ready());
            let other = others.next().and_then(Lane::take);
            drop(lanes);
            self.all.hash(own, other);
        }
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        let mut lanes = lock(&self.all.lanes);
        let at = lanes.iter().position(|lane| lane.id == self.id);
        let gone = at.map(|at| lanes.swap_remove(at));
        drop(lanes);
        drop(gone);
    }
}

/// SHA-256 on its way (FIPS 180-4, section 6.2).
#[derive(Debug, Clone)]
struct State {
    words: [u32; 8],
    /// Bytes so far.
    bytes: u64,
    /// The last of them, less than a block.
    tail: Block,
}

impl State {
    fn new() -> Self {
        Self {
            words: [
                0x6a09_e667,
                0xbb67_ae85,
                0x3c6e_f372,
                0xa54f_f53a,
                0x510e_527f,
                0x9b05_688c,
                0x1f83_d9ab,
                0x5be0_cd19,
            ],
            bytes: 0,
            tail: [0; BLOCK],
        }
    }

    /// Bytes in `tail`.
    fn held(&self) -> usize {
        // The lowest byte decides.
        usize::from(self.bytes.to_le_bytes()[0]) % BLOCK
    }

    /// Completes the block that was begun; what is left then.
    fn complete<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let held = self.held();
        if held == 0 {
            return bytes;
        }
        let (now, rest) = bytes.split_at(bytes.len().min(BLOCK - held));
        self.tail[held..held + now.len()].copy_from_slice(now);
        self.bytes += now.len() as u64;
        if held + now.len() == BLOCK {
            compress256(&mut self.words, &[self.tail]);
        }
        rest
    }

    /// Keeps less than a block.
    fn keep(&mut self, bytes: &[u8]) {
        self.tail[..bytes.len()].copy_from_slice(bytes);
        self.bytes += bytes.len() as u64;
    }

    fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = self.complete(bytes).as_chunks();
        compress256(&mut self.words, blocks);
        self.bytes += (blocks.len() * BLOCK) as u64;
        if !rest.is_empty() {
            self.keep(rest);
        }
    }

    fn finish(mut self) -> [u8; 32] {
        let (bits, held) = (self.bytes.wrapping_mul(8), self.held());
        let zeros = (2 * BLOCK - 8 - 1 - held) % BLOCK;
        let mut end = vec![0x80];
        end.resize(1 + zeros, 0);
        end.extend(bits.to_be_bytes());
        self.update(&end);
        let mut digest = [0; 32];
        for (four, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(self.words) {
            *four = word.to_be_bytes();
        }
        digest
    }
}

/// Hashes until one of the two is at its end; how much of each is hashed then.
fn update_two(states: [&mut State; 2], bytes: [&[u8]; 2]) -> [usize; 2] {
    let [one, other] = states;
    let rests = [one.complete(bytes[0]), other.complete(bytes[1])];
    let (blocks, tails): ([&[Block]; 2], [&[u8]; 2]) = {
        let [(a, a_tail), (b, b_tail)] = rests.map(<[u8]>::as_chunks);
        ([a, b], [a_tail, b_tail])
    };
    let both = blocks[0].len().min(blocks[1].len());
    if compress_two([&mut one.words, &mut other.words], blocks).is_none() {
        compress256(&mut one.words, &blocks[0][..both]);
        compress256(&mut other.words, &blocks[1][..both]);
    }
    let mut used = [0; 2];
    for (at, state) in [one, other].into_iter().enumerate() {
        state.bytes += (both * BLOCK) as u64;
        used[at] = bytes[at].len() - rests[at].len() + both * BLOCK;
        if both == blocks[at].len() && !tails[at].is_empty() {
            state.keep(tails[at]);
            used[at] += tails[at].len();
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn expected(bytes: &[u8]) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
    }

    fn content(length: usize, seed: usize) -> Vec<u8> {
        (0..length)
            .map(|at| ((at * 7 + seed) ^ (at >> 8)).to_le_bytes()[0])
            .collect()
    }

    #[test]
    fn a_digest_is_that_of_the_library_whatever_the_length() {
        for length in (0..300).chain([4095, 4096, 65_537]) {
            let bytes = content(length, length);
            for split in [0, 1, 63, 64, 65, 200] {
                let mut state = State::new();
                let (first, second) = bytes.split_at(split.min(length));
                state.update(first);
                state.update(second);
                assert_eq!(
                    format!("sha256:{}", hex::encode(state.finish())),
                    expected(&bytes),
                    "{length} bytes, the first {split} at once"
                );
            }
        }
    }

    #[test]
    fn two_streams_of_any_lengths_do_not_mix() {
        let lengths = [0, 1, 63, 64, 65, 127, 128, 129, 1000, 4096, 10_007];
        for (one, other) in lengths.iter().flat_map(|a| lengths.map(|b| (*a, b))) {
            for piece in [1, 61, 64, 1000] {
                // A byte each is slow; its cases are the short ones.
                if piece == 1 && one + other > 300 {
                    continue;
                }
                let digests = Digests::default();
                let streams = [digests.stream(), digests.stream()];
                let contents = [content(one, 3), content(other, 5)];
                let mut pieces = contents.each_ref().map(|bytes| bytes.chunks(piece));
                loop {
                    let mut any = false;
                    for (stream, pieces) in streams.iter().zip(&mut pieces) {
                        if let Some(next) = pieces.next() {
                            stream.add(&digests.chunk(next.to_vec(), next.len()));
                            any = true;
                        }
                    }
                    if !any {
                        break;
                    }
                    digests.work();
                }
                for (stream, bytes) in streams.into_iter().zip(&contents) {
                    assert_eq!(stream.finish(), expected(bytes), "{one} {other} by {piece}");
                }
            }
        }
    }

    #[test]
    fn many_threads_hash_each_others_chunks() {
        let digests = Digests::default();
        std::thread::scope(|scope| {
            for number in 0..6 {
                let digests = &digests;
                scope.spawn(move || {
                    let bytes = content(3_000_000 + number * 12_345, number);
                    let stream = digests.stream();
                    // Gone before its end: nobody may wait for it.
                    let left = digests.stream();
                    for piece in bytes.chunks(40_000 + number * 7) {
                        let chunk = digests.chunk(piece.to_vec(), piece.len());
                        stream.add(&chunk);
                        left.add(&chunk);
                        digests.work();
                    }
                    drop(left);
                    assert_eq!(stream.finish(), expected(&bytes));
                });
            }
        });
        assert!(lock(&digests.lanes).is_empty());
    }

    #[test]
    fn memory_of_what_nobody_reads_is_used_again() {
        let digests = Digests::default();
        let stream = digests.stream();
        let chunk = digests.chunk(b"content and more".to_vec(), 7);
        stream.add(&chunk);
        assert_eq!(stream.finish(), expected(b"content"));
        assert_eq!(digests.memory(), vec![0; CHUNK]);
        drop(chunk);
        assert_eq!(digests.memory(), b"content and more");
    }
}
