//! Between `runtime`'s messages and the domain types. Wire types stop here.
//!
//! From the wire: total, and what we do not support is an error that names the field. An absent
//! boolean, number or text that has no meaning of its own is false, 0 or empty; where absence means
//! something (a user, a state) it is kept. To the wire: cannot fail, and every field is present.

use std::path::PathBuf;

use cri_api::v1alpha1 as wire;

use crate::{
    checks::{self, NO_SELINUX, present, unknown, unsupported},
    domain::{
        Capabilities, ContainerConfig, ContainerFilter, ContainerMetadata, ContainerPhase,
        ContainerSecurity, Device, DnsConfig, EnvValue, EnvVar, ImageSpec, Mount, NamespaceMode,
        Namespaces, PodConfig, PodFilter, PodMetadata, PodPhase, PodSecurity, PortMapping,
        Propagation, Protocol, Resources,
    },
    error::Error,
    service::{Attach, Exec, PullRequest},
};

const SECURITY: &str = "config.linux.security_context";

/// `config` of RunPodSandbox.
pub(super) fn pod_config(config: Option<wire::PodSandboxConfig>) -> Result<PodConfig, Error> {
    let config = present("config", config)?;
    let linux = config.linux.unwrap_or_default();
    let metadata = present("config.metadata", config.metadata)?;
    Ok(PodConfig {
        metadata: checks::pod_metadata(PodMetadata {
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            namespace: metadata.namespace.unwrap_or_default(),
            attempt: metadata.attempt.unwrap_or_default(),
        })?,
        hostname: config.hostname.unwrap_or_default(),
        log_directory: PathBuf::from(config.log_directory.unwrap_or_default()),
        dns: config.dns_config.map(|dns| DnsConfig {
            servers: dns.servers,
            searches: dns.searches,
            options: dns.options,
        }),
        port_mappings: config
            .port_mappings
            .into_iter()
            .enumerate()
            .map(|(at, mapping)| port_mapping(at, mapping))
            .collect::<Result<_, _>>()?,
        labels: config.labels,
        annotations: config.annotations,
        cgroup_parent: linux.cgroup_parent.unwrap_or_default(),
        security: pod_security(linux.security_context.unwrap_or_default())?,
        // Handlers, sysctls and the sums of resources came later; sysctls are annotations here.
        ..PodConfig::default()
    })
}

fn port_mapping(at: usize, mapping: wire::PortMapping) -> Result<PortMapping, Error> {
    let protocol = mapping.protocol.unwrap_or_default();
    Ok(PortMapping {
        protocol: match wire::Protocol::try_from(protocol) {
            Ok(wire::Protocol::Tcp) => Protocol::Tcp,
            Ok(wire::Protocol::Udp) => Protocol::Udp,
            Err(_) => {
                let field = format!("config.port_mappings[{at}].protocol");
                return Err(unknown(field, protocol));
            }
        },
        container_port: checks::port(at, "container_port", mapping.container_port())?,
        host_port: checks::port(at, "host_port", mapping.host_port())?,
        host_ip: mapping.host_ip.unwrap_or_default(),
    })
}

fn pod_security(context: wire::LinuxSandboxSecurityContext) -> Result<PodSecurity, Error> {
    no_selinux(context.selinux_options.as_ref(), context.privileged())?;
    Ok(PodSecurity {
        namespaces: namespaces(context.namespace_options),
        privileged: context.privileged(),
        run_as_user: context.run_as_user,
        readonly_rootfs: context.readonly_rootfs(),
        supplemental_groups: context.supplemental_groups,
        ..PodSecurity::default()
    })
}

fn no_selinux(options: Option<&wire::SeLinuxOption>, privileged: bool) -> Result<(), Error> {
    let said = options.is_some_and(|options| {
        [
            options.user(),
            options.role(),
            options.r#type(),
            options.level(),
        ]
        .iter()
        .any(|word| !word.is_empty())
    });
    if said && !privileged {
        return Err(unsupported(
            format!("{SECURITY}.selinux_options"),
            NO_SELINUX,
        ));
    }
    Ok(())
}

/// The host's where that is asked for, else the pod's; a pid namespace is the container's own.
fn namespaces(options: Option<wire::NamespaceOption>) -> Namespaces {
    let options = options.unwrap_or_default();
    let mode = |host: bool, own: NamespaceMode| if host { NamespaceMode::Node } else { own };
    Namespaces {
        network: mode(options.host_network(), NamespaceMode::Pod),
        pid: mode(options.host_pid(), NamespaceMode::Container),
        ipc: mode(options.host_ipc(), NamespaceMode::Pod),
        target_id: String::new(),
    }
}

/// `config` of CreateContainer.
pub(super) fn container_config(
    config: Option<wire::ContainerConfig>,
) -> Result<ContainerConfig, Error> {
    let config = present("config", config)?;
    let (stdin, stdin_once, tty) = (config.stdin(), config.stdin_once(), config.tty());
    let metadata = present("config.metadata", config.metadata)?;
    let linux = config.linux.unwrap_or_default();
    Ok(ContainerConfig {
        metadata: checks::container_metadata(ContainerMetadata {
            name: metadata.name.unwrap_or_default(),
            attempt: metadata.attempt.unwrap_or_default(),
        })?,
        image: image_spec("config.image", config.image)?,
        command: config.command,
        args: config.args,
        working_dir: config.working_dir.unwrap_or_default(),
        envs: config
            .envs
            .into_iter()
            .map(|env| EnvVar {
                key: env.key.unwrap_or_default(),
                value: EnvValue(env.value.unwrap_or_default().into_bytes()),
            })
            .collect(),
        mounts: config.mounts.into_iter().map(mount).collect(),
        devices: config
            .devices
            .into_iter()
            .map(|device| Device {
                container_path: device.container_path.unwrap_or_default(),
                host_path: device.host_path.unwrap_or_default(),
                permissions: device.permissions.unwrap_or_default(),
            })
            .collect(),
        labels: config.labels,
        annotations: config.annotations,
        log_path: config.log_path.unwrap_or_default(),
        stdin,
        stdin_once,
        tty,
        resources: linux.resources.map(|resources| Resources {
            cpu_period: resources.cpu_period(),
            cpu_quota: resources.cpu_quota(),
            cpu_shares: resources.cpu_shares(),
            memory_limit_in_bytes: resources.memory_limit_in_bytes(),
            oom_score_adj: resources.oom_score_adj(),
            ..Resources::default()
        }),
        security: container_security(linux.security_context.unwrap_or_default())?,
        // Stop signals came later: the image's counts.
        stop_signal: None,
    })
}

/// An ImageSpec that must name something.
pub(super) fn image_spec(field: &str, spec: Option<wire::ImageSpec>) -> Result<ImageSpec, Error> {
    let image = present(field, spec)?.image.unwrap_or_default();
    let spec = ImageSpec {
        image,
        ..ImageSpec::default()
    };
    checks::image_spec(field, spec)
}

/// What is to be pulled, and as whom.
pub(super) fn pull(request: wire::PullImageRequest) -> Result<PullRequest, Error> {
    let spec = image_spec("image", request.image)?;
    let auth = request.auth.unwrap_or_default();
    Ok(PullRequest {
        image: spec.image,
        platform: None,
        auth: registry::Said {
            username: auth.username.unwrap_or_default(),
            password: auth.password.unwrap_or_default(),
            auth: auth.auth.unwrap_or_default(),
            identity_token: auth.identity_token.unwrap_or_default(),
            registry_token: auth.registry_token.unwrap_or_default(),
            server_address: auth.server_address.unwrap_or_default(),
        },
    })
}

fn mount(mount: wire::Mount) -> Mount {
    Mount {
        readonly: mount.readonly(),
        selinux_relabel: mount.selinux_relabel(),
        container_path: mount.container_path.unwrap_or_default(),
        host_path: mount.host_path.unwrap_or_default(),
        propagation: Propagation::Private,
        ..Mount::default()
    }
}

fn container_security(
    context: wire::LinuxContainerSecurityContext,
) -> Result<ContainerSecurity, Error> {
    no_selinux(context.selinux_options.as_ref(), context.privileged())?;
    let (privileged, readonly_rootfs) = (context.privileged(), context.readonly_rootfs());
    let capabilities = context.capabilities.unwrap_or_default();
    Ok(ContainerSecurity {
        privileged,
        capabilities: Capabilities {
            add: capabilities.add_capabilities,
            drop: capabilities.drop_capabilities,
            add_ambient: Vec::new(),
        },
        namespaces: namespaces(context.namespace_options),
        run_as_user: context.run_as_user,
        run_as_username: context.run_as_username.unwrap_or_default(),
        readonly_rootfs,
        supplemental_groups: context.supplemental_groups,
        // Seccomp and AppArmor are annotations of the pod here.
        ..ContainerSecurity::default()
    })
}

/// Exec: standard output is on, standard error unless there is a terminal, which has only one.
pub(super) fn exec(request: wire::ExecRequest) -> Exec {
    let (tty, stdin) = (request.tty(), request.stdin());
    Exec {
        container: request.container_id.unwrap_or_default(),
        command: request.cmd,
        tty,
        stdin,
        stdout: true,
        stderr: !tty,
        ..Exec::default()
    }
}

/// Attach, with the streams of [`exec`].
pub(super) fn attach(request: wire::AttachRequest) -> Attach {
    let (tty, stdin) = (request.tty(), request.stdin());
    Attach {
        container: request.container_id.unwrap_or_default(),
        tty,
        stdin,
        stdout: true,
        stderr: !tty,
    }
}

/// `filter` of ListPodSandbox.
pub(super) fn pod_filter(filter: Option<wire::PodSandboxFilter>) -> Result<PodFilter, Error> {
    let filter = filter.unwrap_or_default();
    let phase = match filter.state.map(wire::PodSandboxState::try_from) {
        None => None,
        Some(Ok(wire::PodSandboxState::SandboxReady)) => Some(PodPhase::Ready),
        Some(Ok(wire::PodSandboxState::SandboxNotready)) => Some(PodPhase::NotReady),
        Some(Err(wrong)) => return Err(unknown("filter.state", wrong.0)),
    };
    Ok(PodFilter {
        id: filter.id.unwrap_or_default(),
        phase,
        labels: filter.label_selector,
    })
}

/// `filter` of ListContainers.
pub(super) fn container_filter(
    filter: Option<wire::ContainerFilter>,
) -> Result<ContainerFilter, Error> {
    let filter = filter.unwrap_or_default();
    let phase = match filter.state.map(wire::ContainerState::try_from) {
        None => None,
        Some(Ok(wire::ContainerState::ContainerCreated)) => Some(ContainerPhase::Created),
        Some(Ok(wire::ContainerState::ContainerRunning)) => Some(ContainerPhase::Running),
        Some(Ok(wire::ContainerState::ContainerExited)) => Some(ContainerPhase::Exited),
        Some(Ok(wire::ContainerState::ContainerUnknown)) => Some(ContainerPhase::Unknown),
        Some(Err(wrong)) => return Err(unknown("filter.state", wrong.0)),
    };
    Ok(ContainerFilter {
        id: filter.id.unwrap_or_default(),
        pod: filter.pod_sandbox_id.unwrap_or_default(),
        phase,
        labels: filter.label_selector,
    })
}

/// To the wire.
pub(super) mod to_wire {
    use super::{
        ContainerMetadata, ContainerPhase, Mount, NamespaceMode, Namespaces, PodMetadata, PodPhase,
        wire,
    };

    pub(in crate::v1alpha1) fn pod_metadata(metadata: &PodMetadata) -> wire::PodSandboxMetadata {
        wire::PodSandboxMetadata {
            name: Some(metadata.name.clone()),
            uid: Some(metadata.uid.clone()),
            namespace: Some(metadata.namespace.clone()),
            attempt: Some(metadata.attempt),
        }
    }

    pub(in crate::v1alpha1) fn pod_phase(phase: PodPhase) -> i32 {
        i32::from(match phase {
            PodPhase::Ready => wire::PodSandboxState::SandboxReady,
            PodPhase::NotReady => wire::PodSandboxState::SandboxNotready,
        })
    }

    pub(in crate::v1alpha1) fn namespaces(namespaces: &Namespaces) -> wire::NamespaceOption {
        let host = |mode| Some(mode == NamespaceMode::Node);
        wire::NamespaceOption {
            host_network: host(namespaces.network),
            host_pid: host(namespaces.pid),
            host_ipc: host(namespaces.ipc),
        }
    }

    pub(in crate::v1alpha1) fn container_metadata(
        metadata: &ContainerMetadata,
    ) -> wire::ContainerMetadata {
        wire::ContainerMetadata {
            name: Some(metadata.name.clone()),
            attempt: Some(metadata.attempt),
        }
    }

    pub(in crate::v1alpha1) fn container_phase(phase: ContainerPhase) -> i32 {
        i32::from(match phase {
            ContainerPhase::Created => wire::ContainerState::ContainerCreated,
            ContainerPhase::Running => wire::ContainerState::ContainerRunning,
            ContainerPhase::Exited => wire::ContainerState::ContainerExited,
            ContainerPhase::Unknown => wire::ContainerState::ContainerUnknown,
        })
    }

    pub(in crate::v1alpha1) fn mount(mount: &Mount) -> wire::Mount {
        wire::Mount {
            container_path: Some(mount.container_path.clone()),
            host_path: Some(mount.host_path.clone()),
            readonly: Some(mount.readonly),
            selinux_relabel: Some(mount.selinux_relabel),
        }
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
