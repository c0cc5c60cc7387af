//! The built-in network through the daemon: addresses, ports, files, restarts, what is given back.
//! The "host" is the node's own network namespace.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use cri_api::v1;
use system_tests::{Client, Node, configs};
use tonic::Code;

/// Answers each connection with a line.
const SERVER: &str = "while :; do echo hello | nc -l -p 80; done";

fn mapping(protocol: v1::Protocol, host_ip: &str, host: i32, container: i32) -> v1::PortMapping {
    v1::PortMapping {
        protocol: protocol.into(),
        container_port: container,
        host_port: host,
        host_ip: host_ip.to_owned(),
    }
}

fn published(name: &str, node: &Node, host_port: i32) -> v1::PodSandboxConfig {
    let mut config = configs::pod(name, &node.logs());
    config
        .port_mappings
        .push(mapping(v1::Protocol::Tcp, "", host_port, 80));
    config
}

async fn ips(client: &Client, pod: &str) -> Vec<String> {
    let network = client.pod_status(pod).await.unwrap().network.unwrap();
    let more = network.additional_ips.into_iter().map(|ip| ip.ip);
    [network.ip].into_iter().chain(more).collect()
}

async fn run(
    client: &Client,
    pod: &str,
    config: &v1::PodSandboxConfig,
    image: &str,
    script: &str,
) -> String {
    let container = client
        .create(pod, config, &configs::shell("main", image, script))
        .await
        .unwrap();
    client.start(&container).await.unwrap();
    container
}

/// What a server at this address of the node says.
fn fetch(node: &Node, address: &str) -> std::io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut last = None;
    for _ in 0..60 {
        match node.connect(address).and_then(read) {
            Ok(text) if !text.is_empty() => return Ok(text),
            other => last = Some(other),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    last.unwrap()
}

fn read(mut stream: TcpStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[tokio::test]
async fn a_pod_has_addresses_files_and_a_published_port() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = published("web", &node, 8080);
    let pod = client.run_pod(&config).await.unwrap();
    assert_eq!(ips(&client, &pod).await, ["10.214.0.2", "fd00:c0ff:e::2"]);
    let container = run(&client, &pod, &config, &image, SERVER).await;
    for address in ["127.0.0.1:8080", "10.214.0.1:8080", "10.214.0.2:80"] {
        assert_eq!(fetch(&node, address).unwrap(), "hello\n", "{address}");
    }
    let (_, hosts) = client
        .exec(&container, &["cat", "/etc/hosts"])
        .await
        .unwrap();
    assert!(
        hosts.contains("10.214.0.2\tweb\n") && hosts.contains("127.0.0.1\tlocalhost\n"),
        "{hosts}"
    );
    let (_, hostname) = client
        .exec(&container, &["cat", "/etc/hostname"])
        .await
        .unwrap();
    assert_eq!(hostname, "web\n");
    // Another pod reaches it by its address and by the host's.
    let other = configs::pod("other", &node.logs());
    let second = client.run_pod(&other).await.unwrap();
    let asker = run(&client, &second, &other, &image, configs::FOREVER).await;
    for target in ["10.214.0.2 80", "10.214.0.1 8080"] {
        let script = format!(
            "for i in 1 2 3 4 5 6 7 8; do nc -w 2 {target} </dev/null && exit; sleep 0.1; done; exit 1"
        );
        let (_, answer) = client.exec(&asker, &["sh", "-c", &script]).await.unwrap();
        assert_eq!(answer, "hello\n", "{target}");
    }
    assert_eq!(node.pod_interfaces().len(), 2);
    // Stopping gives all of it back at once.
    client.stop_pod(&pod).await.unwrap();
    assert_eq!(node.pod_interfaces().len(), 1);
    let refused = node.connect("127.0.0.1:8080".parse().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    // A kubelet warns of a pod that is told without a network at all.
    let told = client.pod_status(&pod).await.unwrap();
    assert_eq!(told.network, Some(v1::PodSandboxNetworkStatus::default()));
    client.stop_pod(&second).await.unwrap();
    assert_eq!(node.pod_interfaces(), Vec::<String>::new());
    drop(client);
    node.finish().await;
}

#[tokio::test]
async fn addresses_and_ports_outlive_the_daemon() {
    let (mut node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = published("web", &node, 8080);
    let pod = client.run_pod(&config).await.unwrap();
    run(&client, &pod, &config, &image, SERVER).await;
    let before = ips(&client, &pod).await;
    drop(client);
    node.kill();
    assert_eq!(
        fetch(&node, "127.0.0.1:8080").unwrap(),
        "hello\n",
        "without a daemon"
    );
    node.start().await;
    let client = node.client().await;
    assert_eq!(ips(&client, &pod).await, before);
    assert_eq!(fetch(&node, "127.0.0.1:8080").unwrap(), "hello\n");
    // What it has is not given to others.
    let next = client
        .run_pod(&configs::pod("next", &node.logs()))
        .await
        .unwrap();
    assert_eq!(ips(&client, &next).await[0], "10.214.0.3");
    let error = client
        .run_pod(&published("thief", &node, 8080))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("pod test/web"), "{error:?}");
    drop(client);
    node.finish().await;
}

#[tokio::test]
async fn what_a_pod_that_is_gone_had_goes_with_the_next_daemon() {
    let (mut node, _) = Node::with_image().await;
    let client = node.client().await;
    let pod = client
        .run_pod(&published("web", &node, 8080))
        .await
        .unwrap();
    drop(client);
    node.kill();
    // Its record is damaged: it is nobody's any more.
    fs::write(node.state().join("pods").join(&pod).join("pod.json"), "{").unwrap();
    node.start().await;
    let client = node.client().await;
    for _ in 0..100 {
        if node.pod_interfaces().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(node.pod_interfaces(), Vec::<String>::new());
    assert!(node.connect("127.0.0.1:8080".parse().unwrap()).is_err());
    // Address and port are free again.
    let again = client
        .run_pod(&published("again", &node, 8080))
        .await
        .unwrap();
    assert_eq!(ips(&client, &again).await[0], "10.214.0.2");
    drop(client);
    node.finish().await;
}

#[tokio::test]
async fn a_pod_cidr_is_for_new_pods_and_outlives_the_daemon() {
    let mut node = Node::started().await;
    let client = node.client().await;
    let old = client
        .run_pod(&configs::pod("old", &node.logs()))
        .await
        .unwrap();
    for bad in [
        "10.1.0.0",
        "10.1.0.1/24",
        "10.1.0.0/31",
        "10.1.0.0/24,10.2.0.0/24",
        "x",
    ] {
        let error = client.update_pod_cidr(bad).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{bad}: {error:?}");
        assert!(error.message().contains("pod_cidr"), "{bad}: {error:?}");
    }
    client.update_pod_cidr("").await.unwrap();
    client.update_pod_cidr("10.215.3.0/24").await.unwrap();
    let new = client
        .run_pod(&configs::pod("new", &node.logs()))
        .await
        .unwrap();
    assert_eq!(ips(&client, &new).await, ["10.215.3.2"]);
    assert_eq!(ips(&client, &old).await[0], "10.214.0.2");
    drop(client);
    node.terminate();
    node.start().await;
    let client = node.client().await;
    let third = client
        .run_pod(&configs::pod("third", &node.logs()))
        .await
        .unwrap();
    assert_eq!(ips(&client, &third).await, ["10.215.3.3"]);
    client
        .update_pod_cidr("10.216.0.0/24,fd01::/64")
        .await
        .unwrap();
    let dual = client
        .run_pod(&configs::pod("dual", &node.logs()))
        .await
        .unwrap();
    assert_eq!(ips(&client, &dual).await, ["10.216.0.2", "fd01::2"]);
    drop(client);
    node.finish().await;
}

#[tokio::test]
async fn bad_requests_are_refused_by_field_and_leave_nothing() {
    let node = Node::started().await;
    let client = node.client().await;
    let udp = v1::Protocol::Udp;
    let tcp = v1::Protocol::Tcp;
    let table = [
        (
            vec![mapping(tcp, "", 70_000, 80)],
            "port_mappings[0].host_port",
        ),
        (vec![mapping(tcp, "", -1, 80)], "port_mappings[0].host_port"),
        (
            vec![mapping(tcp, "", 80, 0)],
            "port_mappings[0].container_port",
        ),
        (
            vec![mapping(tcp, "all", 80, 80)],
            "port_mappings[0].host_ip",
        ),
        (
            vec![mapping(tcp, "::1", 80, 80)],
            "port_mappings[0].host_ip",
        ),
        (
            vec![mapping(v1::Protocol::Sctp, "", 80, 80)],
            "port_mappings[0].protocol",
        ),
        (
            vec![mapping(udp, "", 80, 80), mapping(udp, "127.0.0.1", 80, 80)],
            "port_mappings[1].host_port",
        ),
    ];
    for (mappings, field) in table {
        let mut config = configs::pod("bad", &node.logs());
        config.port_mappings = mappings;
        let error = client.run_pod(&config).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error:?}");
        assert!(error.message().contains(field), "{field}: {error:?}");
    }
    let mut config = configs::pod("bad", &node.logs());
    config.hostname = "web\n127.0.0.1 bank.example".to_owned();
    let error = client.run_pod(&config).await.unwrap_err();
    assert!(error.message().contains("config.hostname"), "{error:?}");
    let mut config = configs::pod("bad", &node.logs());
    config.dns_config = Some(v1::DnsConfig {
        servers: vec!["10.0.0.1\nnameserver 6.6.6.6".to_owned()],
        ..Default::default()
    });
    let error = client.run_pod(&config).await.unwrap_err();
    assert!(
        error.message().contains("config.dns_config.servers[0]"),
        "{error:?}"
    );
    // A process of the host has the port.
    let listener = node.within(|| TcpListener::bind("0.0.0.0:8081").unwrap());
    let error = client
        .run_pod(&published("late", &node, 8081))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(
        error
            .message()
            .contains("tcp port 8081 of the host is in use by"),
        "{error:?}"
    );
    drop(listener);
    client
        .run_pod(&published("late", &node, 8081))
        .await
        .unwrap();
    drop(client);
    node.finish().await;
}

#[tokio::test]
async fn a_pod_can_do_without() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let mut config = configs::pod("alone", &node.logs());
    config
        .annotations
        .insert("io.coffer.network".to_owned(), "none".to_owned());
    let pod = client.run_pod(&config).await.unwrap();
    // Not an empty address: a kubelet would take it for lost, and make the pod again and again.
    assert_eq!(client.pod_status(&pod).await.unwrap().network, None);
    let container = run(&client, &pod, &config, &image, configs::FOREVER).await;
    let (_, table) = client
        .exec(&container, &["cat", "/proc/net/dev"])
        .await
        .unwrap();
    assert!(table.contains("lo:") && !table.contains("eth0"), "{table}");
    config.metadata.as_mut().unwrap().name = "odd".to_owned();
    config
        .annotations
        .insert("io.coffer.network".to_owned(), "some".to_owned());
    let error = client.run_pod(&config).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    drop(client);
    node.finish().await;
}

#[tokio::test]
async fn status_says_why_there_is_no_network() {
    let node = Node::started().await;
    let client = node.client().await;
    let condition = client.condition("NetworkReady").await.unwrap();
    assert!(
        condition.status && condition.message.contains("10.214.0.0/16"),
        "{condition:?}"
    );
    // The host gets a route into the subnet.
    let sh = |script: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-ec", script]);
        assert!(
            node.within(|| command.status()).unwrap().success(),
            "{script}"
        );
    };
    sh(
        "ip link add d0 type veth peer name d1; ip link set d0 up; ip addr add 10.214.9.1/24 dev d0",
    );
    let condition = client.condition("NetworkReady").await.unwrap();
    assert!(!condition.status, "{condition:?}");
    assert_eq!(condition.reason, "SubnetOverlap");
    let error = client
        .run_pod(&configs::pod("web", &node.logs()))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert!(error.message().contains("10.214.9.0/24 by d0"), "{error:?}");
    sh("ip link del d0");
    assert!(client.condition("NetworkReady").await.unwrap().status);
    client
        .run_pod(&configs::pod("web", &node.logs()))
        .await
        .unwrap();
    drop(client);
    node.finish().await;
}

#[tokio::test]
async fn a_deleted_bridge_comes_back_when_status_is_asked() {
    let (node, image) = Node::with_image().await;
    let client = node.client().await;
    let config = published("web", &node, 8080);
    let pod = client.run_pod(&config).await.unwrap();
    run(&client, &pod, &config, &image, SERVER).await;
    assert_eq!(fetch(&node, "127.0.0.1:8080").unwrap(), "hello\n");
    let mut command = std::process::Command::new("ip");
    command.args(["link", "del", "coffer0"]);
    assert!(node.within(|| command.status()).unwrap().success());
    assert!(client.condition("NetworkReady").await.unwrap().status);
    assert_eq!(fetch(&node, "127.0.0.1:8080").unwrap(), "hello\n");
    drop(client);
    node.finish().await;
}
