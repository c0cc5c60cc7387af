//! The bridge: made when the first pod needs it, mended when somebody has taken it away, and left in
//! place afterwards. Its alias says whose it is.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    Cidr, Error, Settings,
    netlink::{
        route::{self, Link, Mac, Route},
        socket::Socket,
    },
    sysctl,
};

/// MTU where the host has no default route to take it from.
const USUAL_MTU: u32 = 1500;

/// The bridge as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bridge {
    pub(crate) index: i32,
    pub(crate) mtu: u32,
}

/// Whether the bridge that we made is there as we left it.
///
/// # Errors
/// The kernel's.
pub(crate) fn is_there(socket: &Socket, name: &str, bridge: Bridge) -> Result<bool, Error> {
    let found =
        route::find_link(socket, name).map_err(Error::kernel(format!("look at bridge {name}")))?;
    Ok(found.is_some_and(|link| link.index == bridge.index && link.up))
}

/// Makes the bridge, or what is missing of it: the interface, a gateway address for each of
/// `subnets`, the sysctls, and these interfaces as its ports.
///
/// # Errors
/// [`Error::Overlap`], [`Error::ForeignBridge`], [`Error::Sysctl`], the kernel's.
pub(crate) fn prepare(
    socket: &Socket,
    settings: &Settings,
    owner: &str,
    subnets: &[Cidr],
    ports: &BTreeSet<String>,
) -> Result<Bridge, Error> {
    let name = settings.bridge.as_str();
    let links = route::links(socket).map_err(Error::kernel("list the interfaces"))?;
    let routes = route::routes(socket).map_err(Error::kernel("list the routes"))?;
    overlap(name, subnets, &links, &routes)?;
    let mtu = match settings.mtu {
        0 => usual_mtu(&links, &routes),
        mtu => mtu,
    };
    sys::failpoint!("network.bridge.before");
    let index = match links.iter().find(|link| link.name == name) {
        Some(link) => {
            own(link, owner)?;
            if !link.up {
                socket
                    .request(vec![route::set_up(link.index)])
                    .map_err(Error::kernel(format!("set bridge {name} up")))?;
            }
            link.index
        }
        None => {
            socket
                .request(vec![
                    route::new_bridge(name, mac(owner), mtu),
                    route::set_alias(name, &alias(owner)),
                ])
                .map_err(Error::kernel(format!("create bridge {name}")))?;
            let link = route::find_link(socket, name)
                .map_err(Error::kernel(format!("look at bridge {name}")))?;
            link.map_or(0, |link| link.index)
        }
    };
    sys::failpoint!("network.bridge.after");
    let ipv6 = subnets.iter().any(|subnet| !subnet.is_ipv4());
    if ipv6 {
        sysctl::bridge_ipv6(name)?;
    }
    addresses(socket, name, index, subnets)?;
    sysctl::host(name, subnets.iter().any(Cidr::is_ipv4), ipv6)?;
    for link in links.iter().filter(|link| ports.contains(&link.name)) {
        if link.master.cast_signed() != index {
            socket
                .request(vec![
                    route::join_bridge(&link.name, index.cast_unsigned()),
                    route::hairpin(&link.name),
                ])
                .map_err(Error::kernel(format!(
                    "connect {} to bridge {name}",
                    link.name
                )))?;
        }
    }
    Ok(Bridge { index, mtu })
}

/// Looks whether the subnets are free on this host and the bridge's name is ours to take; changes
/// nothing.
///
/// # Errors
/// [`Error::Overlap`], [`Error::ForeignBridge`], the kernel's.
pub(crate) fn check(
    socket: &Socket,
    settings: &Settings,
    owner: &str,
    subnets: &[Cidr],
) -> Result<(), Error> {
    let name = settings.bridge.as_str();
    let links = route::links(socket).map_err(Error::kernel("list the interfaces"))?;
    let routes = route::routes(socket).map_err(Error::kernel("list the routes"))?;
    overlap(name, subnets, &links, &routes)?;
    match links.iter().find(|link| link.name == name) {
        Some(link) => own(link, owner),
        None => Ok(()),
    }
}

/// Deletes interfaces of pods that are gone: those that look like ours, are ports of our bridge (or
/// of none any more) and are not in `keep`. Answers how many.
///
/// # Errors
/// The kernel's.
pub(crate) fn sweep(socket: &Socket, bridge: i32, keep: &BTreeSet<String>) -> Result<usize, Error> {
    let links = route::links(socket).map_err(Error::kernel("list the interfaces"))?;
    let ours = |link: &&Link| {
        crate::veth::is_name(&link.name)
            && link.kind == "veth"
            && link.master.cast_signed() == bridge
            && !keep.contains(&link.name)
    };
    let mut count = 0;
    for link in links.iter().filter(ours) {
        tracing::warn!(
            interface = link.name,
            "removing the interface of a pod that is gone"
        );
        crate::veth::delete(socket, &link.name)?;
        count += 1;
    }
    Ok(count)
}

/// The text that marks a bridge as made by the daemon with this state.
fn alias(owner: &str) -> String {
    let mut alias = format!("coffer: pods of {owner}");
    // IFALIASZ is 256 with its NUL; a path may be longer.
    while alias.len() > 255 {
        alias.pop();
    }
    alias
}

fn own(link: &Link, owner: &str) -> Result<(), Error> {
    let what = if link.kind != "bridge" {
        "not a bridge".to_owned()
    } else if link.alias.is_empty() {
        "not made by coffer".to_owned()
    } else if link.alias != alias(owner) {
        format!("another's ({})", link.alias)
    } else {
        return Ok(());
    };
    Err(Error::ForeignBridge {
        bridge: link.name.clone(),
        what,
    })
}

fn overlap(bridge: &str, subnets: &[Cidr], links: &[Link], routes: &[Route]) -> Result<(), Error> {
    let name = |index: i32| {
        let link = links.iter().find(|link| link.index == index);
        link.map_or_else(|| "several interfaces".to_owned(), |link| link.name.clone())
    };
    for route in routes.iter().filter(|route| route.prefix != 0) {
        let hit = subnets
            .iter()
            .find(|subnet| subnet.overlaps(route.to, route.prefix));
        if let Some(subnet) = hit
            && name(route.interface) != bridge
        {
            return Err(Error::Overlap {
                subnet: *subnet,
                route: format!("{}/{}", route.to, route.prefix),
                interface: name(route.interface),
            });
        }
    }
    Ok(())
}

fn usual_mtu(links: &[Link], routes: &[Route]) -> u32 {
    let default = routes
        .iter()
        .find(|route| route.prefix == 0 && route.to.is_ipv4());
    let default = default.or_else(|| routes.iter().find(|route| route.prefix == 0));
    default
        .and_then(|route| links.iter().find(|link| link.index == route.interface))
        .map_or(USUAL_MTU, |link| link.mtu)
}

/// Exactly the gateways of the subnets.
fn addresses(socket: &Socket, name: &str, index: i32, subnets: &[Cidr]) -> Result<(), Error> {
    let act = || format!("set the addresses of bridge {name}");
    let wanted: Vec<(IpAddr, u8)> = subnets
        .iter()
        .map(|subnet| (subnet.gateway(), subnet.prefix()))
        .collect();
    let found = route::addresses(socket, index).map_err(Error::kernel(act()))?;
    let local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let mut changes = Vec::new();
    for (ip, prefix) in &found {
        if !wanted.contains(&(*ip, *prefix)) && !local(*ip) {
            changes.push(route::remove_address(index, *ip, *prefix));
        }
    }
    for (ip, prefix) in wanted.iter().filter(|address| !found.contains(address)) {
        changes.push(route::add_address(index, *ip, *prefix));
    }
    if changes.is_empty() {
        return Ok(());
    }
    socket.request(changes).map_err(Error::kernel(act()))
}

/// A hardware address that stays: made from the owner's name, locally administered.
fn mac(owner: &str) -> Mac {
    // FNV-1a
    let hash = owner.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let [a, b, c, d, e, ..] = hash.to_be_bytes();
    [0x0e, a, b, c, d, e]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlap_names_the_route_and_its_interface() {
        let subnets = ["10.214.0.0/16".parse().unwrap()];
        let link = |index, name: &str| Link {
            index,
            name: name.to_owned(),
            ..Link::default()
        };
        let route = |to: &str, prefix, interface| Route {
            to: to.parse().unwrap(),
            prefix,
            interface,
        };
        let links = [link(2, "eth0"), link(3, "coffer0")];
        let fine = [
            route("0.0.0.0", 0, 2),
            route("10.214.0.0", 16, 3),
            route("192.0.2.0", 24, 2),
        ];
        assert!(overlap("coffer0", &subnets, &links, &fine).is_ok());
        let error = overlap("coffer0", &subnets, &links, &[route("10.0.0.0", 8, 2)]);
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("10.214.0.0/16") && text.contains("10.0.0.0/8 by eth0"),
            "{text}"
        );
    }

    #[test]
    fn an_alias_is_short_enough_and_tells_owners_apart() {
        assert!(alias(&"x".repeat(4000)).len() <= 255);
        let link = |kind: &str, alias: String| Link {
            kind: kind.to_owned(),
            alias,
            ..Link::default()
        };
        assert!(own(&link("bridge", alias("/run/a")), "/run/a").is_ok());
        for other in [
            link("bridge", alias("/run/b")),
            link("bridge", String::new()),
            link("veth", alias("/run/a")),
        ] {
            assert!(own(&other, "/run/a").is_err(), "{other:?}");
        }
        assert_ne!(mac("/run/a"), mac("/run/b"));
        assert_eq!(
            mac("/run/a")[0] & 3,
            2,
            "locally administered, not multicast"
        );
    }
}
