//! When something happened last on a connection.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A client that was not heard of for so long, pings included, is gone.
const SILENT: Duration = Duration::from_secs(60);

/// When something was heard last.
#[derive(Debug)]
pub(super) struct Pulse {
    start: Instant,
    /// Milliseconds since `start`.
    data: AtomicU64,
    heard: AtomicU64,
    /// The socket is not being read.
    blocked: AtomicBool,
}

impl Pulse {
    /// A connection that has just begun.
    pub(super) fn new() -> Pulse {
        Pulse {
            start: Instant::now(),
            data: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Data went, in either direction.
    pub(super) fn data(&self) {
        self.data.store(self.now(), Ordering::Relaxed);
    }

    /// The client was heard of.
    pub(super) fn heard(&self) {
        self.heard.store(self.now(), Ordering::Relaxed);
    }

    /// Says whether the socket is being read; while it is not, a client's silence means nothing.
    pub(super) fn blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
        self.heard();
        self.data();
    }

    /// How long ago data went last.
    pub(super) fn since_data(&self) -> Duration {
        Duration::from_millis(self.now() - self.data.load(Ordering::Relaxed))
    }

    /// Whether the client should have been heard of.
    pub(super) fn is_silent(&self) -> bool {
        let since = self.now() - self.heard.load(Ordering::Relaxed);
        !self.blocked.load(Ordering::Relaxed) && Duration::from_millis(since) >= SILENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_only_while_the_socket_is_read() {
        let mut pulse = Pulse::new();
        assert!(!pulse.is_silent());
        pulse.start = Instant::now() - SILENT;
        assert!(pulse.is_silent() && pulse.since_data() >= SILENT);
        pulse.blocked(true);
        pulse.heard.store(0, Ordering::Relaxed);
        assert!(!pulse.is_silent());
        pulse.blocked(false);
        assert!(!pulse.is_silent());
        assert!(pulse.since_data() < SILENT);
    }
}
