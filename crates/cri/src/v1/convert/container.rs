//! What CreateContainer says.

use cri_api::v1 as wire;

use super::{
    groups_policy, image_spec, namespaces, no_selinux, no_windows, old_profile, profile, resources,
};
use crate::{
    checks::{self, present, unknown, unsupported},
    domain::{
        Capabilities, ContainerConfig, ContainerMetadata, ContainerSecurity, Device, EnvValue,
        EnvVar, Mount, Propagation,
    },
    error::Error,
    v1::signal,
};

const NO_ID_MAPS: &str = "id-mapped mounts are not available yet";

/// `config` of CreateContainer.
pub(in crate::v1) fn container_config(
    config: Option<wire::ContainerConfig>,
) -> Result<ContainerConfig, Error> {
    let wire::ContainerConfig {
        metadata,
        image,
        command,
        args,
        working_dir,
        envs,
        mounts,
        devices,
        labels,
        annotations,
        log_path,
        stdin,
        stdin_once,
        tty,
        linux,
        windows,
        cdi_devices,
        stop_signal,
    } = present("config", config)?;
    no_windows("config.windows", windows)?;
    if !cdi_devices.is_empty() {
        return Err(unsupported(
            "config.CDI_devices",
            "CDI is not available yet; use devices",
        ));
    }
    let wire::LinuxContainerConfig {
        resources: limits,
        security_context,
    } = linux.unwrap_or_default();
    let stop_signal = match wire::Signal::try_from(stop_signal) {
        Ok(stop) => signal::number(stop),
        Err(_) => return Err(unknown("config.stop_signal", stop_signal)),
    };
    let wire::ContainerMetadata { name, attempt } = present("config.metadata", metadata)?;
    Ok(ContainerConfig {
        metadata: checks::container_metadata(ContainerMetadata { name, attempt })?,
        image: image_spec("config.image", image)?,
        command,
        args,
        working_dir,
        envs: envs
            .into_iter()
            .map(|wire::KeyValue { key, value }| EnvVar {
                key,
                value: EnvValue(value),
            })
            .collect(),
        mounts: mounts
            .into_iter()
            .enumerate()
            .map(|(at, m)| mount(at, m))
            .collect::<Result<_, _>>()?,
        devices: devices.into_iter().map(device).collect(),
        labels,
        annotations,
        log_path,
        stdin,
        stdin_once,
        tty,
        resources: limits.map(resources),
        security: container_security(security_context.unwrap_or_default())?,
        stop_signal,
    })
}

fn device(device: wire::Device) -> Device {
    let wire::Device {
        container_path,
        host_path,
        permissions,
    } = device;
    Device {
        container_path,
        host_path,
        permissions,
    }
}

fn mount(at: usize, mount: wire::Mount) -> Result<Mount, Error> {
    let wire::Mount {
        container_path,
        host_path,
        readonly,
        selinux_relabel,
        propagation,
        uid_mappings,
        gid_mappings,
        recursive_read_only,
        image,
        image_sub_path,
        mount_options,
    } = mount;
    let field = |name: &str| format!("config.mounts[{at}].{name}");
    let image = image.filter(|image| *image != wire::ImageSpec::default());
    for (said, name, why) in [
        (!uid_mappings.is_empty(), "uidMappings", NO_ID_MAPS),
        (!gid_mappings.is_empty(), "gidMappings", NO_ID_MAPS),
        (
            !mount_options.is_empty(),
            "mount_options",
            "mount options are not available yet",
        ),
    ] {
        if said {
            return Err(unsupported(field(name), why));
        }
    }
    Ok(Mount {
        container_path,
        host_path,
        image: image
            .map(|image| image_spec(&field("image"), Some(image)))
            .transpose()?,
        image_sub_path,
        readonly,
        recursive_read_only,
        propagation: match wire::MountPropagation::try_from(propagation) {
            Ok(wire::MountPropagation::PropagationPrivate) => Propagation::Private,
            Ok(wire::MountPropagation::PropagationHostToContainer) => Propagation::HostToContainer,
            Ok(wire::MountPropagation::PropagationBidirectional) => Propagation::Bidirectional,
            Err(_) => return Err(unknown(field("propagation"), propagation)),
        },
        selinux_relabel,
    })
}

fn container_security(
    context: wire::LinuxContainerSecurityContext,
) -> Result<ContainerSecurity, Error> {
    let wire::LinuxContainerSecurityContext {
        capabilities,
        privileged,
        namespace_options,
        selinux_options,
        run_as_user,
        run_as_group,
        run_as_username,
        readonly_rootfs,
        supplemental_groups,
        supplemental_groups_policy,
        no_new_privs,
        masked_paths,
        readonly_paths,
        seccomp,
        apparmor,
        apparmor_profile,
        seccomp_profile_path,
    } = context;
    no_selinux(selinux_options, privileged)?;
    let wire::Capability {
        add_capabilities,
        drop_capabilities,
        add_ambient_capabilities,
    } = capabilities.unwrap_or_default();
    Ok(ContainerSecurity {
        privileged,
        capabilities: Capabilities {
            add: add_capabilities,
            drop: drop_capabilities,
            add_ambient: add_ambient_capabilities,
        },
        namespaces: namespaces(namespace_options)?,
        run_as_user: run_as_user.map(|user| user.value),
        run_as_group: run_as_group.map(|group| group.value),
        run_as_username,
        readonly_rootfs,
        supplemental_groups,
        supplemental_groups_policy: groups_policy(supplemental_groups_policy)?,
        no_new_privs,
        masked_paths,
        readonly_paths,
        seccomp: profile("seccomp", seccomp)?
            .or(old_profile("seccomp_profile_path", &seccomp_profile_path)?),
        apparmor: profile("apparmor", apparmor)?
            .or(old_profile("apparmor_profile", &apparmor_profile)?),
    })
}
