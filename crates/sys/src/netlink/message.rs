//! Making and reading messages.

/// `NLM_F_REQUEST`: on every message to the kernel.
const REQUEST: u16 = 1;
/// `NLM_F_ACK`: an answer is wanted even when all went well.
pub const ACK: u16 = 4;
/// `NLM_F_ROOT | NLM_F_MATCH`: all objects.
pub const DUMP: u16 = 0x300;
/// `NLM_F_REPLACE`: what is there may be replaced.
pub const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: it must be new.
pub const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: it may be new.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: at the end of its list.
pub const APPEND: u16 = 0x800;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// Length of `nlmsghdr`.
pub const HEADER: usize = 16;

/// A message being made. Its length and sequence number are filled in when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// A message with the fixed struct of its family.
    pub fn new(kind: u16, flags: u16, body: &[u8]) -> Message {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(body);
        Message(bytes)
    }

    /// Adds an attribute.
    pub fn attr(mut self, kind: u16, data: &[u8]) -> Message {
        self.open(kind);
        let start = self.0.len() - 4;
        self.0.extend_from_slice(data);
        self.close(start);
        self
    }

    /// Adds an attribute that is a text with a NUL.
    pub fn text(self, kind: u16, text: &str) -> Message {
        let mut data = text.as_bytes().to_vec();
        data.push(0);
        self.attr(kind, &data)
    }

    /// Adds an attribute that is a number in the host's byte order, as rtnetlink has them.
    pub fn number(self, kind: u16, number: u32) -> Message {
        self.attr(kind, &number.to_ne_bytes())
    }

    /// Adds an attribute that is a number in the network's byte order, as nf_tables has them.
    pub fn big(self, kind: u16, number: u32) -> Message {
        self.attr(kind, &number.to_be_bytes())
    }

    /// Adds an attribute that holds attributes, without the flag that says so (rtnetlink).
    pub fn within(mut self, kind: u16, fill: impl FnOnce(Message) -> Message) -> Message {
        self.open(kind);
        let start = self.0.len() - 4;
        let mut filled = fill(self);
        filled.close(start);
        filled
    }

    /// Adds an attribute that holds attributes, with the flag that says so (nf_tables).
    pub fn nest(self, kind: u16, fill: impl FnOnce(Message) -> Message) -> Message {
        self.within(kind | NESTED, fill)
    }

    /// Adds bytes as they are: a struct in front of nested attributes.
    pub fn raw(mut self, bytes: &[u8]) -> Message {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Asks for an acknowledgement.
    pub fn acknowledged(mut self) -> Message {
        self.0[6] |= ACK.to_ne_bytes()[0];
        self.0[7] |= ACK.to_ne_bytes()[1];
        self
    }

    /// The finished bytes.
    pub fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }

    fn open(&mut self, kind: u16) {
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
    }

    /// Fills in the length of the attribute that begins at `start` and pads it.
    fn close(&mut self, start: usize) {
        // No attribute of ours comes near the limit: lists of elements are cut in parts.
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        while !self.0.len().is_multiple_of(4) {
            self.0.push(0);
        }
    }
}

/// The attributes in `bytes`: kind without flags, and data. Ends at the first that is broken.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let data = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind & 0x3fff, data))
    })
}

/// A `u32` in the host's byte order at the beginning of `bytes`.
pub fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?))
}

/// A text that may end with a NUL.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_lengths_and_padding() {
        let message = Message::new(16, ACK, &[9, 9, 9, 9])
            .text(3, "eth")
            .within(18, |m| m.attr(1, &[7]))
            .nest(2, |m| m.big(1, 5));
        let bytes = message.finish(8);
        #[cfg(target_endian = "little")]
        assert_eq!(
            bytes,
            [
                52, 0, 0, 0, 16, 0, 5, 0, 8, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
                9, 9, 9, 9, // the family's struct
                8, 0, 3, 0, b'e', b't', b'h', 0, // text
                12, 0, 18, 0, 5, 0, 1, 0, 7, 0, 0, 0, // one byte, padded, in another
                12, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 5, // nested, big-endian
            ]
        );
        let read: Vec<(u16, &[u8])> = attributes(&bytes[20..]).collect();
        assert_eq!(read.len(), 3);
        assert_eq!((read[0].0, text(read[0].1)), (3, "eth".to_owned()));
        assert_eq!(read[1].1, [5, 0, 1, 0, 7, 0, 0, 0]);
        assert_eq!(read[2].0, 2);
    }

    #[test]
    fn broken_attributes_end_the_list() {
        for bytes in [&[3, 0][..], &[2, 0, 1, 0], &[200, 0, 1, 0, 0, 0]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }
}
