//! Reads a container's log file as it grows, across rotation: when the path leads to another file,
//! the old one is read to its end first.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{error::Error, logline, out};

/// A log file being read.
#[derive(Debug)]
pub(crate) struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// Bytes of a line whose end has not come yet.
    rest: Vec<u8>,
}

impl Follower {
    /// Starts at the beginning of `path`, which need not be there yet.
    pub(crate) fn new(path: &Path) -> Follower {
        Follower {
            path: path.to_owned(),
            file: None,
            rest: Vec::new(),
        }
    }

    /// Hands every line that is there to `line`; returns whether there was anything new.
    pub(crate) fn drain(
        &mut self,
        line: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let mut any = false;
        loop {
            any |= self.read_all(line)?;
            if !self.switch()? {
                return Ok(any);
            }
        }
    }

    fn read_all(
        &mut self,
        line: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        let mut any = false;
        let mut buffer = [0; 64 << 10];
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => return Ok(any),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(failed("read", &self.path, source)),
            };
            any = true;
            let mut new = &buffer[..count];
            while let Some(end) = new.iter().position(|byte| *byte == b'\n') {
                if self.rest.is_empty() {
                    line(&new[..end])?;
                } else {
                    self.rest.extend_from_slice(&new[..end]);
                    line(&self.rest)?;
                    self.rest.clear();
                }
                new = &new[end + 1..];
            }
            self.rest.extend_from_slice(new);
        }
    }

    /// Opens the file that the path leads to now, if it is another one; says whether it was.
    fn switch(&mut self) -> Result<bool, Error> {
        let now = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(failed("look at", &self.path, source)),
        };
        if let Some(file) = &self.file {
            let open = file
                .metadata()
                .map_err(|source| failed("look at", &self.path, source))?;
            if (open.dev(), open.ino()) == (now.dev(), now.ino()) {
                return Ok(false);
            }
        }
        match File::open(&self.path) {
            Ok(file) => self.file = Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(failed("open", &self.path, source)),
        }
        self.rest.clear();
        Ok(true)
    }
}

/// Writes one line of a log file to the stream that it came from. What is not of CRI's form is
/// shown as it is, on standard error.
pub(crate) fn print(line: &[u8]) -> Result<(), Error> {
    let Some(piece) = logline::parse(line) else {
        return out::raw_error(&[line, b"\n"].concat());
    };
    let mut bytes = piece.content.to_vec();
    if piece.full {
        bytes.push(b'\n');
    }
    match piece.stream {
        logline::Stream::Stdout => out::raw(&bytes),
        logline::Stream::Stderr => out::raw_error(&bytes),
    }
}

/// The last `count` lines of what is in the file now; the follower then stands at its end.
pub(crate) fn tail(follower: &mut Follower, count: usize) -> Result<VecDeque<Vec<u8>>, Error> {
    let mut last = VecDeque::new();
    follower.drain(&mut |line| {
        if last.len() == count {
            last.pop_front();
        }
        if count > 0 {
            last.push_back(line.to_vec());
        }
        Ok(())
    })?;
    Ok(last)
}

fn failed(verb: &str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        what: format!("{verb} the log file {}", path.display()),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    fn lines(follower: &mut Follower) -> Vec<String> {
        let mut seen = Vec::new();
        follower
            .drain(&mut |line| {
                seen.push(String::from_utf8_lossy(line).into_owned());
                Ok(())
            })
            .unwrap();
        seen
    }

    #[test]
    fn a_growing_file_is_read_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut follower = Follower::new(&path);
        assert!(lines(&mut follower).is_empty(), "not there yet");
        fs::write(&path, "one\ntw").unwrap();
        assert_eq!(lines(&mut follower), ["one"]);
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"o\nthree\n").unwrap();
        assert_eq!(lines(&mut follower), ["two", "three"]);
    }

    #[test]
    fn rotation_loses_and_repeats_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let old = dir.path().join("0.log.1");
        fs::write(&path, "1\n").unwrap();
        let mut follower = Follower::new(&path);
        assert_eq!(lines(&mut follower), ["1"]);
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        fs::rename(&path, &old).unwrap();
        file.write_all(b"2\n").unwrap();
        assert_eq!(
            lines(&mut follower),
            ["2"],
            "the old file while there is no new one"
        );
        file.write_all(b"3\n").unwrap();
        fs::write(&path, "4\n").unwrap();
        assert_eq!(lines(&mut follower), ["3", "4"]);
    }

    #[test]
    fn the_tail_is_the_last_lines_and_the_rest_follows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        fs::write(&path, "1\n2\n3\n").unwrap();
        let mut follower = Follower::new(&path);
        assert_eq!(
            tail(&mut follower, 2).unwrap(),
            [b"2".to_vec(), b"3".to_vec()]
        );
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"4\n").unwrap();
        assert_eq!(lines(&mut follower), ["4"]);
    }
}
