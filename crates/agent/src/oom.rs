//! OOM kills on their way to whoever asks: each service has its own queue, so that a Kata-style client
//! and the daemon each get every event. Events that nobody fetches are kept up to [`KEEP`]; the oldest
//! go first.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Events kept for a client that is not asking.
const KEEP: usize = 100;

/// Kills in one container since the event before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OomEvent {
    pub(crate) container: String,
    /// Relative to the cgroup mount.
    pub(crate) cgroup: String,
    pub(crate) kills: u64,
    pub(crate) at_ns: i64,
}

/// Who fetches events.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reader {
    /// `grpc.AgentService/GetOOMEvent`
    Published,
    /// `coffer.agent.v1.Sandbox/GetOomEvent`
    Own,
}

/// Events not yet fetched.
#[derive(Debug, Default)]
pub(crate) struct OomQueue {
    /// One queue a reader; None once the sandbox is destroyed.
    queues: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    published: VecDeque<OomEvent>,
    own: VecDeque<OomEvent>,
    closed: bool,
}

impl State {
    fn of(&mut self, reader: Reader) -> &mut VecDeque<OomEvent> {
        match reader {
            Reader::Published => &mut self.published,
            Reader::Own => &mut self.own,
        }
    }
}

impl OomQueue {
    pub(crate) fn push(&self, event: &OomEvent) {
        let mut state = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for reader in [Reader::Published, Reader::Own] {
            let queue = state.of(reader);
            if queue.len() == KEEP {
                queue.pop_front();
            }
            queue.push_back(event.clone());
        }
        drop(state);
        self.news.notify_waiters();
    }

    /// Ends all waiting: there will be no more events.
    pub(crate) fn close(&self) {
        self.queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .closed = true;
        self.news.notify_waiters();
    }

    /// Waits for the next event; None after [`OomQueue::close`]. Safe to cancel: an event is taken
    /// only when it is returned.
    pub(crate) async fn next(&self, reader: Reader) -> Option<OomEvent> {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            {
                let mut state = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(event) = state.of(reader).pop_front() {
                    return Some(event);
                }
                if state.closed {
                    return None;
                }
            }
            news.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kills: u64) -> OomEvent {
        OomEvent {
            container: "c".into(),
            cgroup: "/c".into(),
            kills,
            at_ns: 0,
        }
    }

    #[tokio::test]
    async fn each_reader_gets_every_event_in_order_and_then_the_end() {
        let queue = OomQueue::default();
        for kills in 0..150 {
            queue.push(&event(kills));
        }
        for kills in 50..150 {
            assert_eq!(queue.next(Reader::Own).await, Some(event(kills)));
        }
        assert_eq!(queue.next(Reader::Published).await, Some(event(50)));
        let (got, ()) = tokio::join!(queue.next(Reader::Own), async { queue.push(&event(1)) });
        assert_eq!(got, Some(event(1)));
        let (got, ()) = tokio::join!(queue.next(Reader::Own), async { queue.close() });
        assert_eq!(got, None);
    }
}
