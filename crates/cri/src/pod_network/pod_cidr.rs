//! The pod CIDR that a kubelet sends: what it means, and where it is kept.
//!
//! `<root>/network.json` outlives the boot: a kubelet sends the CIDR when it starts, and pods may be
//! asked for before it does so again.

use std::path::Path;

use network::Cidr;
use serde::{Deserialize, Serialize};
use sys::atomic::Durability;

use crate::{
    error::Error,
    state::record::{self, VERSION},
};

const FILE: &str = "network.json";
const FIELD: &str = "runtime_config.network_config.pod_cidr";

/// Subnets of pods: at most one of each IP version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PodCidr {
    /// IPv4.
    pub ipv4: Option<Cidr>,
    /// IPv6.
    pub ipv6: Option<Cidr>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    pod_cidr: String,
}

impl PodCidr {
    /// `ADDRESS/PREFIX`, or two of different IP versions with a comma. Empty: nothing is said.
    ///
    /// # Errors
    /// [`Error::InvalidField`].
    pub(crate) fn parse(text: &str) -> Result<Option<PodCidr>, Error> {
        if text.is_empty() {
            return Ok(None);
        }
        let invalid = |why: String| Error::InvalidField {
            field: FIELD.to_owned(),
            why,
        };
        let mut parsed = PodCidr::default();
        for part in text.split(',').map(str::trim) {
            let cidr: Cidr = part
                .parse()
                .map_err(|why| invalid(format!("{part:?} {why}")))?;
            let place = if cidr.is_ipv4() {
                &mut parsed.ipv4
            } else {
                &mut parsed.ipv6
            };
            if place.replace(cidr).is_some() {
                return Err(invalid(format!(
                    "{text:?} has two subnets of one IP version"
                )));
            }
        }
        Ok(Some(parsed))
    }
}

/// Keeps a CIDR that was parsed. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn write(root: &Path, text: &str) -> Result<(), Error> {
    let path = root.join(FILE);
    let bytes = serde_json::to_vec(&Record {
        version: VERSION,
        pod_cidr: text.to_owned(),
    })
    .map_err(|source| Error::Record {
        path: path.clone(),
        source: source.into(),
    })?;
    sys::failpoint!("pod_cidr.record.before");
    sys::atomic::write(&path, &bytes, 0o600, Durability::Disk).map_err(Error::file("write", &path))
}

/// The CIDR that was kept; a damaged file is none and is told in the log. Blocks.
pub(crate) fn read(root: &Path) -> Option<PodCidr> {
    let record: Result<Option<Record>, Error> = record::read(&root.join(FILE));
    match record.map(|record| record.map(|record| PodCidr::parse(&record.pod_cidr))) {
        Ok(Some(Ok(cidr))) => cidr,
        Ok(None) => None,
        Ok(Some(Err(error))) | Err(error) => {
            tracing::error!(error = error.chain(), "the kept pod CIDR is not used");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_two_subnets_are_read() {
        assert_eq!(PodCidr::parse("").unwrap(), None);
        let both = PodCidr::parse("fd00::/64, 10.1.0.0/24").unwrap().unwrap();
        assert_eq!(both.ipv4.unwrap().to_string(), "10.1.0.0/24");
        assert_eq!(both.ipv6.unwrap().to_string(), "fd00::/64");
        for bad in [
            "10.1.0.0",
            "10.1.0.0/24,10.2.0.0/24",
            "10.1.0.1/24",
            ",",
            "10.1.0.0/24,",
            "10.0.0.0/32",
        ] {
            let error = PodCidr::parse(bad).unwrap_err().to_string();
            assert!(error.starts_with(FIELD), "{bad}: {error}");
        }
    }

    #[test]
    fn it_is_kept_and_damage_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), None);
        write(dir.path(), "10.1.0.0/24").unwrap();
        assert_eq!(read(dir.path()), PodCidr::parse("10.1.0.0/24").unwrap());
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(read(dir.path()), None);
    }
}
