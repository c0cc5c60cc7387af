//! What an interface has sent and received: StatsContainer's network part. All containers of a pod
//! share its namespace, so these are the pod's figures.

use std::sync::Arc;

use super::{Access, links, socket, within};
use crate::agent::Agent;
use crate::error::Error;

/// Counters of an interface, both ways: received, sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) packets: [u64; 2],
    pub(crate) bytes: [u64; 2],
    pub(crate) errors: [u64; 2],
    pub(crate) dropped: [u64; 2],
}

impl Counters {
    /// Reads `rtnl_link_stats64`, which begins with these pairs.
    pub(super) fn read(data: &[u8]) -> Self {
        let word = |at: usize| {
            let bytes = data.get(at * 8..at * 8 + 8);
            bytes
                .and_then(|b| b.try_into().ok())
                .map_or(0, u64::from_ne_bytes)
        };
        let pair = |at| [word(at), word(at + 1)];
        Self {
            packets: pair(0),
            bytes: pair(2),
            errors: pair(4),
            dropped: pair(6),
        }
    }
}

/// The figures of every interface, by name. Loopback's are the pod's own business. Blocks.
pub(crate) fn all(agent: &Arc<Agent>) -> Result<Vec<(String, Counters)>, Error> {
    within(agent, Access::Look, || {
        let links = links::all(&socket()?)?;
        let outside = links.into_iter().filter(|link| link.name != "lo");
        Ok(outside.map(|link| (link.name, link.counters)).collect())
    })
}
