//! A look at a pod's agent without speaking to it: what its record and the kernel say.

use std::path::Path;

use crate::{AgentRecord, Error, process, record};

/// The agent of the pod with this directory, and whether its process lives; `None` when it has no
/// record. Changes nothing, needs no daemon. Blocks for a moment.
///
/// # Errors
/// The record can't be read or understood; the kernel does not tell of the process.
pub fn look(pod_dir: &Path) -> Result<Option<(AgentRecord, bool)>, Error> {
    let Some(agent) = record::read(pod_dir)? else {
        return Ok(None);
    };
    let found = process::find(agent.pid, agent.start_ticks).map_err(|source| Error::Record {
        act: "follow",
        path: pod_dir.join(record::FILE),
        source,
    })?;
    Ok(Some((agent, found.is_some())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_agent_is_told_from_a_reused_pid() {
        let dir = tempfile::tempdir().unwrap();
        assert!(look(dir.path()).unwrap().is_none());
        let me = i32::try_from(std::process::id()).unwrap();
        let ticks = process::start_ticks(me).unwrap();
        for (start_ticks, lives) in [(ticks, true), (ticks + 1, false)] {
            let agent = AgentRecord {
                version: record::VERSION,
                pod: "p".to_owned(),
                pid: me,
                start_ticks,
                protocol: 1,
                agent_version: "0.1.0".to_owned(),
                cgroup_parent: "/x".to_owned(),
                agent_cgroup: "/y".to_owned(),
            };
            record::write(dir.path(), &agent).unwrap();
            assert_eq!(look(dir.path()).unwrap(), Some((agent, lives)));
        }
    }
}
