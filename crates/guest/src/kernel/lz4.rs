//! LZ4 in its old frame, in which kernels are packed.
//!
//! ```text
//!  02 21 4c 18 │ length (4, little endian) │ block │ length │ block │ …
//!  block: token (literals << 4 | match), more literals, literals, offset (2), more match …
//! ```
//! Each block unpacks to at most 8 MiB, and only the last to less. Kernels carry their unpacked length
//! behind the last block.

const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
const BLOCK: usize = 8 << 20;

/// Unpacks a frame that is followed by the unpacked length; None when it is broken.
#[must_use]
pub(super) fn unpack(data: &[u8]) -> Option<Vec<u8>> {
    let (data, length) = data.strip_prefix(&MAGIC)?.split_last_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let mut unpacked = Vec::with_capacity(length.min(1 << 30));
    let mut rest = data;
    while unpacked.len() < length {
        let (size, after) = rest.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
        block(after.get(..size)?, &mut unpacked)?;
        rest = &after[size..];
    }
    (unpacked.len() == length).then_some(unpacked)
}

/// Unpacks one block; matches never reach into an earlier one.
fn block(mut data: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let begin = out.len();
    loop {
        let (&token, rest) = data.split_first()?;
        data = rest;
        let literals = more(usize::from(token >> 4), &mut data)?;
        out.extend_from_slice(data.get(..literals)?);
        data = &data[literals..];
        if data.is_empty() {
            return (out.len() - begin <= BLOCK).then_some(());
        }
        let (offset, rest) = data.split_first_chunk::<2>()?;
        data = rest;
        let offset = usize::from(u16::from_le_bytes(*offset));
        let length = more(usize::from(token & 15), &mut data)? + 4;
        let from = out.len().checked_sub(offset).filter(|at| *at >= begin)?;
        if offset == 0 || out.len() - begin + length > BLOCK {
            return None;
        }
        // The match may overlap what it makes: copied in pieces that exist already.
        let mut left = length;
        while left > 0 {
            let piece = left.min(out.len() - from);
            out.extend_from_within(from..from + piece);
            left -= piece;
        }
    }
}

/// A length of 15 goes on in bytes, until one is not 255.
fn more(length: usize, data: &mut &[u8]) -> Option<usize> {
    let mut length = length;
    if length == 15 {
        loop {
            let (&byte, rest) = data.split_first()?;
            *data = rest;
            length += usize::from(byte);
            if byte != 255 {
                break;
            }
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(blocks: &[&[u8]], length: u32) -> Vec<u8> {
        let mut frame = MAGIC.to_vec();
        for block in blocks {
            frame.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
            frame.extend(*block);
        }
        frame.extend(length.to_le_bytes());
        frame
    }

    #[test]
    fn literals_matches_and_overlaps_unpack() {
        // "ab", then 4 + 15 + 2 bytes from 2 back, then "z".
        let one: &[u8] = &[0x2f, b'a', b'b', 2, 0, 2, 0x10, b'z'];
        let two: &[u8] = &[0x30, b'x', b'y', b'z'];
        let unpacked = unpack(&frame(&[one, two], 2 + 21 + 1 + 3)).unwrap();
        assert_eq!(unpacked, [&b"ab".repeat(12)[..23], b"z", b"xyz"].concat());
    }

    #[test]
    fn broken_frames_are_refused() {
        let good: &[u8] = &[0x30, b'x', b'y', b'z'];
        assert!(unpack(&frame(&[good], 3)).is_some());
        let cases: [&[u8]; 5] = [
            // More literals than there are.
            &[0x40, b'x'],
            // An offset of 0, and one before the beginning.
            &[0x10, b'x', 0, 0, 0],
            &[0x10, b'x', 2, 0, 0],
            // A length that does not end.
            &[0xf0, 255, 255],
            &[],
        ];
        for case in cases {
            assert_eq!(unpack(&frame(&[case], 3)), None, "{case:?}");
        }
        assert_eq!(unpack(&frame(&[good], 2)), None);
        assert_eq!(unpack(b"\x02\x21\x4c\x18\0"), None);
    }
}
