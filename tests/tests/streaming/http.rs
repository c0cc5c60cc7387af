//! The address of a stream, asked by something that is no WebSocket.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use system_tests::stream::Want;

use crate::Waiting;

/// Sends bytes to the streaming server and answers what comes back until it closes.
fn ask(it: &Waiting, url: &str, bytes: &[u8]) -> String {
    let address = url.strip_prefix("http://").unwrap().split('/').next();
    let mut tcp = it.node.connect(address.unwrap().parse().unwrap()).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    tcp.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn other_clients_are_told_what_to_do() {
    let it = Waiting::new().await;
    let url = it
        .client
        .exec_url(&it.id, &["/bin/true"], Want::OUTPUT)
        .await
        .unwrap();
    let path = &url["http://".len()..][url["http://".len()..].find('/').unwrap()..];
    let plain = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    let spdy = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
         X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
    );
    let elsewhere = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let endless = format!("GET {path}{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    for (request, status, word) in [
        (plain.as_str(), "426", "connect with a WebSocket"),
        (&spdy, "426", "SPDY/3.1 is not spoken here"),
        (elsewhere, "404", "there is no such stream"),
        ("BLA\r\n\r\n", "400", ""),
        ("\0\0\0\0\r\n\r\n", "400", ""),
        (&endless, "4", ""),
    ] {
        let answer = ask(&it, &url, request.as_bytes());
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(word),
            "{request:.60}: {answer}"
        );
    }
    it.node.finish().await;
}

#[tokio::test]
async fn a_request_that_never_ends_is_given_up() {
    let it = Waiting::new().await;
    let url = it
        .client
        .exec_url(&it.id, &["/bin/true"], Want::OUTPUT)
        .await
        .unwrap();
    let start = Instant::now();
    ask(&it, &url, b"GET /exec/x HTTP/1.1\r\nHost: ");
    let took = start.elapsed();
    assert!(
        took > Duration::from_secs(1) && took < Duration::from_secs(15),
        "{took:?}"
    );
    it.node.finish().await;
}
