//! [`crate::launch`] as CRI's requests. Wire types go no further than this file.

use std::collections::BTreeMap;

use cri_api::v1;

use crate::{
    convert,
    launch::{
        Device, Limits, Namespaces, NewContainer, NewPod, Pid, Profile, Protocol, Published,
        Security,
    },
    signals,
    view::User,
};

/// Microseconds that a quota is a share of.
const CPU_PERIOD: i64 = 100_000;

pub(crate) fn pod_config(new: &NewPod) -> v1::PodSandboxConfig {
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: new.name.clone(),
            uid: new.uid.clone(),
            namespace: "default".to_owned(),
            attempt: 0,
        }),
        hostname: new.hostname.clone(),
        log_directory: new.log_directory.clone(),
        dns_config: new.dns.as_ref().map(|dns| v1::DnsConfig {
            servers: dns.servers.clone(),
            searches: dns.searches.clone(),
            options: dns.options.clone(),
        }),
        port_mappings: new.ports.iter().map(port).collect(),
        labels: new.labels.clone(),
        annotations: new.annotations.clone(),
        linux: Some(v1::LinuxPodSandboxConfig {
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(namespaces(&new.namespaces)),
                privileged: new.privileged,
                ..Default::default()
            }),
            sysctls: new.sysctls.clone(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn port(published: &Published) -> v1::PortMapping {
    v1::PortMapping {
        protocol: match published.protocol {
            Protocol::Tcp => v1::Protocol::Tcp,
            Protocol::Udp => v1::Protocol::Udp,
            Protocol::Sctp => v1::Protocol::Sctp,
        }
        .into(),
        container_port: published.container.into(),
        host_port: published.host.into(),
        host_ip: published.ip.clone(),
    }
}

fn namespaces(said: &Namespaces) -> v1::NamespaceOption {
    let host = |host: bool| {
        if host {
            v1::NamespaceMode::Node
        } else {
            v1::NamespaceMode::Pod
        }
    };
    let (pid, target_id) = match &said.pid {
        Pid::Container => (v1::NamespaceMode::Container, String::new()),
        Pid::Pod => (v1::NamespaceMode::Pod, String::new()),
        Pid::Host => (v1::NamespaceMode::Node, String::new()),
        Pid::Of(id) => (v1::NamespaceMode::Target, id.clone()),
    };
    v1::NamespaceOption {
        network: host(said.host_network).into(),
        pid: pid.into(),
        ipc: host(said.host_ipc).into(),
        target_id,
        ..Default::default()
    }
}

pub(crate) fn container_config(new: &NewContainer) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata {
            name: new.name.clone(),
            attempt: 0,
        }),
        image: Some(v1::ImageSpec {
            image: new.image_id.clone(),
            user_specified_image: new.image.clone(),
            ..Default::default()
        }),
        command: new.command.clone(),
        args: new.args.clone(),
        working_dir: new.working_dir.clone(),
        envs: new
            .env
            .iter()
            .map(|(key, value)| v1::KeyValue {
                key: key.clone(),
                value: value.clone().into_bytes(),
            })
            .collect(),
        mounts: new.volumes.iter().map(convert::wire_mount).collect(),
        devices: new.devices.iter().map(device).collect(),
        labels: new.labels.clone(),
        annotations: new.annotations.clone(),
        log_path: new.log_path.clone(),
        stdin: new.stdin,
        stdin_once: new.stdin_once,
        tty: new.tty,
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources(&new.limits)),
            security_context: Some(security(&new.security, &new.namespaces)),
        }),
        stop_signal: new.stop_signal.map(signal).unwrap_or_default().into(),
        ..Default::default()
    }
}

/// CRI has a name for every signal of Linux but the two that the C library keeps to itself.
fn signal(number: u32) -> v1::Signal {
    let name = match number {
        35..=49 => format!("SIGRTMINPLUS{}", number - 34),
        50..=63 => format!("SIGRTMAXMINUS{}", 64 - number),
        _ => signals::name(number).map_or_else(String::new, |name| format!("SIG{name}")),
    };
    v1::Signal::from_str_name(&format!("SIGNAL_{name}")).unwrap_or_default()
}

fn device(device: &Device) -> v1::Device {
    v1::Device {
        container_path: device.container_path.clone(),
        host_path: device.host_path.clone(),
        permissions: device.access.clone(),
    }
}

fn resources(limits: &Limits) -> v1::LinuxContainerResources {
    let unified = match limits.pids {
        0 => BTreeMap::new(),
        pids => BTreeMap::from([("pids.max".to_owned(), pids.to_string())]),
    };
    v1::LinuxContainerResources {
        memory_limit_in_bytes: limits.memory,
        // As kubelets do it: no swap on top of the limit.
        memory_swap_limit_in_bytes: limits.memory,
        cpu_period: if limits.cpu_quota > 0 { CPU_PERIOD } else { 0 },
        cpu_quota: limits.cpu_quota,
        cpu_shares: limits.cpu_shares,
        cpuset_cpus: limits.cpuset.clone(),
        oom_score_adj: limits.oom_score_adj,
        unified,
        ..Default::default()
    }
}

fn security(said: &Security, shared: &Namespaces) -> v1::LinuxContainerSecurityContext {
    let (run_as_user, run_as_group, run_as_username) = match &said.user {
        None => (None, None, String::new()),
        Some(User::Name(name)) => (None, None, name.clone()),
        Some(User::Ids { uid, gid }) => (
            Some(v1::Int64Value { value: *uid }),
            gid.map(|value| v1::Int64Value { value }),
            String::new(),
        ),
    };
    v1::LinuxContainerSecurityContext {
        capabilities: Some(v1::Capability {
            add_capabilities: said.capabilities_added.clone(),
            drop_capabilities: said.capabilities_dropped.clone(),
            ..Default::default()
        }),
        privileged: said.privileged,
        namespace_options: Some(namespaces(shared)),
        run_as_user,
        run_as_group,
        run_as_username,
        readonly_rootfs: said.read_only,
        supplemental_groups: said.groups.clone(),
        no_new_privs: said.no_new_privileges,
        // CRI takes silence for "unconfined"; a person who says nothing wants the usual confinement.
        seccomp: Some(profile(said.seccomp.as_ref().unwrap_or(&Profile::Default))),
        apparmor: said.apparmor.as_ref().map(profile),
        ..Default::default()
    }
}

fn profile(profile: &Profile) -> v1::SecurityProfile {
    use v1::security_profile::ProfileType;
    let (kind, localhost_ref) = match profile {
        Profile::Default => (ProfileType::RuntimeDefault, String::new()),
        Profile::Unconfined => (ProfileType::Unconfined, String::new()),
        Profile::Named(name) => (ProfileType::Localhost, name.clone()),
    };
    v1::SecurityProfile {
        profile_type: kind.into(),
        localhost_ref,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_in_the_request() {
        let new = NewContainer {
            stop_signal: Some(2),
            namespaces: Namespaces {
                host_network: true,
                host_ipc: false,
                pid: Pid::Of("abc".to_owned()),
            },
            limits: Limits {
                cpu_quota: 50_000,
                pids: 7,
                ..Limits::default()
            },
            ..NewContainer::default()
        };
        let wire = container_config(&new);
        assert_eq!(wire.stop_signal(), v1::Signal::Sigint);
        let linux = wire.linux.unwrap();
        let resources = linux.resources.unwrap();
        assert_eq!(
            (resources.cpu_period, resources.unified["pids.max"].as_str()),
            (100_000, "7")
        );
        let security = linux.security_context.unwrap();
        assert_eq!(security.seccomp, Some(v1::SecurityProfile::default()));
        let options = security.namespace_options.unwrap();
        assert_eq!(options.network(), v1::NamespaceMode::Node);
        assert_eq!(
            (options.pid(), options.target_id.as_str()),
            (v1::NamespaceMode::Target, "abc")
        );
    }

    #[test]
    fn every_signal_has_a_name() {
        for number in (1..=31).chain(34..=64) {
            assert_ne!(signal(number), v1::Signal::RuntimeDefault, "{number}");
        }
        assert_eq!(signal(37), v1::Signal::Sigrtminplus3);
        assert_eq!(signal(63), v1::Signal::Sigrtmaxminus1);
    }

    #[test]
    fn a_pods_ports_are_told() {
        let wire = pod_config(&NewPod {
            ports: vec![Published {
                ip: "127.0.0.1".to_owned(),
                host: 8080,
                container: 80,
                protocol: Protocol::Udp,
            }],
            ..NewPod::default()
        });
        let port = &wire.port_mappings[0];
        assert_eq!(
            (port.host_port, port.container_port, port.protocol()),
            (8080, 80, v1::Protocol::Udp)
        );
    }
}
