//! Walks the entries of a stream.

use std::io::{BufRead, ErrorKind};

use super::{
    Entry, Error, Kind,
    header::{BLOCK, Header, number},
    pax::{Pax, decimal},
    show, sparse,
};

/// Reads entries one after another; what is left of one is passed over by the next.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    src: R,
    /// Bytes read so far.
    at: u64,
    /// Data of the current entry that nobody took yet.
    data: u64,
    /// Zeros after it up to the block's end.
    padding: u64,
    header_limit: u64,
}

type Ended = Result<Option<Entry>, Error>;

impl<R: BufRead> Reader<R> {
    /// `header_limit`: bytes of extended headers that one entry may have.
    pub(crate) fn new(src: R, header_limit: u64) -> Self {
        Self {
            src,
            at: 0,
            data: 0,
            padding: 0,
            header_limit,
        }
    }

    /// The next entry; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let (mut pax, mut long_name, mut long_link) = (None::<Pax>, None, None);
        let mut extended = 0;
        loop {
            self.skip_rest()?;
            let Some(block) = self.block()? else {
                return Self::end(&pax, &long_name, &long_link);
            };
            let header = Header(&block);
            if header.is_zero() {
                return Self::end(&pax, &long_name, &long_link);
            }
            if !header.checksum_holds() {
                return Err(Error::Checksum(self.at - BLOCK as u64));
            }
            let size = self.size(&header)?;
            match header.kind() {
                b'x' | b'L' | b'K' => {
                    extended += size;
                    if extended > self.header_limit {
                        return Err(Error::HeaderSize {
                            entry: show(&header.path()),
                            bytes: extended,
                            limit: self.header_limit,
                        });
                    }
                    let data = self.take_all(size)?;
                    match header.kind() {
                        b'x' => pax.get_or_insert_default().parse(&data)?,
                        b'L' => long_name = Some(until_nul(data)),
                        _ => long_link = Some(until_nul(data)),
                    }
                }
                // A global header or a volume label says nothing about an entry.
                b'g' | b'V' => self.set_data(size),
                _ => {
                    let pax = pax.unwrap_or_default();
                    return self
                        .entry(&block, size, pax, long_name, long_link)
                        .map(Some);
                }
            }
        }
    }

    /// Without an end marker a tar may end between entries, but never after a mere prelude.
    fn end<A, B>(pax: &Option<A>, name: &Option<B>, link: &Option<B>) -> Ended {
        if pax.is_none() && name.is_none() && link.is_none() {
            return Ok(None);
        }
        Err(Error::Truncated)
    }

    /// More of the current entry's data; empty at its end. Follow with [`consume`](Self::consume).
    pub(crate) fn data(&mut self) -> Result<&[u8], Error> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let buffer = fill(&mut self.src)?;
        if buffer.is_empty() {
            return Err(Error::Truncated);
        }
        let take = usize::try_from(self.data)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        Ok(&buffer[..take])
    }

    /// Takes `bytes` of what [`data`](Self::data) lent.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.src.consume(bytes);
        self.at += bytes as u64;
        self.data -= bytes as u64;
    }

    /// Bytes of the current entry's data that are left.
    pub(crate) fn left(&self) -> u64 {
        self.data
    }

    /// Reads the source to its end, past the end marker, so that its digest covers all of it.
    pub(crate) fn drain(mut self) -> Result<R, Error> {
        loop {
            let length = fill(&mut self.src)?.len();
            if length == 0 {
                return Ok(self.src);
            }
            self.src.consume(length);
        }
    }

    fn entry(
        &mut self,
        block: &[u8; BLOCK],
        size: u64,
        mut pax: Pax,
        long_name: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, Error> {
        let header = Header(block);
        let path = pax
            .path
            .take()
            .or(long_name)
            .unwrap_or_else(|| header.path());
        let name = pax.sparse.name.take().unwrap_or_else(|| path.clone());
        let entry = || show(&name);
        let kind = match header.kind() {
            // Before POSIX a directory was a file whose name ends in a slash.
            b'0' | 0 | b'7' | b'S' if name.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                let problem = format!("its type {:?} is not known", char::from(other));
                return Err(Error::Entry {
                    entry: entry(),
                    problem,
                });
            }
        };
        let field = |value: Option<i128>, field| {
            let value = value.and_then(|value| u32::try_from(value).ok());
            value.ok_or_else(|| Error::Number {
                entry: entry(),
                field,
            })
        };
        let id = |pax: Option<u64>, header, name| field(pax.map(i128::from).or(header), name);
        let mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => header
                .mtime()
                .and_then(|seconds| Some((i64::try_from(seconds).ok()?, 0)))
                .ok_or_else(|| Error::Number {
                    entry: entry(),
                    field: "mtime",
                })?,
        };
        let device = matches!(kind, Kind::Char | Kind::Block);
        let mut result = Entry {
            kind,
            link: pax
                .link
                .take()
                .or(long_link)
                .unwrap_or_else(|| header.link().to_vec()),
            mode: field(header.mode().map(|mode| mode & 0o7777), "mode")?,
            uid: id(pax.uid, header.uid(), "uid")?,
            gid: id(pax.gid, header.gid(), "gid")?,
            mtime,
            dev: if device {
                (
                    field(header.major(), "major")?,
                    field(header.minor(), "minor")?,
                )
            } else {
                (0, 0)
            },
            xattrs: std::mem::take(&mut pax.xattrs),
            size: 0,
            extents: None,
            path: name.clone(),
        };
        if matches!(header.kind(), b'0' | 0 | b'7' | b'S') {
            self.set_data(pax.size.unwrap_or(size));
            result.size = self.data;
        }
        if kind == Kind::File {
            self.sparse(block, &pax, &mut result)?;
        }
        Ok(result)
    }

    fn sparse(&mut self, block: &[u8; BLOCK], pax: &Pax, entry: &mut Entry) -> Result<(), Error> {
        let bad = |problem: &str| Error::Entry {
            entry: show(&entry.path),
            problem: problem.into(),
        };
        let (map, size) = if block[156] == b'S' {
            let size = number(&block[483..495]).and_then(|size| u64::try_from(size).ok());
            let map = self
                .old_map(block)
                .map_err(|error| error.unwrap_or(bad("bad sparse map")))?;
            (map, size.ok_or_else(|| bad("bad size of a sparse file"))?)
        } else if pax.sparse.map_in_data {
            let size = pax
                .sparse
                .real_size
                .ok_or_else(|| bad("a sparse file without size"))?;
            let map = self
                .data_map()
                .map_err(|error| error.unwrap_or(bad("bad sparse map")))?;
            (map, size)
        } else if let Some(map) = &pax.sparse.map {
            (
                map.clone(),
                pax.sparse
                    .real_size
                    .ok_or_else(|| bad("a sparse file without size"))?,
            )
        } else {
            return Ok(());
        };
        if map.len() > sparse::EXTENTS_MAX || !sparse::is_valid(&map, size, self.data) {
            return Err(bad("its sparse map contradicts itself"));
        }
        entry.size = size;
        entry.extents = Some(map);
        Ok(())
    }

    /// The old form: four extents in the header, more in blocks of 21 that follow it.
    fn old_map(&mut self, block: &[u8; BLOCK]) -> Result<Vec<(u64, u64)>, Option<Error>> {
        let mut map = sparse::extents(block, 386, 4).ok_or(None)?;
        let mut more = block[482] != 0;
        while more {
            let block = self.block()?.ok_or(Some(Error::Truncated))?;
            map.extend(sparse::extents(&block, 0, 21).ok_or(None)?);
            if map.len() > sparse::EXTENTS_MAX {
                return Err(None);
            }
            more = block[504] != 0;
        }
        Ok(map)
    }

    /// Version 1.0: decimal lines in front of the data, padded to a block.
    fn data_map(&mut self) -> Result<Vec<(u64, u64)>, Option<Error>> {
        let mut used = 0u64;
        let count = self.data_number(&mut used)?;
        if count > sparse::EXTENTS_MAX as u64 {
            return Err(None);
        }
        let mut map = Vec::new();
        for _ in 0..count {
            map.push((self.data_number(&mut used)?, self.data_number(&mut used)?));
        }
        let padding = used.next_multiple_of(BLOCK as u64) - used;
        for _ in 0..padding {
            self.data_byte()?;
        }
        Ok(map)
    }

    fn data_number(&mut self, used: &mut u64) -> Result<u64, Option<Error>> {
        let mut digits = Vec::new();
        loop {
            *used += 1;
            match self.data_byte()? {
                b'\n' => return decimal(&digits).ok_or(None),
                digit if digits.len() < 20 => digits.push(digit),
                _ => return Err(None),
            }
        }
    }

    fn data_byte(&mut self) -> Result<u8, Option<Error>> {
        let byte = self.data()?.first().copied().ok_or(None)?;
        self.consume(1);
        Ok(byte)
    }

    fn size(&self, header: &Header<'_>) -> Result<u64, Error> {
        // Over 2^63 no file can be, and sums would wrap.
        let size = header.size().and_then(|size| i64::try_from(size).ok());
        size.and_then(|size| u64::try_from(size).ok())
            .ok_or_else(|| Error::Number {
                entry: show(&header.path()),
                field: "size",
            })
    }

    fn set_data(&mut self, size: u64) {
        self.data = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    /// The next block; `None` at a clean end.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let buffer = fill(&mut self.src)?;
            if buffer.is_empty() {
                return if filled == 0 {
                    Ok(None)
                } else {
                    Err(Error::Truncated)
                };
            }
            let take = buffer.len().min(BLOCK - filled);
            block[filled..filled + take].copy_from_slice(&buffer[..take]);
            self.src.consume(take);
            filled += take;
        }
        self.at += BLOCK as u64;
        Ok(Some(block))
    }

    fn take_all(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        self.set_data(size);
        let mut all = Vec::new();
        while self.data > 0 {
            let part = self.data()?;
            all.extend_from_slice(part);
            let taken = part.len();
            self.consume(taken);
        }
        Ok(all)
    }

    fn skip_rest(&mut self) -> Result<(), Error> {
        self.data = self.data.saturating_add(std::mem::take(&mut self.padding));
        while self.data > 0 {
            let taken = self.data()?.len();
            self.consume(taken);
        }
        Ok(())
    }
}

fn fill<R: BufRead>(src: &mut R) -> Result<&[u8], Error> {
    // Asked twice because a borrow that is returned cannot be asked for again (NLL problem case 3).
    loop {
        match src.fill_buf() {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Read(error)),
        }
    }
    src.fill_buf().map_err(Error::Read)
}

fn until_nul(mut data: Vec<u8>) -> Vec<u8> {
    if let Some(end) = data.iter().position(|&b| b == 0) {
        data.truncate(end);
    }
    data
}
