//! `pods/<id>/network.json`: what the built-in network has given to a pod. Written before anything
//! of it exists, removed after all of it is gone.

use std::{io, path::Path};

use network::Lease;
use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    state::record::{self, VERSION},
};

/// The file in the pod's directory.
pub(crate) const FILE: &str = "network.json";

#[derive(Debug, Serialize, Deserialize)]
struct LeaseRecord {
    version: u32,
    #[serde(flatten)]
    lease: Lease,
}

/// Writes it. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(super) fn write(dir: &Path, lease: &Lease) -> Result<(), Error> {
    let lease = lease.clone();
    let version = VERSION;
    record::write(&dir.join(FILE), &LeaseRecord { version, lease })
}

/// Reads it; `None` when there is none. Blocks.
///
/// # Errors
/// [`Error::File`], [`Error::Record`], [`Error::RecordVersion`].
pub(super) fn read(dir: &Path) -> Result<Option<Lease>, Error> {
    let record: Option<LeaseRecord> = record::read(&dir.join(FILE))?;
    Ok(record.map(|record| record.lease))
}

/// Removes it; none is success. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(super) fn remove(dir: &Path) -> Result<(), Error> {
    let path = dir.join(FILE);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", &path)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_written_read_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let lease = Lease {
            interface: "cf0123456789ab".to_owned(),
            ipv4: Some("10.214.0.2/16".parse().unwrap()),
            ipv6: None,
            ports: Vec::new(),
        };
        write(dir.path(), &lease).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Some(lease));
        remove(dir.path()).unwrap();
        remove(dir.path()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        std::fs::write(dir.path().join(FILE), "{\"version\":1,\"interface\":3}").unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains(FILE));
    }
}
