//! The network calls on a node; those that change a network of the agent's own are in `published`.
#![allow(clippy::unwrap_used, reason = "a failure fails the test")]

mod common;

use agent_api::ttrpc::Code;
use agent_api::{grpc, types};
use common::{Pod, soon, status};

fn interface(name: &str, mac: &str, (address, mask): (&str, &str)) -> grpc::UpdateInterfaceRequest {
    let address = types::IpAddress {
        address: address.into(),
        mask: mask.into(),
        ..Default::default()
    };
    grpc::UpdateInterfaceRequest {
        interface: Some(types::Interface {
            name: name.into(),
            hw_addr: mac.into(),
            ip_addresses: vec![address],
            mtu: 1400,
            ..Default::default()
        }),
    }
}

#[tokio::test]
async fn the_nodes_network_is_shown_and_not_changed() {
    let pod = Pod::start();
    let calls = pod.connect().await;
    let list = grpc::ListInterfacesRequest {};
    let list = calls.agent.list_interfaces(soon(), &list).await.unwrap();
    assert!(list.interfaces.iter().any(|i| i.name == "lo"));
    let routes = calls
        .agent
        .list_routes(soon(), &grpc::ListRoutesRequest {})
        .await;
    routes.unwrap();
    let interface = interface("lo", "", ("127.0.0.9", "8"));
    let routes = grpc::UpdateRoutesRequest {
        routes: Some(grpc::Routes::default()),
    };
    let neighbours = grpc::AddArpNeighborsRequest {
        neighbors: Some(grpc::ArpNeighbors {
            arp_neighbors: vec![types::ArpNeighbor {
                to_ip_address: Some(types::IpAddress {
                    address: "127.0.0.9".into(),
                    ..Default::default()
                }),
                device: "lo".into(),
                ..Default::default()
            }],
        }),
    };
    let rules = grpc::SetIpTablesRequest::default();
    for refused in [
        status(calls.agent.update_interface(soon(), &interface).await),
        status(calls.agent.update_routes(soon(), &routes).await),
        status(calls.agent.add_arp_neighbors(soon(), &neighbours).await),
        status(calls.agent.set_ip_tables(soon(), &rules).await),
    ] {
        assert_eq!(refused.0, Code::FAILED_PRECONDITION, "{}", refused.1);
        assert!(refused.1.contains("node"), "{}", refused.1);
    }
    pod.destroy(calls).await;
}

#[tokio::test]
async fn statistics_and_metrics_tell_what_the_pods_interfaces_carried() {
    let (pod, calls) = common::network::pod().await;
    let eth0 = interface("eth0", "02:00:00:00:00:01", ("fd09::2", "64"));
    calls.agent.update_interface(soon(), &eth0).await.unwrap();
    let request = pod.sandbox_request();
    calls.own.create_sandbox(soon(), &request).await.unwrap();
    calls
        .create(&pod.container("c1", &["sleep", "100"], |_| {}))
        .await;
    let request = grpc::StatsContainerRequest {
        container_id: "c1".into(),
    };
    let stats = calls.agent.stats_container(soon(), &request).await.unwrap();
    let of = |name: &str| stats.network_stats.iter().find(|s| s.name == name);
    assert!(of("eth0").is_some() && of("eth1").is_some() && of("lo").is_none());
    let metrics = calls
        .agent
        .get_metrics(soon(), &grpc::GetMetricsRequest {})
        .await;
    let metrics = metrics.unwrap().metrics;
    for part in [
        "kata_agent_scrape_count 1\n",
        "kata_agent_threads ",
        "coffer_agent_containers 1\n",
        "kata_guest_netdev_stat{interface=\"eth0\",item=\"sent_packets\"} ",
    ] {
        assert!(metrics.contains(part), "{part}: {metrics}");
    }
    assert!(!metrics.contains("kata_guest_meminfo"), "the node's");
    pod.destroy(calls).await;
}
