//! `bench`: side-by-side measurements, printed as the markdown tables of `docs/performance.md`.
//!
//! ```text
//! bench                          all of them
//! bench launch                   a plan in a cloned child against a second start of the program
//! bench join                     two ways into a control group
//! bench seccomp                  a profile compiled, and from the cache
//! bench oci                      coffer-oci against crun, runc, youki and the kernel's own cost
//! bench agent                    coffer-agent over its socket: calls, logs, what 20 of them hold
//! bench soak                     an agent's descriptors, tasks and memory over --execs processes; not among "all"
//! bench cri                      a pod through CRI; memory with 20 pods; sizes of the programs
//! bench cli                      what a person waits for: run, exec, ps, against podman
//! bench pull                     an image pulled and unpacked: against containerd, podman, skopeo with
//!                                umoci, and what the machine can do
//! bench pull coffer zstd         one program and one form only
//!   --bin DIR                    where coffer, coffer-agent and coffer-oci are (default: bin)
//!   --coffer-oci PATH            another coffer-oci
//!   --youki PATH                 compare with youki too
//!   --rounds N                   default: 50
//!   --execs N                    processes of the soak, default: 1000000
//! ```
//!
//! Nothing here asserts a speed: machines are shared. Programs run in shuffled alternation and
//! are compared by medians and pairwise ratios.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program whose output is its tables")]

mod agent;
mod alternate;
mod cli;
mod cri;
mod join;
mod launch;
mod oci;
mod oci_floor;
mod oci_life;
mod oci_size;
mod pull;
mod scratch;
mod seccomp;
mod soak;
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
    let mut words: Vec<String> = Vec::new();
    let mut bin = PathBuf::from("bin");
    let mut coffer_oci = None;
    let mut youki = None;
    let mut rounds = 50;
    let mut execs = 1_000_000;
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Value(word) => words.push(word.string()?),
            Long("bin") => bin = args.value()?.into(),
            Long("coffer-oci") => coffer_oci = Some(PathBuf::from(args.value()?)),
            Long("youki") => youki = Some(PathBuf::from(args.value()?)),
            Long("execs") => execs = args.value()?.parse()?,
            Long("rounds") => rounds = args.value()?.parse()?,
            _ => return Err(arg.unexpected().into()),
        }
    }
    let coffer_oci = coffer_oci.unwrap_or_else(|| bin.join("coffer-oci"));
    let what = words.first().map_or("all", String::as_str);
    Ok(match what {
        launch::STAGE => return Err(launch::stage().into()),
        join::STAGE => join::stage(words.get(1..).unwrap_or_default(), rounds)?,
        oci::STAGE => oci::report(&coffer_oci, youki.as_deref(), rounds)?,
        "launch" => launch::report(rounds)?,
        "join" => join::report(rounds)?,
        "seccomp" => seccomp::report(rounds)?,
        "oci" => oci::report_privately(&coffer_oci, youki.as_deref(), rounds)?,
        cli::STAGE => cli::stage(&bin, rounds)?,
        "agent" => agent::report(&bin, rounds)?,
        "soak" => soak::report(&bin, execs)?,
        "cri" => cri::report(&bin, rounds)?,
        "cli" => cli::report(&bin, rounds)?,
        pull::STAGE => pull::stage(&bin, rounds, words.get(1..).unwrap_or_default())?,
        "pull" => pull::report(&bin, pulls(rounds), words.get(1..).unwrap_or_default())?,
        "all" => {
            let mut out = launch::report(rounds)?;
            out += &join::report(rounds)?;
            out += &seccomp::report(rounds)?;
            out += &oci::report_privately(&coffer_oci, youki.as_deref(), rounds)?;
            out += &agent::report(&bin, rounds)?;
            out += &cri::report(&bin, rounds)?;
            out += &cli::report(&bin, rounds)?;
            out += &pull::report(&bin, pulls(rounds), &[])?;
            out
        }
        other => {
            let reason = "try launch, join, seccomp, oci, agent, soak, cri, cli or pull";
            return Err(format!("there is no benchmark {other:?}; {reason}").into());
        }
    })
}

/// A round of pulls takes half a minute: a tenth of the rounds will do.
fn pulls(rounds: usize) -> usize {
    (rounds / 10).max(1)
}
