//! A further process in a container: the first one's identity, environment and confinement, with
//! another command and what the request says otherwise.

use oci::runtime::{Process, Spec, User};

use super::{ResolvedUser, RootfsFiles, SpecError, user};

/// What is to be different from the first process, beside the command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Otherwise {
    /// Another identity.
    pub user: Option<ResolvedUser>,
    /// Variables to set, NAME=value each.
    pub env: Vec<String>,
    /// Another working directory, absolute; empty: the first one's.
    pub working_dir: String,
}

impl Otherwise {
    /// Checks what a request says. `user` is a name or an id, with `:` and a group if that is to be
    /// another, in the words of the container's own `files`; empty: the first process's.
    ///
    /// # Errors
    /// [`SpecError::Invalid`], naming the field.
    pub fn checked(
        user: &str,
        env: Vec<String>,
        working_dir: String,
        files: impl FnOnce() -> RootfsFiles,
    ) -> Result<Otherwise, SpecError> {
        for (index, entry) in env.iter().enumerate() {
            let named = entry
                .split_once('=')
                .is_some_and(|(name, _)| !name.is_empty());
            if !named || entry.contains('\0') {
                let what = format!("{entry:?} is not NAME=value");
                return Err(SpecError::invalid(format!("env[{index}]"), what));
            }
        }
        if !working_dir.is_empty() && !working_dir.starts_with('/') {
            let what = format!("{working_dir:?} is not absolute");
            return Err(SpecError::invalid("working_dir", what));
        }
        let user = match user {
            "" => None,
            text => Some(user::of_exec(text, &files())?),
        };
        Ok(Otherwise {
            user,
            env,
            working_dir,
        })
    }

    fn apply(&self, process: &mut Process) {
        if let Some(user) = &self.user {
            process.user = User {
                uid: user.uid,
                gid: user.gid,
                additional_gids: user.groups.clone(),
                ..User::default()
            };
            let home = if user.home.is_empty() {
                "/"
            } else {
                &user.home
            };
            set(&mut process.env, &format!("HOME={home}"));
        }
        for entry in &self.env {
            set(&mut process.env, entry);
        }
        if !self.working_dir.is_empty() {
            process.cwd.clone_from(&self.working_dir);
        }
    }
}

/// Each name once: the last word on it counts.
fn set(env: &mut Vec<String>, entry: &str) {
    let name = |entry: &str| entry.split('=').next().map(str::to_owned);
    match env.iter_mut().find(|known| name(known) == name(entry)) {
        Some(known) => entry.clone_into(known),
        None => env.push(entry.to_owned()),
    }
}

/// The document of such a process.
///
/// # Errors
/// [`SpecError::Invalid`] for an empty command, or a container whose document has no process.
pub fn exec_process(
    container: &Spec,
    command: &[String],
    terminal: bool,
    otherwise: &Otherwise,
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
    otherwise.apply(&mut process);
    if terminal && !process.env.iter().any(|entry| entry.starts_with("TERM=")) {
        process.env.push("TERM=xterm".to_owned());
    }
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> Process {
        Process {
            args: vec!["/bin/server".to_owned()],
            env: vec!["A=1".to_owned(), "HOME=/srv".to_owned()],
            cwd: "/srv".to_owned(),
            no_new_privileges: true,
            ..Process::default()
        }
    }

    fn spec() -> Spec {
        Spec {
            process: Some(first()),
            ..Spec::default()
        }
    }

    #[test]
    fn an_exec_is_the_first_process_with_another_command() {
        let command = ["cat".to_owned(), "/x".to_owned()];
        let same = Otherwise::default();
        let exec = exec_process(&spec(), &command, false, &same).unwrap();
        assert_eq!(
            exec,
            Process {
                args: command.to_vec(),
                ..first()
            }
        );
        let exec = exec_process(&spec(), &command, true, &same).unwrap();
        assert!(exec.terminal);
        assert_eq!(exec.env, ["A=1", "HOME=/srv", "TERM=xterm"]);
        for (spec, command) in [
            (spec(), vec![]),
            (spec(), vec![String::new()]),
            (Spec::default(), vec!["x".to_owned()]),
        ] {
            assert!(exec_process(&spec, &command, false, &same).is_err());
        }
    }

    fn files() -> RootfsFiles {
        RootfsFiles {
            passwd: Some("root:x:0:0::/root:\nweb:x:7:8::/web:\n".to_owned()),
            group: Some("staff:x:50:web\n".to_owned()),
        }
    }

    #[test]
    fn what_is_said_otherwise_wins() {
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let env = strings(&["A=2", "B=3", "B=4", "TERM=dumb"]);
        let said = Otherwise::checked("web", env, "/tmp".to_owned(), files).unwrap();
        let exec = exec_process(&spec(), &["id".to_owned()], true, &said).unwrap();
        assert_eq!((exec.user.uid, exec.user.gid), (7, 8));
        assert_eq!(exec.user.additional_gids, [8, 50]);
        assert_eq!(exec.cwd, "/tmp");
        assert_eq!(exec.env, ["A=2", "HOME=/web", "B=4", "TERM=dumb"]);
        assert!(exec.no_new_privileges);
        let said = Otherwise::checked("9:staff", Vec::new(), String::new(), files).unwrap();
        let user = said.user.unwrap();
        assert_eq!((user.uid, user.gid, user.home.as_str()), (9, 50, ""));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (user, env, dir, field) in [
            ("ghost", "", "", "user: "),
            ("web:ghosts", "", "", "user: "),
            ("4294967295", "", "", "user: "),
            ("", "novalue", "", "env[0]: "),
            ("", "=x", "", "env[0]: "),
            ("", "A=b\0c", "", "env[0]: "),
            ("", "", "tmp", "working_dir: "),
        ] {
            let env = Some(env).filter(|env| !env.is_empty());
            let env = env.into_iter().map(str::to_owned).collect();
            let error = Otherwise::checked(user, env, dir.to_owned(), files).unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }
}
