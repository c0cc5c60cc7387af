//! The daemon's configuration: a TOML file, overridden by flags.
//!
//! ```text
//! file ─► Said (dotted name → value, types checked) ─┐
//! flags ─► Said ─────────────────────────────────────┴─► or() ─► mean() ─► Config (checked)
//! ```
//! [`KEYS`] is the only list of keys. An unknown key is an error that names it, so that a slip is
//! not silently ignored.

mod keys;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

pub(crate) use keys::{Fallback, KEYS, Key};

use crate::{error::Error, nearest};

/// Where the configuration is unless `--config` says otherwise; it need not be there.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/coffer/config.toml";
/// Where clients look for the daemon.
pub(crate) const DEFAULT_SOCKET: &str = "/run/coffer/coffer.sock";

/// What is said, in the file or by flags: values by the dotted names of their keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Said(BTreeMap<&'static str, toml::Value>);

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
    /// Directory of seccomp profiles.
    pub(crate) seccomp_root: PathBuf,
    /// What a container's log may take.
    pub(crate) log_limits: cri::LogLimits,
    /// The pods' network.
    pub(crate) network: cri::NetworkOptions,
    /// The streaming server.
    pub(crate) stream: cri::StreamOptions,
    /// How image registries are asked.
    pub(crate) registry: cri::RegistryOptions,
    /// What an image may cost.
    pub(crate) limits: cri::ImageLimits,
    pub(crate) default_registry: String,
    pub(crate) verify_images: bool,
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
        let mut said = Said::default();
        said.take("", table)?;
        Ok(said)
    }

    /// Adds the values of a table whose name, with a dot after it, is `prefix`.
    fn take(&mut self, prefix: &str, table: toml::Table) -> Result<(), String> {
        for (name, value) in table {
            let name = format!("{prefix}{name}");
            match (Key::of(&name), value) {
                (Some(key), value) if key.kind.fits(&value) => {
                    self.0.insert(key.name, value);
                }
                (Some(key), value) => {
                    let (expected, found) = (key.kind.name(), shown(&value));
                    return Err(format!("key {name:?} is {found}, expected a {expected}"));
                }
                (None, toml::Value::Table(below)) if !below.is_empty() => {
                    self.take(&format!("{name}."), below)?;
                }
                (None, _) => return Err(unknown(&name)),
            }
        }
        Ok(())
    }

    /// Says `value` for a key of type text, if there is one.
    pub(crate) fn say(&mut self, key: &'static str, value: Option<impl Into<String>>) {
        debug_assert!(Key::of(key).is_some(), "{key} is no key");
        if let Some(value) = value {
            self.0.insert(key, toml::Value::String(value.into()));
        }
    }

    /// `self` where it says something, else `other`.
    pub(crate) fn or(self, mut other: Said) -> Said {
        other.0.extend(self.0);
        other
    }

    /// What is said for a key, or its default; empty for a default that must be found out.
    pub(crate) fn text(&self, name: &str) -> String {
        match (self.0.get(name), Key::of(name).map(|key| key.default)) {
            (Some(toml::Value::String(text)), _) => text.clone(),
            (Some(value), _) => value.to_string(),
            (None, Some(Fallback::Is(text))) => text.to_owned(),
            (None, _) => String::new(),
        }
    }

    fn said(&self, name: &str) -> Option<String> {
        self.0.contains_key(name).then(|| self.text(name))
    }

    /// Fills in the defaults and checks the values. `beside` is the directory of this program, where
    /// the agent is looked for.
    pub(crate) fn mean(self, beside: Option<&Path>) -> Result<Config, Error> {
        let state = PathBuf::from(self.text("state"));
        let socket = match self.said("socket") {
            Some(socket) => socket.into(),
            None => state.join("coffer.sock"),
        };
        let root = PathBuf::from(self.text("root"));
        let seccomp_root = PathBuf::from(self.text("seccomp_root"));
        for (key, path) in [
            ("root", &root),
            ("state", &state),
            ("socket", &socket),
            ("seccomp_root", &seccomp_root),
        ] {
            if !path.is_absolute() {
                let said = format!("{key} {:?} is not an absolute path", path.display());
                return Err(Error::Usage(said));
            }
        }
        let cgroup_root = self.text("cgroup_root");
        check_cgroup_root(&cgroup_root)?;
        let level = self.text("log_level");
        let log_level = level.parse().map_err(|_| {
            let known = "error, warn, info, debug, trace";
            Error::Usage(format!("log_level {level:?} is none of {known}"))
        })?;
        let network = self.network()?;
        let stream = self.stream()?;
        let (registry, limits) = (self.registry()?, self.limits()?);
        let default_registry = self.text("registry.default");
        if default_registry.contains('/') {
            let text = format!("registry.default {default_registry:?} is more than a host");
            return Err(Error::Usage(text));
        }
        let verify_images = match self.text("image.verify").as_str() {
            "never" => false,
            "create" => true,
            other => {
                let text = format!("image.verify {other:?} is neither never nor create");
                return Err(Error::Usage(text));
            }
        };
        let agent = match self.said("agent") {
            Some(agent) => agent.into(),
            None => find_agent(beside)?,
        };
        Ok(Config {
            root,
            state,
            socket,
            agent,
            cgroup_root,
            log_level,
            seccomp_root,
            log_limits: cri::LogLimits {
                max_bytes: self.number("container_log.max_bytes")?,
                bytes_per_second: self.number("container_log.bytes_per_second")?,
            },
            network,
            stream,
            registry,
            limits,
            default_registry,
            verify_images,
        })
    }

    /// The strings of a list.
    fn list(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(toml::Value::Array(list)) => list
                .iter()
                .filter_map(|value| value.as_str().map(str::to_owned))
                .collect(),
            _ => self.text(name).split(", ").map(str::to_owned).collect(),
        }
    }

    fn number(&self, name: &str) -> Result<u64, Error> {
        let text = self.text(name);
        text.parse()
            .map_err(|_| Error::Usage(format!("{name} {text:?} is no number")))
    }

    fn registry(&self) -> Result<cri::RegistryOptions, Error> {
        let paths = |name: &str| {
            let list = self.list(name);
            match list.iter().find(|path| !Path::new(path).is_absolute()) {
                Some(path) => Err(Error::Usage(format!(
                    "{name}: {path:?} is no absolute path"
                ))),
                None => Ok(list.into_iter().map(PathBuf::from).collect()),
            }
        };
        let time = |key: &str| {
            let text = self.text(key);
            let why = "not a duration such as 30s, 10m or 4h";
            duration(&text).ok_or_else(|| Error::Usage(format!("{key} {text:?} is {why}")))
        };
        Ok(cri::RegistryOptions {
            host_dirs: paths("registry.host_dirs")?,
            auth_files: paths("registry.auth_files")?,
            retries: u32::try_from(self.number("registry.retries")?).unwrap_or(u32::MAX),
            connect: time("registry.connect_timeout")?,
            max_retry_after: time("registry.max_retry_after")?,
            stall: time("registry.stall_timeout")?,
            min_rate: self.number("registry.min_rate")?,
        })
    }

    fn limits(&self) -> Result<cri::ImageLimits, Error> {
        let layers = self.number("image.max_layers")?;
        if !(1..=500).contains(&layers) {
            let text = format!("image.max_layers {layers} is not between 1 and 500");
            return Err(Error::Usage(text));
        }
        // The kernel's own: a longer path could not be reached.
        const PATH_MAX: usize = 4096;
        let path_bytes = self.number("image.max_path_bytes")?;
        if !(1..=PATH_MAX as u64).contains(&path_bytes) {
            let text = format!("image.max_path_bytes {path_bytes} is not between 1 and {PATH_MAX}");
            return Err(Error::Usage(text));
        }
        Ok(cri::ImageLimits {
            layers: usize::try_from(layers).unwrap_or(500),
            layer_bytes: self.number("image.max_layer_bytes")?,
            layer_entries: self.number("image.max_layer_entries")?,
            ratio: self.number("image.max_ratio")?.max(1),
            manifest_bytes: self.number("image.max_manifest_bytes")?,
            config_bytes: self.number("image.max_config_bytes")?,
            archive_bytes: self.number("image.max_archive_bytes")?,
            header_bytes: self.number("image.max_header_bytes")?,
            path_bytes: usize::try_from(path_bytes).unwrap_or(PATH_MAX),
            ..cri::ImageLimits::default()
        })
    }

    /// What is said of the pods' network.
    pub(crate) fn network(&self) -> Result<cri::NetworkOptions, Error> {
        let text = |key: &str| self.text(key);
        cri::NetworkOptions::parse(&cri::NetworkWords {
            mode: &text("network.mode"),
            bridge: &text("network.bridge"),
            ipv4: &text("network.ipv4"),
            ipv6: &text("network.ipv6"),
            mtu: &text("network.mtu"),
            table: &text("network.table"),
        })
        .map_err(|error| Error::Usage(format!("network.{error}")))
    }

    fn stream(&self) -> Result<cri::StreamOptions, Error> {
        let wrong = |key: &str, value: &str, why: &str| {
            Error::Usage(format!("stream.{key} {value:?} is not {why}"))
        };
        let address = self.text("stream.address");
        let idle = self.text("stream.idle_timeout");
        Ok(cri::StreamOptions {
            address: address.parse().map_err(|_| {
                wrong(
                    "address",
                    &address,
                    "an address with a port, such as 127.0.0.1:0",
                )
            })?,
            idle_timeout: duration(&idle)
                .ok_or_else(|| wrong("idle_timeout", &idle, "a duration such as 30s, 10m or 4h"))?,
        })
    }
}

/// A whole number of seconds, minutes or hours, more than none.
fn duration(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return None,
    };
    let number: u32 = text[..text.len() - 1].parse().ok()?;
    (number > 0).then(|| Duration::from_secs(u64::from(number) * unit))
}

fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::Integer(number) => format!("the number {number}"),
        other => format!("a {}", other.type_str()),
    }
}

fn unknown(name: &str) -> String {
    let names = || KEYS.iter().map(|key| key.name);
    match nearest::of(name, names()) {
        Some(meant) => format!("unknown key {name:?}; did you mean {meant:?}?"),
        None => {
            let all: Vec<&str> = names().collect();
            format!("unknown key {name:?}; the keys are {}", all.join(", "))
        }
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
mod tests;
