//! Inputs that a fuzzer has found, or that were written for it: kept in `fuzz/corpus/<target>/`, and
//! replayed by an ordinary test of the crate whose reader they are for.

use std::{fs, panic, path::PathBuf};

/// Where the inputs of a target are kept.
#[must_use]
pub fn dir(target: &str) -> PathBuf {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
    PathBuf::from(root).join(target)
}

/// Feeds every saved input of `target` to `feed`; a panic names the file.
///
/// # Panics
/// There is no input, or `feed` panics.
#[expect(clippy::panic, reason = "a test's helper: a failed test is a panic")]
pub fn replay(target: &str, feed: fn(&[u8])) {
    let dir = dir(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("list {}: {e}", dir.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .unwrap_or_else(|e| panic!("list {}: {e}", dir.display()));
    files.sort();
    assert!(!files.is_empty(), "{} holds no input", dir.display());
    for file in files {
        let data = fs::read(&file).unwrap_or_else(|e| panic!("read {}: {e}", file.display()));
        if let Err(payload) = panic::catch_unwind(|| feed(&data)) {
            eprintln!("input {}", file.display());
            panic::resume_unwind(payload);
        }
    }
}
