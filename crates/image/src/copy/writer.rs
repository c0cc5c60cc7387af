//! Writes tar entries: POSIX headers, with a PAX header where a value does not fit.

use std::io::{self, Write};

use crate::tar::Kind;

const BLOCK: usize = 512;
/// Largest numbers of seven and of eleven octal digits.
const SMALL: u64 = 0o7_777_777;
const LARGE: u64 = 0o77_777_777_777;

/// What an entry's header says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) kind: Kind,
    pub(crate) path: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Seconds since the epoch.
    pub(crate) mtime: i64,
    pub(crate) dev: (u32, u32),
    /// The value of `security.capability`; empty: none.
    pub(crate) capability: &'a [u8],
}

/// Writes the header of an entry; `size` bytes and [`pad`] follow.
pub(crate) fn head(out: &mut dyn Write, head: &Head<'_>) -> io::Result<()> {
    let mut records = Vec::new();
    if head.path.len() > 100 {
        record(&mut records, "path", head.path);
    }
    if head.link.len() > 100 {
        record(&mut records, "linkpath", head.link);
    }
    let mtime = u64::try_from(head.mtime).ok().filter(|t| *t <= LARGE);
    for (key, value, fits) in [
        ("uid", i128::from(head.uid), u64::from(head.uid) <= SMALL),
        ("gid", i128::from(head.gid), u64::from(head.gid) <= SMALL),
        ("size", i128::from(head.size), head.size <= LARGE),
        ("mtime", i128::from(head.mtime), mtime.is_some()),
    ] {
        if !fits {
            record(&mut records, key, value.to_string().as_bytes());
        }
    }
    if !head.capability.is_empty() {
        record(
            &mut records,
            "SCHILY.xattr.security.capability",
            head.capability,
        );
    }
    if !records.is_empty() {
        let size = records.len() as u64;
        out.write_all(&block(
            b'x',
            b"PaxHeader",
            b"",
            [0o644, 0, 0, size, 0],
            (0, 0),
        ))?;
        out.write_all(&records)?;
        pad(out, size)?;
    }
    let kind = match head.kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Char => b'3',
        Kind::Block => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    let numbers = [
        u64::from(head.mode & 0o7777),
        u64::from(head.uid).min(SMALL),
        u64::from(head.gid).min(SMALL),
        head.size.min(LARGE),
        mtime.unwrap_or(0),
    ];
    out.write_all(&block(kind, head.path, head.link, numbers, head.dev))
}

/// Writes the zeros after `size` bytes of content.
pub(crate) fn pad(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let used = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    if used > 0 {
        out.write_all(&[0; BLOCK][used..])?;
    }
    Ok(())
}

/// Writes the end of the archive.
pub(crate) fn end(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// One header block. Numbers: mode, uid, gid, size, mtime.
fn block(kind: u8, path: &[u8], link: &[u8], numbers: [u64; 5], dev: (u32, u32)) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for (text, at) in [(path, 0), (link, 157)] {
        let text = &text[..text.len().min(100)];
        block[at..at + text.len()].copy_from_slice(text);
    }
    let [mode, uid, gid, size, mtime] = numbers;
    let fields = [
        (100, 7, mode),
        (108, 7, uid),
        (116, 7, gid),
        (124, 11, size),
        (136, 11, mtime),
        (329, 7, u64::from(dev.0)),
        (337, 7, u64::from(dev.1)),
    ];
    for (at, digits, value) in fields {
        block[at..at + digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
    }
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// `<length> key=value\n`, the length counting itself.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::Reader;

    fn round_trip(wanted: &Head<'_>, content: &[u8]) {
        let mut bytes = Vec::new();
        head(&mut bytes, wanted).unwrap();
        bytes.extend_from_slice(content);
        pad(&mut bytes, wanted.size).unwrap();
        end(&mut bytes).unwrap();
        assert_eq!(bytes.len() % BLOCK, 0);
        let mut reader = Reader::new(bytes.as_slice(), 1 << 20);
        let entry = reader.next().unwrap().unwrap();
        assert_eq!(entry.kind, wanted.kind);
        assert_eq!(entry.path, wanted.path);
        assert_eq!(entry.link, wanted.link);
        assert_eq!(
            (entry.mode, entry.uid, entry.gid, entry.mtime.0, entry.dev),
            (
                wanted.mode,
                wanted.uid,
                wanted.gid,
                wanted.mtime,
                wanted.dev
            )
        );
        let xattrs = (!wanted.capability.is_empty())
            .then(|| (b"security.capability".to_vec(), wanted.capability.to_vec()));
        assert_eq!(entry.xattrs, xattrs.into_iter().collect::<Vec<_>>());
        assert_eq!(reader.data().unwrap(), content);
        assert!(reader.next().unwrap().is_none());
    }

    #[test]
    fn our_own_reader_reads_what_is_written() {
        let plain = Head {
            kind: Kind::File,
            path: b"a/b",
            link: b"",
            mode: 0o4755,
            uid: 1000,
            gid: 7,
            size: 5,
            mtime: 1_700_000_000,
            dev: (0, 0),
            capability: b"",
        };
        round_trip(&plain, b"hello");
        let long = b"n".repeat(100);
        let longer = b"d/".repeat(400);
        for (path, link) in [(&long, &longer), (&longer, &long)] {
            let kind = Kind::Symlink;
            let head = Head {
                kind,
                path,
                link,
                size: 0,
                ..plain
            };
            round_trip(&head, b"");
        }
        let odd = Head {
            uid: u32::MAX - 1,
            gid: 3_000_000_000,
            mtime: -5,
            capability: b"\x01\0\0=\n",
            ..plain
        };
        round_trip(&odd, b"hello");
        let device = Head {
            kind: Kind::Char,
            dev: (10, 200),
            size: 0,
            ..plain
        };
        round_trip(&device, b"");
    }

    #[test]
    fn a_records_length_counts_itself() {
        for (value, length) in [(1, 9), (4, 12), (93, 102), (94, 103)] {
            let mut records = Vec::new();
            record(&mut records, "path", &vec![b'x'; value]);
            let text = String::from_utf8(records).unwrap();
            assert_eq!(
                text.len(),
                text.split_once(' ').unwrap().0.parse::<usize>().unwrap()
            );
            assert!(text.len().abs_diff(length) <= 1, "{text}");
        }
    }
}
