//! One thread per container moves its output from pipe or pty to the log file.
//!
//! A thread and not a task, so that a hung log disk stops this container's log and nothing else; the
//! application is then held by the pipe, as with any full pipe, and by nothing the daemon does.
//!
//! ```text
//!   application --stdout-->|        |
//!               --stderr-->|  pump  |--append--> log file
//!   agent ----Command----->|        |--push----> views
//!          <---answer------|        |  ends when the streams have ended and the exit was told,
//!                                      or at Stop
//! ```
//! Buffers exist only while data flows: a quiet container costs a thread's stack and no more.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::lines::{Lines, Stream};
use super::log_file::LogFile;
use super::view::Views;
use crate::clock;

/// Bytes read at once: as much as a pipe holds by default.
const READ: usize = 64 * 1024;
/// Records are written when so many bytes are waiting, or when nothing more can be read.
const WRITE: usize = 128 * 1024;
/// Most bytes taken from one stream after the exit, however fast a background child writes on: more
/// than a pipe of the largest size that an unprivileged program may set.
const DRAIN: usize = 2 * 1024 * 1024;

/// What the agent asks of the pump.
#[derive(Debug)]
enum Command {
    Reopen(oneshot::Sender<io::Result<()>>),
    /// The first process has ended: everything that it wrote goes to the file, then the answer comes
    /// (bytes of log lost so far). A background child may write on afterwards.
    Exited(oneshot::Sender<u64>),
    Stop,
}

#[derive(Debug)]
struct Mailbox {
    commands: VecDeque<Command>,
    /// The thread is gone; its file and count are here.
    ended: Option<(LogFile, u64)>,
}

#[derive(Debug)]
struct Shared {
    wake: OwnedFd,
    mailbox: Mutex<Mailbox>,
    views: Views,
}

/// The agent's handle on a container's log pump.
#[derive(Debug)]
pub(crate) struct Pump {
    shared: Arc<Shared>,
}

impl Pump {
    /// Starts the thread. The descriptors must not block; `stderr` is absent with a terminal.
    ///
    /// # Errors
    /// No descriptor or thread is to be had.
    pub(crate) fn start(
        log: LogFile,
        stdout: Arc<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let mailbox = Mutex::new(Mailbox {
            commands: VecDeque::new(),
            ended: None,
        });
        let shared = Arc::new(Shared {
            wake,
            mailbox,
            views: Views::default(),
        });
        let mut state = State {
            shared: Arc::clone(&shared),
            out: Some(Source {
                fd: Input::Shared(stdout),
                lines: Lines::new(Stream::Stdout),
            }),
            err: stderr.map(|fd| Source {
                fd: Input::Own(fd),
                lines: Lines::new(Stream::Stderr),
            }),
            exited: false,
        };
        std::thread::Builder::new()
            .name("log".into())
            .stack_size(64 * 1024)
            .spawn(move || {
                let log = state.run(log);
                state.shared.views.end();
                let lost = log.lost();
                let mut mailbox = lock(&state.shared.mailbox);
                let left = std::mem::take(&mut mailbox.commands);
                mailbox.ended = Some((log, lost));
                left.into_iter().for_each(|c| answer(&mut mailbox, c));
            })?;
        Ok(Self { shared })
    }

    /// Opens the log path anew.
    ///
    /// # Errors
    /// The path cannot be opened; the old file stays in use.
    pub(crate) async fn reopen(&self) -> io::Result<()> {
        let (tx, rx) = oneshot::channel();
        self.send(Command::Reopen(tx));
        rx.await
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Waits until everything that was written before now is in the file; returns the bytes lost.
    pub(crate) async fn exited(&self) -> u64 {
        let (tx, rx) = oneshot::channel();
        self.send(Command::Exited(tx));
        rx.await.unwrap_or(0)
    }

    /// The views of this output.
    pub(crate) fn views(&self) -> &Views {
        &self.shared.views
    }

    fn send(&self, command: Command) {
        let mut mailbox = lock(&self.shared.mailbox);
        if mailbox.ended.is_some() {
            return answer(&mut mailbox, command);
        }
        mailbox.commands.push_back(command);
        drop(mailbox);
        // Fails only when the counter is full, and then the pump is awake already.
        let _ = rustix::io::write(&self.shared.wake, &1u64.to_ne_bytes());
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.send(Command::Stop);
        self.shared.views.close_all();
    }
}

/// Answers for a thread that has ended.
fn answer(mailbox: &mut Mailbox, command: Command) {
    let Some((log, lost)) = &mut mailbox.ended else {
        return;
    };
    // A receiver that is gone wants no answer.
    match command {
        Command::Reopen(tx) => drop(tx.send(log.reopen())),
        Command::Exited(tx) => {
            let _ = tx.send(*lost);
        }
        Command::Stop => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
enum Input {
    /// A pty master, written to by WriteStdin too.
    Shared(Arc<OwnedFd>),
    Own(OwnedFd),
}

impl AsFd for Input {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Shared(fd) => fd.as_fd(),
            Self::Own(fd) => fd.as_fd(),
        }
    }
}

#[derive(Debug)]
struct Source {
    fd: Input,
    lines: Lines,
}

/// Read and record buffers, which exist only while data flows.
#[derive(Debug, Default)]
struct Buffers {
    read: Vec<u8>,
    records: Vec<u8>,
}

#[derive(Debug)]
struct State {
    shared: Arc<Shared>,
    out: Option<Source>,
    err: Option<Source>,
    exited: bool,
}

impl State {
    fn run(&mut self, mut log: LogFile) -> LogFile {
        let mut buffers = Buffers::default();
        loop {
            let Some([wake, out, err]) = self.wait(&mut buffers) else {
                return log;
            };
            if out {
                take(
                    &mut self.out,
                    READ,
                    &self.shared.views,
                    &mut buffers,
                    &mut log,
                );
            }
            if err {
                take(
                    &mut self.err,
                    READ,
                    &self.shared.views,
                    &mut buffers,
                    &mut log,
                );
            }
            flush(&mut buffers, &mut log);
            if wake && self.commands(&mut buffers, &mut log) {
                return log;
            }
            if self.exited && self.out.is_none() && self.err.is_none() {
                return log;
            }
        }
    }

    /// Which of wake, stdout and stderr is ready. Before it sleeps it gives the buffers back.
    fn wait(&self, buffers: &mut Buffers) -> Option<[bool; 3]> {
        let wake = self.shared.wake.as_fd();
        let mut fds = [wake; 3].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty()));
        fds[0] = PollFd::from_borrowed_fd(wake, PollFlags::IN);
        for (slot, source) in [(1, &self.out), (2, &self.err)] {
            if let Some(source) = source {
                fds[slot] = PollFd::from_borrowed_fd(source.fd.as_fd(), PollFlags::IN);
            }
        }
        let now = rustix::event::Timespec::default();
        loop {
            let ready = match poll(&mut fds, Some(&now)) {
                Ok(0) => {
                    *buffers = Buffers::default();
                    poll(&mut fds, None)
                }
                other => other,
            };
            match ready {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(e) => {
                    log::error!("log pump: poll: {e}");
                    return None;
                }
            }
        }
        let ready = fds.each_ref().map(|fd| !fd.revents().is_empty());
        Some([
            ready[0],
            ready[1] && self.out.is_some(),
            ready[2] && self.err.is_some(),
        ])
    }

    /// Handles what the agent asked; true at Stop.
    fn commands(&mut self, buffers: &mut Buffers, log: &mut LogFile) -> bool {
        // Clears the counter; EAGAIN if another wake-up took it.
        let _ = rustix::io::read(&self.shared.wake, &mut [0u8; 8]);
        let commands = std::mem::take(&mut lock(&self.shared.mailbox).commands);
        for command in commands {
            match command {
                Command::Reopen(tx) => drop(tx.send(log.reopen())),
                Command::Exited(tx) => {
                    self.exited = true;
                    for source in [&mut self.out, &mut self.err] {
                        take(source, DRAIN, &self.shared.views, buffers, log);
                        if let Some(source) = source {
                            source
                                .lines
                                .flush(&clock::rfc3339(clock::now_ns()), &mut buffers.records);
                        }
                        flush(buffers, log);
                    }
                    log.tell_gap();
                    self.shared.views.end();
                    let _ = tx.send(log.lost());
                }
                Command::Stop => return true,
            }
        }
        false
    }
}

/// Reads up to `limit` bytes, or until nothing is left; an ended stream is dropped.
fn take(
    source: &mut Option<Source>,
    limit: usize,
    views: &Views,
    buffers: &mut Buffers,
    log: &mut LogFile,
) {
    let mut taken = 0;
    while let Some(Source { fd, lines }) = source
        && taken < limit
    {
        buffers.read.resize(READ, 0);
        let at = clock::rfc3339(clock::now_ns());
        match rustix::io::read(&*fd, &mut buffers.read[..]) {
            Ok(n) if n > 0 => {
                taken += n;
                lines.push(&buffers.read[..n], &at, &mut buffers.records);
                let shown = views.any();
                // The log does not wait for those who look.
                if shown || buffers.records.len() >= WRITE {
                    flush(buffers, log);
                }
                if shown {
                    views.push(lines.stream(), &buffers.read[..n]);
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return,
            // EIO: the last slave of the pty was closed.
            end => {
                if let Err(e) = end
                    && e != Errno::IO
                {
                    log::warn!("reading a container's output: {e}");
                }
                lines.flush(&at, &mut buffers.records);
                *source = None;
            }
        }
    }
}

fn flush(buffers: &mut Buffers, log: &mut LogFile) {
    if !buffers.records.is_empty() {
        log.append(&buffers.records);
        buffers.records.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::log_file::Limits;
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};
    use std::fs;
    use std::time::Duration;

    fn pipe() -> (OwnedFd, OwnedFd) {
        let (r, w) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::fs::fcntl_setfl(&r, rustix::fs::OFlags::NONBLOCK).unwrap();
        (r, w)
    }

    fn contents(path: &std::path::Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|l| l[31..].to_owned()).collect()
    }

    #[tokio::test]
    async fn everything_written_before_the_exit_is_in_the_file_when_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let ((out, out_w), (err, err_w)) = (pipe(), pipe());
        let pump = Pump::start(
            LogFile::open(&path, Limits::default()).unwrap(),
            Arc::new(out),
            Some(err),
        )
        .unwrap();
        rustix::io::write(&out_w, b"hello\nunfinished").unwrap();
        rustix::io::write(&err_w, b"oops\n").unwrap();
        // The write ends stay open: a background child would hold them so.
        assert_eq!(pump.exited().await, 0);
        // The order between the streams is the kernel's.
        let mut lines = contents(&path);
        lines.sort();
        assert_eq!(
            lines,
            ["stderr F oops", "stdout F hello", "stdout P unfinished"]
        );
        rustix::io::write(&out_w, b" later\n").unwrap();
        drop((out_w, err_w));
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while contents(&path).len() < 4 && std::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(contents(&path)[3], "stdout F  later");
    }

    #[tokio::test]
    async fn commands_are_answered_after_the_thread_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (out, out_w) = pipe();
        let pump = Pump::start(
            LogFile::open(&path, Limits::default()).unwrap(),
            Arc::new(out),
            None,
        )
        .unwrap();
        drop(out_w);
        assert_eq!(pump.exited().await, 0);
        assert_eq!(pump.exited().await, 0);
        fs::remove_file(&path).unwrap();
        pump.reopen().await.unwrap();
        assert!(path.exists());
        fs::remove_dir_all(dir.path()).unwrap();
        assert!(pump.reopen().await.is_err());
    }

    #[tokio::test]
    async fn rotation_under_load_keeps_every_line_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (out, out_w) = pipe();
        let pump = Pump::start(
            LogFile::open(&path, Limits::default()).unwrap(),
            Arc::new(out),
            None,
        )
        .unwrap();
        let writer = std::thread::spawn(move || {
            let mut file = fs::File::from(out_w);
            for i in 0..50_000 {
                std::io::Write::write_all(&mut file, format!("line {i}\n").as_bytes()).unwrap();
            }
        });
        let mut rotated = 0;
        while !writer.is_finished() {
            fs::rename(&path, dir.path().join(format!("log.{rotated:04}"))).unwrap();
            pump.reopen().await.unwrap();
            rotated += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        writer.join().unwrap();
        assert_eq!(pump.exited().await, 0);
        let mut all = Vec::new();
        for i in 0..rotated {
            all.extend(contents(&dir.path().join(format!("log.{i:04}"))));
        }
        all.extend(contents(&path));
        let expected: Vec<_> = (0..50_000).map(|i| format!("stdout F line {i}")).collect();
        assert_eq!(all, expected);
    }
}
