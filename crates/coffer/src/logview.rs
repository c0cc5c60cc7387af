//! What of a log is shown, and how: times, prefixes, and each line to the stream that it came from.

use crate::{
    error::Error,
    logline::{self, Stream},
    out,
};

/// Bytes that are gathered before they are written.
const ENOUGH: usize = 64 << 10;

/// Lines on their way to standard output and standard error, in order.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    stderr: bool,
    pending: Vec<u8>,
}

impl Sink {
    fn push(&mut self, stream: Stream, parts: &[&[u8]]) -> Result<(), Error> {
        let stderr = stream == Stream::Stderr;
        if stderr != self.stderr || self.pending.len() > ENOUGH {
            self.flush()?;
            self.stderr = stderr;
        }
        for part in parts {
            self.pending.extend_from_slice(part);
        }
        Ok(())
    }

    /// Writes what was gathered.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let written = if self.stderr {
            out::raw_error(&self.pending)
        } else {
            out::raw(&self.pending)
        };
        self.pending.clear();
        written
    }
}

/// How the lines of one container are shown.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// Nothing from before, ns since the epoch.
    pub(crate) since: Option<i64>,
    /// Nothing from after, ns since the epoch.
    pub(crate) until: Option<i64>,
    /// The time in front of each line.
    pub(crate) timestamps: bool,
    /// Which container, where there are several; painted.
    pub(crate) prefix: String,
    /// Whether a line of standard output, of standard error has begun and not ended.
    pub(crate) begun: [bool; 2],
}

impl View {
    /// Hands one entry of the file to `sink`, if it is to be seen. What is not of CRI's form is shown
    /// as it is, on standard error.
    pub(crate) fn show(&mut self, line: &[u8], sink: &mut Sink) -> Result<(), Error> {
        let Some(piece) = logline::parse(line) else {
            return sink.push(Stream::Stderr, &[self.prefix.as_bytes(), line, b"\n"]);
        };
        if self.since.is_some() || self.until.is_some() {
            let time = piece.time_ns();
            let early = self
                .since
                .is_some_and(|since| time.is_some_and(|time| time < since));
            let late = self
                .until
                .is_some_and(|until| time.is_some_and(|time| time > until));
            if early || late {
                return Ok(());
            }
        }
        let begun = &mut self.begun[usize::from(piece.stream == Stream::Stderr)];
        let end: &[u8] = if piece.full { b"\n" } else { b"" };
        let middle = std::mem::replace(begun, !piece.full);
        if middle {
            return sink.push(piece.stream, &[piece.content, end]);
        }
        let (time, gap): (&[u8], &[u8]) = if self.timestamps {
            (piece.time, b" ")
        } else {
            (b"", b"")
        };
        let parts = [self.prefix.as_bytes(), time, gap, piece.content, end];
        sink.push(piece.stream, &parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(view: &mut View, lines: &[&str]) -> String {
        let mut sink = Sink::default();
        for line in lines {
            view.show(line.as_bytes(), &mut sink).unwrap();
        }
        String::from_utf8(std::mem::take(&mut sink.pending)).unwrap()
    }

    const LINES: [&str; 4] = [
        "2026-01-01T00:00:01.5Z stdout F one",
        "2026-01-01T00:00:02Z stdout P tw",
        "2026-01-01T00:00:03Z stdout F o",
        "2026-01-01T01:00:04+01:00 stdout F three",
    ];

    #[test]
    fn pieces_are_one_line_with_one_time_and_one_prefix() {
        let mut view = View {
            timestamps: true,
            prefix: "web | ".to_owned(),
            ..View::default()
        };
        assert_eq!(
            shown(&mut view, &LINES[..3]),
            "web | 2026-01-01T00:00:01.5Z one\nweb | 2026-01-01T00:00:02Z two\n"
        );
    }

    #[test]
    fn since_and_until_bound_what_is_shown() {
        let at = |text| Some(crate::times::rfc3339(text).unwrap());
        let mut view = View {
            since: at("2026-01-01T00:00:02Z"),
            ..View::default()
        };
        assert_eq!(shown(&mut view, &LINES), "two\nthree\n");
        let mut view = View {
            until: at("2026-01-01T00:00:01.5Z"),
            ..View::default()
        };
        assert_eq!(shown(&mut view, &LINES), "one\n");
    }
}
