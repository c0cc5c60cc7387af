//! Where the last lines of a log file start, found from its end: a large file costs no more than
//! what is shown of it.

use std::{fs::File, io, os::unix::fs::FileExt};

use crate::logline;

const BLOCK: u64 = 64 << 10;
/// Longer than any entry's head (time, stream, tag).
const HEAD: usize = 128;

/// The offset at which the last `count` lines of the first `length` bytes start. A line that the container wrote in pieces
/// (`P … P F`) is one; what has no end yet is one too.
pub(crate) fn start_of_last(file: &File, length: u64, count: usize) -> io::Result<u64> {
    if count == 0 {
        return Ok(length);
    }
    let mut seen = 0;
    let mut open_end = true;
    let mut end = length;
    while end > 0 {
        let start = start_of_entry(file, end)?;
        let full = is_full(file, start, end)?;
        // Each entry that ends a line ends the one before it, as seen from the end.
        if full || open_end {
            seen += 1;
        }
        open_end = false;
        if seen > count {
            return Ok(end);
        }
        end = start;
    }
    Ok(0)
}

/// Where the entry starts that ends (with its newline) at `end`.
fn start_of_entry(file: &File, end: u64) -> io::Result<u64> {
    // Its own newline does not count.
    let mut upper = end - 1;
    let mut block = Vec::new();
    while upper > 0 {
        let lower = upper.saturating_sub(BLOCK);
        block.resize(usize::try_from(upper - lower).unwrap_or_default(), 0);
        file.read_exact_at(&mut block, lower)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(lower + at as u64 + 1);
        }
        upper = lower;
    }
    Ok(0)
}

fn is_full(file: &File, start: u64, end: u64) -> io::Result<bool> {
    let length = usize::try_from(end - start).unwrap_or(HEAD).min(HEAD);
    let mut head = vec![0; length];
    file.read_exact_at(&mut head, start)?;
    // What is not of CRI's form is shown as a line of its own.
    Ok(logline::parse(&head).is_none_or(|piece| piece.full))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(text: &str, count: usize) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, text).unwrap();
        let file = File::open(&path).unwrap();
        let start = start_of_last(&file, text.len() as u64, count).unwrap();
        text[usize::try_from(start).unwrap()..].to_owned()
    }

    #[test]
    fn lines_are_counted_from_the_end_pieces_together() {
        let text = "t stdout F 1\nt stdout P 2a\nt stdout F 2b\nt stderr F 3\n";
        for (count, shown) in [
            (0, ""),
            (1, "t stderr F 3\n"),
            (2, "t stdout P 2a\nt stdout F 2b\nt stderr F 3\n"),
            (3, text),
            (99, text),
        ] {
            assert_eq!(last(text, count), shown, "{count}");
        }
        assert_eq!(last("", 3), "");
    }

    #[test]
    fn a_line_without_an_end_is_a_line() {
        assert_eq!(last("t stdout F 1\nt stdout P $ \n", 1), "t stdout P $ \n");
        assert_eq!(last("t stdout F 1\nt stdout F half", 1), "t stdout F half");
    }

    #[test]
    fn entries_longer_than_a_block_are_whole() {
        let long = format!("t stdout F {}\n", "x".repeat(200_000));
        let text = format!("t stdout F 1\n{long}t stdout F 3\n");
        assert_eq!(last(&text, 2).len(), long.len() + 13);
    }
}
