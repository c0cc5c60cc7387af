//! The kernel parameters `agent.*`, as Kata's agent has them. Those of others are none of ours; a wrong
//! value of ours is an error.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Error;
use crate::args;
use crate::config_file::ConfigFile;
use crate::machine::HOTPLUG_TIMEOUT;

/// What the parameters mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Params {
    pub(super) log_level: log::LevelFilter,
    /// None: `vsock://-1:1024`.
    pub(super) server_addr: Option<String>,
    pub(super) hotplug_timeout: Duration,
    /// Bytes of the pipes of containers; None: the kernel's default.
    pub(super) pipe_size: Option<u32>,
    pub(super) dev_mode: bool,
    /// Port of the virtio socket for stdio streams.
    pub(super) passfd_port: Option<u32>,
    /// A file that says more.
    pub(super) config_file: Option<PathBuf>,
    /// Calls that the file lists.
    pub(super) allowed: Option<Vec<String>>,
    /// One cgroup2 for all controllers; false: a v1 hierarchy for each.
    pub(super) unified_cgroups: bool,
    /// Parameters that Kata's agent has and this one has not, if they ask for something.
    pub(super) unsupported: Vec<String>,
}

impl Params {
    /// Reads a kernel command line. Values with spaces are in double quotes.
    ///
    /// # Errors
    /// The first parameter with a wrong value.
    pub(super) fn parse(line: &str) -> Result<Self, Error> {
        let mut params = Self {
            log_level: log::LevelFilter::Info,
            server_addr: None,
            hotplug_timeout: HOTPLUG_TIMEOUT,
            pipe_size: None,
            dev_mode: false,
            passfd_port: None,
            config_file: None,
            allowed: None,
            unified_cgroups: true,
            unsupported: Vec::new(),
        };
        for word in words(line) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            params.take(name, value)?;
        }
        Ok(params)
    }

    /// What a file says wins over what the command line said.
    pub(super) fn overlay(&mut self, file: ConfigFile) {
        let positive = |said: Option<u32>, before| match said {
            Some(number) => Some(number).filter(|number| *number > 0),
            None => before,
        };
        self.log_level = file.log_level.unwrap_or(self.log_level);
        self.server_addr = file.server_addr.or(self.server_addr.take());
        self.hotplug_timeout = file.hotplug_timeout.unwrap_or(self.hotplug_timeout);
        self.pipe_size = positive(file.pipe_size, self.pipe_size);
        self.passfd_port = positive(file.passfd_port, self.passfd_port);
        self.dev_mode = file.dev_mode.unwrap_or(self.dev_mode);
        self.unified_cgroups = file.unified_cgroups.unwrap_or(self.unified_cgroups);
        self.allowed = file.allowed;
        self.unsupported.extend(file.unsupported);
    }

    fn take(&mut self, name: &str, value: Option<&str>) -> Result<(), Error> {
        let text = value.unwrap_or_default();
        let wrong = |name, expected| Error::Parameter {
            name,
            value: text.to_owned(),
            expected,
        };
        match name {
            "agent.log" => self.log_level = args::log_level(Some(text))?,
            "agent.server_addr" => self.server_addr = Some(text.to_owned()),
            "agent.hotplug_timeout" => {
                let seconds = text.parse().ok().filter(|seconds| *seconds > 0);
                let seconds = seconds
                    .ok_or_else(|| wrong("agent.hotplug_timeout", "a number of seconds over 0"))?;
                self.hotplug_timeout = Duration::from_secs(seconds);
            }
            // The first name is Kata's up to 3.2, the other that of systemd and of later ones.
            "agent.unified_cgroup_hierarchy" => {
                self.unified_cgroups = flag(value)
                    .ok_or_else(|| wrong("agent.unified_cgroup_hierarchy", "true or false"))?;
            }
            "systemd.unified_cgroup_hierarchy" => {
                self.unified_cgroups = flag(value)
                    .ok_or_else(|| wrong("systemd.unified_cgroup_hierarchy", "true or false"))?;
            }
            "agent.container_pipe_size" => {
                let bytes = text.parse();
                let bytes =
                    bytes.map_err(|_| wrong("agent.container_pipe_size", "a number of bytes"))?;
                self.pipe_size = Some(bytes).filter(|bytes| *bytes > 0);
            }
            "agent.passfd_listener_port" => {
                let port = text.parse();
                let port = port.map_err(|_| wrong("agent.passfd_listener_port", "a port, or 0"))?;
                self.passfd_port = Some(port).filter(|port| *port > 0);
            }
            "agent.devmode" => {
                self.dev_mode =
                    flag(value).ok_or_else(|| wrong("agent.devmode", "true or false"))?;
            }
            "agent.config_file" => {
                if !Path::new(text).is_absolute() {
                    return Err(wrong("agent.config_file", "an absolute path"));
                }
                self.config_file = Some(text.into());
            }
            _ if name.starts_with("agent.") && !matches!(text, "0" | "false") => {
                self.unsupported.push(name.to_owned());
            }
            _ => {}
        }
        Ok(())
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cgroups = if self.unified_cgroups { "v2" } else { "v1" };
        let timeout = self.hotplug_timeout.as_secs();
        write!(f, "cgroups {cgroups}, hotplug timeout {timeout} s")
    }
}

fn flag(value: Option<&str>) -> Option<bool> {
    match value {
        None | Some("1" | "true" | "yes") => Some(true),
        Some("0" | "false" | "no") => Some(false),
        Some(_) => None,
    }
}

/// The words of a kernel command line, without their quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in line.trim_end_matches('\n').chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_ascii_whitespace() && !quoted => {
                words.extend(Some(std::mem::take(&mut word)))
            }
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_ours_are_read_and_those_of_others_are_not() {
        let params = Params::parse(
            "console=ttyS0 agent.log=debug agent.server_addr=vsock://-1:7 quiet \
             agent.hotplug_timeout=10 agent.unified_cgroup_hierarchy=false user.agent.log=x \
             agent.container_pipe_size=4096 agent.passfd_listener_port=0 agent.devmode \
             agent.config_file=/etc/agent.toml\n",
        );
        let wanted = Params {
            log_level: log::LevelFilter::Debug,
            server_addr: Some("vsock://-1:7".into()),
            hotplug_timeout: Duration::from_secs(10),
            pipe_size: Some(4096),
            dev_mode: true,
            passfd_port: None,
            config_file: Some("/etc/agent.toml".into()),
            allowed: None,
            unified_cgroups: false,
            unsupported: vec![],
        };
        assert_eq!(params.unwrap(), wanted);
    }

    #[test]
    fn a_file_wins_over_the_kernels_command_line() {
        let line =
            "agent.log=debug agent.hotplug_timeout=10 agent.container_pipe_size=4096 agent.trace";
        let mut params = Params::parse(line).unwrap();
        params.overlay(ConfigFile {
            log_level: Some(log::LevelFilter::Error),
            pipe_size: Some(0),
            passfd_port: Some(1027),
            allowed: Some(vec!["A".into()]),
            unsupported: vec!["x".into()],
            ..ConfigFile::default()
        });
        assert_eq!(params.log_level, log::LevelFilter::Error);
        assert_eq!(params.hotplug_timeout, Duration::from_secs(10));
        assert_eq!((params.pipe_size, params.passfd_port), (None, Some(1027)));
        assert_eq!(params.allowed, Some(vec!["A".into()]));
        assert_eq!(params.unsupported, ["agent.trace", "x"]);
    }

    #[test]
    fn what_is_not_supported_is_named_when_it_is_wanted() {
        let line = "agent.trace=false agent.debug_console agent.log_vport=1025 agent.devmode=0";
        let params = Params::parse(line).unwrap();
        assert_eq!(
            params.unsupported,
            ["agent.debug_console", "agent.log_vport"]
        );
        assert!(params.unified_cgroups);
    }

    #[test]
    fn wrong_values_are_errors_that_name_the_parameter() {
        for (line, text) in [
            ("agent.log=loud", "unknown log level \"loud\""),
            (
                "agent.hotplug_timeout=0",
                "kernel parameter agent.hotplug_timeout=0: expected a number of seconds over 0",
            ),
            (
                "systemd.unified_cgroup_hierarchy=maybe",
                "kernel parameter systemd.unified_cgroup_hierarchy=maybe: expected true or false",
            ),
            (
                "agent.config_file=agent.toml",
                "kernel parameter agent.config_file=agent.toml: expected an absolute path",
            ),
            (
                "agent.container_pipe_size=-1",
                "kernel parameter agent.container_pipe_size=-1: expected a number of bytes",
            ),
            (
                "agent.passfd_listener_port=x",
                "kernel parameter agent.passfd_listener_port=x: expected a port",
            ),
            (
                "agent.devmode=perhaps",
                "kernel parameter agent.devmode=perhaps: expected true or false",
            ),
        ] {
            let said = Params::parse(line).unwrap_err().to_string();
            assert!(said.starts_with(text), "{line}: {said}");
        }
    }

    #[test]
    fn quotes_hold_a_word_together() {
        assert_eq!(words("a=\"b c\"  d\n"), ["a=b c", "d"]);
    }
}
