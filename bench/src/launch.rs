//! How a container's first process comes to be: our own child that walks a plan, against a second
//! start of the program.
//!
//! ```text
//! plan in the child     clone3 ──────────────────────────► execve true
//! re-exec               clone3 ──► execve bench (stage) ──► execve true
//! spawn and re-exec     vfork  ──► execve bench (stage) ──► execve true
//! ```
//! The first is what `init` does. The second is what a runtime does whose child needs a heap, locks
//! or a garbage collector: it must start again to be single-threaded. The parent holds memory as an
//! agent or a daemon does, because clone3 without CLONE_VM copies its page tables.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use init::{END, LaunchPlan, List, Step, Str};

use crate::alternate::{Contender, measure};
use crate::stats::{Summary, ms, ratio};
use crate::table::markdown;

/// The hidden first argument of the second start.
pub(crate) const STAGE: &str = "launch-stage";
const TRUE: &str = "/bin/busybox";
const MIB: usize = 1 << 20;

/// What the second start does: the least that a runtime's could.
pub(crate) fn stage() -> io::Error {
    Command::new(TRUE).arg0("true").exec()
}

/// Measures and returns the markdown report.
///
/// # Errors
///
/// A launch that fails.
pub(crate) fn report(rounds: usize) -> io::Result<String> {
    let me = std::env::current_exe()?;
    let mut out = String::new();
    for heap in [0, 16, 256] {
        // Touched, or it is not there.
        let memory = vec![1_u8; heap * MIB];
        let names = [
            "plan in a clone3 child",
            "clone3, re-exec",
            "vfork, re-exec",
        ];
        let mut contenders = [
            contender(names[0], || clone_and_exec(Path::new(TRUE), &["true"])),
            contender(names[1], || clone_and_exec(&me, &["bench", STAGE])),
            contender(names[2], || {
                let status = Command::new(&me).arg(STAGE).status()?;
                status
                    .success()
                    .then_some(())
                    .ok_or_else(|| io::Error::other(status.to_string()))
            }),
        ];
        let samples = measure(&mut contenders, 10, rounds)?;
        drop(memory);
        let rows: Vec<Vec<String>> = names
            .iter()
            .zip(&samples)
            .filter_map(|(name, own)| {
                let s = Summary::of(own)?;
                Some(vec![
                    (*name).to_owned(),
                    ms(s.min),
                    ms(s.median),
                    format!("{:.2}", ratio(own, &samples[0])?),
                ])
            })
            .collect();
        out.push_str(&format!(
            "\nLaunch of `true`, {heap} MiB in the parent, {rounds} rounds:\n\n"
        ));
        let head = ["way", "min ms", "median ms", "it / plan"];
        out.push_str(&markdown(&head, &rows));
    }
    Ok(out)
}

fn contender<'a>(name: &str, run: impl FnMut() -> io::Result<()> + 'a) -> Contender<'a> {
    Contender {
        name: name.to_owned(),
        run: Box::new(run),
    }
}

/// Launches a plan of two steps and waits for its end.
fn clone_and_exec(program: &Path, args: &[&str]) -> io::Result<()> {
    let mut strings = vec![0_u8];
    let mut intern = |text: &str| {
        let at = u32::try_from(strings.len()).map_or(Str(0), Str);
        strings.extend(text.as_bytes());
        strings.push(0);
        at
    };
    let name = intern(program.to_string_lossy().as_ref());
    let path = intern("/bin");
    let mut words: Vec<Str> = args.iter().map(|a| intern(a)).collect();
    words.push(END);
    let environment = List(u32::try_from(words.len()).unwrap_or(0));
    words.push(END);
    let steps = [
        Step::Find { name, path },
        Step::Exec {
            args: List(0),
            env: environment,
        },
    ];
    let mut plan = LaunchPlan {
        steps: &steps,
        strings: &strings,
        words: &words,
        pointers: &mut vec![0; words.len()],
        numbers: &[],
        filter: &[],
        fds: &mut [],
        keep: &[],
        channel: -1,
        pids: None,
        trace: &[],
    };
    let pid = init::launch(&mut plan, 0, -1).map_err(io::Error::from_raw_os_error)?;
    let pidfd = sys::pidfd::open(pid)?;
    let ended = sys::wait::wait(std::os::fd::AsFd::as_fd(&pidfd))?;
    match ended.exit.code() {
        0 => Ok(()),
        code => Err(io::Error::other(format!(
            "{} ended with {code}",
            PathBuf::from(program).display()
        ))),
    }
}
