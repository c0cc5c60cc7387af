//! Limits: what the spec says becomes a list of writes ([`v1`], [`v2`]: pure, no file is touched),
//! then the writes are made.
//!
//! Some files bound each other: a memory limit may not exceed memory plus swap, a burst not the
//! quota, a quota not the parent's share of its period; which must be written first depends on the
//! old values. Such writes form a [`Group`], and the order is found by trying: a write that answers
//! EINVAL waits until another of the group went through. What still fails when nothing moves is the
//! error. So no old value is read, and a limit can be raised, lowered or lifted by the same code.
//!
//! A value of 0 means "not set" for what cannot sensibly be 0 (memory, swap, shares, quota,
//! period), as every runtime reads it, because the wire formats above us can't say "absent".

mod convert;
mod v1;
mod v2;

use std::io;
use std::path::Path;

use oci::runtime::LinuxResources;

pub use convert::cpu_weight;
pub(super) use v2::tasks;

use super::devices::{self, Before};
use super::error::Error;
use super::file;
use super::group::{Cgroup, Dir, Version};
use super::leaf::enable_controllers;
use super::systemd;

/// One setting and the ways to write it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Write {
    /// The name in the spec.
    setting: &'static str,
    /// Whose directory.
    controller: &'static str,
    /// File and value; kernels differ in file names, the first file that exists is written.
    choices: Vec<(String, String)>,
    /// What to do about a kernel that does not take it.
    strict: Strict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strict {
    /// A missing file or a refusal is an error.
    Must,
    /// As Must, and the file is read again: some files take anything and keep nothing.
    MustKeep,
    /// It says what holds anyway where the kernel has no such file: then it is left out.
    IfThere,
}

/// Writes whose order is found by trying.
type Group = Vec<Write>;

impl Write {
    fn new(
        setting: &'static str,
        controller: &'static str,
        file: impl Into<String>,
        value: impl ToString,
    ) -> Write {
        let choices = vec![(file.into(), value.to_string())];
        Write {
            setting,
            controller,
            choices,
            strict: Strict::Must,
        }
    }

    fn or(mut self, file: impl Into<String>, value: impl ToString) -> Write {
        self.choices.push((file.into(), value.to_string()));
        self
    }

    fn strict(mut self, strict: Strict) -> Write {
        self.strict = strict;
        self
    }
}

impl Cgroup {
    /// Sets what `resources` says and leaves the rest alone. Everything is checked before anything
    /// is written; a write that the kernel refuses leaves the earlier ones in place.
    pub fn apply(&self, resources: &LinuxResources) -> Result<(), Error> {
        self.set(resources, Before::Set)
    }

    /// As [`Cgroup::apply`], of one that was made a moment ago and has no processes.
    pub(crate) fn apply_first(&self, resources: &LinuxResources) -> Result<(), Error> {
        self.set(resources, Before::Inherited)
    }

    fn set(&self, resources: &LinuxResources, before: Before) -> Result<(), Error> {
        if let Some(unit) = self.unit() {
            // What can't be is said before systemd hears of it.
            self.plan(resources)?;
            unit.set(systemd::limits(resources, self.is_v2()))?;
        }
        self.apply_files(resources, before)
    }

    fn plan(&self, resources: &LinuxResources) -> Result<Vec<Group>, Error> {
        if self.is_v2() {
            v2::plan(resources, |file| {
                let dir = self.unified()?;
                file::read_optional(&dir.path.join(file)).ok().flatten()
            })
        } else {
            let hugetlb_in_v2 = self.dir_of("hugetlb").is_none() && self.unified().is_some();
            v1::plan(resources, hugetlb_in_v2)
        }
    }

    fn apply_files(&self, resources: &LinuxResources, before: Before) -> Result<(), Error> {
        let groups = self.plan(resources)?;
        if resources
            .memory
            .as_ref()
            .is_some_and(|m| m.check_before_update == Some(true))
        {
            self.check_usage(resources)?;
        }
        for group in groups {
            self.settle(group)?;
        }
        devices::apply(self, &resources.devices, before)
    }

    /// Makes the writes of a group in an order that the kernel takes.
    fn settle(&self, mut pending: Group) -> Result<(), Error> {
        while !pending.is_empty() {
            let before = pending.len();
            let mut refused = Vec::new();
            let mut first_error = None;
            for write in pending {
                match self.write(&write) {
                    Ok(()) => {}
                    Err(e @ Error::Setting { .. }) if is_invalid(&e) => {
                        first_error = first_error.or(Some(e));
                        refused.push(write);
                    }
                    Err(e) => return Err(e),
                }
            }
            match first_error {
                Some(e) if refused.len() == before => return Err(e),
                _ => pending = refused,
            }
        }
        Ok(())
    }

    fn write(&self, write: &Write) -> Result<(), Error> {
        let Some(dir) = self.limit_dir(write) else {
            return match write.strict {
                Strict::IfThere => Ok(()),
                _ => Err(Error::Unsupported {
                    setting: write.setting.to_owned(),
                    reason: format!("the {} controller is not mounted", write.controller),
                }),
            };
        };
        for (file, value) in &write.choices {
            let path = dir.path.join(file);
            match file::write(&path, value) {
                Ok(()) if write.strict == Strict::MustKeep => {
                    return convert::check_kept(write.setting, &path, value);
                }
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(_) if write.strict == Strict::IfThere => return Ok(()),
                Err(source) => {
                    let value = value.clone();
                    return Err(Error::Setting {
                        setting: write.setting,
                        path,
                        value,
                        source,
                    });
                }
            }
        }
        if write.strict == Strict::IfThere {
            return Ok(());
        }
        if !file::is_dir(&dir.path) {
            return Err(Error::NotFound(self.path().to_owned()));
        }
        let files: Vec<&str> = write.choices.iter().map(|(f, _)| f.as_str()).collect();
        if let ("unified", [key]) = (write.setting, files.as_slice()) {
            return Err(no_such_key(&dir.path, key));
        }
        let why = match dir.version {
            Version::V1 => "this kernel does not have it",
            Version::V2 => {
                "this kernel does not have it, or the parent's cgroup.subtree_control lacks the \
                 controller"
            }
        };
        let reason = format!("no {} in {}: {why}", files.join(" or "), dir.path.display());
        Err(Error::Unsupported {
            setting: write.setting.to_owned(),
            reason,
        })
    }

    /// The directory for a write; a hybrid machine has hugetlb in its cgroup2 if not in v1.
    fn limit_dir(&self, write: &Write) -> Option<&Dir> {
        let v1_or_only = self.dir_of(write.controller);
        if v1_or_only.is_some() || write.controller != "hugetlb" {
            return v1_or_only;
        }
        let dir = self.unified()?;
        let mut above: Vec<_> = dir
            .path
            .ancestors()
            .skip(1)
            .take_while(|p| p.starts_with(&dir.mount.point))
            .collect();
        above.reverse();
        for parent in above {
            enable_controllers(parent, Some("hugetlb"));
        }
        Some(dir)
    }

    /// `checkBeforeUpdate`: a limit below the usage is refused instead of starting the OOM killer.
    fn check_usage(&self, resources: &LinuxResources) -> Result<(), Error> {
        let wanted = resources.memory.as_ref().and_then(|m| m.limit).unwrap_or(0);
        let Ok(wanted) = u64::try_from(wanted) else {
            return Ok(());
        };
        let usage = self.stats()?.memory.map_or(0, |m| m.usage.usage);
        if wanted > 0 && wanted < usage {
            return Err(Error::Value {
                setting: "memory.limit",
                value: format!("{wanted}, while {usage} bytes are in use"),
                rule: "checkBeforeUpdate asks for a limit above the present use",
            });
        }
        Ok(())
    }
}

/// Why a file that `unified` names is not there, in the words that callers of crun know.
fn no_such_key(dir: &Path, key: &str) -> Error {
    let controller = key.split('.').next().unwrap_or_default();
    let enabled = file::read_optional(&dir.join("cgroup.controllers")).ok();
    let enabled = enabled.flatten().unwrap_or_default();
    let why = if enabled.split_whitespace().any(|name| name == controller) {
        "no such file or directory: this kernel does not have it".to_owned()
    } else {
        format!(
            "the requested cgroup controller `{controller}` is not available: this kernel, or the \
             parent's cgroup.subtree_control, does not have it"
        )
    };
    Error::Unsupported {
        setting: "unified".to_owned(),
        reason: format!("no {key} in {}: {why}", dir.display()),
    }
}

fn is_invalid(e: &Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error())
}
