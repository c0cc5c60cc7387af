//! The agent's configuration file, in the form of Kata's `agent-config.toml`: `--config FILE`, or the
//! kernel parameter `agent.config_file` of a micro-VM. It wins over the other kernel parameters; flags
//! and the environment win over it.
//!
//! | key | means |
//! |---|---|
//! | `log_level` | as `--log-level` |
//! | `server_addr` | as `--listen` |
//! | `hotplug_timeout` | seconds, also `{ secs, nanos }` |
//! | `container_pipe_size` | bytes of the pipes of containers; 0: the kernel's default |
//! | `unified_cgroup_hierarchy` | cgroups of a micro-VM: v2, or v1 |
//! | `dev_mode` | what crashes leaves a core |
//! | `passfd_listener_port` | virtio socket port for stdio streams |
//! | `endpoints.allowed` | the calls that are answered, by the names of their requests |
//!
//! A key that this agent does not know is warned of, as kernel parameters are; one in `endpoints`, and a value
//! of the wrong type, is an error.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::args;
use crate::toml::{self, Value};

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read the configuration {path}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("configuration {path}")]
    Syntax { path: PathBuf, source: toml::Error },
    #[error("configuration {path}: {key} is {value}: expected {expected}")]
    Value {
        path: PathBuf,
        key: String,
        value: String,
        expected: &'static str,
    },
}

/// What a file says; None: nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigFile {
    pub(crate) log_level: Option<log::LevelFilter>,
    pub(crate) server_addr: Option<String>,
    pub(crate) hotplug_timeout: Option<Duration>,
    pub(crate) pipe_size: Option<u32>,
    pub(crate) unified_cgroups: Option<bool>,
    pub(crate) dev_mode: Option<bool>,
    pub(crate) passfd_port: Option<u32>,
    /// The calls that are answered.
    pub(crate) allowed: Option<Vec<String>>,
    /// Keys that this agent does not have, if they ask for something.
    pub(crate) unsupported: Vec<String>,
}

/// Reads a file.
///
/// # Errors
/// It cannot be read, or a value in it is wrong.
pub(crate) fn read(path: &Path) -> Result<ConfigFile, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<ConfigFile, Error> {
    let said = toml::parse(text).map_err(|source| Error::Syntax {
        path: path.to_owned(),
        source,
    })?;
    let mut file = ConfigFile::default();
    for (key, value) in said {
        file.take(&key, &value).map_err(|expected| Error::Value {
            path: path.to_owned(),
            value: shown(&value),
            key,
            expected,
        })?;
    }
    Ok(file)
}

impl ConfigFile {
    /// Takes one value; an error says what was expected.
    fn take(&mut self, key: &str, value: &Value) -> Result<(), &'static str> {
        match key {
            "log_level" => {
                let level = text(value)?;
                let level = args::log_level(Some(&level));
                let level = level.map_err(|_| "error, warn, info, debug or trace")?;
                self.log_level = Some(level);
            }
            "server_addr" => self.server_addr = Some(text(value)?),
            "hotplug_timeout" | "hotplug_timeout.secs" => {
                let seconds = number(value, "a number of seconds over 0")?;
                if seconds == 0 {
                    return Err("a number of seconds over 0");
                }
                self.hotplug_timeout = Some(Duration::from_secs(seconds.into()));
            }
            // Below a second: nobody waits so precisely.
            "hotplug_timeout.nanos" => drop(number(value, "a number of nanoseconds")?),
            "container_pipe_size" => {
                self.pipe_size = Some(number(value, "a number of bytes")?);
            }
            "unified_cgroup_hierarchy" => self.unified_cgroups = Some(flag(value)?),
            "dev_mode" => self.dev_mode = Some(flag(value)?),
            "passfd_listener_port" => {
                self.passfd_port = Some(number(value, "a port, or 0")?);
            }
            "endpoints.allowed" => {
                let Value::List(list) = value else {
                    return Err("a list of requests");
                };
                let names = list.iter().map(text).collect::<Result<_, _>>();
                self.allowed = Some(names.map_err(|_| "a list of requests")?);
            }
            // It may be a rule with a typing error in it: without it every call would be answered.
            rule if rule.starts_with("endpoints.") => {
                return Err("no key there but endpoints.allowed");
            }
            other => {
                if !matches!(value, Value::Bool(false) | Value::Number(0)) {
                    self.unsupported.push(other.to_owned());
                }
            }
        }
        Ok(())
    }
}

fn text(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        _ => Err("a string"),
    }
}

fn flag(value: &Value) -> Result<bool, &'static str> {
    match value {
        Value::Bool(value) => Ok(*value),
        _ => Err("true or false"),
    }
}

fn number(value: &Value, expected: &'static str) -> Result<u32, &'static str> {
    match value {
        Value::Number(number) => u32::try_from(*number).map_err(|_| expected),
        _ => Err(expected),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::List(_) => "a list".to_owned(),
    }
}

/// What a fuzzer calls.
pub(crate) fn fuzz(text: &str) {
    drop(parse(Path::new("/file"), text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<ConfigFile, Error> {
        parse(Path::new("/etc/agent.toml"), text)
    }

    #[test]
    fn a_file_of_katas_form_is_understood() {
        let file = of(
            "dev_mode = true\nserver_addr = 'vsock://8:2048'\nlog_level = \"warning\"\n\
             hotplug_timeout = { secs = 5, nanos = 0 }\ncontainer_pipe_size = 65536\n\
             unified_cgroup_hierarchy = false\npassfd_listener_port = 1027\n\
             tracing = false\ndebug_console_vport = 1026\n\
             [endpoints]\nallowed = [\"CreateContainerRequest\", \"StartContainerRequest\"]\n",
        )
        .unwrap();
        let wanted = ConfigFile {
            log_level: Some(log::LevelFilter::Warn),
            server_addr: Some("vsock://8:2048".into()),
            hotplug_timeout: Some(Duration::from_secs(5)),
            pipe_size: Some(65536),
            unified_cgroups: Some(false),
            dev_mode: Some(true),
            passfd_port: Some(1027),
            allowed: Some(
                ["CreateContainerRequest", "StartContainerRequest"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            unsupported: vec!["debug_console_vport".into()],
        };
        assert_eq!(file, wanted);
        assert_eq!(of("").unwrap(), ConfigFile::default());
        let seconds = of("hotplug_timeout = 7").unwrap().hotplug_timeout;
        assert_eq!(seconds, Some(Duration::from_secs(7)));
    }

    #[test]
    fn wrong_values_name_file_key_and_what_was_expected() {
        for (text, part) in [
            (
                "log_level = \"loud\"",
                "log_level is \"loud\": expected error",
            ),
            ("log_level = 3", "log_level is 3: expected a string"),
            ("dev_mode = \"yes\"", "expected true or false"),
            ("hotplug_timeout = 0", "seconds over 0"),
            ("hotplug_timeout = -1", "seconds over 0"),
            (
                "container_pipe_size = -1",
                "container_pipe_size is -1: expected a number",
            ),
            (
                "container_pipe_size = 99999999999",
                "expected a number of bytes",
            ),
            (
                "[endpoints]\nallowed = \"all\"",
                "endpoints.allowed is \"all\": expected a list",
            ),
            (
                "[endpoints]\nallowed = [1]",
                "endpoints.allowed is a list: expected a list of",
            ),
            (
                "[endpoints]\nalowed = []",
                "endpoints.alowed is a list: expected no key there",
            ),
        ] {
            let said = of(text).unwrap_err().to_string();
            assert!(
                said.starts_with("configuration /etc/agent.toml: "),
                "{said}"
            );
            assert!(said.contains(part), "{text}: {said}");
        }
        let syntax = crate::logging::chain(&of("log_level").unwrap_err());
        assert!(syntax.contains("line 1: '=' is missing"), "{syntax}");
        let missing = read(Path::new("/nonexistent/agent.toml")).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/agent.toml"));
    }
}
