//! The log file of one container. Records are appended whole: what a full disk cut off is truncated
//! away again, counted, and told in a line of its own as soon as writing works:
//!
//! ```text
//! <time> stderr F [coffer: 1234 bytes of log are missing here: No space left on device (os error 28)]
//! ```
//! So is what a container writes over its limits: a size at which a file is full until it is opened
//! anew, and a rate. Whoever writes is never held up by either.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::clock;

/// What may be written at once however low the rate is: a burst of short lines.
const BURST: u64 = 64 * 1024;

/// What a log may take; 0: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Size of one file.
    pub(crate) max_bytes: u64,
    pub(crate) bytes_per_second: u64,
}

/// An open log file, or one that could not be opened anew.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    /// Bytes of records that are missing since the last that was written, and why.
    gap: Option<(u64, String)>,
    lost: u64,
    limits: Limits,
    /// Bytes in the file.
    size: u64,
    /// The file's last line says that it is full.
    full: bool,
    /// Bytes that the rate allows now, and when they were counted.
    allowance: (u64, Instant),
}

impl LogFile {
    /// Opens `path` for appending, making it with mode 0640.
    ///
    /// # Errors
    /// The last name is a symbolic link (ELOOP), the directory is missing, or it is no regular file.
    pub(crate) fn open(path: &Path, limits: Limits) -> io::Result<Self> {
        let (file, size) = open(path)?;
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
            gap: None,
            lost: 0,
            limits,
            size,
            full: false,
            allowance: (burst(limits), Instant::now()),
        })
    }

    /// Opens the path again, after someone renamed the file. On failure the old file stays in use.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        let (file, size) = open(&self.path)?;
        (self.file, self.size, self.full) = (Some(file), size, false);
        Ok(())
    }

    /// Bytes of records that were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends `records` (whole lines). Never fails: what can't be written is counted.
    pub(crate) fn append(&mut self, records: &[u8]) {
        let (within, why) = self.within_limits(records);
        if within > 0 {
            self.tell_gap();
            if let Err((missing, error)) = self.write(&records[..within]) {
                if self.gap.is_none() {
                    log::warn!("cannot write log {}: {error}", self.path.display());
                }
                self.miss(missing, &error);
            }
        }
        if within < records.len() {
            self.miss(len(&records[within..]), &why);
        }
    }

    /// Writes the line about what is missing, if something is; at the end of the output too.
    pub(crate) fn tell_gap(&mut self) {
        if self.full {
            return;
        }
        let Some((bytes, why)) = self.gap.take() else {
            return;
        };
        let note = format!("{bytes} bytes of log are missing here: {why}");
        if let Err((_, error)) = self.note(&note) {
            self.miss(bytes, &error);
            self.lost -= bytes;
        }
    }

    fn note(&mut self, text: &str) -> Result<(), (u64, io::Error)> {
        let at = clock::rfc3339(clock::now_ns());
        let at = String::from_utf8_lossy(&at);
        self.write(format!("{at} stderr F [coffer: {text}]\n").as_bytes())
    }

    /// How much of `records`, in whole ones, the limits allow now, and which of them keeps the rest.
    fn within_limits(&mut self, records: &[u8]) -> (usize, String) {
        let Limits {
            max_bytes,
            bytes_per_second: rate,
        } = self.limits;
        let (mut within, mut why) = (records.len(), String::new());
        if rate > 0 {
            let now = Instant::now();
            let since = now.duration_since(self.allowance.1).as_millis();
            let since = u64::try_from(since).unwrap_or(u64::MAX);
            let more = since.saturating_mul(rate) / 1000;
            if more > 0 {
                let sum = self.allowance.0.saturating_add(more);
                self.allowance = (sum.min(burst(self.limits)), now);
            }
            if len(records) > self.allowance.0 {
                within = whole(records, self.allowance.0);
                why = format!("more than {rate} bytes per second were written");
            }
        }
        if max_bytes > 0 && self.size.saturating_add(len(&records[..within])) > max_bytes {
            within = match self.full {
                true => 0,
                false => whole(&records[..within], max_bytes.saturating_sub(self.size)),
            };
            why = format!("the file had reached its limit of {max_bytes} bytes");
            if !self.full && within == 0 {
                let ends = format!("the log ends here: {why}");
                self.full = self.note(&ends).is_ok();
            }
        }
        self.allowance.0 = self.allowance.0.saturating_sub(len(&records[..within]));
        (within, why)
    }

    fn miss(&mut self, bytes: u64, why: &dyn std::fmt::Display) {
        let before = self.gap.take().map_or(0, |g| g.0);
        self.gap = Some((before + bytes, why.to_string()));
        self.lost += bytes;
    }

    /// Writes whole records or as many as fit; the error says how many bytes are missing.
    fn write(&mut self, records: &[u8]) -> Result<(), (u64, io::Error)> {
        let Some(file) = &mut self.file else {
            return Err((len(records), io::ErrorKind::NotFound.into()));
        };
        let before = self.size;
        let mut done = 0;
        while done < records.len() {
            let error = match file.write(&records[done..]) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(n) => {
                    done += n;
                    self.size = before + len(&records[..done]);
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => e,
            };
            // A record that was cut off would swallow the next one: take its beginning back.
            let whole = memchr::memrchr(b'\n', &records[..done]).map_or(0, |i| i + 1);
            self.size = before + len(&records[..whole]);
            if whole < done {
                let torn = len(&records[whole..done]);
                let size = file.metadata().map(|m| m.len());
                if let Err(e) = size.and_then(|size| file.set_len(size.saturating_sub(torn))) {
                    log::warn!("cannot cut a torn record off {}: {e}", self.path.display());
                }
            }
            return Err((len(&records[whole..]), error));
        }
        Ok(())
    }
}

/// Length of the whole records in the first `limit` bytes.
fn whole(records: &[u8], limit: u64) -> usize {
    let limit = usize::try_from(limit)
        .unwrap_or(usize::MAX)
        .min(records.len());
    memchr::memrchr(b'\n', &records[..limit]).map_or(0, |i| i + 1)
}

fn burst(limits: Limits) -> u64 {
    limits.bytes_per_second.max(BURST)
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    // O_NONBLOCK so that a FIFO planted at the path cannot block the open; no effect on files.
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    Ok((file, meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_renamed_file_is_left_behind_only_at_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("0.log"), dir.path().join("0.log.1"));
        let mut log = LogFile::open(&path, Limits::default()).unwrap();
        log.append(b"one\n");
        fs::rename(&path, &old).unwrap();
        log.append(b"two\n");
        log.reopen().unwrap();
        log.append(b"three\n");
        assert_eq!(fs::read_to_string(old).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(path).unwrap(), "three\n");
    }

    #[test]
    fn links_directories_and_fifos_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(LogFile::open(&link, Limits::default()).is_err());
        assert!(LogFile::open(dir.path(), Limits::default()).is_err());
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert!(LogFile::open(&fifo, Limits::default()).is_err());
    }

    fn limited(path: &Path, max_bytes: u64, bytes_per_second: u64) -> LogFile {
        let limits = Limits {
            max_bytes,
            bytes_per_second,
        };
        LogFile::open(path, limits).unwrap()
    }

    #[test]
    fn a_full_file_says_so_and_the_next_one_says_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        fs::write(&path, "old\n").unwrap();
        let mut log = limited(&path, 12, 0);
        log.append(b"one\ntwo\nthree\n");
        log.append(b"four\n");
        log.append(b"x\n");
        assert_eq!(log.lost(), 13);
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..3], ["old", "one", "two"]);
        assert!(
            lines[3].ends_with("the log ends here: the file had reached its limit of 12 bytes]")
        );
        assert_eq!(lines.len(), 4);
        log.tell_gap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "nothing more");
        fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        log.reopen().unwrap();
        log.append(b"five\n");
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("[coffer: 13 bytes of log are missing here: the file had"),
            "{text}"
        );
        assert!(text.ends_with("\nfive\n"));
    }

    #[test]
    fn what_is_over_the_rate_is_dropped_whole_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = limited(&path, 0, 1);
        let line = [b"y".repeat(999), b"\n".to_vec()].concat();
        let records = line.repeat(100);
        log.append(&records);
        assert_eq!(log.lost(), 35_000, "the burst is 65 lines and a half");
        log.append(&line);
        assert_eq!(log.lost(), 36_000);
        log.tell_gap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().filter(|l| l.starts_with('y')).count(), 65);
        let told = "36000 bytes of log are missing here: more than 1 bytes per second";
        assert!(text.lines().last().unwrap().contains(told), "{text}");
    }

    #[test]
    fn a_gap_is_counted_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = LogFile::open(&path, Limits::default()).unwrap();
        log.append(b"before\n");
        // A descriptor that cannot be written stands in for a disk that refuses.
        let good = log.file.replace(File::open(&path).unwrap());
        log.append(b"lost line\n");
        log.append(b"and one more\n");
        assert_eq!(log.lost(), 23);
        log.file = good;
        log.append(b"after\n");
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines[0], lines[2], lines.len()), ("before", "after", 3));
        assert!(
            lines[1].contains("stderr F [coffer: 23 bytes of log are missing here: "),
            "{text}"
        );
        assert_eq!(log.lost(), 23);
    }
}
