//! Subprotocols, and how each writes a channel's number in front of a message.
//!
//! ```text
//! "", channel.k8s.io, v4, v5     binary   [channel][bytes …]
//! base64.channel.k8s.io, v4.     text     ['0' + channel][base64 of the bytes]
//! v5                             binary   [255][channel]      nothing more comes on this channel
//! ```
//! Versions 1 and 4 differ in the last word of exec and attach only (a sentence, or a Status). The
//! first that a client offers and that is known here is taken; a client that offers none gets
//! version 1, as Kubernetes does it.

use bytes::{BufMut, Bytes, BytesMut};
use data_encoding::BASE64;
use tokio_tungstenite::tungstenite::Message;

/// Version 5's channel that closes others.
const CLOSE: u8 = 255;

/// A subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Codec {
    /// What the client calls it; empty: it has not said.
    pub name: &'static str,
    /// Text with base64 instead of binary.
    base64: bool,
    /// The last word is a Status rather than a sentence.
    pub status: bool,
    /// A channel can be closed.
    pub closes: bool,
}

/// Every subprotocol.
const CODECS: [Codec; 6] = [
    codec("v5.channel.k8s.io", false, true, true),
    codec("v4.channel.k8s.io", false, true, false),
    codec("v4.base64.channel.k8s.io", true, true, false),
    codec("channel.k8s.io", false, false, false),
    codec("base64.channel.k8s.io", true, false, false),
    codec("", false, false, false),
];

const fn codec(name: &'static str, base64: bool, status: bool, closes: bool) -> Codec {
    Codec {
        name,
        base64,
        status,
        closes,
    }
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    /// Bytes of a channel.
    Data(u8, Bytes),
    /// Nothing more comes on this channel.
    Close(u8),
    /// Nothing: clients send empty messages to keep a connection alive.
    Nothing,
}

impl Codec {
    /// The subprotocol to speak with a client that offers these, in its order.
    ///
    /// # Errors
    /// The sentence that names those that there are.
    pub(crate) fn choose<'a>(offered: impl Iterator<Item = &'a str>) -> Result<Codec, String> {
        let mut offered = offered
            .flat_map(|list| list.split(','))
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .peekable();
        if offered.peek().is_none() {
            return Ok(CODECS[5]);
        }
        let known = |name| CODECS.iter().find(|codec| codec.name == name);
        offered.find_map(known).copied().ok_or_else(|| {
            let names: Vec<&str> = CODECS[..5].iter().map(|codec| codec.name).collect();
            format!(
                "none of the offered WebSocket subprotocols is known; known are {}",
                names.join(", ")
            )
        })
    }

    /// A message of a channel.
    pub(super) fn data(self, channel: u8, bytes: &[u8]) -> Message {
        if self.base64 {
            let mut text = String::with_capacity(1 + BASE64.encode_len(bytes.len()));
            text.push(char::from(b'0' + channel));
            BASE64.encode_append(bytes, &mut text);
            Message::text(text)
        } else {
            let mut message = BytesMut::with_capacity(1 + bytes.len());
            message.put_u8(channel);
            message.put_slice(bytes);
            Message::Binary(message.freeze())
        }
    }

    /// Says that nothing more comes on a channel, where that can be said.
    pub(super) fn close(self, channel: u8) -> Option<Message> {
        self.closes
            .then(|| Message::Binary(Bytes::copy_from_slice(&[CLOSE, channel])))
    }

    /// Reads the bytes of a message. Kubernetes' servers take text and binary alike.
    ///
    /// # Errors
    /// Base64 that is none.
    pub(super) fn read(self, mut message: Bytes) -> Result<Said, String> {
        let Some(first) = message.first().copied() else {
            return Ok(Said::Nothing);
        };
        let _ = message.split_to(1);
        if self.base64 {
            let bytes = BASE64
                .decode(&message)
                .map_err(|error| format!("a message is not base64: {error}"))?;
            return Ok(match first.checked_sub(b'0') {
                Some(channel) => Said::Data(channel, bytes.into()),
                None => Said::Nothing,
            });
        }
        Ok(match (first, message.first()) {
            (CLOSE, Some(channel)) if self.closes => Said::Close(*channel),
            (channel, _) => Said::Data(channel, message),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(offered: &[&str]) -> Result<Codec, String> {
        Codec::choose(offered.iter().copied())
    }

    #[test]
    fn the_first_known_subprotocol_is_taken() {
        let name = |offered: &[&str]| choose(offered).unwrap().name;
        assert_eq!(name(&[]), "");
        assert_eq!(name(&["v5.channel.k8s.io"]), "v5.channel.k8s.io");
        assert_eq!(
            name(&["v9.channel.k8s.io, v4.channel.k8s.io,v5.channel.k8s.io"]),
            "v4.channel.k8s.io"
        );
        assert_eq!(
            name(&["x", "base64.channel.k8s.io"]),
            "base64.channel.k8s.io"
        );
        let error = choose(&["SPDY/3.1+portforward.k8s.io"]).unwrap_err();
        assert!(error.contains("v5.channel.k8s.io, v4"), "{error}");
    }

    #[test]
    fn messages_survive_the_way_there_and_back() {
        for codec in CODECS {
            for bytes in [&b""[..], b"foo\n", &[0, 255, 1]] {
                let message = codec.data(2, bytes);
                assert_eq!(message.is_text(), codec.base64);
                let said = codec.read(message.into_data()).unwrap();
                assert_eq!(said, Said::Data(2, Bytes::copy_from_slice(bytes)));
            }
            assert_eq!(codec.read(Bytes::new()), Ok(Said::Nothing));
            assert_eq!(codec.close(0).is_some(), codec.closes);
        }
    }

    #[test]
    fn the_documented_bytes() {
        let [v5, v4, .., base64, _] = CODECS;
        assert_eq!(&v4.data(1, b"\n").into_data()[..], b"\x01\n");
        assert_eq!(&base64.data(1, b"\n").into_data()[..], b"1Cg==");
        assert_eq!(
            base64.read(Bytes::from_static(b"0Zm9vCg==")),
            Ok(Said::Data(0, Bytes::from_static(b"foo\n")))
        );
        assert!(base64.read(Bytes::from_static(b"0!")).is_err());
        let close = Bytes::from_static(&[255, 0]);
        assert_eq!(v5.read(close.clone()), Ok(Said::Close(0)));
        // Version 4 knows no such channel: whoever routes messages drops it.
        assert_eq!(
            v4.read(close),
            Ok(Said::Data(255, Bytes::from_static(&[0])))
        );
    }
}
