//! What a document must hold to before anything is done: all problems at once, each with its JSON
//! path and the rule that it breaks.
//!
//! Pure: what needs the machine (files that exist, ids that are mapped, controllers that are
//! mounted) is found while planning. What the kernel judges better is left to it.

mod linux;
mod mounts;
mod process;
mod resources;
mod sysctl;

use std::fmt::Arguments;

use super::{NamespaceType, Spec};

pub use sysctl::sysctl_namespace;

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// JSON path of the value.
    pub path: String,
    /// The rule, with the value where it helps.
    pub rule: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.rule)
    }
}

/// A document that may not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid spec: {}", join(.problems))]
pub struct Invalid {
    /// All problems, in the order of the document; never empty.
    pub problems: Vec<Problem>,
}

fn join(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Checks a whole document.
///
/// # Errors
/// Every rule that it breaks.
pub fn validate(spec: &Spec) -> Result<(), Invalid> {
    let mut report = Report::default();
    top(spec, &mut report);
    if let Some(process) = &spec.process {
        process::check("process", process, &mut report);
    }
    mounts::check(spec, &mut report);
    linux::check(spec, &mut report);
    report.finish()
}

/// Checks a process document of `exec`.
///
/// # Errors
/// Every rule that it breaks.
pub fn validate_process(process: &super::Process) -> Result<(), Invalid> {
    let mut report = Report::default();
    process::check("process", process, &mut report);
    report.finish()
}

/// Problems found so far.
#[derive(Debug, Default)]
struct Report {
    problems: Vec<Problem>,
}

impl Report {
    fn add(&mut self, path: impl Into<String>, rule: impl Into<String>) {
        self.problems.push(Problem {
            path: path.into(),
            rule: rule.into(),
        });
    }

    /// Adds a problem unless `held`; the texts are made only when it is needed.
    fn require(
        &mut self,
        held: bool,
        path: impl FnOnce() -> String,
        rule: impl FnOnce() -> String,
    ) {
        if !held {
            self.add(path(), rule());
        }
    }

    fn finish(self) -> Result<(), Invalid> {
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(Invalid {
                problems: self.problems,
            })
        }
    }
}

fn top(spec: &Spec, report: &mut Report) {
    let major = spec.oci_version.split('.').next();
    report.require(
        major == Some("1"),
        || "ociVersion".into(),
        || {
            format!(
                "must be a 1.x version of the specification, not {:?}",
                spec.oci_version
            )
        },
    );
    match &spec.root {
        None => report.add("root", "must be there"),
        Some(root) if root.path.is_empty() => report.add("root.path", "must not be empty"),
        Some(root) => text(format_args!("root.path"), &root.path, report),
    }
    for (key, value, file) in [
        ("hostname", &spec.hostname, "host name"),
        ("domainname", &spec.domainname, "domain name"),
    ] {
        let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else {
            continue;
        };
        report.require(
            has(spec, NamespaceType::Uts),
            || key.into(),
            || "needs a uts namespace of the container's own".into(),
        );
        report.require(
            value.len() <= 64,
            || key.into(),
            || {
                format!(
                    "a {file} has at most 64 bytes, this one has {}",
                    value.len()
                )
            },
        );
        text(format_args!("{key}"), value, report);
    }
    report.require(
        !spec.annotations.contains_key(""),
        || "annotations".into(),
        || "a key must not be empty".into(),
    );
    for (list, hooks) in spec.hooks.iter().flat_map(super::Hooks::lists) {
        for (index, hook) in hooks.iter().enumerate() {
            let at = |field: &str| format!("hooks.{list}[{index}].{field}");
            absolute(format_args!("{}", at("path")), &hook.path, report);
            report.require(
                hook.timeout.is_none_or(|seconds| seconds > 0),
                || at("timeout"),
                || "must be greater than 0".into(),
            );
        }
    }
}

/// Whether the container has a namespace of this kind of its own (new, or joined by path).
fn has(spec: &Spec, type_: NamespaceType) -> bool {
    spec.linux
        .as_ref()
        .is_some_and(|linux| linux.namespace(type_).is_some())
}

/// A path that must be absolute.
fn absolute(at: Arguments<'_>, path: &str, report: &mut Report) {
    report.require(
        path.starts_with('/'),
        || at.to_string(),
        || format!("must be an absolute path, not {path:?}"),
    );
    text(at, path, report);
}

/// A string that reaches the kernel, which ends it at the first zero byte.
fn text(at: Arguments<'_>, value: &str, report: &mut Report) {
    report.require(
        !value.contains('\0'),
        || at.to_string(),
        || "must not hold a zero byte".into(),
    );
}

#[cfg(test)]
mod tests;
