//! What a request for a pod says of its network: checked whole before anything is done.

use std::{net::IpAddr, path::Path};

use network::Port;

use super::plan::invalid;
use crate::{
    domain::{PodConfig, PortMapping, Protocol},
    error::Error,
    pod_network::ANNOTATION,
};

/// Linux's limit of a name in DNS.
const NAME_MAX: usize = 253;

/// What the built-in network has to publish for this pod; `None` when it has no part in it.
/// `built_in`: whether this daemon has one.
///
/// # Errors
/// [`Error::InvalidField`] and [`Error::Unsupported`], naming the field.
pub(super) fn built_in(
    config: &PodConfig,
    own_network: bool,
    built_in: bool,
) -> Result<Option<Vec<Port>>, Error> {
    let asked = config.annotations.get(ANNOTATION).map(String::as_str);
    let field = || format!("config.annotations[{ANNOTATION:?}]");
    match asked {
        None => {}
        Some("none") if own_network => {}
        Some("none") => {
            let why = "is \"none\", but namespace_options.network is NODE";
            return Err(invalid(&field(), why));
        }
        Some(other) => {
            return Err(invalid(
                &field(),
                format!("is {other:?}; only \"none\" is known"),
            ));
        }
    }
    // With the host's network a host port is the container's own: nothing is to be mapped.
    if !own_network {
        return Ok(None);
    }
    let ports = ports(config)?;
    if asked.is_none() && built_in {
        return Ok(Some(ports.into_iter().map(|(_, port)| port).collect()));
    }
    match ports.first() {
        None => Ok(None),
        Some((at, _)) => Err(Error::Unsupported {
            field: format!("config.port_mappings[{at}].host_port"),
            why: if asked.is_some() {
                format!("a pod with the annotation {ANNOTATION} \"none\" has loopback alone")
            } else {
                "the built-in network is off (network.mode = \"none\"); use the host's network \
                 (namespace_options.network NODE)"
                    .to_owned()
            },
        }),
    }
}

/// The mappings that publish a port, with their places in the request.
fn ports(config: &PodConfig) -> Result<Vec<(usize, Port)>, Error> {
    let mut ports: Vec<(usize, Port)> = Vec::new();
    for (at, mapping) in config.port_mappings.iter().enumerate() {
        // Without a host port it is information.
        if mapping.host_port == 0 {
            continue;
        }
        let port = port(at, mapping)?;
        if let Some((other, _)) = ports.iter().find(|(_, other)| other.overlaps(&port)) {
            return Err(invalid(
                &format!("config.port_mappings[{at}].host_port"),
                format!("is {port}, which port_mappings[{other}] publishes too"),
            ));
        }
        ports.push((at, port));
    }
    Ok(ports)
}

fn port(at: usize, mapping: &PortMapping) -> Result<Port, Error> {
    let field = |name: &str| format!("config.port_mappings[{at}].{name}");
    let protocol = match mapping.protocol {
        Protocol::Tcp => network::Protocol::Tcp,
        Protocol::Udp => network::Protocol::Udp,
        Protocol::Sctp => {
            return Err(Error::Unsupported {
                field: field("protocol"),
                why: "SCTP ports can't be published; use TCP, UDP or the host's network".to_owned(),
            });
        }
    };
    if mapping.container_port == 0 {
        return Err(invalid(&field("container_port"), "is 0, which is no port"));
    }
    let host_ip =
        match mapping.host_ip.as_str() {
            "" => None,
            text => Some(text.parse::<IpAddr>().map_err(|_| {
                invalid(&field("host_ip"), format!("is {text:?}, not an IP address"))
            })?),
        };
    if host_ip.is_some_and(|ip| ip.is_ipv6() && ip.is_loopback()) {
        return Err(Error::Unsupported {
            field: field("host_ip"),
            why: "the kernel can't lead connections to ::1 elsewhere; use 127.0.0.1".to_owned(),
        });
    }
    if host_ip.is_some_and(|ip| ip.is_multicast()) {
        return Err(invalid(&field("host_ip"), "is a multicast address"));
    }
    Ok(Port {
        protocol,
        host_ip,
        host_port: mapping.host_port,
        pod_port: mapping.container_port,
    })
}

/// Checks what goes into resolv.conf: no line of ours can be broken by it.
///
/// # Errors
/// [`Error::InvalidField`].
pub(super) fn dns(config: &PodConfig) -> Result<(), Error> {
    let Some(dns) = &config.dns else {
        return Ok(());
    };
    let check = |name: &str, values: &[String], what: &str, fits: fn(&str) -> bool| match values
        .iter()
        .position(|value| !fits(value))
    {
        None => Ok(()),
        Some(at) => Err(invalid(
            &format!("config.dns_config.{name}[{at}]"),
            format!("is {:?}, not {what}", values[at]),
        )),
    };
    check("servers", &dns.servers, "an IP address", is_server)?;
    check("searches", &dns.searches, "a domain name", is_domain)?;
    check(
        "options",
        &dns.options,
        "one word of visible characters",
        is_word,
    )
}

/// An address; IPv6 with a zone is one for resolv.conf.
fn is_server(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "z"));
    address.parse::<IpAddr>().is_ok() && is_word(zone) && !Path::new(zone).has_root()
}

/// Letters, digits, `-`, `_` in labels of 1 to 63; a dot may end it, and alone it is the root.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (1..=63).contains(&label.len()) && label.chars().all(fits)
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    text == "." || (name.len() <= NAME_MAX && name.split('.').all(label))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_MAX && text.chars().all(|c| c.is_ascii_graphic())
}

#[cfg(test)]
#[path = "plan_network_tests.rs"]
mod tests;
