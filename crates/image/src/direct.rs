//! Files written past the page cache, where the filesystem can.
//!
//! ```text
//!  bytes ──► aligned buffer, 1 MiB ──full──► write with O_DIRECT
//!                                  ──end───► whole pages with O_DIRECT, the rest of less than one
//!                                            through the page cache
//! ```
//! For blobs, which nobody reads soon, and for the large files of layers, of which a container that
//! starts reads a small part. Pages for them would have to be found, filled and written back, and
//! would push out of memory what containers use; and the sync at the end would have to wait for all
//! of it. A filesystem without O_DIRECT, and a file that is smaller than the buffer, are written as
//! usual, and the disk is asked to begin early.

use std::{fs::File, io, os::unix::fs::FileExt};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// What one write to the disk carries.
const BUFFER: usize = 1 << 20;
/// Enough for disks with sectors of 4 KiB.
const PAGE: usize = 4096;
/// Bytes through the page cache after which the kernel is asked to begin writing.
const WRITE_BACK: u64 = 8 << 20;

/// Files of fewer bytes gain nothing.
pub(crate) const WORTH: u64 = BUFFER as u64;

/// Memory that O_DIRECT takes, used for one file after the other; empty until it is needed.
#[derive(Default)]
pub(crate) struct Buffer {
    memory: Vec<u8>,
    /// Where the aligned part begins.
    start: usize,
    filled: usize,
}

impl Buffer {
    fn begin(&mut self, needed: bool) {
        if needed && self.memory.is_empty() {
            self.memory = vec![0; BUFFER + PAGE];
            self.start = self.memory.as_ptr().align_offset(PAGE).min(PAGE);
        }
        self.filled = 0;
    }

    /// The first bytes are written: what follows them moves up.
    fn leave_out(&mut self, length: usize) {
        let rest = self.start + length..self.start + self.filled;
        self.memory.copy_within(rest, self.start);
        self.filled -= length;
    }

    /// Takes what fits.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let length = bytes.len().min(BUFFER - self.filled);
        let from = self.start + self.filled;
        self.memory[from..from + length].copy_from_slice(&bytes[..length]);
        self.filled += length;
        length
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }
}

/// A new file that is filled from its start to its end.
pub(crate) struct Writer {
    file: File,
    buffer: Buffer,
    /// Whether bytes still go through the buffer.
    direct: bool,
    /// Bytes that are in the file.
    at: u64,
    /// Bytes that the kernel was asked to write.
    told: u64,
}

impl Writer {
    /// `size`: what will come, as far as anybody knows.
    pub(crate) fn new(file: File, mut buffer: Buffer, size: u64) -> Self {
        let direct = size >= WORTH && set(&file, true).is_ok();
        buffer.begin(direct);
        Self {
            file,
            buffer,
            direct,
            at: 0,
            told: 0,
        }
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.direct {
            let taken = self.buffer.take(bytes);
            bytes = &bytes[taken..];
            if self.buffer.filled < BUFFER {
                return Ok(());
            }
            self.flush(BUFFER)?;
        }
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        if self.at - self.told >= WRITE_BACK {
            self.start();
        }
        Ok(())
    }

    /// All that came is in the file; gives back what it was made of.
    pub(crate) fn finish(mut self) -> io::Result<(File, Buffer)> {
        let pages = self.buffer.filled / PAGE * PAGE;
        if self.direct && pages > 0 {
            self.flush(pages)?;
        }
        self.as_usual()?;
        self.start();
        Ok((self.file, self.buffer))
    }

    /// Writes the first `length` bytes of the buffer, whole pages.
    fn flush(&mut self, length: usize) -> io::Result<()> {
        match self.file.write_at(&self.buffer.bytes()[..length], self.at) {
            Ok(written) if written == length => {
                self.at += length as u64;
                self.told = self.at;
                self.buffer.leave_out(length);
                Ok(())
            }
            // It asks for another alignment, or the disk is full: the usual way tells.
            _ => self.as_usual(),
        }
    }

    /// From here on through the page cache, beginning with what is in the buffer.
    fn as_usual(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.direct) {
            set(&self.file, false)?;
            self.file.write_all_at(self.buffer.bytes(), self.at)?;
            self.at += self.buffer.filled as u64;
            self.buffer.filled = 0;
        }
        Ok(())
    }

    /// Asks the disk to begin with what is in the page cache.
    fn start(&mut self) {
        if self.at > self.told {
            sys::writeback::start(&self.file, self.told, self.at - self.told);
            self.told = self.at;
        }
    }
}

fn set(file: &File, direct: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(file)?;
    flags.set(OFlags::DIRECT, direct);
    Ok(fcntl_setfl(file, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn created(path: &std::path::Path) -> File {
        let mut options = File::options();
        options
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .unwrap()
    }

    #[test]
    fn what_is_written_in_any_pieces_is_what_the_file_holds() {
        let dirs = [
            tempfile::tempdir().unwrap(),
            // No O_DIRECT on old kernels, and other rules on new ones.
            tempfile::tempdir_in("/dev/shm").unwrap(),
        ];
        let mut buffer = Buffer::default();
        for size in [0, 1, BUFFER, BUFFER + 1, 3 * BUFFER, 3 * BUFFER + 12345] {
            let content: Vec<u8> = (0..=250u8).cycle().take(size).collect();
            for (dir, piece) in dirs
                .iter()
                .flat_map(|dir| [777, 65_536, 5 << 20].map(|piece| (dir, piece)))
            {
                let path = dir.path().join("file");
                let file = created(&path);
                let mut writer = Writer::new(file, buffer, size as u64);
                for part in content.chunks(piece) {
                    writer.write(part).unwrap();
                }
                (_, buffer) = writer.finish().unwrap();
                assert!(
                    std::fs::read(&path).unwrap() == content,
                    "{size} bytes by {piece} in {path:?}"
                );
            }
        }
    }

    #[test]
    fn an_estimate_that_is_wrong_costs_speed_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for (said, size) in [(0, 3 * BUFFER), (u64::MAX, 100), (u64::MAX, BUFFER + 7)] {
            let file = created(&path);
            let content = vec![7; size];
            let mut writer = Writer::new(file, Buffer::default(), said);
            writer.write(&content).unwrap();
            writer.finish().unwrap();
            assert!(std::fs::read(&path).unwrap() == content, "{said} {size}");
        }
    }
}
