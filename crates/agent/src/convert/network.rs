//! Interfaces, routes and neighbours.

use std::net::IpAddr;

use agent_api::{grpc, types};

use crate::device::pci;
use crate::error::Error;
use crate::net::interface::{Interface, Listed};
use crate::net::neighbour::{Neighbour, PERMANENT};
use crate::net::route::{Route, everything};
use crate::net::{address, mac, network, prefix};

/// `IFF_NOARP`.
const NOARP: u32 = 0x80;

pub(crate) fn interface(wire: &types::Interface) -> Result<Interface, Error> {
    let addresses = wire.ip_addresses.iter().map(|a| {
        let (ip, given) = network(&a.address)?;
        let prefix = match given {
            Some(given) if a.mask.is_empty() => given,
            _ => prefix(ip, &a.mask)?,
        };
        Ok((ip, prefix))
    });
    let mtu = u32::try_from(wire.mtu)
        .map_err(|_| Error::invalid("mtu", format!("{} is too large", wire.mtu)))?;
    Ok(Interface {
        device: wire.device.clone(),
        name: wire.name.clone(),
        addresses: addresses.collect::<Result<_, Error>>()?,
        mtu,
        mac: match wire.hw_addr.as_str() {
            "" => Vec::new(),
            text => mac(text)?,
        },
        pci: match wire.device_path.as_str() {
            "" => None,
            text => Some(pci::Path::parse(text)?),
        },
        noarp: wire.raw_flags & NOARP != 0,
    })
}

pub(crate) fn listed(listed: &Listed) -> types::Interface {
    let pairs: Vec<_> = listed.link.mac.iter().map(|b| format!("{b:02x}")).collect();
    types::Interface {
        device: listed.link.name.clone(),
        name: listed.link.name.clone(),
        ip_addresses: listed
            .addresses
            .iter()
            .map(|(ip, prefix)| types::IpAddress {
                family: family(ip.is_ipv6()),
                address: ip.to_string(),
                mask: prefix.to_string(),
            })
            .collect(),
        mtu: listed.link.mtu.into(),
        hw_addr: pairs.join(":"),
        device_path: String::new(),
        r#type: listed.kind.to_owned(),
        raw_flags: listed.link.flags,
    }
}

pub(crate) fn route(wire: &types::Route) -> Result<Route, Error> {
    let full = |ip: IpAddr| if ip.is_ipv4() { 32 } else { 128 };
    let given = |text: &str| match text {
        "" => Ok(None),
        text => network(text).map(Some),
    };
    let to = match wire.dest.as_str() {
        "" | "default" => None,
        text => network(text).map(|(ip, prefix)| Some((ip, prefix.unwrap_or(full(ip)))))?,
    };
    let gateway = match wire.gateway.as_str() {
        "" => None,
        text => Some(address(text)?),
    };
    let source = given(&wire.source)?;
    let of = to
        .map(|(ip, _)| ip)
        .or(gateway)
        .or(source.map(|(ip, _)| ip));
    let v6 = of.map_or(wire.family == family(true), |ip| ip.is_ipv6());
    let all = [to.map(|(ip, _)| ip), gateway, source.map(|(ip, _)| ip)];
    let what = || format!("route to {:?} by {:?}", wire.dest, wire.device);
    if all.into_iter().flatten().any(|ip| ip.is_ipv6() != v6) {
        return Err(Error::invalid(
            what(),
            "its addresses are of two IP versions",
        ));
    }
    let scope = u8::try_from(wire.scope)
        .map_err(|_| Error::invalid(what(), format!("scope {} is none", wire.scope)))?;
    Ok(Route {
        v6,
        to: to.filter(|(ip, prefix)| (*ip, *prefix) != (everything(v6), 0)),
        gateway,
        device: wire.device.clone(),
        source,
        scope,
        flags: wire.flags,
        mtu: wire.mtu,
    })
}

pub(crate) fn routes(list: &[Route]) -> grpc::Routes {
    let text = |ip: IpAddr, prefix: u8| format!("{ip}/{prefix}");
    grpc::Routes {
        routes: list
            .iter()
            .map(|route| types::Route {
                dest: route
                    .to
                    .map_or_else(|| text(everything(route.v6), 0), |(ip, p)| text(ip, p)),
                gateway: route.gateway.map(|ip| ip.to_string()).unwrap_or_default(),
                device: route.device.clone(),
                source: match route.source {
                    Some((ip, Some(prefix))) => text(ip, prefix),
                    Some((ip, None)) => ip.to_string(),
                    None => String::new(),
                },
                scope: route.scope.into(),
                family: family(route.v6),
                flags: route.flags,
                mtu: route.mtu,
            })
            .collect(),
    }
}

pub(crate) fn neighbour(wire: &types::ArpNeighbor) -> Result<Neighbour, Error> {
    let ip = wire.to_ip_address.as_ref().map(|a| a.address.as_str());
    let ip = ip.filter(|ip| !ip.is_empty()).ok_or_else(|| {
        Error::invalid(
            format!("neighbour by {:?}", wire.device),
            "its address is missing",
        )
    })?;
    let what = || format!("neighbour {ip}");
    Ok(Neighbour {
        ip: network(ip)?.0,
        device: wire.device.clone(),
        mac: match wire.lladdr.as_str() {
            "" => None,
            text => Some(mac(text)?),
        },
        state: match wire.state {
            0 => PERMANENT,
            state => u16::try_from(state)
                .map_err(|_| Error::invalid(what(), format!("state {state} is none")))?,
        },
        flags: u8::try_from(wire.flags)
            .map_err(|_| Error::invalid(what(), format!("flags {} are none", wire.flags)))?,
    })
}

fn family(v6: bool) -> i32 {
    match v6 {
        false => types::IpFamily::V4.into(),
        true => types::IpFamily::V6.into(),
    }
}
