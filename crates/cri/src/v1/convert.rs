//! Between `runtime.v1` and the domain types. Wire types stop here.
//!
//! From the wire: total, and what we do not support is an error that names the field; the
//! exceptions stand in [`super::accepted`]. Messages are taken apart field by field and without `..`,
//! so that one which a newer contract brings does not compile until somebody has decided about it.
//! Absent messages and proto3's zero values both mean "not said". To the wire: cannot fail.

mod container;
mod filters;
mod pod;
pub(super) mod to_wire;

use cri_api::v1 as wire;

pub(super) use self::{
    container::container_config,
    filters::{container_filter, image_filter, pod_filter, pod_stats_filter, stats_filter},
    pod::pod_config,
};
use crate::{
    checks::{self, NO_SELINUX, invalid, present, unknown, unsupported},
    domain::{
        GroupsPolicy, HugepageLimit, ImageSpec, NamespaceMode, Namespaces, Resources,
        SecurityProfile,
    },
    error::Error,
    service::PullRequest,
};

/// Where the security context of a pod and of a container is in their requests.
const SECURITY: &str = "config.linux.security_context";

fn no_windows<T>(field: &str, said: Option<T>) -> Result<(), Error> {
    match said {
        None => Ok(()),
        Some(_) => Err(unsupported(field, "this is a Linux node")),
    }
}

fn no_selinux(options: Option<wire::SeLinuxOption>, privileged: bool) -> Result<(), Error> {
    let said = options.is_some_and(|options| options != wire::SeLinuxOption::default());
    if said && !privileged {
        return Err(unsupported(
            format!("{SECURITY}.selinux_options"),
            NO_SELINUX,
        ));
    }
    Ok(())
}

fn namespaces(options: Option<wire::NamespaceOption>) -> Result<Namespaces, Error> {
    let wire::NamespaceOption {
        network,
        pid,
        ipc,
        target_id,
        userns_options,
    } = options.unwrap_or_default();
    let at = format!("{SECURITY}.namespace_options");
    if let Some(wire::UserNamespace { mode, uids, gids }) = userns_options {
        let field = format!("{at}.userns_options");
        // NODE is the host's user namespace: what there is without the field.
        if mode != i32::from(wire::NamespaceMode::Node) {
            let why = "pods with a user namespace are not available yet";
            return Err(unsupported(field, why));
        }
        if !uids.is_empty() || !gids.is_empty() {
            return Err(invalid(field, "has mappings, and its mode is NODE"));
        }
    }
    let mode = |name: &str, value: i32| match wire::NamespaceMode::try_from(value) {
        Ok(wire::NamespaceMode::Pod) => Ok(NamespaceMode::Pod),
        Ok(wire::NamespaceMode::Container) => Ok(NamespaceMode::Container),
        Ok(wire::NamespaceMode::Node) => Ok(NamespaceMode::Node),
        Ok(wire::NamespaceMode::Target) => Ok(NamespaceMode::Target),
        Err(_) => Err(unknown(format!("{at}.{name}"), value)),
    };
    let pid = mode("pid", pid)?;
    if !target_id.is_empty() && pid != NamespaceMode::Target {
        let why = format!("is {target_id:?}, and pid is not TARGET");
        return Err(invalid(format!("{at}.target_id"), why));
    }
    Ok(Namespaces {
        network: mode("network", network)?,
        pid,
        ipc: mode("ipc", ipc)?,
        target_id,
    })
}

fn groups_policy(value: i32) -> Result<GroupsPolicy, Error> {
    match wire::SupplementalGroupsPolicy::try_from(value) {
        Ok(wire::SupplementalGroupsPolicy::Merge) => Ok(GroupsPolicy::Merge),
        Ok(wire::SupplementalGroupsPolicy::Strict) => Ok(GroupsPolicy::Strict),
        Err(_) => Err(unknown(
            format!("{SECURITY}.supplemental_groups_policy"),
            value,
        )),
    }
}

fn profile(
    name: &str,
    profile: Option<wire::SecurityProfile>,
) -> Result<Option<SecurityProfile>, Error> {
    use wire::security_profile::ProfileType;
    let Some(wire::SecurityProfile {
        profile_type,
        localhost_ref,
    }) = profile
    else {
        return Ok(None);
    };
    let field = |part: &str| format!("{SECURITY}.{name}.{part}");
    Ok(Some(match ProfileType::try_from(profile_type) {
        Ok(ProfileType::Localhost) if localhost_ref.is_empty() => {
            return Err(invalid(field("localhost_ref"), "is empty"));
        }
        Ok(ProfileType::Localhost) => SecurityProfile::Localhost(localhost_ref),
        Ok(_) if !localhost_ref.is_empty() => {
            let why = format!("is {localhost_ref:?}, and profile_type is not Localhost");
            return Err(invalid(field("localhost_ref"), why));
        }
        Ok(ProfileType::RuntimeDefault) => SecurityProfile::RuntimeDefault,
        Ok(ProfileType::Unconfined) => SecurityProfile::Unconfined,
        Err(_) => return Err(unknown(field("profile_type"), profile_type)),
    }))
}

/// The form that older clients use: a word or `localhost/<profile>`.
fn old_profile(name: &str, text: &str) -> Result<Option<SecurityProfile>, Error> {
    Ok(Some(match text {
        "" => return Ok(None),
        "runtime/default" | "docker/default" => SecurityProfile::RuntimeDefault,
        "unconfined" => SecurityProfile::Unconfined,
        _ => match text.strip_prefix("localhost/") {
            Some(name) if !name.is_empty() => SecurityProfile::Localhost(name.to_owned()),
            _ => {
                let why =
                    format!("is {text:?}, not runtime/default, unconfined or localhost/<profile>");
                return Err(invalid(format!("{SECURITY}.{name}"), why));
            }
        },
    }))
}

fn resources(resources: wire::LinuxContainerResources) -> Resources {
    let wire::LinuxContainerResources {
        cpu_period,
        cpu_quota,
        cpu_shares,
        memory_limit_in_bytes,
        memory_swap_limit_in_bytes,
        oom_score_adj,
        cpuset_cpus,
        cpuset_mems,
        hugepage_limits,
        unified,
    } = resources;
    Resources {
        cpu_period,
        cpu_quota,
        cpu_shares,
        memory_limit_in_bytes,
        memory_swap_limit_in_bytes,
        oom_score_adj,
        cpuset_cpus,
        cpuset_mems,
        hugepage_limits: hugepage_limits
            .into_iter()
            .map(|wire::HugepageLimit { page_size, limit }| HugepageLimit { page_size, limit })
            .collect(),
        unified,
    }
}

/// An ImageSpec that must name something.
pub(super) fn image_spec(field: &str, spec: Option<wire::ImageSpec>) -> Result<ImageSpec, Error> {
    let wire::ImageSpec {
        image,
        annotations,
        user_specified_image,
        runtime_handler,
        image_ref,
    } = present(field, spec)?;
    let spec = ImageSpec {
        image,
        annotations,
        user_specified_image,
        runtime_handler,
        image_ref,
    };
    checks::image_spec(field, spec)
}

/// What is to be pulled, and as whom.
pub(super) fn pull(request: wire::PullImageRequest) -> Result<PullRequest, Error> {
    let wire::PullImageRequest {
        image,
        auth,
        sandbox_config,
    } = request;
    let spec = image_spec("image", image)?;
    let windows = sandbox_config.and_then(|config| config.windows);
    no_windows("sandbox_config.windows", windows)?;
    let wire::AuthConfig {
        username,
        password,
        auth,
        server_address,
        identity_token,
        registry_token,
    } = auth.unwrap_or_default();
    Ok(PullRequest {
        image: spec.image,
        platform: None,
        auth: registry::Said {
            username,
            password,
            auth,
            identity_token,
            registry_token,
            server_address,
        },
    })
}

/// `linux` of UpdateContainerResources.
pub(super) fn update(
    linux: Option<wire::LinuxContainerResources>,
    windows: Option<wire::WindowsContainerResources>,
) -> Result<Resources, Error> {
    no_windows("windows", windows)?;
    present("linux", linux).map(resources)
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
