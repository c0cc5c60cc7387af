//! Streams that a client has opened for the bulk of a process's input and output, by the number that it
//! gave them: the stdio ports of CreateContainer and ExecProcess.
//!
//! ```text
//!  client: connects, writes "CONNECT 5001\n" --> agent: "OK 5001\n", keeps the stream as port 5001
//!  client: CreateContainer { stdout_port: 5001 } --> the output goes there as it comes; its end ends it
//! ```
//! In a micro-VM they come to a virtio socket port of their own (`agent.passfd_listener_port`): the number
//! is the port that the stream comes from, which the machine's hybrid vsock tells its client.
//!
//! The numbers are of one client's making: whoever may connect may also call. On the port of the agent
//! itself ([`AGENT`]) a connection goes on as any other, which is how clients of a hybrid vsock begin.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::connection::Stream;
use crate::error::Error;
use crate::process::Process;
use crate::stdio::Sink;
use crate::stdio::read::Output;

/// The port of the agent's calls.
const AGENT: u32 = 1024;
/// What a connection begins with that names a port; as the head of a frame it would be far too long.
const CONNECT: &[u8] = b"CONNECT ";
/// Longest first line.
const LINE: usize = 32;
/// For the first line to be whole.
const PATIENCE: Duration = Duration::from_secs(5);
/// Streams that wait for a process.
const WAITING: usize = 256;
/// Bytes copied at once.
const CHUNK: usize = 64 * 1024;

/// Streams that wait for the process that they are for.
#[derive(Default)]
pub(crate) struct Ports(Mutex<BTreeMap<u32, Box<dyn Stream>>>);

/// The ports of a request; 0: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) stdin: u32,
    pub(crate) stdout: u32,
    pub(crate) stderr: u32,
}

/// The streams of a request.
#[derive(Default)]
pub(crate) struct Taken {
    stdin: Option<Box<dyn Stream>>,
    stdout: Option<Box<dyn Stream>>,
    stderr: Option<Box<dyn Stream>>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_list().entries(waiting.keys()).finish()
    }
}

impl Ports {
    /// Takes the streams of a request.
    ///
    /// # Errors
    /// FAILED_PRECONDITION for a port that nobody has opened.
    pub(crate) fn take(&self, numbers: Numbers) -> Result<Taken, Error> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let given = [numbers.stdin, numbers.stdout, numbers.stderr];
        let missing = |port: &&u32| **port != 0 && !waiting.contains_key(port);
        if let Some(port) = given.iter().find(missing) {
            let why = format!("stdio port {port}: no stream was opened for it");
            return Err(Error::Precondition(why));
        }
        let mut take = |port: u32| match port {
            0 => None,
            port => waiting.remove(&port),
        };
        Ok(Taken {
            stdin: take(numbers.stdin),
            stdout: take(numbers.stdout),
            stderr: take(numbers.stderr),
        })
    }

    /// Keeps a stream; one that waited under the same number is closed, and so is one too many.
    pub(crate) fn keep(&self, port: u32, stream: Box<dyn Stream>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING && !waiting.contains_key(&port) {
            drop(waiting);
            log::warn!("stdio port {port}: {WAITING} streams wait already");
            return;
        }
        waiting.insert(port, stream);
    }

    /// Looks at how a connection begins: one of calls comes back, a stream for a port is kept.
    pub(crate) async fn sort(&self, mut stream: UnixStream) -> Option<UnixStream> {
        match begins(&stream).await {
            Ok(true) => {}
            Ok(false) => return Some(stream),
            Err(_) => return None,
        }
        let line = tokio::time::timeout(PATIENCE, first_line(&mut stream)).await;
        let port = line.ok()?.ok()?;
        stream.write_all(ok(port).as_bytes()).await.ok()?;
        if port == AGENT {
            return Some(stream);
        }
        self.keep(port, Box::new(stream));
        None
    }
}

fn ok(port: u32) -> String {
    format!("OK {port}\n")
}

/// Whether the first bytes name a port; they are left where they are.
async fn begins(stream: &UnixStream) -> io::Result<bool> {
    loop {
        stream.readable().await?;
        let mut head = [0; CONNECT.len()];
        match rustix::net::recv(stream.as_fd(), &mut head[..], RecvFlags::PEEK) {
            Ok((0, _)) => return Ok(false),
            Ok((n, _)) if n == head.len() || head[..n] != CONNECT[..n] => {
                return Ok(head == CONNECT);
            }
            // Half of the word: the rest comes.
            Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(Errno::AGAIN) => {
                // Clears the readiness that was not true.
                let _ = stream.try_io(tokio::io::Interest::READABLE, || {
                    Err::<(), _>(io::ErrorKind::WouldBlock.into())
                });
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Reads `CONNECT <port>\n`, and nothing behind it.
async fn first_line(stream: &mut UnixStream) -> io::Result<u32> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    let mut line = Vec::new();
    while line.len() < LINE {
        match stream.read_u8().await? {
            b'\n' => {
                let text = std::str::from_utf8(&line[CONNECT.len()..]).map_err(|_| wrong())?;
                return text.trim_end_matches('\r').parse().map_err(|_| wrong());
            }
            byte => line.push(byte),
        }
    }
    Err(wrong())
}

/// Copies between the streams and a process until each direction has ended.
pub(crate) fn copy(process: &Arc<Process>, taken: Taken) {
    if let Sink::Read { stdout, stderr } = &process.streams.sink {
        if let Some(stream) = taken.stdout {
            tokio::spawn(outward(Arc::clone(process), Arc::clone(stdout), stream));
        }
        if let (Some(stream), Some(stderr)) = (taken.stderr, stderr) {
            tokio::spawn(outward(Arc::clone(process), Arc::clone(stderr), stream));
        }
    }
    if let Some(stream) = taken.stdin {
        tokio::spawn(inward(Arc::clone(process), stream));
    }
}

/// A client that does not read holds the process, as at any full pipe; one that is gone does not.
async fn outward(process: Arc<Process>, output: Arc<Output>, mut to: Box<dyn Stream>) {
    let mut exit = process.exit();
    let mut gone = false;
    loop {
        match output.read(CHUNK, &mut exit).await {
            Ok(data) if data.is_empty() => break,
            Ok(data) => gone = gone || to.write_all(&data).await.is_err(),
            Err(e) => {
                log::warn!("process {}: reading its output: {e}", process.pid);
                break;
            }
        }
    }
    drop(to.shutdown().await);
}

async fn inward(process: Arc<Process>, mut stream: Box<dyn Stream>) {
    let Some(stdin) = &process.streams.stdin else {
        return;
    };
    let mut exit = process.exit();
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            read = stream.read(&mut buffer) => read,
            _ = process.wait() => return,
        };
        match read {
            Ok(0) | Err(_) => return stdin.close().await,
            Ok(n) => {
                if stdin.write(&buffer[..n], &mut exit).await.is_err() {
                    return;
                }
            }
        }
    }
}
