//! UpdateRoutes and ListRoutes: the unicast routes of the main table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;
use sys::netlink::message::{attributes, number};
use sys::netlink::socket::Socket;

use super::{Access, links, message as wire, socket, within};
use crate::agent::Agent;
use crate::error::Error;

/// A route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) v6: bool,
    /// None: the default route.
    pub(crate) to: Option<(IpAddr, u8)>,
    pub(crate) gateway: Option<IpAddr>,
    /// Name of the interface.
    pub(crate) device: String,
    /// With a prefix over 0: for packets from there; else the address that packets are given.
    pub(crate) source: Option<(IpAddr, Option<u8>)>,
    /// `RT_SCOPE_…`.
    pub(crate) scope: u8,
    /// `RTNH_F_…`.
    pub(crate) flags: u32,
    /// 0: the interface's.
    pub(crate) mtu: u32,
}

/// Makes or replaces routes, those without a gateway first: they lead to the gateways. Routes that
/// are not named stay. Returns all that there are then. Blocks.
///
/// # Errors
/// An interface that does not exist: then nothing is changed; or the kernel's reason for one route.
pub(crate) fn update(agent: &Agent, routes: &[Route]) -> Result<Vec<Route>, Error> {
    within(agent, Access::Change, || {
        let socket = socket()?;
        let links = links::all(&socket)?;
        let mut ordered = Vec::with_capacity(routes.len());
        for route in routes {
            let link = links.iter().find(|link| link.name == route.device);
            let link = link.ok_or_else(|| Error::NoInterface(route.device.clone()))?;
            ordered.push((route.gateway.is_some(), route, link.index));
        }
        ordered.sort_by_key(|(by_gateway, ..)| *by_gateway);
        sys::failpoint!("agent.routes.before");
        for (_, route, index) in ordered {
            match socket.request(vec![wire::set_route(route, index)]) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(Error::io("set", format!("the route {}", named(route)), e)),
            }
        }
        all(&socket)
    })
}

/// All routes: first IPv4, then IPv6. Blocks.
pub(crate) fn list(agent: &Agent) -> Result<Vec<Route>, Error> {
    within(agent, Access::Look, || all(&socket()?))
}

fn named(route: &Route) -> String {
    let to = route.to.map_or_else(
        || "default".to_owned(),
        |(ip, prefix)| format!("{ip}/{prefix}"),
    );
    match route.gateway {
        Some(gateway) => format!("{to} via {gateway} by {}", route.device),
        None => format!("{to} by {}", route.device),
    }
}

fn all(socket: &Socket) -> Result<Vec<Route>, Error> {
    let found = socket.ask(wire::dump_routes(), true);
    let found = found.map_err(|e| Error::io("list", "routes", e))?;
    let links = links::all(socket)?;
    let mut routes: Vec<Route> = found
        .iter()
        .filter_map(|body| {
            let (mut route, index) = read(body)?;
            let link = links.iter().find(|link| link.index == index);
            route.device = link.map(|link| link.name.clone()).unwrap_or_default();
            Some(route)
        })
        .collect();
    routes.sort_by_key(|route| route.v6);
    Ok(routes)
}

/// A unicast route of the main table, and its interface's index (0 when it has several).
fn read(body: &[u8]) -> Option<(Route, i32)> {
    const CLONED: u32 = 0x200;
    let flags = number(body.get(8..)?)?;
    let v6 = match *body.first()? {
        2 => false,
        10 => true,
        _ => return None,
    };
    let mut table = u32::from(*body.get(4)?);
    if *body.get(7)? != wire::UNICAST || flags & CLONED != 0 {
        return None;
    }
    let mut route = Route {
        v6,
        scope: *body.get(6)?,
        // Only the next hop's, not what the kernel finds out (dead, link down, offloaded).
        flags: flags & 0x4,
        ..Route::default()
    };
    let (to_prefix, source_prefix) = (*body.get(1)?, *body.get(2)?);
    let mut index = 0;
    for (kind, data) in attributes(body.get(12..)?) {
        match kind {
            wire::RTA_DST => route.to = Some((wire::ip(data)?, to_prefix)),
            wire::RTA_SRC => route.source = Some((wire::ip(data)?, Some(source_prefix))),
            wire::RTA_PREFSRC if source_prefix == 0 => {
                route.source = Some((wire::ip(data)?, None));
            }
            wire::RTA_GATEWAY => route.gateway = Some(wire::ip(data)?),
            wire::RTA_OIF => index = number(data)?.cast_signed(),
            wire::RTA_TABLE => table = number(data)?,
            wire::RTA_METRICS => {
                let mtu = attributes(data).find(|(kind, _)| *kind == wire::RTAX_MTU);
                route.mtu = mtu.and_then(|(_, data)| number(data)).unwrap_or(0);
            }
            _ => {}
        }
    }
    (table == u32::from(wire::MAIN)).then_some((route, index))
}

/// What a default route leads to, for those who want an address.
pub(crate) fn everything(v6: bool) -> IpAddr {
    match v6 {
        false => Ipv4Addr::UNSPECIFIED.into(),
        true => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_read_back() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for route in [
            Route {
                to: Some((ip("10.1.0.0"), 16)),
                gateway: Some(ip("10.0.0.1")),
                source: Some((ip("10.0.0.2"), None)),
                mtu: 1400,
                flags: 4,
                ..Default::default()
            },
            Route {
                v6: true,
                gateway: Some(ip("fd00::1")),
                scope: 253,
                ..Default::default()
            },
        ] {
            let bytes = wire::set_route(&route, 7).finish(1);
            assert_eq!(read(&bytes[16..]), Some((route, 7)));
        }
        assert_eq!(read(&[2, 0, 0]), None);
        assert_eq!(read(&[]), None);
    }
}
