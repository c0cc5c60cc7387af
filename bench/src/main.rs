//! `bench`: side-by-side measurements, printed as the markdown tables of `docs/performance.md`.
//!
//! ```text
//! bench oci --coffer-oci PATH [--rounds N]      coffer-oci run true against crun and runc
//! ```
//!
//! Nothing here asserts a speed: machines are shared. Programs run in shuffled alternation and
//! are compared by medians and pairwise ratios.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program whose output is its tables")]

mod alternate;
mod oci;
mod stats;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::prelude::*;

fn main() -> ExitCode {
    match run() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<String, Box<dyn std::error::Error>> {
    let mut what = None;
    let mut coffer_oci = PathBuf::from("coffer-oci");
    let mut rounds = 50;
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Value(word) if what.is_none() => what = Some(word.string()?),
            Long("coffer-oci") => coffer_oci = args.value()?.into(),
            Long("rounds") => rounds = args.value()?.parse()?,
            _ => return Err(arg.unexpected().into()),
        }
    }
    match what.as_deref() {
        Some("oci") => Ok(oci::report(&coffer_oci, rounds)?),
        Some(other) => Err(format!("there is no benchmark {other:?}; try `oci`").into()),
        None => Err("which benchmark? try `bench oci`".into()),
    }
}
