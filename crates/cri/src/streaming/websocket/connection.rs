//! One WebSocket connection with its channels, until one side has had enough.
//!
//! ```text
//! messages ─► read ──► Inbound of the channel: data (waits for room), size (the newest), ignored
//! frames ◄─── write ◄─ outbound; its end: everything was said ─► Close 1000, wait for the client's
//!             watch    idle too long, no answer to pings, the daemon ends ─► Close 1001 with a reason
//! ```
//! While a channel has no room the socket is not read: the client feels it. What it does meanwhile
//! is seen by looking at the socket itself: a client that has hung up is not waited for.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as WsError, Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{
    codec::{Codec, Said},
    pulse::Pulse,
};
use crate::streaming::session::{PIECE, Size};

/// How often a client is pinged. The kernel of a client that was killed answers a ping with a reset,
/// also while the end of its connection is stuck behind bytes that we do not read.
const PING: Duration = Duration::from_secs(10);
/// How often the socket is looked at while a channel has no room.
const LOOK: Duration = Duration::from_millis(500);
/// How long the last bytes of a client that has hung up may wait for room.
const GRACE: Duration = Duration::from_secs(5);
/// How long a client may take to read the last words and to close its side.
const CLOSING: Duration = Duration::from_secs(60);
/// The same when the daemon ends.
const LEAVING: Duration = Duration::from_millis(500);

/// The connection.
pub(crate) type Socket = WebSocketStream<TcpStream>;

/// What becomes of what comes on a channel.
#[derive(Debug)]
pub(super) enum Inbound {
    /// It is dropped, as Kubernetes' servers do it.
    Ignored,
    /// Bytes, in order.
    Data(mpsc::Sender<Bytes>),
    /// `{"Width":80,"Height":24}`.
    Size(watch::Sender<Option<Size>>),
}

/// A connection's channels, and when it ends.
#[derive(Debug)]
pub(super) struct Wires<T> {
    pub codec: Codec,
    /// By channel number.
    pub inbound: Vec<Inbound>,
    /// What is to be said; its end is the connection's.
    pub outbound: mpsc::Receiver<T>,
    /// Set when the connection is over before everything was said.
    pub gone: watch::Sender<bool>,
}

/// When connections end by themselves.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// No data in either direction for so long.
    pub idle: Duration,
    /// True: the daemon ends.
    pub ending: watch::Receiver<bool>,
}

/// Why a connection is over.
#[derive(Debug)]
enum End {
    /// Everything was said.
    Done,
    /// The client has closed it, or is not there any more.
    Gone(String),
    /// We close it; the client is told why.
    Close(CloseCode, String),
}

/// Carries messages until the end. `frame` makes a message of what is to be said.
pub(super) async fn carry<T>(
    socket: Socket,
    wires: Wires<T>,
    limits: &Limits,
    frame: impl Fn(Codec, T) -> Option<Message>,
) {
    let Wires {
        codec,
        mut inbound,
        mut outbound,
        gone,
    } = wires;
    let pulse = Pulse::new();
    let hang_up = rustix::io::fcntl_dupfd_cloexec(socket.get_ref(), 0).ok();
    let (mut sink, mut source) = socket.split();
    let end = {
        let read = read(&mut source, codec, &mut inbound, hang_up.as_ref(), &pulse);
        let write = write(&mut sink, codec, &mut outbound, frame, &pulse);
        tokio::select! {
            biased;
            end = write => end,
            end = read => end,
            end = watch(limits, &pulse) => end,
        }
    };
    let why = match &end {
        End::Done => "everything was said",
        End::Gone(why) | End::Close(_, why) => why,
    };
    tracing::debug!(why, "a stream's connection ends");
    // From here on whoever sends or receives sees the end; `gone` first, so that it is known why.
    if !matches!(end, End::Done) {
        gone.send_replace(true);
    }
    drop((inbound, outbound));
    let (code, reason, patience) = match end {
        End::Done => (CloseCode::Normal, String::new(), CLOSING),
        End::Gone(_) => return,
        End::Close(code, reason) => (code, reason, LEAVING),
    };
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let farewell = async {
        if sink.send(Message::Close(Some(frame))).await.is_ok() {
            // Bytes that the kernel has received and nobody has read would make it reset the
            // connection, and the client lose what it has not read yet.
            while let Some(Ok(_)) = source.next().await {}
        }
    };
    let mut ending = limits.ending.clone();
    tokio::select! {
        _ = tokio::time::timeout(patience, farewell) => {}
        _ = ending.wait_for(|ending| *ending), if patience == CLOSING => {}
    }
}

async fn read(
    source: &mut SplitStream<Socket>,
    codec: Codec,
    inbound: &mut [Inbound],
    hang_up: Option<&OwnedFd>,
    pulse: &Pulse,
) -> End {
    loop {
        let bytes = match source.next().await {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Text(text))) => text.into(),
            Some(Ok(Message::Close(_))) => return End::Gone("closed by the client".to_owned()),
            Some(Ok(_)) => {
                pulse.heard();
                continue;
            }
            Some(Err(WsError::Capacity(error))) => {
                return End::Close(CloseCode::Size, error.to_string());
            }
            Some(Err(error)) => return End::Gone(error.to_string()),
            None => return End::Gone("the connection ended".to_owned()),
        };
        pulse.heard();
        let (channel, bytes) = match codec.read(bytes) {
            Ok(Said::Data(channel, bytes)) => (channel, bytes),
            Ok(Said::Close(channel)) => {
                if let Some(slot) = inbound.get_mut(usize::from(channel)) {
                    *slot = Inbound::Ignored;
                }
                continue;
            }
            Ok(Said::Nothing) => continue,
            Err(why) => return End::Close(CloseCode::Invalid, why),
        };
        match inbound.get(usize::from(channel)) {
            Some(Inbound::Data(to)) => {
                pulse.data();
                if let Err(end) = hand_on(to, bytes, hang_up, pulse).await {
                    return end;
                }
            }
            Some(Inbound::Size(to)) => {
                if let Some(size) = size(&bytes) {
                    to.send_replace(Some(size));
                }
            }
            Some(Inbound::Ignored) | None => {}
        }
    }
}

/// Gives bytes to whoever reads the channel. One that reads no more is no error: the rest is
/// dropped, as a shell drops what nobody reads.
async fn hand_on(
    to: &mpsc::Sender<Bytes>,
    mut bytes: Bytes,
    hang_up: Option<&OwnedFd>,
    pulse: &Pulse,
) -> Result<(), End> {
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        let Err(mpsc::error::TrySendError::Full(piece)) = to.try_send(piece) else {
            continue;
        };
        pulse.blocked(true);
        let mut send = std::pin::pin!(to.send(piece));
        let mut hung_up: Option<Instant> = None;
        loop {
            tokio::select! {
                _ = &mut send => break,
                () = tokio::time::sleep(LOOK) => {
                    let patience = match hang_up.map_or(Line::Open, line) {
                        Line::Open => continue,
                        Line::Closed => GRACE,
                        Line::Broken => Duration::ZERO,
                    };
                    if hung_up.get_or_insert_with(Instant::now).elapsed() >= patience {
                        return Err(End::Gone("the client has hung up".to_owned()));
                    }
                }
            }
        }
        pulse.blocked(false);
    }
    Ok(())
}

/// The other side of a connection, whatever is still to be read of it.
enum Line {
    Open,
    /// Nothing more comes.
    Closed,
    /// Nothing goes either.
    Broken,
}

fn line(socket: &OwnedFd) -> Line {
    let mut fds = [PollFd::new(socket, PollFlags::RDHUP)];
    if poll(&mut fds, Some(&Timespec::default())).is_err() {
        return Line::Open;
    }
    let found = fds[0].revents();
    if found.intersects(PollFlags::HUP | PollFlags::ERR) {
        Line::Broken
    } else if found.contains(PollFlags::RDHUP) {
        Line::Closed
    } else {
        Line::Open
    }
}

async fn write<T>(
    sink: &mut SplitSink<Socket, Message>,
    codec: Codec,
    outbound: &mut mpsc::Receiver<T>,
    frame: impl Fn(Codec, T) -> Option<Message>,
    pulse: &Pulse,
) -> End {
    let mut ping = tokio::time::interval_at(tokio::time::Instant::now() + PING, PING);
    ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let message = tokio::select! {
            biased;
            next = outbound.recv() => match next {
                Some(next) => frame(codec, next),
                None => return End::Done,
            },
            _ = ping.tick() => Some(Message::Ping(Bytes::new())),
        };
        let Some(message) = message else { continue };
        let is_data = !message.is_ping();
        if let Err(error) = sink.send(message).await {
            return End::Gone(error.to_string());
        }
        if is_data {
            pulse.data();
        }
    }
}

/// Ends a connection that nothing happens on.
async fn watch(limits: &Limits, pulse: &Pulse) -> End {
    let mut ending = limits.ending.clone();
    loop {
        let until_idle = limits.idle.saturating_sub(pulse.since_data());
        let next = until_idle.min(PING).max(Duration::from_millis(1));
        tokio::select! {
            _ = ending.wait_for(|ending| *ending) => {
                return End::Close(CloseCode::Away, "the daemon is ending".to_owned());
            }
            () = tokio::time::sleep(next) => {}
        }
        if pulse.since_data() >= limits.idle {
            let reason = format!("no data for {:?}", limits.idle);
            return End::Close(CloseCode::Away, reason);
        }
        if pulse.is_silent() {
            return End::Gone("the client does not answer pings".to_owned());
        }
    }
}

/// `{"Width":80,"Height":24}`; anything else is no size, and a side of 0 is none that a program
/// could use.
fn size(bytes: &[u8]) -> Option<Size> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Wire {
        width: u16,
        height: u16,
    }
    // Clients put a newline behind it. A list would be read as the fields in their order.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let size: Wire = serde_json::from_slice(bytes).ok()?;
    (size.width > 0 && size.height > 0).then_some(Size {
        columns: size.width,
        rows: size.height,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_odd_ones_dropped() {
        let found = size(b"{\"Width\":80,\"Height\":24}\n");
        assert_eq!(
            found,
            Some(Size {
                columns: 80,
                rows: 24
            })
        );
        for odd in [
            "",
            "{}",
            "{\"Width\":0,\"Height\":24}",
            "{\"Width\":70000,\"Height\":24}",
            "{\"Width\":-1,\"Height\":24}",
            "[80,24]",
        ] {
            assert_eq!(size(odd.as_bytes()), None, "{odd}");
        }
    }
}
