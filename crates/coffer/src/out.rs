//! Standard output: text, JSON and YAML, and silence when the reader has gone.

use std::io::{self, Write};

use serde::Serialize;

use crate::error::Error;

/// The form of a command's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For people, with all columns
    Wide,
    /// For programs: field names are stable
    Json,
    /// The same as YAML
    Yaml,
    /// Only names, one a line
    Name,
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
        .map_err(failed)
}

/// Writes bytes as they are to standard error, at once.
pub(crate) fn raw_error(bytes: &[u8]) -> Result<(), Error> {
    let mut stderr = io::stderr().lock();
    stderr
        .write_all(bytes)
        .and_then(|()| stderr.flush())
        .map_err(failed)
}

/// Writes `value` as indented JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Error> {
    line(&serde_json::to_string_pretty(value).map_err(|error| unprintable("JSON", error))?)
}

/// Writes `value` as JSON in one line.
pub(crate) fn json_line<T: Serialize>(value: &T) -> Result<(), Error> {
    line(&serde_json::to_string(value).map_err(|error| unprintable("JSON", error))?)
}

/// Writes `value` as YAML.
pub(crate) fn yaml<T: Serialize>(value: &T) -> Result<(), Error> {
    let text = serde_norway::to_string(value).map_err(|error| unprintable("YAML", error))?;
    raw(text.as_bytes())
}

fn unprintable(form: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Io {
        what: format!("print {form}"),
        source: io::Error::other(error),
    }
}

/// A failed write to one of our own streams: [`Error::Closed`] when its reader has gone.
pub(crate) fn failed(source: io::Error) -> Error {
    if source.kind() == io::ErrorKind::BrokenPipe {
        Error::Closed
    } else {
        Error::Io {
            what: "write to standard output".to_owned(),
            source,
        }
    }
}
