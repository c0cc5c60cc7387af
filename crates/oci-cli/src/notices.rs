//! The core's events (what it skipped, what it could not undo) as lines of our log.
//!
//! A subscriber that knows no spans, fields only as text, and one thread.

use std::fmt::{Debug, Write};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::log::{Level, Log};

/// Sends the events of this process to the log from now on.
pub(crate) fn send_to(log: &Arc<Log>) {
    // Somebody else's subscriber cannot be there: this is the program's own main function.
    let _ = tracing::subscriber::set_global_default(Events(Arc::clone(log)));
}

struct Events(Arc<Log>);

fn level(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warning,
        _ => Level::Debug,
    }
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && self.0.wants(level(metadata))
    }

    /// What nobody wants is passed over without being asked about, place by place.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        let levels = [
            (Level::Debug, LevelFilter::TRACE),
            (Level::Warning, LevelFilter::WARN),
        ];
        let wanted = levels.into_iter().find(|(level, _)| self.0.wants(*level));
        Some(wanted.map_or(LevelFilter::ERROR, |(_, filter)| filter))
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0
            .write(level(event.metadata()), &(text.message + &text.fields));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The message, and the fields as ` name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let _ = write!(self.fields, " {}={value}", field.name());
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(self.fields, ": {error}");
            cause = error.source();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Format;

    #[test]
    fn a_warning_is_a_line_of_the_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let log = Arc::new(Log::open(Some(&path), Format::Json, Level::Warning).expect("opens"));
        tracing::subscriber::with_default(Events(log), || {
            tracing::warn!(container = "c1", "unknown system call {}", "x");
            tracing::info!("not asked for");
        });
        let text = std::fs::read_to_string(&path).expect("the log");
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).expect("one line");
        assert_eq!(line["level"], "warning");
        assert_eq!(line["msg"], "unknown system call x container=\"c1\"");
    }
}
