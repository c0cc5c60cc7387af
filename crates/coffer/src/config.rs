//! The daemon's configuration: a TOML file, overridden by flags. `docs/configuration.md` explains
//! each key. An unknown key is an error that names it, so that a slip is not silently ignored.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{error::Error, nearest};

/// Where the configuration is unless `--config` says otherwise; it need not be there.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/coffer/config.toml";
/// Where clients look for the daemon.
pub(crate) const DEFAULT_SOCKET: &str = "/run/coffer/coffer.sock";

/// Every key of the file.
const KEYS: [&str; 6] = [
    "root",
    "state",
    "socket",
    "agent",
    "cgroup_root",
    "log_level",
];

/// What is said: in the file or by flags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Said {
    pub(crate) root: Option<PathBuf>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) agent: Option<PathBuf>,
    pub(crate) cgroup_root: Option<String>,
    pub(crate) log_level: Option<String>,
}

/// What it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Durable state: images, layers.
    pub(crate) root: PathBuf,
    /// State that ends with the boot: pods.
    pub(crate) state: PathBuf,
    /// The socket to listen on.
    pub(crate) socket: PathBuf,
    /// The agent program.
    pub(crate) agent: PathBuf,
    /// First part of cgroup names.
    pub(crate) cgroup_root: String,
    /// How much is logged.
    pub(crate) log_level: tracing::Level,
}

impl Said {
    /// Reads the file. A missing file is an empty one, unless it was asked for by name.
    pub(crate) fn read(path: Option<&Path>) -> Result<Said, Error> {
        let chosen = path.unwrap_or(Path::new(DEFAULT_CONFIG));
        match std::fs::read_to_string(chosen) {
            Ok(text) => Said::parse(&text).map_err(|cause| Error::Config {
                path: chosen.to_owned(),
                cause,
            }),
            Err(error) if path.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Said::default())
            }
            Err(source) => {
                let what = format!("read the configuration {}", chosen.display());
                Err(Error::Io { what, source })
            }
        }
    }

    fn parse(text: &str) -> Result<Said, String> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| error.to_string().trim_end().replace('\n', "\n  "))?;
        if let Some(key) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
            return Err(match nearest::of(key, KEYS) {
                Some(meant) => format!("unknown key {key:?}; did you mean {meant:?}?"),
                None => format!("unknown key {key:?}; the keys are {}", KEYS.join(", ")),
            });
        }
        for (key, value) in &table {
            if !value.is_str() {
                return Err(format!(
                    "key {key:?} is a {}, expected a string",
                    value.type_str()
                ));
            }
        }
        table.try_into().map_err(|error| error.message().to_owned())
    }

    /// `self` where it says something, else `other`.
    pub(crate) fn or(self, other: Said) -> Said {
        Said {
            root: self.root.or(other.root),
            state: self.state.or(other.state),
            socket: self.socket.or(other.socket),
            agent: self.agent.or(other.agent),
            cgroup_root: self.cgroup_root.or(other.cgroup_root),
            log_level: self.log_level.or(other.log_level),
        }
    }

    /// Fills in the defaults and checks the values. `beside` is the directory of this program, where
    /// the agent is looked for.
    pub(crate) fn mean(self, beside: Option<&Path>) -> Result<Config, Error> {
        let state = self.state.unwrap_or_else(|| "/run/coffer".into());
        let socket = self.socket.unwrap_or_else(|| state.join("coffer.sock"));
        let root = self.root.unwrap_or_else(|| "/var/lib/coffer".into());
        for (key, path) in [("root", &root), ("state", &state), ("socket", &socket)] {
            if !path.is_absolute() {
                let said = format!("{key} {:?} is not an absolute path", path.display());
                return Err(Error::Usage(said));
            }
        }
        let cgroup_root = self.cgroup_root.unwrap_or_else(|| "coffer".to_owned());
        check_cgroup_root(&cgroup_root)?;
        let level = self.log_level.unwrap_or_else(|| "info".to_owned());
        let log_level = level.parse().map_err(|_| {
            let known = "error, warn, info, debug, trace";
            Error::Usage(format!("log_level {level:?} is none of {known}"))
        })?;
        let agent = match self.agent {
            Some(agent) => agent,
            None => find_agent(beside)?,
        };
        Ok(Config {
            root,
            state,
            socket,
            agent,
            cgroup_root,
            log_level,
        })
    }
}

/// One or more names with slashes between them; nothing that could leave the cgroup mount.
fn check_cgroup_root(path: &str) -> Result<(), Error> {
    let fits = |part: &str| {
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        !part.is_empty() && part != "." && part != ".." && part.chars().all(name)
    };
    if path.split('/').all(fits) {
        Ok(())
    } else {
        Err(Error::Usage(format!(
            "cgroup_root {path:?} is not a relative path of names (letters, digits, '-', '_', '.')"
        )))
    }
}

fn find_agent(beside: Option<&Path>) -> Result<PathBuf, Error> {
    let mut places: Vec<PathBuf> = Vec::new();
    places.extend(beside.map(|directory| directory.join("coffer-agent")));
    places.push("/usr/libexec/coffer/coffer-agent".into());
    places
        .iter()
        .find(|place| place.is_file())
        .cloned()
        .ok_or_else(|| {
            let looked: Vec<String> = places
                .iter()
                .map(|place| place.display().to_string())
                .collect();
            Error::State {
                message: format!("coffer-agent is in none of {}", looked.join(", ")),
                hint: "put it beside coffer, or set `agent` in the configuration".to_owned(),
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_the_nearest() {
        let error = Said::parse("sokket = \"/x\"").unwrap_err();
        assert_eq!(error, "unknown key \"sokket\"; did you mean \"socket\"?");
        let error = Said::parse("[network]\nsubnet = \"10.0.0.0/8\"").unwrap_err();
        assert!(
            error.starts_with("unknown key \"network\"; the keys are root,"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_type_and_wrong_syntax_are_errors() {
        assert_eq!(
            Said::parse("root = 7").unwrap_err(),
            "key \"root\" is a integer, expected a string"
        );
        assert!(Said::parse("root = ").unwrap_err().contains("line 1"));
    }

    #[test]
    fn flags_win_over_the_file_and_the_socket_follows_the_state() {
        let file = Said::parse("state = \"/f\"\nroot = \"/r\"\nagent = \"/agent\"").unwrap();
        let flags = Said {
            state: Some("/s".into()),
            ..Said::default()
        };
        let config = flags.or(file).mean(None).unwrap();
        assert_eq!(config.state, Path::new("/s"));
        assert_eq!(config.root, Path::new("/r"));
        assert_eq!(config.socket, Path::new("/s/coffer.sock"));
    }

    #[test]
    fn the_meaning_is_checked() {
        let agent = Said {
            agent: Some("/agent".into()),
            ..Said::default()
        };
        let table = [
            Said {
                root: Some("relative".into()),
                ..agent.clone()
            },
            Said {
                cgroup_root: Some("../up".into()),
                ..agent.clone()
            },
            Said {
                cgroup_root: Some("/abs".into()),
                ..agent.clone()
            },
            Said {
                log_level: Some("loud".into()),
                ..agent.clone()
            },
        ];
        for said in table {
            assert!(said.clone().mean(None).is_err(), "{said:?}");
        }
        assert!(agent.mean(None).is_ok());
    }

    #[test]
    fn a_missing_file_is_an_error_only_when_named() {
        let error = Said::read(Some(Path::new("/nonexistent/config.toml"))).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/config.toml"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_agent_says_where_it_was_looked_for() {
        let empty = tempfile::tempdir().unwrap();
        let error = find_agent(Some(empty.path()));
        if !Path::new("/usr/libexec/coffer/coffer-agent").exists() {
            let text = error.unwrap_err().to_string();
            assert!(text.contains(&empty.path().display().to_string()), "{text}");
        }
    }
}
