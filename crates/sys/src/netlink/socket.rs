//! A netlink socket: requests with their answers.

use std::{os::fd::OwnedFd, time::Duration};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType,
        netlink::NETFILTER,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use super::message::{HEADER, Message, number};

/// How long an answer may take: the kernel answers at once or never.
pub const LIMIT: Duration = Duration::from_secs(10);
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// A socket of one network namespace: that of the thread that opened it.
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// A socket for interfaces, addresses and routes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn route() -> Result<Socket, Errno> {
        Socket::open(None)
    }

    /// A socket for netfilter.
    ///
    /// # Errors
    /// EPROTONOSUPPORT when the kernel has no nfnetlink.
    pub fn netfilter() -> Result<Socket, Errno> {
        Socket::open(Some(NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> Result<Socket, Errno> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        set_socket_timeout(&fd, Timeout::Recv, Some(LIMIT))?;
        Ok(Socket(fd))
    }

    /// Sends messages in one datagram and waits for the acknowledgement of each. rtnetlink goes on
    /// after a failure: what follows fails too or has its effect, and undoing is the caller's.
    ///
    /// # Errors
    /// The first failure.
    pub fn request(&self, messages: Vec<Message>) -> Result<(), Errno> {
        let count = messages.len();
        let messages = messages.into_iter().map(Message::acknowledged).collect();
        self.send(messages)?;
        let mut first = Ok(());
        let mut answered = 0;
        while answered < count {
            self.receive(|answer| {
                if let Answer::Verdict { error, .. } = answer {
                    answered += 1;
                    if first.is_ok() {
                        first = verdict(error);
                    }
                }
            })?;
        }
        first
    }

    /// Sends a batch of netfilter, of which the last message but one asks for an acknowledgement.
    ///
    /// # Errors
    /// The first failure; nothing of the batch has an effect then.
    pub fn batch(&self, messages: Vec<Message>) -> Result<(), Errno> {
        let last = u32::try_from(messages.len().saturating_sub(1)).unwrap_or(0);
        self.send(messages)?;
        let (mut first, mut done) = (Ok(()), false);
        while !done {
            self.receive(|answer| {
                if let Answer::Verdict { sequence, error } = answer {
                    if first.is_ok() {
                        first = verdict(error);
                    }
                    // The batch's first message is answered only when all of it was refused.
                    done |= sequence == last || (sequence == 1 && error != 0);
                }
            })?;
        }
        first
    }

    /// Asks and collects the bodies of all messages of the answer.
    ///
    /// # Errors
    /// The kernel's.
    pub fn ask(&self, message: Message, dump: bool) -> Result<Vec<Vec<u8>>, Errno> {
        self.send(vec![message])?;
        let mut found = Vec::new();
        let (mut done, mut result) = (false, Ok(()));
        while !done {
            self.receive(|answer| match answer {
                Answer::Verdict { error, .. } => {
                    done = true;
                    result = verdict(error);
                }
                Answer::Done => done = true,
                Answer::Message(body) => {
                    found.push(body.to_vec());
                    done |= !dump;
                }
            })?;
        }
        result.map(|()| found)
    }

    fn send(&self, messages: Vec<Message>) -> Result<(), Errno> {
        let mut bytes = Vec::new();
        for (sequence, message) in (1..).zip(messages) {
            bytes.extend(message.finish(sequence));
        }
        match rustix::net::send(&self.0, &bytes, SendFlags::empty())? {
            sent if sent == bytes.len() => Ok(()),
            _ => Err(Errno::MSGSIZE),
        }
    }

    /// Reads one datagram and tells each message of it.
    fn receive(&self, mut tell: impl FnMut(Answer<'_>)) -> Result<(), Errno> {
        // A dump's datagram has at most 32 KiB, an error repeats the request.
        let mut buffer = vec![0; 64 << 10];
        let (_, length) = loop {
            match rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::TRUNC) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(Errno::TIMEDOUT),
                read => break read?,
            }
        };
        let mut bytes = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
        while let Some((kind, sequence, body, rest)) = split(bytes) {
            match kind {
                ERROR => {
                    let error = number(body).unwrap_or(0).cast_signed();
                    tell(Answer::Verdict { sequence, error });
                }
                DONE => tell(Answer::Done),
                _ => tell(Answer::Message(body)),
            }
            bytes = rest;
        }
        Ok(())
    }
}

enum Answer<'a> {
    Verdict { sequence: u32, error: i32 },
    Done,
    Message(&'a [u8]),
}

fn verdict(error: i32) -> Result<(), Errno> {
    match error {
        0 => Ok(()),
        error => Err(Errno::from_raw_os_error(error.wrapping_neg())),
    }
}

/// The first message of a datagram: type, sequence number, body, and what follows.
fn split(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = usize::try_from(number(bytes)?).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, number(&bytes[8..])?, body, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_success_an_errno_or_nonsense() {
        let answer = |kind: u16, error: i32| {
            let body = error.to_ne_bytes();
            Message::new(kind, 0, &body).finish(7)
        };
        let read = |bytes: &[u8]| {
            let (kind, sequence, body, rest) = split(bytes)?;
            let error = number(body)?.cast_signed();
            Some((kind, sequence, verdict(error), rest.len()))
        };
        assert_eq!(read(&answer(ERROR, 0)), Some((ERROR, 7, Ok(()), 0)));
        let failed = Some((ERROR, 7, Err(Errno::NODEV), 0));
        assert_eq!(read(&answer(ERROR, -19)), failed);
        assert_eq!(read(&[0; 7]), None);
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[255; 40]), None);
    }
}
