//! `agent.json` in the pod's directory: which process is the pod's agent.
//!
//! ```text
//! {"version":1,"pod":"…","pid":4711,"start_ticks":99,"protocol":1,"agent_version":"0.1.0",
//!  "cgroup_parent":"/coffer/…","agent_cgroup":"/coffer-agents/…"}
//! ```
//! Written whole and renamed. Not synced: after a reboot there is no agent to find.

use std::{fs, io, path::Path};

use sys::atomic::{self, Durability};

use crate::{AgentRecord, Error};

pub(crate) const FILE: &str = "agent.json";
pub(crate) const VERSION: u32 = 1;

pub(crate) fn write(dir: &Path, record: &AgentRecord) -> Result<(), Error> {
    let path = dir.join(FILE);
    let written = serde_json::to_vec(record)
        .map_err(io::Error::other)
        .and_then(|json| atomic::write(&path, &json, 0o600, Durability::Process));
    written.map_err(|source| Error::Record {
        act: "write",
        path,
        source,
    })
}

/// The record; `None` when there is none.
///
/// # Errors
/// [`Error::Record`] when it can't be read or understood: a truncated file, a later version.
pub(crate) fn read(dir: &Path) -> Result<Option<AgentRecord>, Error> {
    let path = dir.join(FILE);
    let failed = |source| Error::Record {
        act: "read",
        path: path.clone(),
        source,
    };
    let json = match fs::read(&path) {
        Ok(json) => json,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let record: AgentRecord = serde_json::from_slice(&json).map_err(|e| failed(e.into()))?;
    if record.version != VERSION {
        let what = format!(
            "it has version {}, this program knows {VERSION}",
            record.version
        );
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, what)));
    }
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AgentRecord {
        AgentRecord {
            version: VERSION,
            pod: "p1".to_owned(),
            pid: 4711,
            start_ticks: 99,
            protocol: 1,
            agent_version: "0.1.0".to_owned(),
            cgroup_parent: "/coffer/p1".to_owned(),
            agent_cgroup: "/coffer-agents/p1".to_owned(),
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        write(dir.path(), &record()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(record()));
    }

    #[test]
    fn a_damaged_or_later_record_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let later = serde_json::to_string(&AgentRecord {
            version: 2,
            ..record()
        })
        .unwrap();
        for text in ["", "{", "[]", r#"{"version":1}"#, &later] {
            fs::write(dir.path().join(FILE), text).unwrap();
            let error = read(dir.path()).unwrap_err().to_string();
            assert!(error.contains("agent.json"), "{text}: {error}");
        }
    }
}
