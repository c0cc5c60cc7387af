//! Records: one JSON document per object, versioned, written whole to a temporary file and renamed.
//!
//! The state directory dies with the machine's uptime, so nothing is fsynced. A record that can't be
//! read is set aside under `<state>/corrupt/` for people to look at; it never stops the daemon.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};
use sys::atomic::Durability;

use super::{ContainerFacts, ContainerState, PodFacts, PodState};
use crate::{domain::Resources, error::Error};

/// The version that this program writes.
pub(crate) const VERSION: u32 = 1;
/// A pod's record in its directory.
pub(crate) const POD: &str = "pod.json";
/// A container's record in its directory.
pub(crate) const CONTAINER: &str = "container.json";
/// Records are small; a file beyond this is not one.
const LIMIT: u64 = 4 << 20;

/// The document `pod.json`.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
pub(crate) struct PodRecord {
    /// See [`VERSION`].
    pub version: u32,
    /// What never changes.
    #[serde(flatten)]
    pub facts: PodFacts,
    /// Where it is.
    pub state: PodState,
}

/// The document `container.json`.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
pub(crate) struct ContainerRecord {
    /// See [`VERSION`].
    pub version: u32,
    /// What never changes.
    #[serde(flatten)]
    pub facts: ContainerFacts,
    /// Where it is.
    pub state: ContainerState,
    /// Limits that were updated since it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<Resources>,
}

/// Writes a record. Blocks.
///
/// # Errors
/// [`Error::File`]; the old record is whole then.
pub(crate) fn write<T: Serialize>(path: &Path, record: &T) -> Result<(), Error> {
    let mut bytes = serde_json::to_vec(record).map_err(|source| Error::Record {
        path: path.to_owned(),
        source: Arc::new(source),
    })?;
    bytes.push(b'\n');
    sys::atomic::write(path, &bytes, 0o600, Durability::Process).map_err(Error::file("write", path))
}

/// Reads a record; `None` when there is none. Blocks.
///
/// # Errors
/// [`Error::File`] when the kernel can't, [`Error::Record`] and [`Error::RecordVersion`] when it
/// makes no sense.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    #[derive(serde::Deserialize)]
    struct Header {
        version: u32,
    }
    let bytes = match read_small(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::file("read", path)(e)),
    };
    let damaged = |source| Error::Record {
        path: path.to_owned(),
        source: Arc::new(source),
    };
    let header: Header = serde_json::from_slice(&bytes).map_err(damaged)?;
    if header.version != VERSION {
        return Err(Error::RecordVersion {
            path: path.to_owned(),
            found: header.version,
            known: VERSION,
        });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let length = fs::symlink_metadata(path)?.len();
    if length > LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{length} bytes"),
        ));
    }
    fs::read(path)
}

/// When a record was written last, nanoseconds since the epoch; 0: not known. Blocks.
pub(crate) fn written_at_ns(path: &Path) -> i64 {
    let written = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    written
        .ok()
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
        .and_then(|since| i64::try_from(since.as_nanos()).ok())
        .unwrap_or(0)
}

/// Moves what can't be read to `<state>/corrupt/<name>.corrupt` and answers where. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn set_aside(state: &Path, path: &Path, name: &str) -> Result<PathBuf, Error> {
    let dir = state.join("corrupt");
    match fs::create_dir(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::file("create directory", &dir)(e));
        }
        _ => {}
    }
    let to = dir.join(format!("{name}.corrupt"));
    fs::rename(path, &to).map_err(Error::file("set aside", path))?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StartStep;

    fn record() -> PodRecord {
        PodRecord {
            version: VERSION,
            facts: PodFacts::example(),
            state: PodState::Starting {
                step: StartStep::Netns,
            },
        }
    }

    #[test]
    fn a_record_survives_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(POD);
        assert!(read::<PodRecord>(&path).unwrap().is_none());
        let record = record();
        write(&path, &record).unwrap();
        let back: PodRecord = read(&path).unwrap().unwrap();
        assert_eq!((back.facts, back.state), (record.facts, record.state));
    }

    #[test]
    fn damage_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(POD);
        write(&path, &record()).unwrap();
        let whole = fs::read(&path).unwrap();
        for at in [0, 1, whole.len() / 2, whole.len() - 3] {
            fs::write(&path, &whole[..at]).unwrap();
            let error = read::<PodRecord>(&path).unwrap_err().to_string();
            assert!(error.contains("pod.json"), "{error}");
        }
        fs::write(&path, vec![0; whole.len()]).unwrap();
        assert!(matches!(
            read::<PodRecord>(&path),
            Err(Error::Record { .. })
        ));
        fs::write(&path, br#"{"version": 9, "shape": "new"}"#).unwrap();
        assert!(matches!(
            read::<PodRecord>(&path),
            Err(Error::RecordVersion { found: 9, .. })
        ));
    }

    #[test]
    fn a_damaged_record_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(POD);
        fs::write(&path, "{").unwrap();
        let to = set_aside(dir.path(), &path, "abc-pod.json").unwrap();
        assert_eq!(fs::read(to).unwrap(), b"{");
        assert!(!path.exists());
    }
}
