//! What can go wrong between a package and a machine that has ended.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why there is no guest, or no result of one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory.
    #[error("cannot {act} {path}")]
    File {
        /// What was attempted.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A program that could not be run or failed.
    #[error("{program} failed: {why} ({hint})")]
    Program {
        /// The command line.
        program: String,
        /// Its exit status and standard error, or why it did not start.
        why: String,
        /// What to do.
        hint: &'static str,
    },
    /// A file is not what it should be.
    #[error("{what}: {why}")]
    Format {
        /// The file and its format.
        what: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A kernel module that the package lacks.
    #[error("the kernel {release} has no module {name}")]
    NoModule {
        /// The kernel's release.
        release: String,
        /// The module's name.
        name: String,
    },
    /// `make guest` was not run.
    #[error("there is no guest kernel at {0}: run `make guest`")]
    NotBuilt(PathBuf),
    /// The machine did not end in time and was killed.
    #[error(
        "the machine was still running after {after:?}; its console ends with:\n{console}\n{found}"
    )]
    Deadline {
        /// The time that it had.
        after: Duration,
        /// What it was doing.
        found: String,
        /// Last lines of the console.
        console: String,
    },
    /// The machine did nothing more, not even what its own kernel should have ended, and was killed.
    #[error(
        "nothing came from the machine for {silence:?}; its console ends with:\n{console}\n{found}"
    )]
    Hangs {
        /// For how long nothing came.
        silence: Duration,
        /// What it was doing.
        found: String,
        /// Last lines of the console.
        console: String,
    },
    /// The machine ended without saying how the program ended.
    #[error(
        "the machine ended without a result; its console ends with:\n{console}\nQEMU said: {qemu}"
    )]
    NoResult {
        /// Last lines of the console.
        console: String,
        /// QEMU's standard error.
        qemu: String,
    },
}

/// Names the act and the path of a failed file operation.
pub(crate) fn file(act: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { act, path, source }
}

/// Runs a program to its end and returns its standard output.
pub(crate) fn output(
    command: &mut std::process::Command,
    hint: &'static str,
) -> Result<Vec<u8>, Error> {
    let failed = |why: String, command: &std::process::Command| Error::Program {
        program: format!("{command:?}"),
        why,
        hint,
    };
    let done = command
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|e| failed(e.to_string(), command))?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(failed(format!("{}: {}", done.status, said.trim()), command))
}
