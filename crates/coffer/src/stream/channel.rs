//! Messages of a session: one byte that says which channel, then its bytes.

use crate::terminal::Size;

pub(super) const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
pub(super) const VERDICT: u8 = 3;
pub(super) const RESIZE: u8 = 4;
/// Version 5 only: its second byte is the channel that ends.
pub(super) const CLOSE: u8 = 255;

/// `bytes` on `channel`.
pub(super) fn message(channel: u8, bytes: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(1 + bytes.len());
    message.push(channel);
    message.extend_from_slice(bytes);
    message
}

/// The terminal's new size.
pub(super) fn resize(size: Size) -> Vec<u8> {
    let text = format!("{{\"Width\":{},\"Height\":{}}}", size.columns, size.rows);
    message(RESIZE, text.as_bytes())
}

/// Nothing more will come on `channel`.
pub(super) fn close(channel: u8) -> Vec<u8> {
    message(CLOSE, &[channel])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_what_the_protocol_says() {
        assert_eq!(message(STDIN, b"ls\n"), b"\0ls\n");
        assert_eq!(close(STDIN), [255, 0]);
        let size = Size {
            columns: 80,
            rows: 24,
        };
        assert_eq!(resize(size), b"\x04{\"Width\":80,\"Height\":24}");
    }
}
