//! The network calls, where two interfaces are the agent's: 02:00:00:00:00:01 and 02:00:00:00:00:02.

use agent_api::ttrpc::Code;
use agent_api::{grpc, types};

use super::{World, soon, status};

fn address(address: &str, mask: &str) -> types::IpAddress {
    let family = match address.contains(':') {
        true => types::IpFamily::V6,
        false => types::IpFamily::V4,
    };
    types::IpAddress {
        family: family.into(),
        address: address.into(),
        mask: mask.into(),
    }
}

fn interface(name: &str, mac: &str, addresses: &[(&str, &str)]) -> types::Interface {
    types::Interface {
        name: name.into(),
        hw_addr: mac.into(),
        ip_addresses: addresses.iter().map(|(a, m)| address(a, m)).collect(),
        mtu: 1400,
        ..Default::default()
    }
}

async fn update(world: &World, interface: types::Interface) -> types::Interface {
    let request = grpc::UpdateInterfaceRequest {
        interface: Some(interface),
    };
    world
        .agent
        .update_interface(soon(), &request)
        .await
        .unwrap()
}

async fn list(world: &World) -> Vec<types::Interface> {
    let list = world
        .agent
        .list_interfaces(soon(), &grpc::ListInterfacesRequest {})
        .await;
    list.unwrap().interfaces
}

async fn named(world: &World, name: &str) -> types::Interface {
    let list = list(world).await;
    list.into_iter().find(|i| i.name == name).unwrap()
}

/// Addresses that are not the kernel's own.
fn addresses(interface: &types::Interface) -> Vec<String> {
    let all = interface.ip_addresses.iter();
    let mut all: Vec<_> = all
        .filter(|a| !a.address.starts_with("fe80"))
        .map(|a| format!("{}/{}", a.address, a.mask))
        .collect();
    all.sort();
    all
}

pub(crate) async fn interfaces_are_found_by_their_hardware_address_and_swap_names(world: &World) {
    let wanted = interface(
        "eth1",
        "02:00:00:00:00:01",
        &[("10.9.0.2", "24"), ("fd09::2", "64")],
    );
    let echo = update(world, wanted.clone()).await;
    assert_eq!(echo, wanted);
    let now = named(world, "eth1").await;
    assert_eq!(now.hw_addr, "02:00:00:00:00:01");
    assert_eq!((now.mtu, now.r#type.as_str()), (1400, "ether"));
    assert_eq!(addresses(&now), ["10.9.0.2/24", "fd09::2/64"]);
    assert!(now.raw_flags & 1 == 1, "up");
    assert_eq!(named(world, "eth0").await.hw_addr, "02:00:00:00:00:02");
    // An address more, one less; nothing else.
    let wanted = interface(
        "eth1",
        "02:00:00:00:00:01",
        &[("10.9.0.3", "255.255.255.0")],
    );
    update(world, wanted).await;
    assert_eq!(addresses(&named(world, "eth1").await), ["10.9.0.3/24"]);
    // None: they stay. ARP is turned off where that is asked for.
    let silent = types::Interface {
        raw_flags: 0x80,
        ..interface("eth1", "02:00:00:00:00:01", &[])
    };
    update(world, silent).await;
    let now = named(world, "eth1").await;
    assert_eq!(addresses(&now), ["10.9.0.3/24"]);
    assert!(now.raw_flags & 0x80 != 0);
    let lo = named(world, "lo").await;
    assert_eq!(lo.r#type, "loopback");
    assert!(addresses(&lo).contains(&"127.0.0.1/8".to_owned()));
    for (interface, code) in [
        (interface("x", "02:00:00:00:00:99", &[]), Code::NOT_FOUND),
        (
            interface("x", "02:00", &[("10.0.0.1", "33")]),
            Code::INVALID_ARGUMENT,
        ),
        (interface("x", "zz", &[]), Code::INVALID_ARGUMENT),
        (
            types::Interface {
                device_path: "1f/1f".into(),
                ..Default::default()
            },
            Code::DEADLINE_EXCEEDED,
        ),
    ] {
        let request = grpc::UpdateInterfaceRequest {
            interface: Some(interface),
        };
        let refused = world.agent.update_interface(soon(), &request).await;
        assert_eq!(status(refused).0, code, "{request:?}");
    }
    let none = grpc::UpdateInterfaceRequest::default();
    let refused = world.agent.update_interface(soon(), &none).await;
    assert_eq!(status(refused).0, Code::INVALID_ARGUMENT);
}

pub(crate) async fn routes_are_upserted_and_listed_as_they_are(world: &World) {
    let eth0 = interface(
        "eth0",
        "02:00:00:00:00:01",
        &[("10.9.0.2", "24"), ("fd09::2", "64")],
    );
    update(world, eth0).await;
    let route = |dest: &str, gateway: &str| types::Route {
        dest: dest.into(),
        gateway: gateway.into(),
        device: "eth0".into(),
        ..Default::default()
    };
    // The first needs the second, which is made before it.
    let far = types::Route {
        mtu: 1300,
        source: "10.9.0.2".into(),
        ..route("10.77.0.0/16", "10.88.0.1")
    };
    let near = types::Route {
        scope: 253,
        ..route("10.88.0.0/24", "")
    };
    let set = async |routes: Vec<types::Route>| {
        let request = grpc::UpdateRoutesRequest {
            routes: Some(grpc::Routes { routes }),
        };
        world.agent.update_routes(soon(), &request).await
    };
    let asked = vec![
        far.clone(),
        near.clone(),
        route("", "10.9.0.1"),
        route("::/0", "fd09::1"),
    ];
    // The kernel adds link-local routes when an interface is ready, in its own time.
    let global = |mut routes: Vec<types::Route>| {
        routes.retain(|route| !route.dest.starts_with("fe80:"));
        routes
    };
    let listed = global(set(asked.clone()).await.unwrap().routes);
    assert_eq!(global(set(asked).await.unwrap().routes), listed, "again");
    let listing = world
        .agent
        .list_routes(soon(), &grpc::ListRoutesRequest {})
        .await;
    assert_eq!(global(listing.unwrap().routes), listed);
    assert!(listed.contains(&far), "{listed:#?}");
    assert!(listed.contains(&near));
    let default = listed.iter().find(|r| r.dest == "0.0.0.0/0").unwrap();
    assert_eq!(default.gateway, "10.9.0.1");
    let default = listed.iter().find(|r| r.dest == "::/0").unwrap();
    assert_eq!((default.gateway.as_str(), default.family), ("fd09::1", 1));
    let families: Vec<_> = listed.iter().map(|r| r.family).collect();
    assert!(families.is_sorted(), "IPv4 first");
    // Upsert: the other gateway takes the place of the first; what is not named stays.
    let listed = set(vec![route("", "10.9.0.9")]).await.unwrap().routes;
    let defaults: Vec<_> = listed.iter().filter(|r| r.dest == "0.0.0.0/0").collect();
    assert_eq!(defaults.len(), 1);
    assert_eq!(defaults[0].gateway, "10.9.0.9");
    assert!(listed.contains(&far));
    let shown = world.look("ip route show 10.77.0.0/16").await;
    assert!(
        shown.contains("via 10.88.0.1") && shown.contains("src 10.9.0.2"),
        "{shown}"
    );
    for (bad, code) in [
        (
            types::Route {
                device: "nic9".into(),
                ..route("", "10.9.0.1")
            },
            Code::NOT_FOUND,
        ),
        (route("10.0.0.0/8", "fd00::1"), Code::INVALID_ARGUMENT),
        (route("nonsense", ""), Code::INVALID_ARGUMENT),
        (route("10.1.0.0/16", "192.0.2.1"), Code::INTERNAL),
    ] {
        assert_eq!(status(set(vec![bad.clone()]).await).0, code, "{bad:?}");
    }
}

pub(crate) async fn neighbours_are_made_and_replaced(world: &World) {
    let eth0 = interface("eth0", "02:00:00:00:00:01", &[("10.9.0.2", "24")]);
    update(world, eth0).await;
    let add = async |ip: &str, mac: &str, state: i32| {
        let neighbour = types::ArpNeighbor {
            to_ip_address: Some(address(ip, "")),
            device: "eth0".into(),
            lladdr: mac.into(),
            state,
            ..Default::default()
        };
        let request = grpc::AddArpNeighborsRequest {
            neighbors: Some(grpc::ArpNeighbors {
                arp_neighbors: vec![neighbour],
            }),
        };
        world.agent.add_arp_neighbors(soon(), &request).await
    };
    add("10.9.0.7", "02:11:11:11:11:11", 0).await.unwrap();
    add("10.9.0.7", "02:22:22:22:22:22", 0).await.unwrap();
    add("fd09::7", "02:33:33:33:33:33", 0x40).await.unwrap();
    let shown = world.look("ip neigh show nud all dev eth0").await;
    for (start, state) in [
        ("10.9.0.7 lladdr 02:22:22:22:22:22 ", "PERMANENT"),
        ("fd09::7 lladdr 02:33:33:33:33:33 ", "NOARP"),
    ] {
        let same = |line: &str| line.starts_with(start) && line.contains(state);
        assert!(shown.lines().any(same), "{shown}");
    }
    assert_eq!(status(add("", "", 0).await).0, Code::INVALID_ARGUMENT);
    let none = grpc::AddArpNeighborsRequest::default();
    let refused = world.agent.add_arp_neighbors(soon(), &none).await;
    assert_eq!(status(refused).0, Code::INVALID_ARGUMENT);
}

pub(crate) async fn filter_rules_of_both_versions_are_set_and_read(world: &World) {
    for is_ipv6 in [false, true] {
        let network = if is_ipv6 { "fd55::/16" } else { "10.55.0.0/16" };
        let rules =
            format!("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s {network} -j DROP\nCOMMIT\n");
        let request = grpc::SetIpTablesRequest {
            is_ipv6,
            data: rules.into(),
        };
        world.agent.set_ip_tables(soon(), &request).await.unwrap();
        let request = grpc::GetIpTablesRequest { is_ipv6 };
        let got = world.agent.get_ip_tables(soon(), &request).await.unwrap();
        let got = String::from_utf8(got.data).unwrap();
        assert!(
            got.contains(&format!("-A INPUT -s {network} -j DROP")),
            "{got}"
        );
        let request = grpc::SetIpTablesRequest {
            is_ipv6,
            data: b"nonsense\n".to_vec(),
        };
        let refused = world.agent.set_ip_tables(soon(), &request).await;
        let (code, text) = status(refused);
        assert_eq!(code, Code::INTERNAL);
        assert!(text.contains("restore ended with code"), "{text}");
    }
}
