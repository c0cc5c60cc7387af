//! A seccomp profile compiled by libseccomp against the same filter from the cache on disk.

use std::collections::BTreeSet;
use std::io;

use crate::alternate::{Contender, measure};
use crate::stats::{Summary, ms};
use crate::table::markdown;

/// The profile that the CRI service hands out; it stands there as data.
#[path = "../../crates/cri/src/spec/seccomp_default.rs"]
#[expect(unreachable_pub, reason = "another crate's file")]
pub(crate) mod default_profile;

/// Measures and returns the markdown report.
///
/// # Errors
///
/// A profile that does not compile.
pub(crate) fn report(rounds: usize) -> io::Result<String> {
    let profile = default_profile::runtime_default(&BTreeSet::new());
    let scratch = tempfile::Builder::new().prefix("coffer-bench").tempdir()?;
    let cache = scratch.path().join("seccomp");
    let compile = |cache| {
        let filter = container::seccomp::compile(&profile, cache).map_err(io::Error::other)?;
        Ok::<_, io::Error>(filter.bpf.len() / 8)
    };
    let length = compile(None)?;
    let ways = ["compiled", "from the cache"];
    let mut contenders = [
        Contender {
            name: ways[0].to_owned(),
            run: Box::new(|| compile(None).map(drop)),
        },
        Contender {
            name: ways[1].to_owned(),
            run: Box::new(|| compile(Some(&cache)).map(drop)),
        },
    ];
    let samples = measure(&mut contenders, 3, rounds)?;
    let rows: Vec<Vec<String>> = ways
        .iter()
        .zip(&samples)
        .filter_map(|(way, samples)| {
            let s = Summary::of(samples)?;
            Some(vec![(*way).to_owned(), ms(s.min), ms(s.median)])
        })
        .collect();
    let table = markdown(&["way", "min ms", "median ms"], &rows);
    Ok(format!(
        "\nThe RuntimeDefault seccomp profile ({length} instructions), {rounds} rounds:\n\n{table}"
    ))
}
