//! Requests and what becomes of them.

use super::*;
use crate::{domain::Id, streaming::PortForwardRequest};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> HttpRequest<()> {
    let mut request = HttpRequest::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// The headers of a WebSocket client, with others instead of or beside them.
fn websocket(changes: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let mut headers = vec![
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    headers.retain(|(name, _)| changes.iter().all(|(other, _)| other != name));
    headers.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
    headers
}

fn status(method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    match accept(&request(method, path, headers)) {
        Ok(_) => 101,
        Err(answer) => answer.status().as_u16(),
    }
}

#[test]
fn a_websocket_is_accepted_as_the_standard_says() {
    let changes = [("sec-websocket-protocol", "v4.channel.k8s.io")];
    let headers = websocket(&changes);
    let accepted = accept(&request("GET", "/exec/abc", &headers)).unwrap();
    assert_eq!(accepted.kind, Kind::Exec);
    assert_eq!(accepted.token, "abc");
    assert_eq!(accepted.codec.name, "v4.channel.k8s.io");
    // RFC 6455, 1.3.
    assert_eq!(accepted.key, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn anything_else_is_told_what_to_do() {
    let table = [
        ("GET", "/exec/abc", websocket(&[]), 101),
        ("GET", "/", websocket(&[]), 404),
        ("GET", "/exec", websocket(&[]), 404),
        ("GET", "/exec/a/b", websocket(&[]), 404),
        ("GET", "/logs/abc", websocket(&[]), 404),
        ("GET", "/exec/abc", vec![], 426),
        ("POST", "/exec/abc", vec![], 426),
        ("POST", "/exec/abc", websocket(&[]), 405),
        (
            "POST",
            "/exec/abc",
            vec![("connection", "Upgrade"), ("upgrade", "SPDY/3.1")],
            426,
        ),
        (
            "GET",
            "/exec/abc",
            websocket(&[("sec-websocket-version", "8")]),
            426,
        ),
        (
            "GET",
            "/exec/abc",
            websocket(&[("sec-websocket-version", "")]),
            426,
        ),
        (
            "GET",
            "/exec/abc",
            websocket(&[("sec-websocket-key", "")]),
            400,
        ),
        (
            "GET",
            "/exec/abc",
            websocket(&[("sec-websocket-protocol", "v9.channel.k8s.io")]),
            400,
        ),
        (
            "GET",
            "/exec/abc",
            websocket(&[("connection", "close")]),
            426,
        ),
    ];
    for (method, path, headers, expected) in table {
        let found = status(method, path, &headers);
        assert_eq!(found, expected, "{method} {path} {headers:?}");
    }
}

#[test]
fn what_is_not_there_looks_always_the_same() {
    let headers = websocket(&[]);
    let text = |path: &str| {
        let refusal = accept(&request("GET", path, &headers)).unwrap_err();
        format!("{refusal:?}")
    };
    assert_eq!(text("/x"), text("/exec/a/b"));
    assert_eq!(text("/x"), format!("{:?}", nothing_here()));
}

#[test]
fn a_spdy_client_is_sent_to_websocket() {
    let headers = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
    let refusal = accept(&request("POST", "/attach/x", &headers)).unwrap_err();
    assert_eq!(refusal.headers()["upgrade"], "websocket");
    assert!(format!("{:?}", refusal.body()).contains("v5.channel.k8s.io"));
}

#[test]
fn ports_come_from_either_side_and_never_more_than_were_allowed() {
    let forward = |ports: &[u16], query: Option<&str>| {
        let request = Request::PortForward(PortForwardRequest {
            pod: Id::random().unwrap(),
            ports: ports.to_vec(),
        });
        match with_ports(request, query) {
            Some(Request::PortForward(forward)) => Some(forward.ports),
            _ => None,
        }
    };
    assert_eq!(forward(&[80], None), Some(vec![80]));
    assert_eq!(forward(&[], None), Some(vec![]));
    assert_eq!(
        forward(&[], Some("port=80&x=1&port=81%2C82")),
        Some(vec![80, 81, 82])
    );
    assert_eq!(forward(&[80, 81], Some("port=81")), Some(vec![81]));
    for query in ["port=82", "port=0", "port=", "port=70000", "port=81,-1"] {
        assert_eq!(forward(&[80, 81], Some(query)), None, "{query}");
    }
}
