//! Compiled filters on disk, so that every profile is compiled once per machine and not per agent.
//!
//! ```text
//! <dir>/<64 hex>.bpf      name: SHA-256 of format, libseccomp version, machine, profile as JSON
//!   "CFSECC1\n"           8
//!   SHA-256 of the rest   32
//!   flags                 4, little endian
//!   length of warnings    4
//!   warnings              lines
//!   program               to the end
//! ```
//! A filter from here runs in every container, so the directory must be ours alone (checked on the
//! opened directory, files are reached through it). The sum is against torn writes after a crash: the
//! files are not synced, they can be made again.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use libseccomp::ScmpVersion;
use oci::runtime::LinuxSeccomp;
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use sha2::{Digest, Sha256};

use super::Filter;
use super::build::INSTRUCTION;
use super::error::Error;

const MAGIC: &[u8; 8] = b"CFSECC1\n";
/// Counts up when the translation changes, so that old files are not taken for new.
const TRANSLATION: u32 = 3;
const HEADER: usize = 8 + 32;

/// The file name for a profile.
pub(super) fn key(profile: &LinuxSeccomp) -> Result<String, Error> {
    let version = ScmpVersion::current().map_err(|source| Error::Library {
        act: "ask for its version".to_owned(),
        source,
    })?;
    let mut hash = Sha256::new();
    let (major, minor, micro) = (version.major, version.minor, version.micro);
    let machine = std::env::consts::ARCH;
    hash.update(format!("{TRANSLATION} {major}.{minor}.{micro} {machine}\n"));
    hash.update(serde_json::to_vec(profile)?);
    Ok(format!("{}.bpf", hex(&hash.finalize())))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn fail(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { act, path, source }
}

/// Opens the directory and sees that nobody else can write to it.
fn open_dir(dir: &Path) -> Result<File, Error> {
    let file = File::open(dir).map_err(fail("open", dir))?;
    let meta = file.metadata().map_err(fail("look at", dir))?;
    let mode = meta.mode() & 0o7777;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() || mode & 0o022 != 0 {
        return Err(Error::CacheNotPrivate {
            path: dir.to_owned(),
            uid: meta.uid(),
            mode,
        });
    }
    Ok(file)
}

/// A filter from the cache; None if it is not there or damaged.
pub(super) fn load(dir: &Path, key: &str) -> Result<Option<Filter>, Error> {
    let at = match open_dir(dir) {
        Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        other => other?,
    };
    let path = dir.join(key);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file: OwnedFd = match openat(&at, key, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(e) => return Err(fail("open", &path)(e.into())),
    };
    let mut bytes = Vec::new();
    File::from(file)
        .read_to_end(&mut bytes)
        .map_err(fail("read", &path))?;
    Ok(decode(&bytes))
}

/// Puts a filter into the cache, whole or not at all.
pub(super) fn store(dir: &Path, key: &str, filter: &Filter) -> Result<(), Error> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(fail("make", dir))?;
    let at = open_dir(dir)?;
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = format!(".{key}.{}.{count}", std::process::id());
    let path = dir.join(&temporary);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let fd = openat(&at, &temporary, flags, Mode::from(0o600))
        .map_err(|e| fail("make", &path)(e.into()))?;
    let written = File::from(fd)
        .write_all(&encode(filter))
        .map_err(fail("write", &path))
        .and_then(|()| {
            renameat(&at, &temporary, &at, key).map_err(|e| fail("rename", &path)(e.into()))
        });
    if written.is_err() {
        let _gone = unlinkat(&at, &temporary, AtFlags::empty());
    }
    written
}

fn encode(filter: &Filter) -> Vec<u8> {
    let warnings = filter.warnings.join("\n");
    let mut body = Vec::with_capacity(8 + warnings.len() + filter.bpf.len());
    body.extend(filter.flags.to_le_bytes());
    body.extend(u32::try_from(warnings.len()).unwrap_or(0).to_le_bytes());
    body.extend(warnings.as_bytes());
    body.extend(&filter.bpf);
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.extend(MAGIC);
    out.extend(Sha256::digest(&body));
    out.extend(body);
    out
}

fn decode(bytes: &[u8]) -> Option<Filter> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sum, body) = rest.split_at_checked(32)?;
    if Sha256::digest(body).as_slice() != sum {
        return None;
    }
    let (flags, rest) = body.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (warnings, bpf) = rest.split_at_checked(length)?;
    let warnings = std::str::from_utf8(warnings).ok()?;
    if bpf.is_empty() || !bpf.len().is_multiple_of(INSTRUCTION) {
        return None;
    }
    Some(Filter {
        bpf: bpf.to_vec(),
        flags: u32::from_le_bytes(*flags),
        warnings: warnings.lines().map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> Filter {
        Filter {
            bpf: vec![6, 0, 0, 0, 0, 0, 255, 127],
            flags: 5,
            warnings: vec!["a".into()],
        }
    }

    #[test]
    fn what_is_stored_comes_back() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("deep/cache");
        assert_eq!(load(&dir, "k.bpf").unwrap(), None);
        store(&dir, "k.bpf", &filter()).unwrap();
        store(&dir, "k.bpf", &filter()).unwrap();
        assert_eq!(load(&dir, "k.bpf").unwrap(), Some(filter()));
        assert_eq!(
            std::fs::read_dir(&dir).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let whole = encode(&filter());
        assert_eq!(decode(&whole), Some(filter()));
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length]), None, "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert_eq!(decode(&bad), None, "bit changed at {at}");
        }
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_not_trusted() {
        use std::os::unix::fs::PermissionsExt;
        let tmp = tempfile::tempdir().unwrap();
        store(tmp.path(), "k.bpf", &filter()).unwrap();
        std::fs::set_permissions(tmp.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let e = load(tmp.path(), "k.bpf").unwrap_err();
        assert!(e.to_string().contains("mode 0777"), "{e}");
        store(tmp.path(), "k.bpf", &filter()).unwrap_err();
    }
}
