//! One connection: greeting, calls, signals.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::message::{CALL, ERROR, FIXED, Fields, Message, RETURN, SIGNAL};
use super::{Error, Value};

/// systemd answers in milliseconds; its jobs may wait for others.
const PATIENCE: Duration = Duration::from_secs(30);
const BUS: &str = "org.freedesktop.DBus";

/// Where a call goes.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the specification's words")]
pub struct Call<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
}

/// A connection to a bus.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    serial: u32,
    /// Signals that came while an answer was awaited: member and body.
    signals: VecDeque<(String, Vec<Value>)>,
}

impl Connection {
    /// Connects, says who we are, and is given a name.
    ///
    /// # Errors
    /// No bus there, or none for us.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Connect {
            path: path.to_owned(),
            source,
        };
        let stream = UnixStream::connect(path).map_err(failed)?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
        let mut connection = Self {
            stream,
            serial: 0,
            signals: VecDeque::new(),
        };
        connection.authenticate()?;
        let hello = Call {
            destination: BUS,
            path: "/org/freedesktop/DBus",
            interface: BUS,
            member: "Hello",
        };
        connection.call(&hello, Vec::new())?;
        Ok(connection)
    }

    /// EXTERNAL: the kernel tells the bus our uid; the text only says which we mean.
    fn authenticate(&mut self) -> Result<(), Error> {
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|b| format!("{b:02x}")).collect();
        self.stream
            .write_all(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes())?;
        let answer = self.line()?;
        if !answer.starts_with("OK ") {
            return Err(Error::Refused(answer));
        }
        self.stream.write_all(b"BEGIN\r\n")?;
        Ok(())
    }

    /// A line of the greeting; byte by byte, because messages may follow at once.
    fn line(&mut self) -> Result<String, Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.fill(&mut byte, deadline)?;
            line.extend(byte);
            if line.len() > 1024 {
                return Err(Error::Protocol("a greeting without an end"));
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    /// The service's, or none within half a minute.
    pub fn call(&mut self, call: &Call<'_>, body: Vec<Value>) -> Result<Vec<Value>, Error> {
        self.serial += 1;
        let message = Message {
            kind: CALL,
            serial: self.serial,
            fields: Fields {
                path: Some(call.path.to_owned()),
                interface: Some(call.interface.to_owned()),
                member: Some(call.member.to_owned()),
                destination: Some(call.destination.to_owned()),
                ..Fields::default()
            },
            body,
        };
        self.stream.write_all(&message.encode())?;
        let ours = self.serial;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.receive(deadline)?;
            let ours = answer.fields.reply_to == Some(ours);
            match answer.kind {
                RETURN if ours => return Ok(answer.body),
                ERROR if ours => {
                    let text = answer.body.first().and_then(Value::as_text);
                    return Err(Error::Remote {
                        name: answer.fields.error.unwrap_or_default(),
                        text: text.unwrap_or("without a word").to_owned(),
                    });
                }
                SIGNAL => self.keep(answer),
                _ => {}
            }
        }
    }

    /// The first signal `member` whose body `wanted` takes.
    pub(crate) fn signal<T>(
        &mut self,
        member: &str,
        mut wanted: impl FnMut(&[Value]) -> Option<T>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some((name, body)) = self.signals.pop_front() {
                if name == member
                    && let Some(found) = wanted(&body)
                {
                    return Ok(found);
                }
            }
            let message = self.receive(deadline)?;
            if message.kind == SIGNAL {
                self.keep(message);
            }
        }
    }

    /// Sends an answer or a signal, numbered by us.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send(&mut self, message: &Message) -> Result<(), Error> {
        self.serial += 1;
        let message = Message {
            serial: self.serial,
            ..message.clone()
        };
        Ok(self.stream.write_all(&message.encode())?)
    }

    /// The next message of any kind.
    ///
    /// # Errors
    /// None within half a minute, or the bus is gone.
    pub fn next_message(&mut self) -> Result<Message, Error> {
        self.receive(Instant::now() + PATIENCE)
    }

    fn keep(&mut self, message: Message) {
        self.signals
            .push_back((message.fields.member.unwrap_or_default(), message.body));
    }

    fn receive(&mut self, deadline: Instant) -> Result<Message, Error> {
        let mut fixed = [0; FIXED];
        self.fill(&mut fixed, deadline)?;
        let mut bytes = vec![0; Message::length(&fixed)?];
        let (head, rest) = bytes.split_at_mut(FIXED);
        head.copy_from_slice(&fixed);
        self.fill(rest, deadline)?;
        Message::decode(&bytes)
    }

    fn fill(&mut self, mut buffer: &mut [u8], deadline: Instant) -> Result<(), Error> {
        while !buffer.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout(PATIENCE.as_secs()));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(got) => buffer = buffer.get_mut(got..).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}
