use super::*;

fn metadata() -> wire::PodSandboxMetadata {
    wire::PodSandboxMetadata {
        name: Some("web".into()),
        uid: Some("u".into()),
        namespace: Some("default".into()),
        attempt: Some(3),
    }
}

fn pod(context: wire::LinuxSandboxSecurityContext) -> wire::PodSandboxConfig {
    wire::PodSandboxConfig {
        metadata: Some(metadata()),
        hostname: Some("web-0".into()),
        log_directory: Some("/var/log/pods/web".into()),
        dns_config: Some(wire::DnsConfig {
            servers: vec!["10.0.0.10".into()],
            searches: vec!["svc".into()],
            options: vec!["ndots:5".into()],
        }),
        port_mappings: vec![wire::PortMapping {
            protocol: Some(wire::Protocol::Udp.into()),
            container_port: Some(53),
            host_port: Some(5353),
            host_ip: Some("127.0.0.1".into()),
        }],
        labels: [("l".to_owned(), "1".to_owned())].into(),
        annotations: [("a".to_owned(), "2".to_owned())].into(),
        linux: Some(wire::LinuxPodSandboxConfig {
            cgroup_parent: Some("/kubepods/pod1".into()),
            security_context: Some(context),
        }),
    }
}

fn container(context: wire::LinuxContainerSecurityContext) -> wire::ContainerConfig {
    wire::ContainerConfig {
        metadata: Some(wire::ContainerMetadata {
            name: Some("c".into()),
            attempt: Some(1),
        }),
        image: Some(wire::ImageSpec {
            image: Some("busybox".into()),
        }),
        command: vec!["sh".into()],
        args: vec!["-c".into()],
        working_dir: Some("/w".into()),
        envs: vec![wire::KeyValue {
            key: Some("K".into()),
            value: Some("ä".into()),
        }],
        mounts: vec![wire::Mount {
            container_path: Some("/c".into()),
            host_path: Some("/h".into()),
            readonly: Some(true),
            selinux_relabel: None,
        }],
        devices: vec![wire::Device {
            container_path: Some("/dev/a".into()),
            host_path: Some("/dev/b".into()),
            permissions: Some("rw".into()),
        }],
        labels: [("l".to_owned(), "1".to_owned())].into(),
        annotations: [("a".to_owned(), "2".to_owned())].into(),
        log_path: Some("c/0.log".into()),
        stdin: Some(true),
        stdin_once: Some(true),
        tty: Some(true),
        linux: Some(wire::LinuxContainerConfig {
            resources: Some(wire::LinuxContainerResources {
                cpu_period: Some(100_000),
                cpu_quota: Some(-1),
                cpu_shares: Some(2),
                memory_limit_in_bytes: Some(1 << 20),
                oom_score_adj: Some(-998),
            }),
            security_context: Some(context),
        }),
    }
}

/// No field is lost: every one of this version's has its place in the domain.
#[test]
fn a_pod_arrives_whole() {
    let got = pod_config(Some(pod(wire::LinuxSandboxSecurityContext {
        namespace_options: Some(wire::NamespaceOption {
            host_network: Some(true),
            host_pid: Some(true),
            host_ipc: Some(true),
        }),
        selinux_options: None,
        run_as_user: Some(0),
        readonly_rootfs: Some(true),
        supplemental_groups: vec![7, 8],
        privileged: Some(true),
    })))
    .unwrap();
    let expected = PodConfig {
        metadata: PodMetadata {
            name: "web".into(),
            uid: "u".into(),
            namespace: "default".into(),
            attempt: 3,
        },
        hostname: "web-0".into(),
        log_directory: "/var/log/pods/web".into(),
        dns: Some(DnsConfig {
            servers: vec!["10.0.0.10".into()],
            searches: vec!["svc".into()],
            options: vec!["ndots:5".into()],
        }),
        port_mappings: vec![PortMapping {
            protocol: Protocol::Udp,
            container_port: 53,
            host_port: 5353,
            host_ip: "127.0.0.1".into(),
        }],
        labels: [("l".to_owned(), "1".to_owned())].into(),
        annotations: [("a".to_owned(), "2".to_owned())].into(),
        cgroup_parent: "/kubepods/pod1".into(),
        security: PodSecurity {
            namespaces: Namespaces {
                network: NamespaceMode::Node,
                pid: NamespaceMode::Node,
                ipc: NamespaceMode::Node,
                target_id: String::new(),
            },
            privileged: true,
            run_as_user: Some(0),
            readonly_rootfs: true,
            supplemental_groups: vec![7, 8],
            ..PodSecurity::default()
        },
        ..PodConfig::default()
    };
    assert_eq!(got, expected);
}

#[test]
fn a_container_arrives_whole() {
    let got = container_config(Some(container(wire::LinuxContainerSecurityContext {
        capabilities: Some(wire::Capability {
            add_capabilities: vec!["NET_ADMIN".into()],
            drop_capabilities: vec!["ALL".into()],
        }),
        privileged: Some(false),
        namespace_options: None,
        selinux_options: Some(wire::SeLinuxOption::default()),
        run_as_user: Some(7),
        run_as_username: Some("u".into()),
        readonly_rootfs: Some(true),
        supplemental_groups: vec![9],
    })))
    .unwrap();
    assert_eq!(got.metadata.to_string(), "c (attempt 1)");
    assert_eq!(got.image.image, "busybox");
    assert_eq!(
        (got.command, got.args),
        (vec!["sh".into()], vec!["-c".into()])
    );
    assert_eq!(got.working_dir, "/w");
    assert_eq!(got.envs[0].key, "K");
    assert_eq!(got.envs[0].value.0, "ä".as_bytes());
    let mount = &got.mounts[0];
    assert_eq!(
        (mount.container_path.as_str(), mount.host_path.as_str()),
        ("/c", "/h")
    );
    assert!(mount.readonly && !mount.recursive_read_only);
    assert_eq!(mount.propagation, Propagation::Private);
    assert_eq!(got.devices[0].permissions, "rw");
    assert_eq!(got.log_path, "c/0.log");
    assert!(got.stdin && got.stdin_once && got.tty);
    assert_eq!(
        (got.labels["l"].as_str(), got.annotations["a"].as_str()),
        ("1", "2")
    );
    let resources = got.resources.unwrap();
    let expected = Resources {
        cpu_period: 100_000,
        cpu_quota: -1,
        cpu_shares: 2,
        memory_limit_in_bytes: 1 << 20,
        oom_score_adj: -998,
        ..Resources::default()
    };
    assert_eq!(resources, expected);
    assert_eq!(got.security.capabilities.add, ["NET_ADMIN"]);
    assert_eq!(got.security.capabilities.drop, ["ALL"]);
    assert_eq!(
        (
            got.security.run_as_user,
            got.security.run_as_username.as_str()
        ),
        (Some(7), "u")
    );
    assert_eq!(got.security.supplemental_groups, [9]);
    assert!(got.security.readonly_rootfs);
}

#[test]
fn absence_is_not_zero() {
    let pod = pod_config(Some(pod(wire::LinuxSandboxSecurityContext::default()))).unwrap();
    assert_eq!(pod.security.run_as_user, None);
    let container = container_config(Some(container(
        wire::LinuxContainerSecurityContext::default(),
    )))
    .unwrap();
    assert_eq!(container.security.run_as_user, None);
    assert_eq!(pod_filter(None).unwrap().phase, None);
    let empty = wire::PodSandboxFilter::default();
    assert_eq!(pod_filter(Some(empty)).unwrap().phase, None);
    let ready = wire::PodSandboxFilter {
        state: Some(0),
        ..Default::default()
    };
    assert_eq!(
        pod_filter(Some(ready)).unwrap().phase,
        Some(PodPhase::Ready)
    );
    assert_eq!(container_filter(None).unwrap().phase, None);
    let created = wire::ContainerFilter {
        state: Some(0),
        ..Default::default()
    };
    let phase = container_filter(Some(created)).unwrap().phase;
    assert_eq!(phase, Some(ContainerPhase::Created));
}

#[test]
fn namespaces_are_the_hosts_the_pods_or_the_containers_own() {
    let own = Namespaces {
        pid: NamespaceMode::Container,
        ..Namespaces::default()
    };
    assert_eq!(namespaces(None), own);
    assert_eq!(namespaces(Some(wire::NamespaceOption::default())), own);
    let no = wire::NamespaceOption {
        host_network: Some(false),
        host_pid: Some(false),
        host_ipc: Some(false),
    };
    assert_eq!(namespaces(Some(no)), own);
    assert_eq!(to_wire::namespaces(&own), no);
    let host = wire::NamespaceOption {
        host_network: Some(true),
        host_pid: Some(true),
        host_ipc: Some(true),
    };
    assert_eq!(to_wire::namespaces(&namespaces(Some(host))), host);
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let with = |change: fn(&mut wire::PodSandboxConfig)| {
        let mut config = pod(wire::LinuxSandboxSecurityContext::default());
        change(&mut config);
        pod_config(Some(config)).unwrap_err().to_string()
    };
    for (error, field) in [
        (
            pod_config(None).unwrap_err().to_string(),
            "config is missing",
        ),
        (
            with(|pod| pod.metadata = None),
            "config.metadata is missing",
        ),
        (
            with(|pod| {
                if let Some(metadata) = &mut pod.metadata {
                    metadata.uid = None;
                }
            }),
            "config.metadata.uid is empty",
        ),
        (
            with(|pod| pod.port_mappings[0].host_port = Some(70_000)),
            "config.port_mappings[0].host_port is 70000",
        ),
        (
            with(|pod| pod.port_mappings[0].container_port = Some(-1)),
            "config.port_mappings[0].container_port is -1",
        ),
        (
            with(|pod| pod.port_mappings[0].protocol = Some(2)),
            "config.port_mappings[0].protocol has the unknown value 2",
        ),
        (
            with(|pod| {
                let linux = pod.linux.as_mut().and_then(|l| l.security_context.as_mut());
                if let Some(context) = linux {
                    context.selinux_options = Some(wire::SeLinuxOption {
                        level: Some("s0".into()),
                        ..Default::default()
                    });
                }
            }),
            "config.linux.security_context.selinux_options is not supported",
        ),
        (
            container_config(None).unwrap_err().to_string(),
            "config is missing",
        ),
        (
            image_spec("image", Some(wire::ImageSpec { image: None }))
                .unwrap_err()
                .to_string(),
            "image.image is empty",
        ),
        (
            pod_filter(Some(wire::PodSandboxFilter {
                state: Some(9),
                ..Default::default()
            }))
            .unwrap_err()
            .to_string(),
            "filter.state has the unknown value 9",
        ),
    ] {
        assert!(error.starts_with(field), "{error}");
    }
}

/// The same words as in v1 wherever both say the same.
#[test]
fn metadata_and_states_lead_back() {
    let config = pod_config(Some(pod(wire::LinuxSandboxSecurityContext::default()))).unwrap();
    assert_eq!(to_wire::pod_metadata(&config.metadata), metadata());
    for phase in [PodPhase::Ready, PodPhase::NotReady] {
        let filter = wire::PodSandboxFilter {
            state: Some(to_wire::pod_phase(phase)),
            ..Default::default()
        };
        assert_eq!(pod_filter(Some(filter)).unwrap().phase, Some(phase));
    }
    for phase in [
        ContainerPhase::Created,
        ContainerPhase::Running,
        ContainerPhase::Exited,
        ContainerPhase::Unknown,
    ] {
        let filter = wire::ContainerFilter {
            state: Some(to_wire::container_phase(phase)),
            ..Default::default()
        };
        assert_eq!(container_filter(Some(filter)).unwrap().phase, Some(phase));
    }
}
