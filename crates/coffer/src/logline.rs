//! One line of a CRI log file:
//!
//! ```text
//! 2026-01-02T03:04:05.123456789Z stdout F the text
//! time                           stream tag content; P: the line goes on in the next entry
//! ```

use crate::times;

/// Which of the container's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// What the container wrote, with the newline unless the line goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// RFC 3339, as it is in the file.
    pub(crate) time: &'a [u8],
    pub(crate) stream: Stream,
    pub(crate) content: &'a [u8],
    /// The line ends here.
    pub(crate) full: bool,
}

impl Piece<'_> {
    /// The time, ns since the epoch; `None` if it is none.
    pub(crate) fn time_ns(&self) -> Option<i64> {
        times::rfc3339(std::str::from_utf8(self.time).ok()?)
    }
}

/// Reads one line of the file, without its newline; `None` for what is not of this form.
pub(crate) fn parse(line: &[u8]) -> Option<Piece<'_>> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let time = fields.next().filter(|time| !time.is_empty())?;
    let stream = match fields.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    // The tag is a list with colons; its first entry says whether the line is complete.
    let full = match fields.next()?.split(|byte| *byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Piece {
        time,
        stream,
        content: fields.next().unwrap_or_default(),
        full,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_file() {
        let full = parse(b"2026-01-02T03:04:05.1Z stdout F a b  c").unwrap();
        assert_eq!(
            full,
            Piece {
                time: b"2026-01-02T03:04:05.1Z",
                stream: Stream::Stdout,
                content: b"a b  c",
                full: true
            }
        );
        let part = parse(b"t stderr P x").unwrap();
        assert_eq!((part.stream, part.full), (Stream::Stderr, false));
        let empty = parse(b"t stdout F ").unwrap();
        assert_eq!(empty.content, b"");
        for broken in [&b""[..], b"t", b"t stdin F x", b"t stdout X x"] {
            assert_eq!(parse(broken), None, "{}", String::from_utf8_lossy(broken));
        }
    }
}
