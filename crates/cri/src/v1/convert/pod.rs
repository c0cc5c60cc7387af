//! What RunPodSandbox says.

use std::path::PathBuf;

use cri_api::v1 as wire;

use super::{groups_policy, namespaces, no_selinux, no_windows, old_profile, profile, resources};
use crate::{
    checks::{self, present, unknown},
    domain::{DnsConfig, PodConfig, PodMetadata, PodSecurity, PortMapping, Protocol},
    error::Error,
};

/// `config` of RunPodSandbox.
pub(in crate::v1) fn pod_config(
    config: Option<wire::PodSandboxConfig>,
    runtime_handler: String,
) -> Result<PodConfig, Error> {
    let wire::PodSandboxConfig {
        metadata,
        hostname,
        log_directory,
        dns_config,
        port_mappings,
        labels,
        annotations,
        linux,
        windows,
    } = present("config", config)?;
    no_windows("config.windows", windows)?;
    let wire::LinuxPodSandboxConfig {
        cgroup_parent,
        security_context,
        sysctls,
        overhead,
        resources: sum,
    } = linux.unwrap_or_default();
    Ok(PodConfig {
        metadata: pod_metadata(metadata)?,
        hostname,
        log_directory: PathBuf::from(log_directory),
        dns: dns_config.map(dns),
        port_mappings: port_mappings
            .into_iter()
            .enumerate()
            .map(|(at, mapping)| port_mapping(at, mapping))
            .collect::<Result<_, _>>()?,
        labels,
        annotations,
        runtime_handler,
        cgroup_parent,
        security: pod_security(security_context.unwrap_or_default())?,
        sysctls,
        overhead: overhead.map(resources),
        resources: sum.map(resources),
    })
}

fn dns(config: wire::DnsConfig) -> DnsConfig {
    let wire::DnsConfig {
        servers,
        searches,
        options,
    } = config;
    DnsConfig {
        servers,
        searches,
        options,
    }
}

fn pod_metadata(metadata: Option<wire::PodSandboxMetadata>) -> Result<PodMetadata, Error> {
    let wire::PodSandboxMetadata {
        name,
        uid,
        namespace,
        attempt,
    } = present("config.metadata", metadata)?;
    checks::pod_metadata(PodMetadata {
        name,
        uid,
        namespace,
        attempt,
    })
}

fn port_mapping(at: usize, mapping: wire::PortMapping) -> Result<PortMapping, Error> {
    let wire::PortMapping {
        protocol,
        container_port,
        host_port,
        host_ip,
    } = mapping;
    let field = |name: &str| format!("config.port_mappings[{at}].{name}");
    Ok(PortMapping {
        protocol: match wire::Protocol::try_from(protocol) {
            Ok(wire::Protocol::Tcp) => Protocol::Tcp,
            Ok(wire::Protocol::Udp) => Protocol::Udp,
            Ok(wire::Protocol::Sctp) => Protocol::Sctp,
            Err(_) => return Err(unknown(field("protocol"), protocol)),
        },
        container_port: checks::port(at, "container_port", container_port)?,
        host_port: checks::port(at, "host_port", host_port)?,
        host_ip,
    })
}

fn pod_security(context: wire::LinuxSandboxSecurityContext) -> Result<PodSecurity, Error> {
    let wire::LinuxSandboxSecurityContext {
        namespace_options,
        selinux_options,
        run_as_user,
        run_as_group,
        readonly_rootfs,
        supplemental_groups,
        supplemental_groups_policy,
        privileged,
        seccomp,
        apparmor,
        seccomp_profile_path,
    } = context;
    no_selinux(selinux_options, privileged)?;
    Ok(PodSecurity {
        namespaces: namespaces(namespace_options)?,
        privileged,
        run_as_user: run_as_user.map(|user| user.value),
        run_as_group: run_as_group.map(|group| group.value),
        readonly_rootfs,
        supplemental_groups,
        supplemental_groups_policy: groups_policy(supplemental_groups_policy)?,
        seccomp: profile("seccomp", seccomp)?
            .or(old_profile("seccomp_profile_path", &seccomp_profile_path)?),
        apparmor: profile("apparmor", apparmor)?,
    })
}
