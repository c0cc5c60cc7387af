//! The five capability sets as bits.

use init::Step;
use oci::runtime as spec;

use super::{Error, Plan};
use crate::host::Facts;

/// Sets as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sets {
    bounding: u64,
    effective: u64,
    inheritable: u64,
    permitted: u64,
    ambient: u64,
}

impl Sets {
    /// Reads the names. What the host does not have is an error that names it, or left out and noted
    /// for a caller who asked for "all" (privileged).
    pub(super) fn read(
        plan: &mut Plan,
        facts: &Facts,
        capabilities: Option<&spec::LinuxCapabilities>,
        clamp: bool,
        in_user_namespace: bool,
    ) -> Result<Self, Error> {
        let mut sets = Self::default();
        let Some(capabilities) = capabilities else {
            return Ok(sets);
        };
        // A new user namespace gives all, over what is in it.
        let have = if in_user_namespace {
            u64::MAX
        } else {
            facts.capabilities
        };
        let (mut missing, mut unknown) = (Vec::new(), Vec::new());
        for (name, list) in capabilities.sets() {
            let bits = match name {
                "bounding" => &mut sets.bounding,
                "effective" => &mut sets.effective,
                "inheritable" => &mut sets.inheritable,
                "permitted" => &mut sets.permitted,
                _ => &mut sets.ambient,
            };
            for capability in list {
                let field = || format!("process.capabilities.{name}");
                // The specification wants a warning.
                let Some(number) = spec::capability::number(capability) else {
                    if !unknown.contains(&capability.as_str()) {
                        unknown.push(capability.as_str());
                    }
                    continue;
                };
                let bit = 1_u64 << number;
                if number >= facts.capability_count || have & bit == 0 {
                    if !clamp {
                        return Err(Error::unsupported(
                            format!("{} {capability}", field()),
                            "we do not have it ourselves (see CapBnd in /proc/self/status)",
                        ));
                    }
                    if !missing.contains(&capability.as_str()) {
                        missing.push(capability.as_str());
                    }
                    continue;
                }
                *bits |= bit;
            }
        }
        if !unknown.is_empty() {
            plan.notes.push(format!(
                "unknown capabilities were left out: {}",
                unknown.join(", ")
            ));
        }
        if !missing.is_empty() {
            plan.notes.push(format!(
                "capabilities that we do not have ourselves were left out: {}",
                missing.join(", ")
            ));
        }
        if sets.effective & !sets.permitted != 0 {
            // The kernel would say a bare EPERM.
            return Err(Error::invalid(
                "process.capabilities.effective",
                "a capability must be permitted to be effective",
            ));
        }
        let ambient = sets.ambient & sets.permitted & sets.inheritable;
        let lost = |name: &&String| {
            let number = spec::capability::number(name);
            number.is_some_and(|number| (sets.ambient & !ambient) >> number & 1 == 1)
        };
        // runc's words, one warning for each.
        for name in capabilities.ambient.iter().filter(lost) {
            plan.notes.push(format!(
                "can't raise ambient capability {name}: it is not both permitted and inheritable"
            ));
        }
        sets.ambient = ambient;
        Ok(sets)
    }

    pub(super) fn bounding(&self) -> Step {
        Step::Bounding {
            keep: self.bounding,
        }
    }

    pub(super) fn set(&self) -> Step {
        Step::Capabilities {
            effective: self.effective,
            permitted: self.permitted,
            inheritable: self.inheritable,
            ambient: self.ambient,
        }
    }
}
