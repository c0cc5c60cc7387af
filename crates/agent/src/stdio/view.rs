//! Views of a container's output: what clients that attach are shown, beside the log file.
//!
//! ```text
//!   pump --push--> | stdout: at most 256 KiB |  --take--> one client, call by call
//!                  | stderr: at most 256 KiB |
//! ```
//! A client that keeps reading gets everything: for it the pump waits at a full buffer, as any program
//! waits at a full pipe. One that takes nothing for [`PATIENCE`] has stalled: until it reads again the
//! oldest output is dropped and counted, and neither the process nor its log waits any more.
//! Buffers exist only while data is in them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::lines::Stream;

/// Most bytes of one stream that wait for the client.
pub(crate) const HELD: usize = 256 * 1024;
/// How long a client may take nothing from a full buffer before it loses output.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);
/// Bytes of one answer unless the client says otherwise, and the most that it may say.
const CHUNK: usize = 64 * 1024;
const MAX: usize = 1024 * 1024;

/// What a client is told at once. Never all empty without `ended`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Bytes lost before these.
    pub(crate) dropped: u64,
    pub(crate) ended: bool,
}

#[derive(Debug, Default)]
struct Buffer {
    out: VecDeque<u8>,
    err: VecDeque<u8>,
    dropped: u64,
    /// Nothing more is pushed.
    ended: bool,
    /// Nobody takes any more.
    closed: bool,
    stalled: bool,
}

/// One client's view.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) id: u64,
    buffer: Mutex<Buffer>,
    /// For the pump: there is room, or nobody needs it.
    room: Condvar,
    /// For the client: there is something to take, or the view is closed.
    news: Notify,
}

impl View {
    fn new(id: u64, ended: bool) -> Self {
        Self {
            id,
            buffer: Mutex::new(Buffer {
                ended,
                ..Buffer::default()
            }),
            room: Condvar::new(),
            news: Notify::new(),
        }
    }

    /// Waits for output, at most `max` bytes (0: [`CHUNK`]); None once the view is closed. Safe to
    /// cancel: what was taken is returned at once.
    pub(crate) async fn take(&self, max: usize) -> Option<Chunk> {
        let max = if max == 0 { CHUNK } else { max.min(MAX) };
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // From here on news is not missed, whatever happens before the await.
            news.as_mut().enable();
            {
                let mut buffer = lock(&self.buffer);
                if buffer.closed {
                    return None;
                }
                if let Some(chunk) = buffer.take(max) {
                    drop(buffer);
                    self.room.notify_one();
                    return Some(chunk);
                }
            }
            news.await;
        }
    }

    /// Resolves once the view is closed.
    pub(crate) async fn closed(&self) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if lock(&self.buffer).closed {
                return;
            }
            news.await;
        }
    }

    /// Adds output; blocks at a full buffer, for [`PATIENCE`] at most.
    fn push(&self, stream: Stream, mut data: &[u8]) {
        let mut buffer = lock(&self.buffer);
        while !data.is_empty() && !buffer.closed {
            let queue = buffer.queue(stream);
            let n = data.len().min(HELD.saturating_sub(queue.len()));
            queue.extend(&data[..n]);
            data = &data[n..];
            self.news.notify_waiters();
            if data.is_empty() {
                return;
            }
            if !buffer.stalled {
                let full = |b: &mut Buffer| b.queue(stream).len() >= HELD && !b.closed;
                let waited = self.room.wait_timeout_while(buffer, PATIENCE, full);
                let waited = waited.unwrap_or_else(PoisonError::into_inner);
                buffer = waited.0;
                buffer.stalled = waited.1.timed_out();
            }
            if buffer.stalled {
                let oldest = data.len().min(HELD);
                buffer.dropped += u64::try_from(oldest).unwrap_or(u64::MAX);
                buffer.queue(stream).drain(..oldest);
            }
        }
    }

    fn end(&self) {
        lock(&self.buffer).ended = true;
        self.news.notify_waiters();
    }

    fn close(&self) {
        let mut buffer = lock(&self.buffer);
        *buffer = Buffer {
            closed: true,
            ..Buffer::default()
        };
        drop(buffer);
        self.room.notify_one();
        self.news.notify_waiters();
    }
}

impl Buffer {
    fn queue(&mut self, stream: Stream) -> &mut VecDeque<u8> {
        match stream {
            Stream::Stdout => &mut self.out,
            Stream::Stderr => &mut self.err,
        }
    }

    /// What there is, at most `max` bytes; None if the client has to wait.
    fn take(&mut self, max: usize) -> Option<Chunk> {
        if self.out.is_empty() && self.err.is_empty() && !self.ended {
            return None;
        }
        // Neither stream may starve the other.
        let of_err = self
            .err
            .len()
            .min(max.saturating_sub(self.out.len()).max(max / 2));
        let of_out = self.out.len().min(max - of_err);
        self.stalled = false;
        let chunk = Chunk {
            stdout: front(&mut self.out, of_out),
            stderr: front(&mut self.err, of_err),
            dropped: std::mem::take(&mut self.dropped),
            ended: false,
        };
        Some(Chunk {
            ended: self.ended && self.out.is_empty() && self.err.is_empty(),
            ..chunk
        })
    }
}

/// Takes the first `n` bytes; an empty queue gives its memory back.
fn front(queue: &mut VecDeque<u8>, n: usize) -> Vec<u8> {
    if n == queue.len() {
        return std::mem::take(queue).into();
    }
    queue.drain(..n).collect()
}

/// The views of one container.
#[derive(Debug, Default)]
pub(crate) struct Views {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: Vec<Arc<View>>,
    last: u64,
    ended: bool,
}

impl Views {
    /// Opens a view of what is pushed from now on; at its end already if the output is.
    pub(crate) fn open(&self) -> Arc<View> {
        let mut state = lock(&self.state);
        state.last += 1;
        let view = Arc::new(View::new(state.last, state.ended));
        state.open.push(Arc::clone(&view));
        view
    }

    /// The open view of that number.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<View>> {
        let state = lock(&self.state);
        state.open.iter().find(|view| view.id == id).cloned()
    }

    /// Closes a view; again changes nothing.
    pub(crate) fn close(&self, id: u64) {
        let mut state = lock(&self.state);
        let Some(at) = state.open.iter().position(|view| view.id == id) else {
            return;
        };
        let view = state.open.swap_remove(at);
        if state.open.is_empty() {
            state.open = Vec::new();
        }
        drop(state);
        view.close();
    }

    /// Closes all views: the container is gone.
    pub(super) fn close_all(&self) {
        let open = std::mem::take(&mut lock(&self.state).open);
        for view in open {
            view.close();
        }
    }

    /// Whether anyone looks.
    pub(super) fn any(&self) -> bool {
        !lock(&self.state).open.is_empty()
    }

    /// Shows output to all.
    pub(super) fn push(&self, stream: Stream, data: &[u8]) {
        let open = lock(&self.state).open.clone();
        for view in open {
            view.push(stream, data);
        }
    }

    /// The output has ended.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        let open = state.open.clone();
        drop(state);
        for view in open {
            view.end();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn now(view: &View, max: usize) -> Option<Chunk> {
        lock(&view.buffer).take(max)
    }

    #[tokio::test]
    async fn a_reader_that_keeps_up_gets_every_byte() {
        let views = Arc::new(Views::default());
        let view = views.open();
        let writer = {
            let views = Arc::clone(&views);
            std::thread::spawn(move || {
                for i in 0..4000u32 {
                    views.push(Stream::Stdout, &[i.to_le_bytes()[0]; 1000]);
                }
                views.end();
            })
        };
        let (mut all, mut dropped) = (Vec::new(), 0);
        loop {
            let chunk = view.take(7000).await.unwrap();
            all.extend(chunk.stdout);
            dropped += chunk.dropped;
            if chunk.ended {
                break;
            }
        }
        writer.join().unwrap();
        assert_eq!((all.len(), dropped), (4_000_000, 0));
        for (i, part) in (0..4000u32).zip(all.chunks(1000)) {
            assert_eq!(part, [i.to_le_bytes()[0]; 1000]);
        }
    }

    #[tokio::test]
    async fn a_reader_that_stalls_holds_the_pump_once_and_is_told_what_it_lost() {
        let views = Views::default();
        let (stalled, other) = (views.open(), views.open());
        let began = Instant::now();
        let mut seen = 0;
        for i in 0..64u8 {
            views.push(Stream::Stdout, &[i; 16 * 1024]);
            seen += other.take(0).await.unwrap().stdout.len();
        }
        assert!(began.elapsed() < PATIENCE * 5, "{:?}", began.elapsed());
        assert_eq!(seen, 64 * 16 * 1024);
        let chunk = now(&stalled, MAX).unwrap();
        assert_eq!(chunk.dropped, 1024 * 1024 - 256 * 1024);
        assert_eq!(chunk.stdout.len(), HELD);
        // The newest is kept, in order.
        assert_eq!((chunk.stdout[0], chunk.stdout[HELD - 1]), (48, 63));
        views.push(Stream::Stderr, b"again");
        let chunk = now(&stalled, MAX).unwrap();
        assert_eq!((chunk.stderr, chunk.dropped), (b"again".to_vec(), 0));
    }

    #[tokio::test]
    async fn streams_share_an_answer_and_the_end_comes_last() {
        let views = Views::default();
        let view = views.open();
        views.push(Stream::Stdout, &[1; 1000]);
        views.push(Stream::Stderr, &[2; 1000]);
        let chunk = view.take(500).await.unwrap();
        assert_eq!((chunk.stdout.len(), chunk.stderr.len()), (250, 250));
        views.end();
        let chunk = view.take(0).await.unwrap();
        assert_eq!((chunk.stdout.len(), chunk.stderr.len()), (750, 750));
        assert!(chunk.ended);
        assert!(view.take(0).await.unwrap().ended);
        assert!(views.open().take(0).await.unwrap().ended, "a late view");
    }

    #[tokio::test]
    async fn a_closed_view_ends_its_reader_and_frees_the_pump() {
        let views = Arc::new(Views::default());
        let view = views.open();
        let reader = {
            let view = Arc::clone(&view);
            tokio::spawn(async move { view.take(0).await })
        };
        tokio::task::yield_now().await;
        views.close(view.id);
        views.close(view.id);
        assert_eq!(reader.await.unwrap(), None);
        view.closed().await;
        assert!(!views.any() && views.get(view.id).is_none());
        let began = Instant::now();
        view.push(Stream::Stdout, &vec![0; 2 * HELD]);
        assert!(began.elapsed() < PATIENCE);
    }
}
