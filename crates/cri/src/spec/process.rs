//! The first process of a container.

use oci::runtime::{Process, User};

use super::{
    ContainerInput, HostFacts, ResolvedUser, SpecError, apparmor, args, capabilities, env,
    resources,
};

/// The first process.
pub(super) fn process(
    input: &ContainerInput<'_>,
    user: &ResolvedUser,
    facts: &HostFacts,
) -> Result<Process, SpecError> {
    let config = input.config;
    Ok(Process {
        terminal: config.tty,
        user: User {
            uid: user.uid,
            gid: user.gid,
            additional_gids: user.groups.clone(),
            ..User::default()
        },
        args: args::args(config, input.image)?,
        env: env::env(config, input.image, input.pod.hostname, &user.home)?,
        cwd: args::working_dir(config, input.image)?,
        capabilities: Some(capabilities::capabilities(
            &config.security,
            facts.capabilities,
        )?),
        rlimits: input.node.rlimits.clone(),
        no_new_privileges: config.security.no_new_privs,
        apparmor_profile: apparmor::apparmor(input, facts)?,
        oom_score_adj: Some(resources::oom_score_adj(config.resources.as_ref())?),
        ..Process::default()
    })
}
