//! The 512-byte block.
//!
//! ```text
//!    0 name 100 | 100 mode 8 | 108 uid 8 | 116 gid 8 | 124 size 12 | 136 mtime 12 | 148 chksum 8
//!  156 type 1 | 157 linkname 100 | 257 magic 6 | 263 version 2 | 265 uname 32 | 297 gname 32
//!  329 major 8 | 337 minor 8 | 345 prefix 155   (GNU: 386 4 sparse extents, 482 more, 483 size 12)
//! ```
//! Numbers are octal text, or base-256 when the first byte's top bit is set (GNU, star).

pub(super) const BLOCK: usize = 512;

pub(super) struct Header<'a>(pub(super) &'a [u8; BLOCK]);

impl<'a> Header<'a> {
    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|&b| b == 0)
    }

    /// The sum of all bytes with the field itself as blanks; old writers summed signed bytes.
    pub(super) fn checksum_holds(&self) -> bool {
        let Some(stored) = number(&self.0[148..156]) else {
            return false;
        };
        let sums = |bytes: &[u8]| {
            let bytes = bytes.iter();
            bytes.fold((0u32, 0i32), |(unsigned, signed), &byte| {
                let as_signed = i32::from(byte.cast_signed());
                (unsigned + u32::from(byte), signed + as_signed)
            })
        };
        let ((u1, s1), (u2, s2)) = (sums(&self.0[..148]), sums(&self.0[156..]));
        let blanks = 8 * i128::from(b' ');
        let unsigned = i128::from(u1 + u2) + blanks;
        let signed = i128::from(s1 + s2) + blanks;
        stored == unsigned || stored == signed
    }

    /// The name; a POSIX header's prefix goes before it (GNU keeps other things there).
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = text(&self.0[345..500]);
        if &self.0[257..263] == b"ustar\0" && !prefix.is_empty() {
            return [prefix, b"/", name].concat();
        }
        name.to_vec()
    }

    pub(super) fn link(&self) -> &'a [u8] {
        text(&self.0[157..257])
    }

    pub(super) fn mode(&self) -> Option<i128> {
        number(&self.0[100..108])
    }

    pub(super) fn uid(&self) -> Option<i128> {
        number(&self.0[108..116])
    }

    pub(super) fn gid(&self) -> Option<i128> {
        number(&self.0[116..124])
    }

    pub(super) fn size(&self) -> Option<i128> {
        number(&self.0[124..136])
    }

    pub(super) fn mtime(&self) -> Option<i128> {
        number(&self.0[136..148])
    }

    pub(super) fn major(&self) -> Option<i128> {
        number(&self.0[329..337])
    }

    pub(super) fn minor(&self) -> Option<i128> {
        number(&self.0[337..345])
    }
}

fn text(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or_default()
}

/// An octal or base-256 number; an empty field is 0.
pub(super) fn number(field: &[u8]) -> Option<i128> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // Two's complement over the field without its top bit.
        let negative = first & 0x40 != 0;
        let start = if negative {
            i128::from(first | 0x80) - 256
        } else {
            i128::from(first & 0x7f)
        };
        return rest.iter().try_fold(start, |value, &byte| {
            value.checked_mul(256).map(|value| value | i128::from(byte))
        });
    }
    let digits = field
        .split(|&b| b == 0)
        .next()
        .unwrap_or_default()
        .trim_ascii();
    digits.iter().try_fold(0i128, |value, &digit| match digit {
        b'0'..=b'7' => Some(value * 8 + i128::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_two_forms() {
        for (field, value) in [
            (b"0000644\0".as_slice(), Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\0", Some(256)),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", Some(1 << 63)),
            (
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                Some(-1),
            ),
            (b"0000698\0", None),
            (b"-000001\0", None),
            (b"0x10\0\0\0\0", None),
        ] {
            assert_eq!(number(field), value, "{field:?}");
        }
    }
}
