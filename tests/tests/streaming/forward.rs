//! Port-forward.

use std::io::{Read, Write};

use system_tests::{
    Client, Node, Stream, configs,
    stream::{V4, V5},
};

use crate::soon;

/// Answers one line with its own, as often as it is asked; sums up what comes on another port.
const SERVERS: &str = "\
    nc -ll -p 8001 -e sh -c 'read line; echo you said $line' & \
    exec nc -ll -p 8002 -e sha256sum";

struct Pod {
    node: Node,
    client: Client,
    id: String,
}

impl Pod {
    async fn new() -> Pod {
        let (node, image) = Node::with_image().await;
        let client = node.client().await;
        let pod_config = configs::pod("p", &node.logs());
        let config = configs::shell("main", &image, SERVERS);
        let (id, container) = client.run(&pod_config, &config).await.unwrap();
        for port in ["1F41", "1F42"] {
            for _ in 0..200 {
                let script = format!("cat /proc/net/tcp /proc/net/tcp6 | grep -q ':{port} .* 0A '");
                let (code, _) = client
                    .exec(&container, &["/bin/sh", "-c", &script])
                    .await
                    .unwrap();
                if code == 0 {
                    break;
                }
            }
        }
        Pod { node, client, id }
    }

    async fn open(&self, ports: &[i32], query: &str, protocol: &str) -> Result<Stream, String> {
        let url = self.client.forward_url(&self.id, ports).await.unwrap();
        Stream::open(&self.node, &format!("{url}{query}"), &[protocol]).await
    }
}

#[tokio::test]
async fn bytes_reach_a_port_and_come_back() {
    let pod = Pod::new().await;
    for protocol in [V4, V5] {
        let mut stream = pod.open(&[8001], "", protocol).await.unwrap();
        stream.send(0, b"hello\n").await;
        stream.until(0, "you said hello\n").await;
        if protocol == V5 {
            stream.close_channel(0).await;
        }
        let got = stream.finish().await;
        // First of all the port, the low byte first.
        assert_eq!(&got.channel(0)[..2], &[0x41, 0x1f]);
        assert_eq!(got.channel(1), &[0x41, 0x1f], "{got:?}");
        assert_eq!(u16::from(got.close.unwrap().code), 1000);
    }
    pod.node.finish().await;
}

#[tokio::test]
async fn the_end_of_one_direction_leaves_the_other() {
    let pod = Pod::new().await;
    let mut stream = pod.open(&[8002], "", V5).await.unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..8 {
        stream.send(0, &zeros).await;
    }
    stream.close_channel(0).await;
    let got = stream.finish().await;
    // sha256 of 8 MiB of zeros.
    let sum = "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74";
    assert!(got.text(0).contains(sum), "{got:?}");
    // The pod's end was told, too.
    assert_eq!(got.channel(255), &[0]);
    pod.node.finish().await;
}

#[tokio::test]
async fn several_ports_share_a_stream_and_one_that_nobody_serves_says_so() {
    let pod = Pod::new().await;
    let mut stream = pod.open(&[8001, 9, 8002], "", V5).await.unwrap();
    stream.send(4, b"abc").await;
    stream.close_channel(4).await;
    stream.send(0, b"both\n").await;
    stream.close_channel(0).await;
    let got = stream.finish().await;
    assert!(got.text(0).contains("you said both\n"), "{got:?}");
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert!(got.text(4).contains(sum), "{got:?}");
    assert_eq!(&got.channel(3)[..2], &[9, 0]);
    let why = got.text(3);
    assert!(
        why.contains("port 9") && why.contains("Connection refused"),
        "{why}"
    );
    pod.node.finish().await;
}

#[tokio::test]
async fn the_client_may_name_the_ports_when_it_connects() {
    let pod = Pod::new().await;
    let mut stream = pod.open(&[], "?port=8001", V4).await.unwrap();
    stream.send(0, b"late\n").await;
    stream.until(0, "you said late\n").await;
    drop(stream);
    for (ports, query, status) in [
        (&[][..], "", "400 "),
        (&[8001], "?port=8002", "404 "),
        (&[], "?port=0", "404 "),
    ] {
        let refusal = pod.open(ports, query, V4).await.unwrap_err();
        assert!(refusal.starts_with(status), "{query}: {refusal}");
    }
    pod.node.finish().await;
}

#[tokio::test]
async fn a_pod_on_the_hosts_network_is_reached_there() {
    let (node, _) = Node::with_image().await;
    let client = node.client().await;
    let pod = client
        .run_pod(&configs::host_pod("p", &node.logs()))
        .await
        .unwrap();
    // The node's network namespace is the host's for its daemon. IPv6 alone: the second try.
    let listener = node.within(|| std::net::TcpListener::bind("[::1]:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut question = [0; 4];
        tcp.read_exact(&mut question).unwrap();
        tcp.write_all(b"pong").unwrap();
        question
    });
    let url = client.forward_url(&pod, &[port.into()]).await.unwrap();
    let mut stream = Stream::open(&node, &url, &[V4]).await.unwrap();
    stream.send(0, b"ping").await;
    stream.until(0, "pong").await;
    assert_eq!(&server.join().unwrap(), b"ping");
    stream.finish().await;
    node.finish().await;
}

#[tokio::test]
async fn a_client_that_goes_closes_its_connections() {
    let pod = Pod::new().await;
    let fds = || {
        std::fs::read_dir(format!("/proc/{}/fd", pod.node.pid()))
            .unwrap()
            .count()
    };
    let before = fds();
    let mut stream = pod.open(&[8002], "", V5).await.unwrap();
    stream.send(0, b"x").await;
    // Ours, its probe and the one into the pod.
    soon("the connections are there", || fds() >= before + 3).await;
    drop(stream);
    soon("the connections are closed", || fds() <= before).await;
    // And the server in the pod serves the next one.
    let mut stream = pod.open(&[8002], "", V5).await.unwrap();
    stream.close_channel(0).await;
    stream.until(0, "e3b0c44298fc").await;
    drop(stream);
    pod.node.finish().await;
}
