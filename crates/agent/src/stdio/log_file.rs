//! The log file of one container. Records are appended whole: what a full disk cut off is truncated
//! away again, counted, and told in a line of its own as soon as writing works:
//!
//! ```text
//! <time> stderr F [coffer: 1234 bytes of log are missing here: No space left on device (os error 28)]
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::clock;

/// An open log file, or one that could not be opened anew.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    /// Bytes of records that are missing since the last that was written, and why.
    gap: Option<(u64, String)>,
    lost: u64,
}

impl LogFile {
    /// Opens `path` for appending, making it with mode 0640.
    ///
    /// # Errors
    /// The last name is a symbolic link (ELOOP), the directory is missing, or it is no regular file.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: Some(open(path)?),
            gap: None,
            lost: 0,
        })
    }

    /// Opens the path again, after someone renamed the file. On failure the old file stays in use.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.file = Some(open(&self.path)?);
        Ok(())
    }

    /// Bytes of records that were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Appends `records` (whole lines). Never fails: what can't be written is counted.
    pub(crate) fn append(&mut self, records: &[u8]) {
        if let Some((bytes, why)) = self.gap.take() {
            let at = clock::rfc3339(clock::now_ns());
            let at = String::from_utf8_lossy(&at);
            let line =
                format!("{at} stderr F [coffer: {bytes} bytes of log are missing here: {why}]\n");
            if let Err((_, error)) = self.write(line.as_bytes()) {
                self.miss(bytes, &error);
                self.lost -= bytes;
            }
        }
        if let Err((missing, error)) = self.write(records) {
            if self.gap.is_none() {
                log::warn!("cannot write log {}: {error}", self.path.display());
            }
            self.miss(missing, &error);
        }
    }

    fn miss(&mut self, bytes: u64, error: &io::Error) {
        let before = self.gap.take().map_or(0, |g| g.0);
        self.gap = Some((before + bytes, error.to_string()));
        self.lost += bytes;
    }

    /// Writes whole records or as many as fit; the error says how many bytes are missing.
    fn write(&mut self, records: &[u8]) -> Result<(), (u64, io::Error)> {
        let Some(file) = &mut self.file else {
            return Err((len(records), io::ErrorKind::NotFound.into()));
        };
        let mut done = 0;
        while done < records.len() {
            let error = match file.write(&records[done..]) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(n) => {
                    done += n;
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => e,
            };
            // A record that was cut off would swallow the next one: take its beginning back.
            let whole = memchr::memrchr(b'\n', &records[..done]).map_or(0, |i| i + 1);
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

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn open(path: &Path) -> io::Result<File> {
    // O_NONBLOCK so that a FIFO planted at the path cannot block the open; no effect on files.
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_renamed_file_is_left_behind_only_at_reopen() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("0.log"), dir.path().join("0.log.1"));
        let mut log = LogFile::open(&path).unwrap();
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
        assert!(LogFile::open(&link).is_err());
        assert!(LogFile::open(dir.path()).is_err());
        let fifo = dir.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert!(LogFile::open(&fifo).is_err());
    }

    #[test]
    fn a_gap_is_counted_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = LogFile::open(&path).unwrap();
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
