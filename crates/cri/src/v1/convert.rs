//! Between `runtime.v1` and the domain types. Wire types stop here.
//!
//! From the wire: total, and what we do not support is an error that names the field; the
//! exceptions stand in [`super::accepted`]. Absent messages and proto3's zero values both mean "not
//! said". To the wire: cannot fail.

use std::{collections::BTreeMap, path::PathBuf};

use cri_api::v1 as wire;

use super::signal;
use crate::{
    checks::{self, NO_SELINUX, invalid, present, unknown, unsupported},
    domain::{
        Capabilities, ContainerConfig, ContainerFilter, ContainerMetadata, ContainerPhase,
        ContainerSecurity, Device, DnsConfig, EnvValue, EnvVar, GroupsPolicy, HugepageLimit,
        ImageSpec, Mount, NamespaceMode, Namespaces, PodConfig, PodFilter, PodMetadata, PodPhase,
        PodSecurity, PortMapping, Propagation, Protocol, Resources, SecurityProfile,
    },
    error::Error,
    service::PullRequest,
};

/// `config` of RunPodSandbox.
pub(super) fn pod_config(
    config: Option<wire::PodSandboxConfig>,
    runtime_handler: String,
) -> Result<PodConfig, Error> {
    let config = present("config", config)?;
    if config.windows.is_some() {
        return Err(unsupported("config.windows", "this is a Linux node"));
    }
    let linux = config.linux.unwrap_or_default();
    Ok(PodConfig {
        metadata: pod_metadata(config.metadata)?,
        hostname: config.hostname,
        log_directory: PathBuf::from(config.log_directory),
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
        runtime_handler,
        cgroup_parent: linux.cgroup_parent,
        security: pod_security(linux.security_context.unwrap_or_default())?,
        sysctls: linux.sysctls,
        overhead: linux.overhead.map(resources),
        resources: linux.resources.map(resources),
    })
}

fn pod_metadata(metadata: Option<wire::PodSandboxMetadata>) -> Result<PodMetadata, Error> {
    let metadata = present("config.metadata", metadata)?;
    checks::pod_metadata(PodMetadata {
        name: metadata.name,
        uid: metadata.uid,
        namespace: metadata.namespace,
        attempt: metadata.attempt,
    })
}

fn port_mapping(at: usize, mapping: wire::PortMapping) -> Result<PortMapping, Error> {
    let field = |name: &str| format!("config.port_mappings[{at}].{name}");
    Ok(PortMapping {
        protocol: match wire::Protocol::try_from(mapping.protocol) {
            Ok(wire::Protocol::Tcp) => Protocol::Tcp,
            Ok(wire::Protocol::Udp) => Protocol::Udp,
            Ok(wire::Protocol::Sctp) => Protocol::Sctp,
            Err(_) => return Err(unknown(field("protocol"), mapping.protocol)),
        },
        container_port: checks::port(at, "container_port", mapping.container_port)?,
        host_port: checks::port(at, "host_port", mapping.host_port)?,
        host_ip: mapping.host_ip,
    })
}

fn pod_security(context: wire::LinuxSandboxSecurityContext) -> Result<PodSecurity, Error> {
    const AT: &str = "config.linux.security_context";
    if let Some(options) = context.selinux_options
        && options != wire::SeLinuxOption::default()
        && !context.privileged
    {
        return Err(unsupported(format!("{AT}.selinux_options"), NO_SELINUX));
    }
    Ok(PodSecurity {
        namespaces: namespaces(AT, context.namespace_options)?,
        privileged: context.privileged,
        run_as_user: context.run_as_user.map(|user| user.value),
        run_as_group: context.run_as_group.map(|group| group.value),
        readonly_rootfs: context.readonly_rootfs,
        supplemental_groups: context.supplemental_groups,
        supplemental_groups_policy: groups_policy(AT, context.supplemental_groups_policy)?,
        seccomp: profile(&format!("{AT}.seccomp"), context.seccomp)?.or(old_profile(
            &format!("{AT}.seccomp_profile_path"),
            &context.seccomp_profile_path,
        )?),
        apparmor: profile(&format!("{AT}.apparmor"), context.apparmor)?,
    })
}

fn namespaces(at: &str, options: Option<wire::NamespaceOption>) -> Result<Namespaces, Error> {
    let options = options.unwrap_or_default();
    let at = format!("{at}.namespace_options");
    if let Some(user) = &options.userns_options
        // NODE is the host's user namespace: what there is without the field.
        && user.mode != i32::from(wire::NamespaceMode::Node)
    {
        let field = format!("{at}.userns_options");
        return Err(unsupported(
            field,
            "pods with a user namespace are not available yet",
        ));
    }
    let mode = |name: &str, value: i32| match wire::NamespaceMode::try_from(value) {
        Ok(wire::NamespaceMode::Pod) => Ok(NamespaceMode::Pod),
        Ok(wire::NamespaceMode::Container) => Ok(NamespaceMode::Container),
        Ok(wire::NamespaceMode::Node) => Ok(NamespaceMode::Node),
        Ok(wire::NamespaceMode::Target) => Ok(NamespaceMode::Target),
        Err(_) => Err(unknown(format!("{at}.{name}"), value)),
    };
    Ok(Namespaces {
        network: mode("network", options.network)?,
        pid: mode("pid", options.pid)?,
        ipc: mode("ipc", options.ipc)?,
        target_id: options.target_id,
    })
}

fn groups_policy(at: &str, value: i32) -> Result<GroupsPolicy, Error> {
    match wire::SupplementalGroupsPolicy::try_from(value) {
        Ok(wire::SupplementalGroupsPolicy::Merge) => Ok(GroupsPolicy::Merge),
        Ok(wire::SupplementalGroupsPolicy::Strict) => Ok(GroupsPolicy::Strict),
        Err(_) => Err(unknown(format!("{at}.supplemental_groups_policy"), value)),
    }
}

fn profile(
    field: &str,
    profile: Option<wire::SecurityProfile>,
) -> Result<Option<SecurityProfile>, Error> {
    use wire::security_profile::ProfileType;
    let Some(profile) = profile else {
        return Ok(None);
    };
    Ok(Some(match ProfileType::try_from(profile.profile_type) {
        Ok(ProfileType::RuntimeDefault) => SecurityProfile::RuntimeDefault,
        Ok(ProfileType::Unconfined) => SecurityProfile::Unconfined,
        Ok(ProfileType::Localhost) if profile.localhost_ref.is_empty() => {
            return Err(invalid(format!("{field}.localhost_ref"), "is empty"));
        }
        Ok(ProfileType::Localhost) => SecurityProfile::Localhost(profile.localhost_ref),
        Err(_) => {
            return Err(unknown(
                format!("{field}.profile_type"),
                profile.profile_type,
            ));
        }
    }))
}

/// The form that older clients use: a word or `localhost/<profile>`.
fn old_profile(field: &str, text: &str) -> Result<Option<SecurityProfile>, Error> {
    Ok(Some(match text {
        "" => return Ok(None),
        "runtime/default" | "docker/default" => SecurityProfile::RuntimeDefault,
        "unconfined" => SecurityProfile::Unconfined,
        _ => match text.strip_prefix("localhost/") {
            Some(name) if !name.is_empty() => SecurityProfile::Localhost(name.to_owned()),
            _ => {
                let why =
                    format!("is {text:?}, not runtime/default, unconfined or localhost/<profile>");
                return Err(invalid(field, why));
            }
        },
    }))
}

fn resources(wire: wire::LinuxContainerResources) -> Resources {
    Resources {
        cpu_period: wire.cpu_period,
        cpu_quota: wire.cpu_quota,
        cpu_shares: wire.cpu_shares,
        memory_limit_in_bytes: wire.memory_limit_in_bytes,
        memory_swap_limit_in_bytes: wire.memory_swap_limit_in_bytes,
        oom_score_adj: wire.oom_score_adj,
        cpuset_cpus: wire.cpuset_cpus,
        cpuset_mems: wire.cpuset_mems,
        hugepage_limits: wire
            .hugepage_limits
            .into_iter()
            .map(|limit| HugepageLimit {
                page_size: limit.page_size,
                limit: limit.limit,
            })
            .collect(),
        unified: wire.unified,
    }
}

/// `config` of CreateContainer.
pub(super) fn container_config(
    config: Option<wire::ContainerConfig>,
) -> Result<ContainerConfig, Error> {
    let config = present("config", config)?;
    if config.windows.is_some() {
        return Err(unsupported("config.windows", "this is a Linux node"));
    }
    if !config.cdi_devices.is_empty() {
        return Err(unsupported(
            "config.CDI_devices",
            "CDI is not available yet; use devices",
        ));
    }
    let metadata = present("config.metadata", config.metadata)?;
    let linux = config.linux.unwrap_or_default();
    let stop_signal = match wire::Signal::try_from(config.stop_signal) {
        Ok(stop) => signal::number(stop),
        Err(_) => return Err(unknown("config.stop_signal", config.stop_signal)),
    };
    Ok(ContainerConfig {
        metadata: checks::container_metadata(ContainerMetadata {
            name: metadata.name,
            attempt: metadata.attempt,
        })?,
        image: image_spec("config.image", config.image)?,
        command: config.command,
        args: config.args,
        working_dir: config.working_dir,
        envs: config
            .envs
            .into_iter()
            .map(|env| EnvVar {
                key: env.key,
                value: EnvValue(env.value),
            })
            .collect(),
        mounts: config
            .mounts
            .into_iter()
            .enumerate()
            .map(|(at, m)| mount(at, m))
            .collect::<Result<_, _>>()?,
        devices: config
            .devices
            .into_iter()
            .map(|device| Device {
                container_path: device.container_path,
                host_path: device.host_path,
                permissions: device.permissions,
            })
            .collect(),
        labels: config.labels,
        annotations: config.annotations,
        log_path: config.log_path,
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        tty: config.tty,
        resources: linux.resources.map(resources),
        security: container_security(linux.security_context.unwrap_or_default())?,
        stop_signal,
    })
}

/// An ImageSpec that must name something.
pub(super) fn image_spec(field: &str, spec: Option<wire::ImageSpec>) -> Result<ImageSpec, Error> {
    let spec = present(field, spec)?;
    let spec = ImageSpec {
        image: spec.image,
        annotations: spec.annotations,
        user_specified_image: spec.user_specified_image,
        runtime_handler: spec.runtime_handler,
        image_ref: spec.image_ref,
    };
    checks::image_spec(field, spec)
}

/// What is to be pulled, and as whom.
pub(super) fn pull(request: wire::PullImageRequest) -> Result<PullRequest, Error> {
    let spec = image_spec("image", request.image)?;
    if request
        .sandbox_config
        .is_some_and(|config| config.windows.is_some())
    {
        return Err(unsupported(
            "sandbox_config.windows",
            "this is a Linux node",
        ));
    }
    let auth = request.auth.unwrap_or_default();
    Ok(PullRequest {
        image: spec.image,
        platform: None,
        auth: registry::Said {
            username: auth.username,
            password: auth.password,
            auth: auth.auth,
            identity_token: auth.identity_token,
            registry_token: auth.registry_token,
            server_address: auth.server_address,
        },
    })
}

fn mount(at: usize, mount: wire::Mount) -> Result<Mount, Error> {
    let field = |name: &str| format!("config.mounts[{at}].{name}");
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        let name = if mount.uid_mappings.is_empty() {
            "gidMappings"
        } else {
            "uidMappings"
        };
        return Err(unsupported(
            field(name),
            "id-mapped mounts are not available yet",
        ));
    }
    if mount.image.is_some_and(|image| !image.image.is_empty()) {
        return Err(unsupported(
            field("image"),
            "image volumes are not available yet",
        ));
    }
    if !mount.image_sub_path.is_empty() {
        return Err(unsupported(
            field("image_sub_path"),
            "image volumes are not available yet",
        ));
    }
    if !mount.mount_options.is_empty() {
        return Err(unsupported(
            field("mount_options"),
            "mount options are not available yet",
        ));
    }
    Ok(Mount {
        container_path: mount.container_path,
        host_path: mount.host_path,
        readonly: mount.readonly,
        recursive_read_only: mount.recursive_read_only,
        propagation: match wire::MountPropagation::try_from(mount.propagation) {
            Ok(wire::MountPropagation::PropagationPrivate) => Propagation::Private,
            Ok(wire::MountPropagation::PropagationHostToContainer) => Propagation::HostToContainer,
            Ok(wire::MountPropagation::PropagationBidirectional) => Propagation::Bidirectional,
            Err(_) => return Err(unknown(field("propagation"), mount.propagation)),
        },
        selinux_relabel: mount.selinux_relabel,
    })
}

fn container_security(
    context: wire::LinuxContainerSecurityContext,
) -> Result<ContainerSecurity, Error> {
    const AT: &str = "config.linux.security_context";
    if let Some(options) = context.selinux_options
        && options != wire::SeLinuxOption::default()
        && !context.privileged
    {
        return Err(unsupported(format!("{AT}.selinux_options"), NO_SELINUX));
    }
    let capabilities = context.capabilities.unwrap_or_default();
    Ok(ContainerSecurity {
        privileged: context.privileged,
        capabilities: Capabilities {
            add: capabilities.add_capabilities,
            drop: capabilities.drop_capabilities,
            add_ambient: capabilities.add_ambient_capabilities,
        },
        namespaces: namespaces(AT, context.namespace_options)?,
        run_as_user: context.run_as_user.map(|user| user.value),
        run_as_group: context.run_as_group.map(|group| group.value),
        run_as_username: context.run_as_username,
        readonly_rootfs: context.readonly_rootfs,
        supplemental_groups: context.supplemental_groups,
        supplemental_groups_policy: groups_policy(AT, context.supplemental_groups_policy)?,
        no_new_privs: context.no_new_privs,
        masked_paths: context.masked_paths,
        readonly_paths: context.readonly_paths,
        seccomp: profile(&format!("{AT}.seccomp"), context.seccomp)?.or(old_profile(
            &format!("{AT}.seccomp_profile_path"),
            &context.seccomp_profile_path,
        )?),
        apparmor: profile(&format!("{AT}.apparmor"), context.apparmor)?.or(old_profile(
            &format!("{AT}.apparmor_profile"),
            &context.apparmor_profile,
        )?),
    })
}

/// `filter` of ListPodSandbox.
pub(super) fn pod_filter(filter: Option<wire::PodSandboxFilter>) -> Result<PodFilter, Error> {
    let filter = filter.unwrap_or_default();
    let phase = match filter.state.map(|state| state.state) {
        None => None,
        Some(value) => Some(match wire::PodSandboxState::try_from(value) {
            Ok(wire::PodSandboxState::SandboxReady) => PodPhase::Ready,
            Ok(wire::PodSandboxState::SandboxNotready) => PodPhase::NotReady,
            Err(_) => return Err(unknown("filter.state", value)),
        }),
    };
    Ok(PodFilter {
        id: filter.id,
        phase,
        labels: filter.label_selector,
    })
}

/// `filter` of ListContainers.
pub(super) fn container_filter(
    filter: Option<wire::ContainerFilter>,
) -> Result<ContainerFilter, Error> {
    let filter = filter.unwrap_or_default();
    let phase = match filter.state.map(|state| state.state) {
        None => None,
        Some(value) => Some(match wire::ContainerState::try_from(value) {
            Ok(wire::ContainerState::ContainerCreated) => ContainerPhase::Created,
            Ok(wire::ContainerState::ContainerRunning) => ContainerPhase::Running,
            Ok(wire::ContainerState::ContainerExited) => ContainerPhase::Exited,
            Ok(wire::ContainerState::ContainerUnknown) => ContainerPhase::Unknown,
            Err(_) => return Err(unknown("filter.state", value)),
        }),
    };
    Ok(ContainerFilter {
        id: filter.id,
        pod: filter.pod_sandbox_id,
        phase,
        labels: filter.label_selector,
    })
}

/// `filter` of ListPodSandboxStats.
pub(super) fn pod_stats_filter(filter: Option<wire::PodSandboxStatsFilter>) -> PodFilter {
    let filter = filter.unwrap_or_default();
    PodFilter {
        id: filter.id,
        phase: None,
        labels: filter.label_selector,
    }
}

/// `linux` of UpdateContainerResources.
pub(super) fn update(
    linux: Option<wire::LinuxContainerResources>,
    windows: Option<wire::WindowsContainerResources>,
) -> Result<Resources, Error> {
    if windows.is_some() {
        return Err(unsupported("windows", "this is a Linux node"));
    }
    present("linux", linux).map(resources)
}

/// `filter` of ListContainerStats.
pub(super) fn stats_filter(filter: Option<wire::ContainerStatsFilter>) -> ContainerFilter {
    let filter = filter.unwrap_or_default();
    ContainerFilter {
        id: filter.id,
        pod: filter.pod_sandbox_id,
        phase: None,
        labels: filter.label_selector,
    }
}

/// To the wire.
pub(super) mod to_wire {
    use super::{
        BTreeMap, ContainerMetadata, ContainerPhase, ImageSpec, Mount, NamespaceMode, Namespaces,
        PodMetadata, PodPhase, Propagation, Resources, wire,
    };

    pub(in crate::v1) fn pod_metadata(metadata: &PodMetadata) -> wire::PodSandboxMetadata {
        wire::PodSandboxMetadata {
            name: metadata.name.clone(),
            uid: metadata.uid.clone(),
            namespace: metadata.namespace.clone(),
            attempt: metadata.attempt,
        }
    }

    pub(in crate::v1) fn pod_phase(phase: PodPhase) -> i32 {
        i32::from(match phase {
            PodPhase::Ready => wire::PodSandboxState::SandboxReady,
            PodPhase::NotReady => wire::PodSandboxState::SandboxNotready,
        })
    }

    pub(in crate::v1) fn namespaces(namespaces: &Namespaces) -> wire::NamespaceOption {
        let mode = |mode| {
            i32::from(match mode {
                NamespaceMode::Pod => wire::NamespaceMode::Pod,
                NamespaceMode::Container => wire::NamespaceMode::Container,
                NamespaceMode::Node => wire::NamespaceMode::Node,
                NamespaceMode::Target => wire::NamespaceMode::Target,
            })
        };
        wire::NamespaceOption {
            network: mode(namespaces.network),
            pid: mode(namespaces.pid),
            ipc: mode(namespaces.ipc),
            target_id: namespaces.target_id.clone(),
            userns_options: None,
        }
    }

    pub(in crate::v1) fn container_metadata(
        metadata: &ContainerMetadata,
    ) -> wire::ContainerMetadata {
        wire::ContainerMetadata {
            name: metadata.name.clone(),
            attempt: metadata.attempt,
        }
    }

    pub(in crate::v1) fn container_phase(phase: ContainerPhase) -> i32 {
        i32::from(match phase {
            ContainerPhase::Created => wire::ContainerState::ContainerCreated,
            ContainerPhase::Running => wire::ContainerState::ContainerRunning,
            ContainerPhase::Exited => wire::ContainerState::ContainerExited,
            ContainerPhase::Unknown => wire::ContainerState::ContainerUnknown,
        })
    }

    pub(in crate::v1) fn image_spec(spec: &ImageSpec) -> wire::ImageSpec {
        wire::ImageSpec {
            image: spec.image.clone(),
            annotations: spec.annotations.clone(),
            user_specified_image: spec.user_specified_image.clone(),
            runtime_handler: spec.runtime_handler.clone(),
            image_ref: spec.image_ref.clone(),
        }
    }

    pub(in crate::v1) fn mount(mount: &Mount) -> wire::Mount {
        wire::Mount {
            container_path: mount.container_path.clone(),
            host_path: mount.host_path.clone(),
            readonly: mount.readonly,
            recursive_read_only: mount.recursive_read_only,
            selinux_relabel: mount.selinux_relabel,
            propagation: i32::from(match mount.propagation {
                Propagation::Private => wire::MountPropagation::PropagationPrivate,
                Propagation::HostToContainer => wire::MountPropagation::PropagationHostToContainer,
                Propagation::Bidirectional => wire::MountPropagation::PropagationBidirectional,
            }),
            ..wire::Mount::default()
        }
    }

    pub(in crate::v1) fn resources(resources: &Resources) -> wire::LinuxContainerResources {
        wire::LinuxContainerResources {
            cpu_period: resources.cpu_period,
            cpu_quota: resources.cpu_quota,
            cpu_shares: resources.cpu_shares,
            memory_limit_in_bytes: resources.memory_limit_in_bytes,
            memory_swap_limit_in_bytes: resources.memory_swap_limit_in_bytes,
            oom_score_adj: resources.oom_score_adj,
            cpuset_cpus: resources.cpuset_cpus.clone(),
            cpuset_mems: resources.cpuset_mems.clone(),
            hugepage_limits: resources
                .hugepage_limits
                .iter()
                .map(|limit| wire::HugepageLimit {
                    page_size: limit.page_size.clone(),
                    limit: limit.limit,
                })
                .collect(),
            unified: resources.unified.clone(),
        }
    }

    /// Verbose information: one JSON document under "info", as other runtimes do.
    pub(in crate::v1) fn info(document: Option<serde_json::Value>) -> BTreeMap<String, String> {
        document
            .map(|json| ("info".to_owned(), json.to_string()))
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
