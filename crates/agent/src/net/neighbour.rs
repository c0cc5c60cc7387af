//! AddARPNeighbors: entries of the neighbour table that need no asking.

use std::net::IpAddr;

use super::{Access, links, message, socket, within};
use crate::agent::Agent;
use crate::error::Error;

/// `NUD_PERMANENT`: what an entry is whose state nobody gave.
pub(crate) const PERMANENT: u16 = 0x80;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) ip: IpAddr,
    pub(crate) device: String,
    pub(crate) mac: Option<Vec<u8>>,
    /// `NUD_…`.
    pub(crate) state: u16,
    /// `NTF_…`.
    pub(crate) flags: u8,
}

/// Makes or replaces the entries. Blocks.
///
/// # Errors
/// An interface that does not exist: then none is made; or the kernel's reason for one.
pub(crate) fn add(agent: &Agent, neighbours: &[Neighbour]) -> Result<(), Error> {
    within(agent, Access::Change, || {
        let socket = socket()?;
        let links = links::all(&socket)?;
        let index_of = |n: &Neighbour| {
            let link = links.iter().find(|link| link.name == n.device);
            link.map(|link| link.index)
                .ok_or_else(|| Error::NoInterface(n.device.clone()))
        };
        let indexes: Vec<i32> = neighbours.iter().map(index_of).collect::<Result<_, _>>()?;
        sys::failpoint!("agent.neighbours.before");
        for (neighbour, index) in neighbours.iter().zip(indexes) {
            let made = socket.request(vec![message::set_neighbour(neighbour, index)]);
            made.map_err(|e| {
                let what = format!("neighbour {} of {}", neighbour.ip, neighbour.device);
                Error::io("make", what, e)
            })?;
        }
        Ok(())
    })
}
