//! hostname, hosts and resolv.conf of a pod: files in its directory that the spec builder binds
//! into its containers.

use std::{fs, net::IpAddr, path::Path};

use sys::atomic::Durability;

use crate::{domain::DnsConfig, error::Error};

/// Name of the file that becomes `/etc/hostname`.
pub(crate) const HOSTNAME: &str = "hostname";
/// Name of the file that becomes `/etc/hosts`.
pub(crate) const HOSTS: &str = "hosts";
/// Name of the file that becomes `/etc/resolv.conf`.
pub(crate) const RESOLV: &str = "resolv.conf";
const HOST_RESOLV: &str = "/etc/resolv.conf";

/// Where systemd-resolved keeps the name servers behind its own one on the loopback.
const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// Writes the three files. `addresses` are those of a pod with a network of its own; `None`: it is on
/// the host's. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn write(
    dir: &Path,
    hostname: &str,
    addresses: Option<&[IpAddr]>,
    dns: Option<&DnsConfig>,
) -> Result<(), Error> {
    let hosts = match addresses {
        Some(addresses) => hosts(hostname, addresses),
        None => host_file("/etc/hosts")?,
    };
    let resolv = match (dns, addresses) {
        (Some(dns), _) => resolv_conf(dns),
        (None, None) => host_file(HOST_RESOLV)?,
        (None, Some(_)) => {
            let host = host_file(HOST_RESOLV)?;
            reachable(&host, || host_file(BEHIND_RESOLVED))?
        }
    };
    for (name, text) in [
        (HOSTNAME, format!("{hostname}\n")),
        (HOSTS, hosts),
        (RESOLV, resolv),
    ] {
        let path = dir.join(name);
        sys::atomic::write(&path, text.as_bytes(), 0o644, Durability::Process)
            .map_err(Error::file("write", &path))?;
    }
    Ok(())
}

/// The host's resolv.conf without name servers on its loopback: a pod has a loopback of its own. When
/// there are no others, those that `behind` tells.
fn reachable(host: &str, behind: impl FnOnce() -> Result<String, Error>) -> Result<String, Error> {
    let (kept, dropped) = without_loopback(host);
    if dropped == 0 || servers(&kept) > 0 {
        return Ok(kept);
    }
    let (behind, _) = without_loopback(&behind()?);
    if servers(&behind) > 0 {
        return Ok(behind);
    }
    tracing::warn!("the host's name servers are on its loopback: pods have none of their own");
    Ok(kept)
}

fn without_loopback(text: &str) -> (String, usize) {
    let loopback = |line: &&str| {
        let server = nameserver(line).and_then(|server| server.parse::<IpAddr>().ok());
        server.is_some_and(|ip| ip.is_loopback())
    };
    let dropped = text.lines().filter(loopback).count();
    let kept = text.lines().filter(|line| !loopback(line));
    (kept.map(|line| format!("{line}\n")).collect(), dropped)
}

fn servers(text: &str) -> usize {
    text.lines().filter_map(nameserver).count()
}

fn nameserver(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    (words.next() == Some("nameserver")).then(|| words.next())?
}

/// A file of the host; one that is missing is empty.
fn host_file(path: &str) -> Result<String, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(Error::file("read", path)(e)),
    }
}

/// A pod without an address knows its name by the loopback.
fn hosts(hostname: &str, addresses: &[IpAddr]) -> String {
    let mut text = "127.0.0.1\tlocalhost\n\
                    ::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::0\tip6-localnet\n\
                    ff00::0\tip6-mcastprefix\n\
                    ff02::1\tip6-allnodes\n\
                    ff02::2\tip6-allrouters\n"
        .to_owned();
    if addresses.is_empty() {
        text.push_str(&format!("127.0.1.1\t{hostname}\n"));
    }
    for address in addresses {
        text.push_str(&format!("{address}\t{hostname}\n"));
    }
    text
}

fn resolv_conf(dns: &DnsConfig) -> String {
    let mut text = String::new();
    let mut line = |word: &str, values: &[String]| {
        if !values.is_empty() {
            text.push_str(&format!("{word} {}\n", values.join(" ")));
        }
    };
    line("search", &dns.searches);
    for server in &dns.servers {
        line("nameserver", std::slice::from_ref(server));
    }
    line("options", &dns.options);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn resolv_conf_says_what_was_asked() {
        let dns = DnsConfig {
            servers: strings(&["10.0.0.10", "fd00::a"]),
            searches: strings(&["a.svc", "svc"]),
            options: strings(&["ndots:5", "edns0"]),
        };
        assert_eq!(
            resolv_conf(&dns),
            "search a.svc svc\nnameserver 10.0.0.10\nnameserver fd00::a\noptions ndots:5 edns0\n"
        );
        assert_eq!(resolv_conf(&DnsConfig::default()), "");
    }

    #[test]
    fn a_pod_of_its_own_knows_its_name() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "web-0", Some(&[]), Some(&DnsConfig::default())).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read(HOSTNAME), "web-0\n");
        assert!(read(HOSTS).contains("127.0.1.1\tweb-0\n"));
        assert_eq!(read(RESOLV), "");
    }

    #[test]
    fn a_pod_with_addresses_has_its_name_there() {
        let addresses = ["10.214.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let text = hosts("web-0", &addresses);
        assert!(
            text.ends_with("10.214.0.2\tweb-0\nfd00::2\tweb-0\n"),
            "{text}"
        );
        assert!(
            text.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost"),
            "{text}"
        );
        assert!(!text.contains("127.0.1.1"), "{text}");
    }

    #[test]
    fn name_servers_on_the_hosts_loopback_are_replaced() {
        let table = [
            ("nameserver 10.0.0.1\n", "", "nameserver 10.0.0.1\n"),
            (
                "nameserver 127.0.0.1\nnameserver 10.0.0.1\n",
                "",
                "nameserver 10.0.0.1\n",
            ),
            (
                "search corp\nnameserver 127.0.0.53\noptions edns0\n",
                "nameserver 192.0.2.53\nsearch lan\n",
                "nameserver 192.0.2.53\nsearch lan\n",
            ),
            ("search corp\nnameserver ::1\n", "", "search corp\n"),
            ("", "nameserver 10.0.0.1\n", ""),
        ];
        for (host, behind, expected) in table {
            let text = reachable(host, || Ok(behind.to_owned())).unwrap();
            assert_eq!(text, expected, "{host:?}");
        }
    }

    #[test]
    fn a_pod_on_the_hosts_network_has_the_hosts_files() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "node", None, None).unwrap();
        for (name, host) in [(HOSTS, "/etc/hosts"), (RESOLV, "/etc/resolv.conf")] {
            let expected = fs::read(host).unwrap_or_default();
            assert_eq!(fs::read(dir.path().join(name)).unwrap(), expected);
        }
    }
}
