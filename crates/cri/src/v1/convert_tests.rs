use std::path::PathBuf;

use super::{to_wire, *};
use crate::domain::{
    ContainerConfig, ContainerFilter, ContainerPhase, PodConfig, PodFilter, PodPhase, Protocol,
};

fn metadata() -> wire::PodSandboxMetadata {
    wire::PodSandboxMetadata {
        name: "web".into(),
        uid: "u".into(),
        namespace: "default".into(),
        attempt: 3,
    }
}

fn pod() -> wire::PodSandboxConfig {
    wire::PodSandboxConfig {
        metadata: Some(metadata()),
        hostname: "web-0".into(),
        log_directory: "/var/log/pods/web".into(),
        dns_config: Some(wire::DnsConfig {
            servers: vec!["10.0.0.10".into()],
            searches: vec!["svc".into()],
            options: vec!["ndots:5".into()],
        }),
        port_mappings: vec![wire::PortMapping {
            protocol: wire::Protocol::Udp.into(),
            container_port: 53,
            host_port: 0,
            host_ip: String::new(),
        }],
        labels: [("l".to_owned(), "1".to_owned())].into(),
        annotations: [("a".to_owned(), "2".to_owned())].into(),
        linux: Some(wire::LinuxPodSandboxConfig {
            cgroup_parent: "/kubepods/pod1".into(),
            security_context: Some(wire::LinuxSandboxSecurityContext {
                namespace_options: Some(wire::NamespaceOption {
                    network: wire::NamespaceMode::Node.into(),
                    pid: wire::NamespaceMode::Container.into(),
                    ..Default::default()
                }),
                run_as_user: Some(wire::Int64Value { value: 0 }),
                seccomp: Some(wire::SecurityProfile::default()),
                ..Default::default()
            }),
            sysctls: [("net.core.somaxconn".to_owned(), "9".to_owned())].into(),
            overhead: Some(wire::LinuxContainerResources::default()),
            resources: Some(wire::LinuxContainerResources {
                cpu_shares: 2,
                ..Default::default()
            }),
        }),
        windows: None,
    }
}

fn container() -> wire::ContainerConfig {
    wire::ContainerConfig {
        metadata: Some(wire::ContainerMetadata {
            name: "c".into(),
            attempt: 1,
        }),
        image: Some(wire::ImageSpec {
            image: "busybox".into(),
            ..Default::default()
        }),
        command: vec!["sh".into()],
        args: vec!["-c".into()],
        working_dir: "/w".into(),
        envs: vec![wire::KeyValue {
            key: "K".into(),
            value: vec![0xff],
        }],
        mounts: vec![wire::Mount {
            container_path: "/c".into(),
            host_path: "/h".into(),
            readonly: true,
            recursive_read_only: true,
            propagation: wire::MountPropagation::PropagationHostToContainer.into(),
            ..Default::default()
        }],
        devices: vec![wire::Device {
            container_path: "/dev/a".into(),
            host_path: "/dev/b".into(),
            permissions: "rwm".into(),
        }],
        log_path: "c/0.log".into(),
        stdin: true,
        tty: true,
        stop_signal: wire::Signal::Sigquit.into(),
        linux: Some(wire::LinuxContainerConfig {
            resources: Some(wire::LinuxContainerResources {
                memory_limit_in_bytes: 1 << 20,
                hugepage_limits: vec![wire::HugepageLimit {
                    page_size: "2MB".into(),
                    limit: 0,
                }],
                unified: [("memory.high".to_owned(), "1".to_owned())].into(),
                ..Default::default()
            }),
            security_context: Some(wire::LinuxContainerSecurityContext {
                capabilities: Some(wire::Capability {
                    add_capabilities: vec!["NET_ADMIN".into()],
                    ..Default::default()
                }),
                apparmor_profile: "localhost/mine".into(),
                run_as_user: Some(wire::Int64Value { value: 7 }),
                supplemental_groups: vec![5],
                supplemental_groups_policy: wire::SupplementalGroupsPolicy::Strict.into(),
                ..Default::default()
            }),
        }),
        ..Default::default()
    }
}

#[test]
fn a_pod_keeps_all_that_was_said() {
    let config = pod_config(Some(pod()), String::new()).unwrap();
    assert_eq!(to_wire::pod_metadata(&config.metadata), metadata());
    assert_eq!(
        Some(to_wire::namespaces(&config.security.namespaces)),
        pod()
            .linux
            .unwrap()
            .security_context
            .unwrap()
            .namespace_options
    );
    assert_eq!(config.hostname, "web-0");
    assert_eq!(config.log_directory, PathBuf::from("/var/log/pods/web"));
    let dns = config.dns.unwrap();
    assert_eq!(
        (dns.servers.len(), dns.searches.len(), dns.options.len()),
        (1, 1, 1)
    );
    assert_eq!(config.port_mappings[0].protocol, Protocol::Udp);
    assert_eq!(
        (config.labels, config.annotations),
        (pod().labels, pod().annotations)
    );
    assert_eq!(config.cgroup_parent, "/kubepods/pod1");
    assert_eq!(config.sysctls["net.core.somaxconn"], "9");
    assert_eq!(config.security.run_as_user, Some(0));
    assert_eq!(
        config.security.seccomp,
        Some(SecurityProfile::RuntimeDefault)
    );
    assert_eq!(config.resources.unwrap().cpu_shares, 2);
}

#[test]
fn a_container_keeps_all_that_was_said() {
    let config = container_config(Some(container())).unwrap();
    let said = container();
    let linux = said.linux.unwrap();
    assert_eq!(
        Some(to_wire::container_metadata(&config.metadata)),
        said.metadata
    );
    assert_eq!(Some(to_wire::image_spec(&config.image)), said.image);
    assert_eq!(
        config
            .mounts
            .iter()
            .map(|mount| to_wire::mount(mount, None))
            .collect::<Vec<_>>(),
        said.mounts
    );
    assert_eq!(
        config.resources.as_ref().map(to_wire::resources),
        linux.resources
    );
    assert_eq!(config.envs[0].value.0, [0xff]);
    assert_eq!(config.stop_signal, Some(3));
    assert!(config.tty && config.stdin && !config.stdin_once);
    assert_eq!(config.log_path, "c/0.log");
    let security = config.security;
    assert_eq!(
        security.apparmor,
        Some(SecurityProfile::Localhost("mine".into()))
    );
    assert_eq!(security.run_as_user, Some(7));
    assert_eq!(security.supplemental_groups_policy, GroupsPolicy::Strict);
    assert_eq!(security.capabilities.add, ["NET_ADMIN"]);
}

#[test]
fn a_container_survives_the_record() {
    let config = container_config(Some(container())).unwrap();
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(
        serde_json::from_str::<ContainerConfig>(&json).unwrap(),
        config
    );
    let config = pod_config(Some(pod()), String::new()).unwrap();
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<PodConfig>(&json).unwrap(), config);
}

/// What is wrong with a pod or container, and the field that the answer must name.
#[test]
fn what_cannot_be_done_is_named() {
    type Pods = (&'static str, fn(&mut wire::PodSandboxConfig));
    fn context(pod: &mut wire::PodSandboxConfig) -> &mut wire::LinuxSandboxSecurityContext {
        pod.linux
            .get_or_insert_default()
            .security_context
            .get_or_insert_default()
    }
    let pods: [Pods; 9] = [
        ("config.metadata", |p| p.metadata = None),
        ("config.metadata.uid", |p| {
            p.metadata.as_mut().unwrap().uid.clear()
        }),
        ("config.windows", |p| {
            p.windows = Some(wire::WindowsPodSandboxConfig::default())
        }),
        ("config.port_mappings[0].host_port", |p| {
            p.port_mappings[0].host_port = 70_000
        }),
        ("config.port_mappings[0].protocol", |p| {
            p.port_mappings[0].protocol = 9
        }),
        ("config.linux.security_context.namespace_options.pid", |p| {
            context(p).namespace_options.get_or_insert_default().pid = 17;
        }),
        (
            "config.linux.security_context.namespace_options.userns_options",
            |p| {
                context(p)
                    .namespace_options
                    .get_or_insert_default()
                    .userns_options = Some(wire::UserNamespace::default());
            },
        ),
        ("config.linux.security_context.selinux_options", |p| {
            context(p).selinux_options = Some(wire::SeLinuxOption {
                level: "s0".into(),
                ..Default::default()
            });
        }),
        ("config.linux.security_context.seccomp.localhost_ref", |p| {
            context(p).seccomp = Some(wire::SecurityProfile {
                profile_type: 2,
                localhost_ref: String::new(),
            });
        }),
    ];
    for (field, change) in pods {
        let mut pod = pod();
        change(&mut pod);
        let error = pod_config(Some(pod), String::new())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(&format!("{field} ")), "{field}: {error}");
    }
    type Containers = (&'static str, fn(&mut wire::ContainerConfig));
    fn security(c: &mut wire::ContainerConfig) -> &mut wire::LinuxContainerSecurityContext {
        c.linux
            .get_or_insert_default()
            .security_context
            .get_or_insert_default()
    }
    let containers: [Containers; 17] = [
        ("config.metadata", |c| c.metadata = None),
        ("config.metadata.name", |c| {
            c.metadata.as_mut().unwrap().name.clear()
        }),
        ("config.image", |c| c.image = None),
        ("config.image.image", |c| {
            c.image.as_mut().unwrap().image.clear()
        }),
        ("config.image.runtime_handler", |c| {
            c.image.as_mut().unwrap().runtime_handler = "vm".into();
        }),
        ("config.CDI_devices", |c| {
            c.cdi_devices.push(wire::CdiDevice { name: "x".into() })
        }),
        ("config.windows", |c| {
            c.windows = Some(wire::WindowsContainerConfig::default())
        }),
        ("config.stop_signal", |c| c.stop_signal = 99),
        ("config.mounts[0].propagation", |c| {
            c.mounts[0].propagation = 5
        }),
        ("config.mounts[0].uidMappings", |c| {
            c.mounts[0].uid_mappings.push(wire::IdMapping::default());
        }),
        ("config.mounts[0].mount_options", |c| {
            c.mounts[0].mount_options.push("x".into())
        }),
        ("config.linux.security_context.apparmor_profile", |c| {
            security(c).apparmor_profile = "mine".into();
        }),
        ("config.linux.security_context.seccomp.localhost_ref", |c| {
            security(c).seccomp = Some(wire::SecurityProfile {
                profile_type: 0,
                localhost_ref: "mine.json".into(),
            });
        }),
        (
            "config.linux.security_context.namespace_options.target_id",
            |c| {
                security(c).namespace_options = Some(wire::NamespaceOption {
                    pid: wire::NamespaceMode::Container.into(),
                    target_id: "c0".into(),
                    ..Default::default()
                });
            },
        ),
        (
            "config.linux.security_context.namespace_options.userns_options",
            |c| {
                security(c).namespace_options = Some(wire::NamespaceOption {
                    userns_options: Some(wire::UserNamespace {
                        mode: wire::NamespaceMode::Node.into(),
                        uids: vec![wire::IdMapping::default()],
                        gids: Vec::new(),
                    }),
                    ..Default::default()
                });
            },
        ),
        ("config.mounts[0].gidMappings", |c| {
            c.mounts[0].gid_mappings.push(wire::IdMapping::default());
        }),
        ("config.mounts[0].image.image", |c| {
            c.mounts[0].image = Some(wire::ImageSpec {
                user_specified_image: "x".into(),
                ..Default::default()
            });
        }),
    ];
    for (field, change) in containers {
        let mut container = container();
        change(&mut container);
        let error = container_config(Some(container)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{field} ")), "{field}: {error}");
    }
}

#[test]
fn an_image_volume_is_told_back_with_the_image_that_it_shows() {
    let mut said = container();
    said.mounts = vec![wire::Mount {
        container_path: "/c".into(),
        readonly: true,
        image: Some(wire::ImageSpec {
            image: "models".into(),
            user_specified_image: "models:1".into(),
            ..Default::default()
        }),
        image_sub_path: "a/b".into(),
        ..Default::default()
    }];
    let config = container_config(Some(said.clone())).unwrap();
    let mut told = to_wire::mount(&config.mounts[0], Some("sha256:1"));
    let image_ref = std::mem::take(&mut told.image.as_mut().unwrap().image_ref);
    assert_eq!(image_ref, "sha256:1");
    assert_eq!(told, said.mounts[0]);
}

#[test]
fn the_newer_profile_field_wins() {
    let mut container = container();
    let context = container
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.apparmor = Some(wire::SecurityProfile {
        profile_type: 1,
        localhost_ref: String::new(),
    });
    let config = container_config(Some(container)).unwrap();
    assert_eq!(config.security.apparmor, Some(SecurityProfile::Unconfined));
}

#[test]
fn an_empty_filter_selects_all() {
    assert_eq!(pod_filter(None).unwrap(), PodFilter::default());
    assert_eq!(container_filter(None).unwrap(), ContainerFilter::default());
    assert_eq!(stats_filter(None), ContainerFilter::default());
}

#[test]
fn filters_keep_all_their_fields() {
    let filter = pod_filter(Some(wire::PodSandboxFilter {
        id: "ab".into(),
        state: Some(wire::PodSandboxStateValue { state: 1 }),
        label_selector: [("a".to_owned(), "b".to_owned())].into(),
    }))
    .unwrap();
    assert_eq!(filter.phase, Some(PodPhase::NotReady));
    assert_eq!(
        (filter.id.as_str(), filter.labels["a"].as_str()),
        ("ab", "b")
    );
    let filter = container_filter(Some(wire::ContainerFilter {
        pod_sandbox_id: "cd".into(),
        state: Some(wire::ContainerStateValue { state: 2 }),
        ..Default::default()
    }))
    .unwrap();
    assert_eq!(
        (filter.pod.as_str(), filter.phase),
        ("cd", Some(ContainerPhase::Exited))
    );
    let odd = wire::ContainerStateValue { state: 9 };
    let filter = wire::ContainerFilter {
        state: Some(odd),
        ..Default::default()
    };
    assert!(container_filter(Some(filter)).is_err());
}

#[test]
fn what_is_accepted_without_effect_is_accepted() {
    let int = |value| Some(wire::Int64Value { value });
    let mut pod = pod();
    let linux = pod.linux.get_or_insert_default();
    let context = linux.security_context.get_or_insert_default();
    context.run_as_user = int(1);
    context.run_as_group = int(2);
    context.supplemental_groups = vec![3];
    context.supplemental_groups_policy = wire::SupplementalGroupsPolicy::Strict.into();
    context.readonly_rootfs = true;
    context.seccomp_profile_path = "runtime/default".into();
    context.apparmor = Some(wire::SecurityProfile::default());
    pod.port_mappings[0].container_port = 80;
    let config = pod_config(Some(pod), String::new()).unwrap();
    // Kept all the same: a repeated request must be told from another one.
    assert_eq!(config.security.run_as_group, Some(2));
    assert!(config.overhead.is_some() && config.security.readonly_rootfs);

    let mut container = container();
    let context = container
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.privileged = true;
    context.selinux_options = Some(wire::SeLinuxOption {
        level: "s0".into(),
        ..Default::default()
    });
    container.mounts[0].selinux_relabel = true;
    let image = container.image.get_or_insert_default();
    image.annotations.insert("a".into(), "b".into());
    image.user_specified_image = "busybox:latest".into();
    let config = container_config(Some(container)).unwrap();
    assert_eq!(config.image.user_specified_image, "busybox:latest");
    for (field, why) in crate::v1::ACCEPTED_WITHOUT_EFFECT {
        assert!(!field.is_empty() && !why.is_empty());
    }
}
