use super::*;
use crate::domain::DnsConfig;

fn mapping(protocol: Protocol, host_ip: &str, host_port: u16, container_port: u16) -> PortMapping {
    PortMapping {
        protocol,
        container_port,
        host_port,
        host_ip: host_ip.to_owned(),
    }
}

fn config(mappings: Vec<PortMapping>) -> PodConfig {
    PodConfig {
        port_mappings: mappings,
        ..PodConfig::default()
    }
}

#[test]
fn only_host_ports_are_published() {
    let config = config(vec![
        mapping(Protocol::Sctp, "", 0, 80),
        mapping(Protocol::Udp, "127.0.0.1", 53, 5353),
        mapping(Protocol::Tcp, "", 53, 53),
    ]);
    let ports = built_in(&config, true, true).unwrap().unwrap();
    let texts: Vec<String> = ports.iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["udp port 127.0.0.1:53", "tcp port 53"]);
    assert_eq!(
        built_in(&config, false, true).unwrap(),
        None,
        "the host's network"
    );
    assert_eq!(built_in(&PodConfig::default(), true, false).unwrap(), None);
}

#[test]
fn what_cannot_be_published_is_named() {
    let tcp = |ip: &str, host, pod| mapping(Protocol::Tcp, ip, host, pod);
    let table = [
        (
            vec![mapping(Protocol::Sctp, "", 80, 80)],
            "config.port_mappings[0].protocol",
        ),
        (
            vec![tcp("", 80, 0)],
            "config.port_mappings[0].container_port is 0",
        ),
        (
            vec![tcp("localhost", 80, 80)],
            "config.port_mappings[0].host_ip",
        ),
        (vec![tcp("::1", 80, 80)], "config.port_mappings[0].host_ip"),
        (
            vec![tcp("224.0.0.1", 80, 80)],
            "config.port_mappings[0].host_ip",
        ),
        (
            vec![tcp("", 80, 80), tcp("127.0.0.1", 80, 81)],
            "config.port_mappings[1].host_port is tcp port 127.0.0.1:80, which port_mappings[0]",
        ),
    ];
    for (mappings, expected) in table {
        let error = built_in(&config(mappings), true, true)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let error = built_in(&config(vec![tcp("", 80, 80)]), true, false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("network.mode"), "{error}");
}

#[test]
fn the_annotation_takes_the_network_away() {
    let with = |value: &str| {
        let mut config = config(Vec::new());
        config
            .annotations
            .insert(ANNOTATION.to_owned(), value.to_owned());
        config
    };
    assert_eq!(built_in(&with("none"), true, true).unwrap(), None);
    for (config, own) in [
        (with("host"), true),
        (with(""), true),
        (with("none"), false),
    ] {
        let error = built_in(&config, own, true).unwrap_err().to_string();
        assert!(
            error.starts_with("config.annotations[\"io.coffer.network\"]"),
            "{error}"
        );
    }
    let mut published = with("none");
    published
        .port_mappings
        .push(mapping(Protocol::Tcp, "", 80, 80));
    assert!(built_in(&published, true, true).is_err());
}

#[test]
fn resolv_conf_takes_addresses_names_and_words() {
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let check = |servers: &[&str], searches: &[&str], options: &[&str]| {
        dns(&PodConfig {
            dns: Some(DnsConfig {
                servers: strings(servers),
                searches: strings(searches),
                options: strings(options),
            }),
            ..PodConfig::default()
        })
    };
    check(
        &["10.0.0.10", "fd00::a", "fe80::1%eth0"],
        &["default.svc.cluster.local", "corp.", ".", "_tcp.x"],
        &["ndots:5", "edns0"],
    )
    .unwrap();
    // Servers, searches, options, and the field that is wrong.
    type Case = (
        &'static [&'static str],
        &'static [&'static str],
        &'static [&'static str],
        &'static str,
    );
    let table: [Case; 8] = [
        (&["dns.google"], &[], &[], "servers[0]"),
        (
            &["10.0.0.1", "10.0.0.1\nnameserver 6.6.6.6"],
            &[],
            &[],
            "servers[1]",
        ),
        (&["fe80::1%a b"], &[], &[], "servers[0]"),
        (&[], &["a..b"], &[], "searches[0]"),
        (&[], &["a\nnameserver 6.6.6.6"], &[], "searches[0]"),
        (&[], &["ok", "caf\u{e9}"], &[], "searches[1]"),
        (&[], &[], &["ndots:5 x"], "options[0]"),
        (&[], &[], &[""], "options[0]"),
    ];
    for (servers, searches, options, field) in table {
        let error = check(servers, searches, options).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("config.dns_config.{field}")),
            "{error}"
        );
    }
}
