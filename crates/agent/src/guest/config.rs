//! The file that `agent.config_file` names: TOML, as Kata's agent has it. What it says takes the place of what the
//! kernel parameters say.
//!
//! ```text
//!  log_level = "debug"              server_addr = "vsock://-1:1024"
//!  hotplug_timeout = 3              unified_cgroup_hierarchy = true
//!  [endpoints]
//!  allowed = ["CreateSandboxRequest", …]     the policy that is in force from the start
//! ```

use std::time::Duration;

use serde::Deserialize;

use super::params::Params;
use crate::args;

/// What Kata's agent has and this one has not; the log names those that ask for something.
const UNSUPPORTED: &[&str] = &[
    "cdh_api_timeout",
    "cdi_timeout",
    "container_pipe_size",
    "debug_console",
    "debug_console_vport",
    "dev_mode",
    "guest_components_procs",
    "guest_components_rest_api",
    "https_proxy",
    "image_pull_timeout",
    "launch_process_timeout",
    "log_vport",
    "mem_agent",
    "no_proxy",
    "passfd_listener_port",
    "secure_storage_integrity",
    "trace_type",
    "tracing",
];

#[derive(Debug, Deserialize)]
struct File {
    log_level: Option<String>,
    server_addr: Option<String>,
    hotplug_timeout: Option<Timeout>,
    unified_cgroup_hierarchy: Option<bool>,
    endpoints: Option<Endpoints>,
    #[serde(flatten)]
    rest: toml::Table,
}

/// A number of seconds, or as Kata's agent reads it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Timeout {
    Seconds(u64),
    Parts { secs: u64 },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Endpoints {
    allowed: Vec<String>,
}

/// Reads `text` into `params`.
///
/// # Errors
/// What is wrong with it. A key that nobody knows is an error: it may be a rule with a typing error in it.
pub(super) fn read(text: &str, params: &mut Params) -> Result<(), String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    for (key, value) in &file.rest {
        if !UNSUPPORTED.contains(&key.as_str()) {
            return Err(format!("unknown key {key:?}"));
        }
        if asks(value) {
            params.unsupported.push(key.clone());
        }
    }
    if let Some(level) = &file.log_level {
        params.log_level = args::log_level(Some(level)).map_err(|e| e.to_string())?;
    }
    match file.hotplug_timeout {
        Some(Timeout::Seconds(0) | Timeout::Parts { secs: 0 }) => {
            return Err("hotplug_timeout: expected a number of seconds over 0".into());
        }
        Some(Timeout::Seconds(secs) | Timeout::Parts { secs }) => {
            params.hotplug_timeout = Duration::from_secs(secs);
        }
        None => {}
    }
    if let Some(unified) = file.unified_cgroup_hierarchy {
        params.unified_cgroups = unified;
    }
    if file.server_addr.is_some() {
        params.server_addr = file.server_addr;
    }
    if let Some(endpoints) = file.endpoints {
        params.policy = Some(endpoints.allowed.join("\n"));
    }
    Ok(())
}

/// Whether a value is not the same as none.
fn asks(value: &toml::Value) -> bool {
    match value {
        toml::Value::Boolean(wanted) => *wanted,
        toml::Value::Integer(number) => *number != 0,
        toml::Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &str) -> Result<Params, String> {
        let mut params = Params::parse("agent.log=warn agent.hotplug_timeout=9").unwrap();
        read(text, &mut params).map(|()| params)
    }

    #[test]
    fn what_the_file_says_takes_the_place_of_the_parameters() {
        let read = params(
            "dev_mode = false\nlog_level = \"debug\"\nlog_vport = 1025\nserver_addr = \"vsock://-1:9\"\n\
             unified_cgroup_hierarchy = false\n[endpoints]\nallowed = [\n  \"A\", # first\n  \"B\"\n]\n",
        );
        let read = read.unwrap();
        assert_eq!(read.log_level, log::LevelFilter::Debug);
        assert_eq!(read.server_addr.as_deref(), Some("vsock://-1:9"));
        assert_eq!(read.hotplug_timeout, Duration::from_secs(9), "not named");
        assert!(!read.unified_cgroups);
        assert_eq!(read.policy.as_deref(), Some("A\nB"));
        assert_eq!(read.unsupported, ["log_vport"]);
        for text in [
            "hotplug_timeout = 4",
            "hotplug_timeout = { secs = 4, nanos = 0 }",
        ] {
            assert_eq!(
                params(text).unwrap().hotplug_timeout,
                Duration::from_secs(4)
            );
        }
    }

    #[test]
    fn what_is_wrong_is_an_error_that_says_so() {
        for (text, part) in [
            ("log_level = \"loud\"", "loud"),
            ("hotplug_timeout = 0", "over 0"),
            ("endpoint = 1", "unknown key \"endpoint\""),
            ("[endpoints]\nalowed = []", "alowed"),
            ("[endpoints]\nallowed = \"all\"", "allowed"),
            ("log_level", "line 1"),
        ] {
            let said = params(text).unwrap_err();
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}
