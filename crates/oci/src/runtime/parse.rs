//! Text to document: syntax, types and words, and the upgrade of the 1.0.0-rc form.
//!
//! What the upgrade does beyond the tolerance of the structures themselves:
//!
//! ```text
//!  platform                        checked against this machine, then dropped
//!  linux.resources.disableOOMKiller -> linux.resources.memory.disableOOMKiller
//!  linux.resources.oomScoreAdj      -> process.oomScoreAdj (where that is absent)
//! ```

use serde::de::DeserializeOwned;

use super::locate::locate;
use super::{LinuxResources, Mount, Problem, Process, Spec};

/// A text that is not a document of the specification.
#[derive(Debug, thiserror::Error)]
#[error("{}{reason} (line {line}, column {column}){}", prefix(.path), also(.others))]
pub struct ParseError {
    /// JSON path of the value, empty for the document itself.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
    /// Line, from 1; 0 if the place is not one in the text.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What else is wrong, in the order of the keys.
    pub others: Vec<Problem>,
}

fn also(others: &[Problem]) -> String {
    others
        .iter()
        .map(|problem| format!("; {problem}"))
        .collect()
}

fn prefix(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!("{path}: ")
    }
}

/// Reads `config.json`.
///
/// # Errors
/// A text that is not JSON; every value that has the wrong type or is a word that the specification does
/// not know, with its path; or a `platform` that is not this machine.
pub fn parse(text: &[u8]) -> Result<Spec, ParseError> {
    parse_form(text).map(|(spec, _)| spec)
}

/// As [`parse`]; also whether the text says what the document does, without any upgrade.
///
/// # Errors
/// As [`parse`].
pub fn parse_form(text: &[u8]) -> Result<(Spec, bool), ParseError> {
    let mut spec: Spec = document(text)?;
    let upgraded = upgrade(&mut spec)?;
    Ok((spec, !upgraded))
}

/// Reads a process document, as `exec --process` takes it.
///
/// # Errors
/// As [`parse`].
pub fn parse_process(text: &[u8]) -> Result<Process, ParseError> {
    document(text)
}

/// Reads a `linux.resources` document, as an update takes it.
///
/// # Errors
/// As [`parse`].
pub fn parse_resources(text: &[u8]) -> Result<LinuxResources, ParseError> {
    document(text)
}

/// Reads a list of mounts, as a change of a container that runs takes it.
///
/// # Errors
/// As [`parse`].
pub fn parse_mounts(text: &[u8]) -> Result<Vec<Mount>, ParseError> {
    document(text)
}

fn document<T: DeserializeOwned>(text: &[u8]) -> Result<T, ParseError> {
    serde_json::from_slice(text).map_err(|error| {
        let text_of_error = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let path = locate(text, error.line(), error.column(), &text_of_error);
        ParseError {
            others: every::others::<T>(text, &path),
            path,
            reason: text_of_error
                .strip_suffix(&place)
                .unwrap_or(&text_of_error)
                .to_owned(),
            line: error.line(),
            column: error.column(),
        }
    })
}

/// Whether there was anything of the old form.
fn upgrade(spec: &mut Spec) -> Result<bool, ParseError> {
    let mut upgraded = false;
    if let Some(platform) = spec.platform.take() {
        upgraded = true;
        check_word("platform.os", &platform.os, "linux")?;
        check_word("platform.arch", &platform.arch, machine())?;
    }
    let Some(resources) = spec
        .linux
        .as_mut()
        .and_then(|linux| linux.resources.as_mut())
    else {
        return Ok(upgraded);
    };
    if let Some(disable) = resources.disable_oom_killer.take() {
        upgraded = true;
        resources
            .memory
            .get_or_insert_default()
            .disable_oom_killer
            .get_or_insert(disable);
    }
    if let Some(adjustment) = resources.oom_score_adj.take() {
        upgraded = true;
        if let Some(process) = &mut spec.process {
            process.oom_score_adj.get_or_insert(adjustment);
        }
    }
    Ok(upgraded)
}

fn check_word(path: &str, found: &str, wanted: &str) -> Result<(), ParseError> {
    if found.is_empty() || found == wanted {
        return Ok(());
    }
    Err(ParseError {
        path: path.to_owned(),
        reason: format!("the document is for {found:?}, this machine is {wanted:?}"),
        line: 0,
        column: 0,
        others: Vec::new(),
    })
}

/// This machine in Go's words.
#[must_use]
pub const fn machine() -> &'static str {
    match std::env::consts::ARCH.as_bytes() {
        b"x86_64" => "amd64",
        b"aarch64" => "arm64",
        b"x86" => "386",
        b"powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        b"powerpc64" => "ppc64",
        b"loongarch64" => "loong64",
        _ => std::env::consts::ARCH,
    }
}

mod every;

#[cfg(test)]
mod tests;
