//! The kernel parameters `agent.*`, as Kata's agent has them. Those of others are none of ours; a wrong
//! value of ours is an error.

use std::fmt;
use std::time::Duration;

use super::Error;
use crate::args;
use crate::machine::HOTPLUG_TIMEOUT;

/// What the parameters mean.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Params {
    pub(super) log_level: log::LevelFilter,
    /// None: `vsock://-1:1024`.
    pub(super) server_addr: Option<String>,
    pub(super) hotplug_timeout: Duration,
    /// One cgroup2 for all controllers; false: a v1 hierarchy for each.
    pub(super) unified_cgroups: bool,
    /// More of them, as TOML.
    pub(super) config_file: Option<String>,
    /// The calls that are answered from the start; None: all.
    pub(super) policy: Option<String>,
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
            unified_cgroups: true,
            config_file: None,
            policy: None,
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
            "agent.config_file" if !text.starts_with('/') => {
                return Err(wrong("agent.config_file", "an absolute path"));
            }
            "agent.config_file" => self.config_file = Some(text.to_owned()),
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
             agent.hotplug_timeout=10 agent.config_file=/etc/agent.toml agent.unified_cgroup_hierarchy=false user.agent.log=x\n",
        );
        let wanted = Params {
            log_level: log::LevelFilter::Debug,
            server_addr: Some("vsock://-1:7".into()),
            hotplug_timeout: Duration::from_secs(10),
            unified_cgroups: false,
            config_file: Some("/etc/agent.toml".into()),
            policy: None,
            unsupported: vec![],
        };
        assert_eq!(params.unwrap(), wanted);
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
