//! Where messages go: `--log`, `--log-format`, `--debug`.
//!
//! The file gets one line a message, in the forms that callers of runc parse (podman's conmon reads
//! the last JSON line to tell its user what went wrong):
//!
//! ```text
//!  json   {"level":"error","msg":"…","time":"2026-01-02T03:04:05Z"}
//!  text   time="2026-01-02T03:04:05Z" level=error msg="…"
//! ```
//! Without `--log` they go to stderr, in JSON or as plain text for people; what `--debug` adds is text of
//! the second form there, too. An error that ends a
//! command goes to stderr in any case.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;

use crate::error::Error;
use crate::time;

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Debug,
    #[default]
    Warning,
    Error,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The log of one command.
#[derive(Debug, Default)]
pub(crate) struct Log {
    file: Option<File>,
    format: Format,
    least: Level,
}

#[derive(Serialize)]
struct Line<'a> {
    level: &'a str,
    msg: &'a str,
    time: &'a str,
}

fn keys_and_values(time: &str, level: Level, message: &str) -> String {
    format!("time=\"{time}\" level={} msg={message:?}", level.as_str())
}

impl Log {
    /// Opens the log; without a path messages go to stderr.
    pub(crate) fn open(path: Option<&Path>, format: Format, least: Level) -> Result<Self, Error> {
        let file = path.map(|path| {
            let mut options = OpenOptions::new();
            // Appending writes of one line each do not mix with those of other processes.
            options.create(true).append(true).mode(0o644);
            options
                .open(path)
                .map_err(Error::file("open the log", path))
        });
        Ok(Self {
            file: file.transpose()?,
            format,
            least,
        })
    }

    /// Whether messages of this level are written.
    pub(crate) fn wants(&self, level: Level) -> bool {
        level >= self.least
    }

    /// Writes a message; one that cannot be written is dropped, there is nowhere to say so.
    pub(crate) fn write(&self, level: Level, message: &str) {
        if !self.wants(level) {
            return;
        }
        let now = time::now();
        let line = match self.format {
            Format::Text if self.file.is_none() => match level {
                Level::Error => message.to_owned(),
                Level::Debug => keys_and_values(&now, level, message),
                _ => format!("{}: {message}", level.as_str()),
            },
            Format::Json => {
                let line = Line {
                    level: level.as_str(),
                    msg: message,
                    time: &now,
                };
                serde_json::to_string(&line).unwrap_or_default()
            }
            Format::Text => keys_and_values(&now, level, message),
        };
        let bytes = (line + "\n").into_bytes();
        let _ = match &self.file {
            Some(file) => (&mut &*file).write_all(&bytes),
            None => std::io::stderr().write_all(&bytes),
        };
    }

    /// The error that ends the command: to the log, and to stderr as plain text if that is not the
    /// log.
    pub(crate) fn fatal(&self, message: &str) {
        self.write(Level::Error, message);
        if self.file.is_some() {
            let _ = writeln!(std::io::stderr(), "{message}");
        }
    }
}
