//! Programs of the machine that the agent runs for a moment, such as iptables-save. Their input and
//! output are files in memory, so that neither side ever waits for the other; a time limit ends them.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::Error;
use crate::reaper::Busy;

/// Most bytes of output that are taken.
const MAX: u64 = 2 * 1024 * 1024;

/// What a program left.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// The first of `places` that holds `name`.
///
/// # Errors
/// FAILED_PRECONDITION if none does.
pub(crate) fn find(name: &str, places: &[&str]) -> Result<PathBuf, Error> {
    let mut candidates = places.iter().map(|dir| Path::new(dir).join(name));
    candidates.find(|path| path.is_file()).ok_or_else(|| {
        let places = places.join(", ");
        Error::Precondition(format!("there is no program {name} in {places}"))
    })
}

/// Runs a program with `input` on its standard input and an empty environment. Blocks; nobody else
/// takes its exit status while `busy` is held.
///
/// # Errors
/// It cannot be started, or has not ended within `limit` and was killed.
pub(crate) fn run(
    _busy: &Busy,
    program: &Path,
    args: &[&str],
    input: &[u8],
    limit: Duration,
) -> Result<Output, Error> {
    let failed = |act, e: io::Error| Error::io(act, program.display(), e);
    let (stdin, stdout, stderr) = files(input).map_err(|e| failed("make files for", e))?;
    let give = |file: &File| file.try_clone().map(Stdio::from);
    let streams = (|| Ok((give(&stdin)?, give(&stdout)?, give(&stderr)?)))();
    let (fd0, fd1, fd2) = streams.map_err(|e| failed("make files for", e))?;
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .current_dir("/")
        .stdin(fd0)
        .stdout(fd1)
        .stderr(fd2)
        .spawn()
        .map_err(|e| failed("start", e))?;
    let ended = wait(child.id(), limit);
    if !matches!(ended, Ok(true)) {
        drop(child.kill());
    }
    let status = child.wait().map_err(|e| failed("wait for", e))?;
    if !ended.map_err(|e| failed("wait for", e))? {
        let why = format!("{} was killed after {limit:?}", program.display());
        return Err(Error::Internal(why));
    }
    let read = |file: File| contents(file).map_err(|e| failed("read the output of", e));
    Ok(Output {
        code: status.code(),
        stdout: read(stdout)?,
        stderr: read(stderr)?,
    })
}

fn files(input: &[u8]) -> io::Result<(File, File, File)> {
    let new = || memfd_create("agent-tool", MemfdFlags::CLOEXEC).map(File::from);
    let mut stdin = new()?;
    stdin.write_all(input)?;
    stdin.rewind()?;
    Ok((stdin, new()?, new()?))
}

fn contents(mut file: File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Waits for a child that is not reaped yet; false at the limit.
fn wait(pid: u32, limit: Duration) -> io::Result<bool> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    let pidfd: OwnedFd = pidfd_open(pid, PidfdFlags::empty())?;
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reaper::Reaper;
    use std::sync::Arc;

    fn sh(script: &str, input: &[u8], limit: Duration) -> Result<Output, Error> {
        let busy = Arc::new(Reaper::default()).busy();
        run(&busy, Path::new("/bin/sh"), &["-c", script], input, limit)
    }

    #[test]
    fn input_and_output_of_any_size_pass() {
        let input = vec![b'x'; 1 << 20];
        let output = sh(
            "cat; echo oops >&2; exit 3",
            &input,
            Duration::from_secs(30),
        );
        let output = output.unwrap();
        assert_eq!((output.code, output.stdout == input), (Some(3), true));
        assert_eq!(output.stderr, b"oops\n");
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let error = sh("exec sleep 100", b"", Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("was killed after"), "{error}");
        assert!(find("no-such-program", &["/sbin", "/usr/sbin"]).is_err());
    }
}
