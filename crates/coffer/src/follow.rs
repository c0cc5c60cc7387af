//! Reads a container's log file as it grows: across rotation (when the path leads to another file, the
//! old one is read to its end first) and truncation.

use std::{
    fs::{File, Metadata},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::{error::Error, tail};

const BLOCK: usize = 64 << 10;

/// A log file being read.
#[derive(Debug)]
pub(crate) struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// Bytes that were read and not handed out; `at` of them were.
    block: Vec<u8>,
    at: usize,
    /// The path leads elsewhere: the open file gets one last look.
    rotated: bool,
    /// How many bytes may still be read, where what comes later is not wanted.
    left: Option<u64>,
}

impl Follower {
    /// Starts at the beginning of `path`, which need not be there yet.
    pub(crate) fn new(path: &Path) -> Follower {
        Follower {
            path: path.to_owned(),
            file: None,
            block: Vec::new(),
            at: 0,
            rotated: false,
            left: None,
        }
    }

    /// Skips to the last `count` lines of what is in the file now, if only those are wanted; and
    /// without `later` nothing is read that is written from now on.
    pub(crate) fn start(&mut self, count: Option<usize>, later: bool) -> Result<(), Error> {
        self.switch()?;
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let mut found = || -> io::Result<u64> {
            let length = file.metadata()?.len();
            let start = match count {
                Some(count) => tail::start_of_last(file, length, count)?,
                None => 0,
            };
            file.seek(SeekFrom::Start(start))?;
            Ok(length - start)
        };
        let left = found().map_err(|source| failed("read", &self.path, source))?;
        self.left = (!later).then_some(left);
        Ok(())
    }

    /// Puts the next line, without its newline, into `line`; `false` when there is none now.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> Result<bool, Error> {
        loop {
            let new = &self.block[self.at..];
            if let Some(end) = new.iter().position(|byte| *byte == b'\n') {
                line.clear();
                line.extend_from_slice(&new[..end]);
                self.at += end + 1;
                return Ok(true);
            }
            if !self.fill()? && (self.left.is_some() || !self.switch()?) {
                return Ok(false);
            }
        }
    }

    /// Reads more of the open file; says whether there was any.
    fn fill(&mut self) -> Result<bool, Error> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        self.block.drain(..self.at);
        self.at = 0;
        let had = self.block.len();
        let most = self.left.map_or(BLOCK, |left| {
            usize::try_from(left).unwrap_or(BLOCK).min(BLOCK)
        });
        self.block.resize(had + most, 0);
        let read = loop {
            match file.read(&mut self.block[had..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.block
            .truncate(had + read.as_ref().copied().unwrap_or(0));
        let count = read.map_err(|source| failed("read", &self.path, source))?;
        self.left = self.left.map(|left| left.saturating_sub(count as u64));
        Ok(count > 0)
    }

    /// Opens the file that the path leads to now, if it is another one; says whether there may be
    /// more to read.
    fn switch(&mut self) -> Result<bool, Error> {
        let now = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(failed("look at", &self.path, source)),
        };
        if let Some(file) = &mut self.file {
            let looked = file.metadata().and_then(|open| {
                if same(&open, &now) {
                    rewind_if_cut(file, &open)
                } else {
                    Ok(None)
                }
            });
            match looked.map_err(|source| failed("look at", &self.path, source))? {
                Some(rewound) => {
                    if rewound {
                        self.block.clear();
                        self.at = 0;
                    }
                    return Ok(rewound);
                }
                // What was written between the last read and the rotation is still to be read.
                None if !self.rotated => {
                    self.rotated = true;
                    return Ok(true);
                }
                None => {}
            }
        }
        match File::open(&self.path) {
            Ok(file) => self.file = Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(failed("open", &self.path, source)),
        }
        self.rotated = false;
        self.block.clear();
        self.at = 0;
        Ok(true)
    }
}

fn same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Goes back to the start of a file that was emptied in place; says whether it was.
fn rewind_if_cut(file: &mut File, metadata: &Metadata) -> io::Result<Option<bool>> {
    let cut = file.stream_position()? > metadata.len();
    if cut {
        file.rewind()?;
    }
    Ok(Some(cut))
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
        let (mut seen, mut line) = (Vec::new(), Vec::new());
        while follower.next(&mut line).unwrap() {
            seen.push(String::from_utf8_lossy(&line).into_owned());
        }
        seen
    }

    fn append(path: &Path) -> File {
        fs::OpenOptions::new().append(true).open(path).unwrap()
    }

    #[test]
    fn a_growing_file_is_read_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut follower = Follower::new(&path);
        assert!(lines(&mut follower).is_empty(), "not there yet");
        fs::write(&path, "one\ntw").unwrap();
        assert_eq!(lines(&mut follower), ["one"]);
        append(&path).write_all(b"o\nthree\n").unwrap();
        assert_eq!(lines(&mut follower), ["two", "three"]);
        let long = "x".repeat(3 * BLOCK);
        append(&path)
            .write_all(format!("{long}\n\nend\n").as_bytes())
            .unwrap();
        assert_eq!(lines(&mut follower), [long.as_str(), "", "end"]);
    }

    #[test]
    fn rotation_loses_and_repeats_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let old = dir.path().join("0.log.1");
        fs::write(&path, "1\n").unwrap();
        let mut follower = Follower::new(&path);
        assert_eq!(lines(&mut follower), ["1"]);
        let mut file = append(&path);
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
        append(&path).write_all(b"5\n").unwrap();
        assert_eq!(lines(&mut follower), ["5"]);
    }

    #[test]
    fn a_file_that_was_emptied_in_place_is_read_from_its_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        fs::write(&path, "1\n2\n").unwrap();
        let mut follower = Follower::new(&path);
        assert_eq!(lines(&mut follower), ["1", "2"]);
        File::options()
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        append(&path).write_all(b"3\n").unwrap();
        assert_eq!(lines(&mut follower), ["3"]);
    }

    #[test]
    fn the_tail_is_the_last_lines_and_the_rest_follows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        fs::write(&path, "t stdout F 1\nt stdout F 2\nt stdout F 3\n").unwrap();
        let mut follower = Follower::new(&path);
        follower.start(Some(2), true).unwrap();
        assert_eq!(lines(&mut follower), ["t stdout F 2", "t stdout F 3"]);
        append(&path).write_all(b"t stdout F 4\n").unwrap();
        assert_eq!(lines(&mut follower), ["t stdout F 4"]);
        Follower::new(&dir.path().join("none"))
            .start(Some(3), true)
            .unwrap();
    }

    #[test]
    fn what_comes_later_is_not_shown_unless_it_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        for (count, now) in [
            (None, &["1", "2", "3"][..]),
            (Some(2), &["2", "3"]),
            (Some(0), &[]),
        ] {
            for later in [false, true] {
                fs::write(&path, "1\n2\n3\n").unwrap();
                let mut follower = Follower::new(&path);
                follower.start(count, later).unwrap();
                append(&path).write_all(b"4\n").unwrap();
                let mut expected = now.to_vec();
                expected.extend(later.then_some("4"));
                assert_eq!(lines(&mut follower), expected, "{count:?} {later}");
            }
        }
    }
}
