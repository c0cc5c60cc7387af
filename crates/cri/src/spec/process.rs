//! The process of a container, and further processes in it.

use oci::runtime::{Process, Spec, User};

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

/// A further process in a container: the first one's identity, environment and confinement with
/// another command.
///
/// # Errors
/// [`SpecError::Invalid`] for an empty command, or a container whose document has no process.
pub fn exec_process(
    container: &Spec,
    command: &[String],
    terminal: bool,
) -> Result<Process, SpecError> {
    if command.first().is_none_or(String::is_empty) {
        return Err(SpecError::invalid("cmd", "is empty"));
    }
    let Some(first) = &container.process else {
        return Err(SpecError::invalid(
            "container_id",
            "the container's document has no process",
        ));
    };
    let mut process = Process {
        terminal,
        console_size: None,
        args: command.to_vec(),
        ..first.clone()
    };
    if terminal && !process.env.iter().any(|entry| entry.starts_with("TERM=")) {
        process.env.push("TERM=xterm".to_owned());
    }
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exec_is_the_first_process_with_another_command() {
        let first = Process {
            args: vec!["/bin/server".to_owned()],
            env: vec!["A=1".to_owned()],
            cwd: "/srv".to_owned(),
            no_new_privileges: true,
            ..Process::default()
        };
        let spec = Spec {
            process: Some(first.clone()),
            ..Spec::default()
        };
        let command = ["cat".to_owned(), "/x".to_owned()];
        let exec = exec_process(&spec, &command, false).unwrap();
        assert_eq!(
            exec,
            Process {
                args: command.to_vec(),
                ..first
            }
        );
        let terminal = exec_process(&spec, &command, true).unwrap();
        assert!(terminal.terminal);
        assert_eq!(terminal.env, ["A=1", "TERM=xterm"]);
    }

    #[test]
    fn an_empty_command_is_refused() {
        let spec = Spec {
            process: Some(Process::default()),
            ..Spec::default()
        };
        for command in [vec![], vec![String::new()]] {
            assert!(exec_process(&spec, &command, false).is_err());
        }
    }
}
