//! Layer tars, honest and hostile.

use std::io::Write;

use tar::{EntryType, Header};

/// Collects the entries of one layer. Names are written as given, whatever they are: hostile layers
/// need names that a careful writer would refuse.
#[derive(Debug, Default, Clone)]
pub struct Layer {
    tar: Vec<u8>,
}

/// Modification time of entries unless they say otherwise: 2024-01-02 03:04:05 UTC.
pub const MTIME: u64 = 1_704_164_645;

/// One entry before it is written; change what the test needs.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// The path.
    pub name: &'a [u8],
    /// What it is.
    pub kind: EntryType,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Modification time in seconds.
    pub mtime: u64,
    /// Target of a link.
    pub link: &'a [u8],
    /// Device numbers.
    pub dev: (u32, u32),
    /// PAX records that precede the entry (`SCHILY.xattr.user.a`, `path` …).
    pub pax: &'a [(&'a str, &'a [u8])],
    /// Content.
    pub data: &'a [u8],
}

impl<'a> Entry<'a> {
    /// An entry of a kind, mode 0755 for directories and 0644 otherwise, owned by root.
    #[must_use]
    pub fn new(name: &'a str, kind: EntryType) -> Self {
        let mode = if kind.is_dir() { 0o755 } else { 0o644 };
        Self {
            name: name.as_bytes(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: MTIME,
            link: b"",
            dev: (0, 0),
            pax: &[],
            data: b"",
        }
    }
}

impl Layer {
    /// An empty layer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A directory.
    #[must_use]
    pub fn dir(self, name: &str, mode: u32) -> Self {
        self.entry(&Entry {
            mode,
            ..Entry::new(name, EntryType::Directory)
        })
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, name: &str, mode: u32, data: &[u8]) -> Self {
        self.entry(&Entry {
            mode,
            data,
            ..Entry::new(name, EntryType::Regular)
        })
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        let link = target.as_bytes();
        self.entry(&Entry {
            mode: 0o777,
            link,
            ..Entry::new(name, EntryType::Symlink)
        })
    }

    /// A hard link.
    #[must_use]
    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(&Entry {
            link: target.as_bytes(),
            ..Entry::new(name, EntryType::Link)
        })
    }

    /// Removes `name` of the layers below (`dir/.wh.name`).
    #[must_use]
    pub fn whiteout(self, name: &str) -> Self {
        let (dir, base) = name.rsplit_once('/').map_or(("", name), |(d, b)| (d, b));
        let slash = if dir.is_empty() { "" } else { "/" };
        self.file(&format!("{dir}{slash}.wh.{base}"), 0o644, b"")
    }

    /// Hides all that the layers below have in `dir`.
    #[must_use]
    pub fn opaque(self, dir: &str) -> Self {
        self.file(&format!("{dir}/.wh..wh..opq"), 0o644, b"")
    }

    /// Any entry.
    #[must_use]
    pub fn entry(mut self, entry: &Entry<'_>) -> Self {
        let mut pax = Vec::new();
        for (key, value) in entry.pax {
            pax.extend(pax_record(key, value));
        }
        // What does not fit a classic header goes into PAX records, as real writers do.
        if entry.name.len() > 100 {
            pax.extend(pax_record("path", entry.name));
        }
        if entry.link.len() > 100 {
            pax.extend(pax_record("linkpath", entry.link));
        }
        if !pax.is_empty() {
            let mut header = header(&Entry::new("pax", EntryType::XHeader));
            header.set_size(pax.len() as u64);
            self.push(&mut header, &pax);
        }
        let mut header = header(entry);
        header.set_size(entry.data.len() as u64);
        self.push(&mut header, entry.data);
        self
    }

    /// Bytes as they are: broken headers, trailing rubbish.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.tar.extend_from_slice(bytes);
        self
    }

    /// The tar without its end marker.
    #[must_use]
    pub fn unfinished(self) -> Vec<u8> {
        self.tar
    }

    /// The tar.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.tar.resize(self.tar.len() + 1024, 0);
        self.tar
    }

    fn push(&mut self, header: &mut Header, data: &[u8]) {
        header.set_cksum();
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(data);
        let padded = self.tar.len().next_multiple_of(512);
        self.tar.resize(padded, 0);
    }
}

/// A header with all but size and checksum.
#[must_use]
pub fn header(entry: &Entry<'_>) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(entry.kind);
    header.set_mode(entry.mode);
    header.set_uid(entry.uid);
    header.set_gid(entry.gid);
    header.set_mtime(entry.mtime);
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.set_device_major(entry.dev.0);
        ustar.set_device_minor(entry.dev.1);
    }
    let old = header.as_old_mut();
    let _ = (&mut old.name[..]).write(entry.name);
    let _ = (&mut old.linkname[..]).write(entry.link);
    header
}

/// `<length> key=value\n`, where the length counts itself.
#[must_use]
pub fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}
