//! The keys that let go of a container's terminal: `ctrl-p,ctrl-q` unless told otherwise.
//!
//! A prefix of the sequence is held back until the next key says whether it is one; what turns out
//! not to be goes to the program in the order in which it was typed.

/// A sequence of keys, each one byte; empty: there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    /// How many of them were typed so far.
    held: usize,
}

impl Default for DetachKeys {
    fn default() -> DetachKeys {
        // ctrl-p, ctrl-q
        DetachKeys {
            keys: vec![0x10, 0x11],
            held: 0,
        }
    }
}

/// Reads `ctrl-p,ctrl-q`: single characters, or `ctrl-` with a letter or one of `@ [ \ ] ^ _`. The
/// empty text means no keys at all.
pub(crate) fn parse(text: &str) -> Result<DetachKeys, String> {
    if text.is_empty() {
        return Ok(DetachKeys {
            keys: Vec::new(),
            held: 0,
        });
    }
    let keys: Result<Vec<u8>, String> = text.split(',').map(key).collect();
    Ok(DetachKeys {
        keys: keys?,
        held: 0,
    })
}

fn key(word: &str) -> Result<u8, String> {
    let wrong = || {
        format!(
            "{word:?} is not a key: one character, or ctrl- with a letter or one of @ [ \\ ] ^ _"
        )
    };
    let one = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii() => Some(*byte),
        _ => None,
    };
    match word.strip_prefix("ctrl-") {
        Some(rest) => match one(rest).map(|byte| byte.to_ascii_uppercase()) {
            Some(byte @ b'@'..=b'_') => Ok(byte - b'@'),
            _ => Err(wrong()),
        },
        None => one(word).ok_or_else(wrong),
    }
}

impl DetachKeys {
    /// What of `typed` goes on to the program, and whether the sequence is complete; what was typed
    /// after it is dropped.
    pub(super) fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (typed.to_vec(), false);
        }
        let mut on = Vec::with_capacity(typed.len());
        for byte in typed {
            if *byte != self.keys[self.held] {
                on.extend_from_slice(&self.keys[..self.held]);
                self.held = 0;
            }
            if *byte == self.keys[self.held] {
                self.held += 1;
                if self.held == self.keys.len() {
                    return (on, true);
                }
            } else {
                on.push(*byte);
            }
        }
        (on, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_detaches_and_all_else_passes() {
        /// What was typed in pieces, what passed, whether it detached.
        type Row<'a> = (&'a [&'a [u8]], &'a [u8], bool);
        let table: [Row<'_>; 6] = [
            (&[b"ls\n"], b"ls\n", false),
            (&[b"a\x10\x11b"], b"a", true),
            (&[b"\x10", b"\x11"], b"", true),
            (&[b"\x10", b"x"], b"\x10x", false),
            (&[b"\x10\x10\x11"], b"\x10", true),
            (&[b"\x11\x10"], b"\x11", false),
        ];
        for (typed, passed, detached) in table {
            let mut keys = DetachKeys::default();
            let mut on = Vec::new();
            let mut done = false;
            for piece in typed {
                let (more, complete) = keys.pass(piece);
                on.extend(more);
                done |= complete;
            }
            assert_eq!((on.as_slice(), done), (passed, detached), "{typed:?}");
        }
    }

    #[test]
    fn words_for_keys() {
        assert_eq!(parse("ctrl-p,ctrl-q"), Ok(DetachKeys::default()));
        assert_eq!(parse("ctrl-[,x").unwrap().keys, [0x1b, b'x']);
        assert!(parse("").unwrap().keys.is_empty());
        for text in ["ctrl-", "ctrl-1", "escape", "a,,b", "ä"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn without_keys_everything_passes() {
        let mut keys = parse("").unwrap();
        assert_eq!(keys.pass(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
