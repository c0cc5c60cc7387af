//! The built-in network in a namespace that plays the host, with another that plays the world
//! outside. Needs root.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod support;

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    process::Command,
    time::Instant,
};

use network::{Error, Network, Protocol, Settings};
use support::{Host, Pod, ask, ask_udp, ip, outside, port, settings, tcp};

#[test]
fn pods_reach_each_other_and_the_host_by_both_ip_versions() {
    let host = Host::new();
    let (a, b) = (host.pod(1, &[]), host.pod(2, &[]));
    assert_eq!(a.address(true), ip("10.99.0.2"));
    assert_eq!(b.address(false), ip("fd99::3"));
    b.serve("0.0.0.0:80");
    b.serve("[::]:81");
    assert_eq!(a.run(|| ask((b.address(true), 80))).unwrap(), "10.99.0.2");
    // At once: no duplicate address detection is waited for.
    assert_eq!(a.run(|| ask((b.address(false), 81))).unwrap(), "fd99::2");
    assert_eq!(
        host.scratch
            .run(|| ask((b.address(true), 80)))
            .unwrap()
            .unwrap(),
        "10.99.0.1"
    );
    let listener = host
        .scratch
        .run(|| TcpListener::bind("10.99.0.1:90").unwrap())
        .unwrap();
    assert!(a.run(|| TcpStream::connect("10.99.0.1:90")).is_ok());
    drop(listener);
    let stats = network::stats(&a.pin).unwrap();
    let eth0 = stats
        .iter()
        .find(|interface| interface.name == "eth0")
        .unwrap();
    assert!(eth0.rx_bytes > 0 && eth0.tx_bytes > 0, "{stats:?}");
}

#[test]
fn the_world_outside_sees_the_host() {
    let host = Host::new();
    let world = outside(&host);
    let listeners = world
        .run(|| ["192.0.2.1:80", "[fd55::1]:80"].map(|address| TcpListener::bind(address).unwrap()))
        .unwrap();
    for listener in listeners {
        std::thread::spawn(move || {
            while let Ok((mut stream, from)) = listener.accept() {
                let _ = stream.write_all(from.ip().to_string().as_bytes());
            }
        });
    }
    let pod = host.pod(1, &[]);
    assert_eq!(pod.run(|| ask((ip("192.0.2.1"), 80))).unwrap(), "192.0.2.2");
    assert_eq!(pod.run(|| ask((ip("fd55::1"), 80))).unwrap(), "fd55::2");
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    let host = Host::new();
    let world = outside(&host);
    let ports = [tcp("", 8080, 80), port(Protocol::Udp, "", 5353, 53)];
    let (pod, other) = (host.pod(1, &ports), host.pod(2, &[]));
    pod.serve("0.0.0.0:80");
    let six = pod.run(|| TcpListener::bind("[fd99::2]:80").unwrap());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = six.accept() {
            let _ = stream.write_all(b"six");
        }
    });
    pod.serve_udp("0.0.0.0:53");

    // From outside the pod sees who it is.
    let from_world = world.run(|| ask((ip("192.0.2.2"), 8080))).unwrap().unwrap();
    assert_eq!(from_world, "192.0.2.1");
    assert_eq!(
        world.run(|| ask((ip("fd55::2"), 8080))).unwrap().unwrap(),
        "six"
    );
    assert_eq!(
        world
            .run(|| ask_udp((ip("192.0.2.2"), 5353)))
            .unwrap()
            .unwrap(),
        "echo"
    );
    // From the host: by its loopback, by its address.
    for address in ["127.0.0.1", "127.0.0.7", "192.0.2.2", "10.99.0.1"] {
        let answer = host.scratch.run(|| ask((ip(address), 8080))).unwrap();
        assert!(answer.is_ok(), "{address}: {answer:?}");
    }
    assert_eq!(
        host.scratch
            .run(|| ask_udp((ip("127.0.0.1"), 5353)))
            .unwrap()
            .unwrap(),
        "echo"
    );
    let refused = host
        .scratch
        .run(|| ask((ip("::1"), 8080)))
        .unwrap()
        .unwrap_err();
    assert_eq!(
        refused.kind(),
        std::io::ErrorKind::ConnectionRefused,
        "{refused}"
    );
    // From another pod and from the pod itself.
    for pod in [&other, &pod] {
        for address in ["192.0.2.2", "10.99.0.1"] {
            let answer = pod.run(|| ask((ip(address), 8080)));
            assert!(answer.is_ok(), "{address}: {answer:?}");
        }
        assert_eq!(pod.run(|| ask((ip("fd55::2"), 8080))).unwrap(), "six");
    }
    // Given back.
    host.end(pod);
    assert!(world.run(|| ask((ip("192.0.2.2"), 8080))).unwrap().is_err());
}

#[test]
fn a_port_on_one_host_address_is_closed_on_others() {
    let host = Host::new();
    let world = outside(&host);
    let pod = host.pod(
        1,
        &[
            tcp("127.0.0.1", 8080, 80),
            tcp("192.0.2.2", 8081, 80),
            tcp("fd55::2", 8082, 80),
        ],
    );
    pod.serve("[::]:80");
    assert!(
        host.scratch
            .run(|| ask((ip("127.0.0.1"), 8080)))
            .unwrap()
            .is_ok()
    );
    assert!(
        host.scratch
            .run(|| ask((ip("192.0.2.2"), 8080)))
            .unwrap()
            .is_err()
    );
    assert!(world.run(|| ask((ip("192.0.2.2"), 8080))).unwrap().is_err());
    assert!(world.run(|| ask((ip("192.0.2.2"), 8081))).unwrap().is_ok());
    assert!(
        host.scratch
            .run(|| ask((ip("127.0.0.1"), 8081)))
            .unwrap()
            .is_err()
    );
    assert!(world.run(|| ask((ip("fd55::2"), 8082))).unwrap().is_ok());
    assert!(world.run(|| ask((ip("192.0.2.2"), 8082))).unwrap().is_err());
}

#[test]
fn a_pod_does_not_reach_the_hosts_loopback() {
    let host = Host::new();
    let pod = host.pod(1, &[]);
    let _listener = host
        .scratch
        .run(|| TcpListener::bind("127.0.0.1:90").unwrap())
        .unwrap();
    // What a hostile pod does: send 127.0.0.1 out by the bridge (CVE-2020-8558).
    pod.run(|| {
        let mut command = Command::new("sh");
        command.args([
            "-ec",
            "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet; ip link set lo down; \
             ip route add 127.0.0.1 via 10.99.0.1 dev eth0; \
             ip rule add pref 5 lookup main; ip rule del pref 0; ip rule add pref 9 lookup local",
        ]);
        assert!(command.status().unwrap().success());
    });
    let before = dropped(&host);
    let answer = pod.run(|| ask((ip("127.0.0.1"), 90)));
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(before, 0);
}

/// Connections of the host that 127.0.0.1:90 has accepted or half-accepted.
fn dropped(host: &Host) -> usize {
    host.sh("cat /proc/net/tcp")
        .lines()
        .filter(|line| line.contains(":005A ") && line.contains(" 03 "))
        .count()
}

#[test]
fn what_somebody_took_away_is_mended_with_the_next_pod() {
    let host = Host::new();
    let world = outside(&host);
    let a = host.pod(1, &[tcp("", 8080, 80)]);
    a.serve("0.0.0.0:80");
    assert!(world.run(|| ask((ip("192.0.2.2"), 8080))).unwrap().is_ok());
    // The bridge is deleted by hand, and all rules are flushed.
    host.sh("ip link del br-test");
    host.scratch
        .run(|| Network::new(settings(), "x").remove())
        .unwrap()
        .unwrap();
    assert!(world.run(|| ask((ip("192.0.2.2"), 8080))).unwrap().is_err());
    let b = host.pod(2, &[]);
    assert!(world.run(|| ask((ip("192.0.2.2"), 8080))).unwrap().is_ok());
    assert!(b.run(|| ask((a.address(true), 80))).is_ok());
    // And without a pod, when the daemon looks, and when it starts.
    host.scratch
        .run(|| Network::new(settings(), "x").remove())
        .unwrap()
        .unwrap();
    host.scratch.run(|| host.network.tend()).unwrap().unwrap();
    assert!(world.run(|| ask((ip("192.0.2.2"), 8080))).unwrap().is_ok());
    host.sh("ip link del br-test");
    let again = Network::new(settings(), host.dir.path().display().to_string());
    for pod in [&a, &b] {
        again.adopt(&pod.id, "a pod", pod.lease.clone());
    }
    host.scratch.run(|| again.start()).unwrap().unwrap();
    assert!(b.run(|| ask((a.address(true), 80))).is_ok());
    assert_eq!(
        again
            .reserve(&"cc".repeat(32), "new", &[])
            .unwrap()
            .ipv4
            .unwrap()
            .ip,
        ip("10.99.0.4")
    );
}

#[test]
fn a_new_daemon_removes_what_belongs_to_no_pod() {
    let host = Host::new();
    let (a, b) = (
        host.pod(1, &[tcp("", 8080, 80)]),
        host.pod(2, &[tcp("", 8081, 80)]),
    );
    a.serve("0.0.0.0:80");
    b.serve("0.0.0.0:80");
    let again = Network::new(settings(), host.dir.path().display().to_string());
    again.adopt(&b.id, "b", b.lease.clone());
    host.scratch.run(|| again.start()).unwrap().unwrap();
    let links = host.sh("ip -o link");
    assert!(
        !links.contains(&a.lease.interface) && links.contains(&b.lease.interface),
        "{links}"
    );
    assert!(
        host.scratch
            .run(|| ask((ip("127.0.0.1"), 8080)))
            .unwrap()
            .is_err()
    );
    assert!(
        host.scratch
            .run(|| ask((ip("127.0.0.1"), 8081)))
            .unwrap()
            .is_ok()
    );
}

#[test]
fn detaching_leaves_nothing_and_may_be_repeated() {
    let host = Host::new();
    let pod = host.pod(1, &[tcp("", 8080, 80)]);
    for _ in 0..3 {
        host.scratch
            .run(|| host.network.detach(&pod.id, &pod.lease))
            .unwrap()
            .unwrap();
    }
    assert!(!host.sh("ip -o link").contains(&pod.lease.interface));
    host.network.release(&pod.id);
    host.network.release(&pod.id);
    // The port and the address are free again.
    drop(pod);
    let next = host.pod(2, &[tcp("", 8080, 80)]);
    host.end(next);
}

#[test]
fn a_taken_port_names_the_pod_or_the_process() {
    let host = Host::new();
    let pod = host.pod(1, &[tcp("", 8080, 80)]);
    let error = host
        .try_pod(2, &[tcp("127.0.0.1", 8080, 81)])
        .err()
        .unwrap()
        .to_string();
    assert_eq!(
        error,
        "tcp port 127.0.0.1:8080 of the host is published by pod 1 already"
    );
    let held = host.pod(3, &[port(Protocol::Udp, "", 8080, 80), tcp("", 8081, 80)]);
    let _listener = host
        .scratch
        .run(|| TcpListener::bind("0.0.0.0:9090").unwrap())
        .unwrap();
    let error = host
        .try_pod(4, &[tcp("", 9090, 80)])
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("tcp port 9090 of the host is in use by "),
        "{error}"
    );
    // What was refused holds nothing: its addresses are still free.
    let lease = host
        .scratch
        .run(|| host.network.reserve("x", "x", &[]))
        .unwrap()
        .unwrap();
    assert_eq!(lease.ipv4.unwrap().ip, ip("10.99.0.4"));
    drop((pod, held));
}

#[test]
fn an_overlapping_subnet_and_a_foreign_bridge_are_errors() {
    let host = Host::new();
    host.sh("ip link add d0 type veth peer name d1; ip link set d0 up; ip addr add 10.99.0.77/28 dev d0");
    let error = host
        .scratch
        .run(|| host.network.tend())
        .unwrap()
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("overlaps this host's route to 10.99.0.64/28 by d0"),
        "{error}"
    );
    assert!(host.try_pod(1, &[]).is_err());
    assert!(
        !host.sh("ip -o link").contains("br-test"),
        "nothing is made"
    );

    let host = Host::new();
    host.sh("ip link add br-test type bridge");
    let error = host.try_pod(1, &[]).err().unwrap();
    assert!(error.to_string().contains("not made by coffer"), "{error}");
    host.sh("ip link del br-test");
    assert!(host.try_pod(1, &[]).is_ok());
}

#[test]
fn exhausted_addresses_are_an_error_and_come_back() {
    let small = Settings {
        ipv4: Some("10.99.0.0/29".parse().unwrap()),
        ipv6: None,
        ..settings()
    };
    let host = Host::with(small);
    let pods: Vec<Pod> = (1..=5).map(|number| host.pod(number, &[])).collect();
    let error = host.try_pod(6, &[]).err().unwrap();
    assert!(
        matches!(error, Error::Exhausted { count: 5, .. }),
        "{error}"
    );
    for pod in pods {
        host.end(pod);
    }
    assert_eq!(host.pod(7, &[]).address(true), ip("10.99.0.2"));
}

#[test]
fn pods_keep_their_addresses_when_the_subnets_change() {
    let host = Host::new();
    let old = host.pod(1, &[]);
    host.network
        .set_subnets(Some("10.98.0.0/24".parse().unwrap()), None);
    let new = host.pod(2, &[]);
    assert_eq!(new.address(true), ip("10.98.0.2"));
    assert!(new.lease.ipv6.is_none());
    old.serve("0.0.0.0:80");
    new.serve("0.0.0.0:80");
    assert!(new.run(|| ask((old.address(true), 80))).is_ok());
    assert!(old.run(|| ask((new.address(true), 80))).is_ok());
}

#[test]
fn many_pods_at_once() {
    let host = Host::new();
    let begin = Instant::now();
    let pods: Vec<Pod> = std::thread::scope(|scope| {
        let all: Vec<_> = (1..=20)
            .map(|number| {
                let host = &host;
                scope.spawn(move || host.pod(number, &[tcp("", 9000 + u16::from(number), 80)]))
            })
            .collect();
        all.into_iter().map(|pod| pod.join().unwrap()).collect()
    });
    eprintln!("20 pods in {:?}", begin.elapsed());
    for pod in &pods {
        pod.serve("0.0.0.0:80");
        let answer = host
            .scratch
            .run(|| ask((ip("127.0.0.1"), pod.lease.ports[0].host_port)))
            .unwrap();
        assert!(answer.is_ok(), "{answer:?}");
    }
    for pod in pods {
        host.end(pod);
    }
    assert!(!host.sh("ip -o link").contains(" cf"));
}
