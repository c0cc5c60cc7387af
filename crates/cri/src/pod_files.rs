//! hostname, hosts and resolv.conf of a pod: files in its directory that the spec builder binds
//! into its containers.

use std::{fs, path::Path};

use sys::atomic::Durability;

use crate::{domain::DnsConfig, error::Error};

/// Name of the file that becomes `/etc/hostname`.
pub(crate) const HOSTNAME: &str = "hostname";
/// Name of the file that becomes `/etc/hosts`.
pub(crate) const HOSTS: &str = "hosts";
/// Name of the file that becomes `/etc/resolv.conf`.
pub(crate) const RESOLV: &str = "resolv.conf";

/// Writes the three files. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn write(
    dir: &Path,
    hostname: &str,
    host_network: bool,
    dns: Option<&DnsConfig>,
) -> Result<(), Error> {
    let hosts = if host_network {
        host_file("/etc/hosts")?
    } else {
        hosts(hostname)
    };
    let resolv = match dns {
        Some(dns) => resolv_conf(dns),
        None => host_file("/etc/resolv.conf")?,
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

/// A file of the host; one that is missing is empty.
fn host_file(path: &str) -> Result<String, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(e) => Err(Error::file("read", path)(e)),
    }
}

fn hosts(hostname: &str) -> String {
    format!(
        "127.0.0.1\tlocalhost\n\
         127.0.1.1\t{hostname}\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n"
    )
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
        write(dir.path(), "web-0", false, Some(&DnsConfig::default())).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read(HOSTNAME), "web-0\n");
        assert!(read(HOSTS).contains("127.0.1.1\tweb-0\n"));
        assert_eq!(read(RESOLV), "");
    }

    #[test]
    fn a_pod_on_the_hosts_network_has_the_hosts_files() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "node", true, None).unwrap();
        for (name, host) in [(HOSTS, "/etc/hosts"), (RESOLV, "/etc/resolv.conf")] {
            let expected = fs::read(host).unwrap_or_default();
            assert_eq!(fs::read(dir.path().join(name)).unwrap(), expected);
        }
    }
}
