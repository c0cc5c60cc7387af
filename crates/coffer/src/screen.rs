//! The whole terminal, for as long as a live view has it: alternate screen, no cursor, keys as they
//! are pressed. What was there before is there again on every way out.

use std::io::{self, Read};

use tokio::sync::mpsc;

use crate::{error::Error, out, terminal};

/// Alternate screen on, cursor off; and back.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";

/// The terminal, taken over.
#[derive(Debug)]
pub(crate) struct Screen {
    _raw: terminal::Raw,
}

/// A key that means something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Letter(char),
    Up,
    Down,
    Quit,
}

impl Screen {
    /// Takes the terminal over.
    pub(crate) fn enter() -> Result<Screen, Error> {
        let raw = terminal::Raw::enter()?;
        out::raw(ENTER)?;
        Ok(Screen { _raw: raw })
    }

    /// Shows these lines from the top, and nothing else.
    pub(crate) fn draw(&self, lines: &[String]) -> Result<(), Error> {
        let mut text = String::from("\x1b[H");
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                text.push_str("\r\n");
            }
            text.push_str(line);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        out::raw(text.as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = out::raw(LEAVE);
    }
}

/// The keys that are pressed from now on. The thread that waits for them ends with the program.
pub(crate) fn keys() -> mpsc::Receiver<Key> {
    let (sender, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut bytes = [0; 32];
        loop {
            let count = match stdin.read(&mut bytes) {
                Ok(0) => 0,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            // A terminal that went away is the end, as `q` is.
            let pressed = if count == 0 {
                vec![Key::Quit]
            } else {
                decode(&bytes[..count])
            };
            for key in pressed {
                if sender.blocking_send(key).is_err() {
                    return;
                }
            }
            if count == 0 {
                return;
            }
        }
    });
    keys
}

/// Bytes of a terminal as keys: `q`, Ctrl-C, Ctrl-D and a lone Escape mean the end.
fn decode(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (0x1b, [b'[' | b'O', b'A', tail @ ..]) => {
                keys.push(Key::Up);
                rest = tail;
            }
            (0x1b, [b'[' | b'O', b'B', tail @ ..]) => {
                keys.push(Key::Down);
                rest = tail;
            }
            // Another key with a sequence of its own: it means nothing here.
            (0x1b, [b'[' | b'O', tail @ ..]) => {
                let end = tail.iter().position(|byte| (0x40..=0x7e).contains(byte));
                rest = end.map_or(&[][..], |end| &tail[end + 1..]);
            }
            (0x1b | 0x03 | 0x04 | b'q' | b'Q', _) => keys.push(Key::Quit),
            (byte, _) if byte.is_ascii_graphic() => keys.push(Key::Letter(char::from(*byte))),
            _ => {}
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_sequences() {
        for (bytes, keys) in [
            (&b"c"[..], vec![Key::Letter('c')]),
            (b"q", vec![Key::Quit]),
            (b"\x03", vec![Key::Quit]),
            (b"\x1b", vec![Key::Quit]),
            (b"\x1b[A\x1bOBm", vec![Key::Up, Key::Down, Key::Letter('m')]),
            (b"\x1b[15~n", vec![Key::Letter('n')]),
            (b"\r\xc3\xa4", vec![]),
        ] {
            assert_eq!(decode(bytes), keys, "{bytes:?}");
        }
    }
}
