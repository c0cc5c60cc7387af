use super::*;
use crate::domain::{DnsConfig, PodMetadata, PortMapping, Protocol};

fn config() -> PodConfig {
    PodConfig {
        metadata: PodMetadata {
            name: "Web_Server".into(),
            uid: "u".into(),
            namespace: "n".into(),
            attempt: 0,
        },
        ..PodConfig::default()
    }
}

fn planned(config: &PodConfig) -> Result<PodPlan, Error> {
    pod(config, || "/coffer/x".to_owned(), "node-1", false)
}

fn host_network(config: &mut PodConfig) {
    config.security.namespaces.network = NamespaceMode::Node;
}

fn published() -> PortMapping {
    PortMapping {
        protocol: Protocol::Tcp,
        container_port: 80,
        host_port: 8080,
        host_ip: String::new(),
    }
}

#[test]
fn an_empty_request_gets_namespaces_of_its_own() {
    let plan = planned(&config()).unwrap();
    assert_eq!(
        plan,
        PodPlan {
            own_network: true,
            built_in: None,
            hostname: "web-server".into(),
            cgroup_parent: "/coffer/x".into(),
            own_ipc: true,
            pid: sandbox::PidMode::Pod,
            sysctls: BTreeMap::new(),
        }
    );
}

#[test]
fn the_hosts_network_brings_the_hosts_name() {
    let mut config = config();
    host_network(&mut config);
    config.hostname = "ignored-with-host-uts".into();
    config.port_mappings.push(published());
    let plan = planned(&config).unwrap();
    assert_eq!(
        (plan.own_network, plan.hostname.as_str()),
        (false, "node-1")
    );
}

#[test]
fn what_cannot_be_done_is_named() {
    type Case = (&'static str, fn(&mut PodConfig));
    let table: [Case; 12] = [
        ("runtime_handler", |c| c.runtime_handler = "vm".into()),
        (
            "config.linux.security_context.namespace_options.network",
            |c| {
                c.security.namespaces.network = NamespaceMode::Container;
            },
        ),
        ("config.linux.security_context.namespace_options.ipc", |c| {
            c.security.namespaces.ipc = NamespaceMode::Target;
        }),
        ("config.linux.security_context.namespace_options.pid", |c| {
            c.security.namespaces.pid = NamespaceMode::Target;
        }),
        ("config.port_mappings[0].host_port", |c| {
            c.port_mappings.push(published())
        }),
        ("config.dns_config.servers[1]", |c| {
            let servers = vec!["1.1.1.1".into(), "8.8.8.8\noptions x".into()];
            c.dns = Some(DnsConfig {
                servers,
                ..DnsConfig::default()
            });
        }),
        ("config.log_directory", |c| {
            c.log_directory = "var/log".into()
        }),
        ("config.log_directory", |c| {
            c.log_directory = "/var/log/../../etc".into()
        }),
        ("config.hostname", |c| c.hostname = "a b".into()),
        ("config.hostname", |c| c.hostname = "x".repeat(65)),
        ("config.linux.cgroup_parent", |c| {
            c.cgroup_parent = "/a/../b".into()
        }),
        ("config.linux.cgroup_parent", |c| {
            c.cgroup_parent = "kubepods.slice".into()
        }),
    ];
    for (field, change) in table {
        let mut config = config();
        change(&mut config);
        let error = planned(&config).expect_err(field).to_string();
        assert!(error.starts_with(&format!("{field} ")), "{field}: {error}");
    }
}

#[test]
fn sysctls_of_own_namespaces_and_harmless_ports_pass() {
    let mut config = config();
    config
        .sysctls
        .insert("net.ipv4.ip_unprivileged_port_start".into(), "0".into());
    config
        .sysctls
        .insert("fs.mqueue.msg_max".into(), "20".into());
    config.port_mappings.push(PortMapping {
        host_port: 0,
        ..published()
    });
    config.cgroup_parent = "/kubepods/pod7".into();
    let plan = planned(&config).unwrap();
    assert_eq!(plan.cgroup_parent, "/kubepods/pod7");
    assert_eq!(plan.sysctls["net.ipv4.ip_unprivileged_port_start"], "0");
    config.security.namespaces.network = NamespaceMode::Node;
    assert!(planned(&config).is_err());
}
