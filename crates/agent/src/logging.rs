//! The agent's own log: one line an event to standard error, which the daemon points at the pod's
//! `agent.log`. ttRPC logs through the same facade.

use std::io::Write as _;

use crate::clock;

struct Stderr;

impl log::Log for Stderr {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let at = clock::rfc3339(clock::now_ns());
        let at = String::from_utf8_lossy(&at[..19]);
        let line = format!(
            "{at}Z {:5} {}: {}\n",
            record.level(),
            record.target(),
            record.args()
        );
        // A closed or full standard error must not stop the pod: the line is lost.
        drop(std::io::stderr().write_all(line.as_bytes()));
    }

    fn flush(&self) {}
}

/// Starts logging at `level`.
pub(crate) fn start(level: log::LevelFilter) {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}

/// An error and all its causes, as one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
