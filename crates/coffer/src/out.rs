//! Standard output: text, tables and JSON, and silence when the reader has gone.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::Error;

/// The form of a command's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs: field names are stable.
    Json,
}

/// Writes `text` and a newline.
pub(crate) fn line(text: &str) -> Result<(), Error> {
    raw(format!("{text}\n").as_bytes())
}

/// Writes bytes as they are, at once.
pub(crate) fn raw(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(of_stdout)
}

/// Writes bytes as they are to standard error, at once.
pub(crate) fn raw_error(bytes: &[u8]) -> Result<(), Error> {
    let mut stderr = io::stderr().lock();
    stderr
        .write_all(bytes)
        .and_then(|()| stderr.flush())
        .map_err(of_stdout)
}

/// Writes `value` as indented JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Io {
        what: "print JSON".to_owned(),
        source: error.into(),
    })?;
    line(&text)
}

fn of_stdout(source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::BrokenPipe {
        Error::Closed
    } else {
        Error::Io {
            what: "write to standard output".to_owned(),
            source,
        }
    }
}
