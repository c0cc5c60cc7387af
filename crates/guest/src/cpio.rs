//! The archive that a kernel unpacks as its first root: cpio, "newc" form, not compressed (decompression
//! costs an emulated machine more than the copy). Archives may follow one another in one file.
//!
//! ```text
//!  070701 ino mode uid gid nlink mtime size devmaj devmin rdevmaj rdevmin namelen check    (8 hex digits each)
//!  name NUL, padding to 4      data, padding to 4      …      TRAILER!!!
//! ```

use std::io::{self, Write};

/// Writes one archive. Parents must be written before what is in them.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    ino: u32,
}

/// What an entry is.
enum Kind<'a> {
    Directory,
    File(&'a [u8]),
    Link(&'a str),
    Character(u32, u32),
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    pub const fn new(to: W) -> Self {
        Self { to, ino: 0 }
    }

    /// A directory; one that exists keeps what is in it.
    ///
    /// # Errors
    /// The writer's.
    pub fn directory(&mut self, name: &str, mode: u32) -> io::Result<()> {
        self.entry(name, mode, &Kind::Directory)
    }

    /// A regular file of up to 4 GiB.
    ///
    /// # Errors
    /// The writer's, or InvalidInput for a larger file.
    pub fn file(&mut self, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.entry(name, mode, &Kind::File(data))
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// The writer's.
    pub fn link(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.entry(name, 0o777, &Kind::Link(target))
    }

    /// A character device.
    ///
    /// # Errors
    /// The writer's.
    pub fn character(
        &mut self,
        name: &str,
        mode: u32,
        (major, minor): (u32, u32),
    ) -> io::Result<()> {
        self.entry(name, mode, &Kind::Character(major, minor))
    }

    /// Ends the archive, padded so that another may follow.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> io::Result<W> {
        self.ino = 0;
        self.header("TRAILER!!!", 0, 0, (0, 0))?;
        Ok(self.to)
    }

    fn entry(&mut self, name: &str, mode: u32, kind: &Kind<'_>) -> io::Result<()> {
        let name = name.trim_start_matches('/');
        self.ino += 1;
        let (kind_bits, data, device): (_, &[u8], _) = match kind {
            Kind::Directory => (0o040_000, &[], (0, 0)),
            Kind::File(data) => (0o100_000, data, (0, 0)),
            Kind::Link(target) => (0o120_000, target.as_bytes(), (0, 0)),
            Kind::Character(major, minor) => (0o020_000, &[], (*major, *minor)),
        };
        let size = u32::try_from(data.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "larger than 4 GiB"))?;
        self.header(name, kind_bits | mode & 0o7777, size, device)?;
        self.to.write_all(data)?;
        self.pad(data.len())
    }

    fn header(&mut self, name: &str, mode: u32, size: u32, device: (u32, u32)) -> io::Result<()> {
        let length = u32::try_from(name.len() + 1)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a name too long"))?;
        let fields = [
            self.ino, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, length, 0,
        ];
        self.to.write_all(b"070701")?;
        for field in fields {
            write!(self.to, "{field:08x}")?;
        }
        self.to.write_all(name.as_bytes())?;
        self.to.write_all(&[0])?;
        // 6 for the magic, 8 for each field.
        self.pad(6 + 8 * fields.len() + name.len() + 1)
    }

    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.to.write_all(&[0; 3][..length.wrapping_neg() % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    /// An archive with one of each, by the name `name`.
    fn archive(name: &str) -> Vec<u8> {
        let mut cpio = Writer::new(Vec::new());
        cpio.directory("/a", 0o755).unwrap();
        cpio.file(&format!("a/{name}"), 0o640, b"12345").unwrap();
        cpio.link("a/l", name).unwrap();
        cpio.character("null", 0o666, (1, 3)).unwrap();
        cpio.finish().unwrap()
    }

    #[test]
    fn archives_are_what_cpio_reads() {
        for name in ["f", "fo", "foo", "fool"] {
            let archive = archive(name);
            assert_eq!(archive.len() % 4, 0);
            let mut child = Command::new("/bin/busybox")
                .args(["cpio", "-tv"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(&archive).unwrap();
            let out = child.wait_with_output().unwrap();
            let text = String::from_utf8(out.stdout).unwrap();
            let lines: Vec<Vec<&str>> = text
                .lines()
                .map(|line| line.split_whitespace().collect())
                .collect();
            let modes: Vec<_> = lines.iter().map(|line| line[0]).collect();
            assert_eq!(
                modes,
                ["drwxr-xr-x", "-rw-r-----", "lrwxrwxrwx", "crw-rw-rw-"],
                "{text}"
            );
            let file = format!("a/{name}");
            assert_eq!(
                (lines[1][2], *lines[1].last().unwrap()),
                ("5", file.as_str())
            );
            assert_eq!(lines[2][lines[2].len() - 3..], ["a/l", "->", name]);
        }
    }
}
