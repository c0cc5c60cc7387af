//! Which AppArmor profile a container's process changes to at its start.
//!
//! ```text
//!                 AppArmor off   AppArmor on
//! privileged      none           none (unconfined)
//! nothing said    none           none
//! RuntimeDefault  none           an error: this runtime brings no profile of its own yet
//! Unconfined      none           unconfined
//! Localhost       an error       the profile, if it is loaded
//! ```

use super::{ContainerInput, HostFacts, SpecError, annotations};
use crate::domain::SecurityProfile;

const FIELD: &str = "linux.security_context.apparmor";

/// The profile's name; `None`: none is set.
pub(super) fn apparmor(
    input: &ContainerInput<'_>,
    facts: &HostFacts,
) -> Result<Option<String>, SpecError> {
    let security = &input.config.security;
    if security.privileged {
        return Ok(None);
    }
    let said = match &security.apparmor {
        Some(profile) => Some(profile.clone()),
        None => {
            let pod = &input.pod.config.annotations;
            annotations::apparmor(pod, &input.config.metadata.name)?
        }
    };
    choose(said.as_ref(), facts.apparmor_profiles.as_deref())
}

fn choose(
    said: Option<&SecurityProfile>,
    loaded: Option<&[String]>,
) -> Result<Option<String>, SpecError> {
    match (said, loaded) {
        (None | Some(SecurityProfile::Unconfined | SecurityProfile::RuntimeDefault), None)
        | (None, Some(_)) => Ok(None),
        (Some(SecurityProfile::Unconfined), Some(_)) => Ok(Some("unconfined".to_owned())),
        (Some(SecurityProfile::RuntimeDefault), Some(_)) => {
            let why = "this version brings no AppArmor profile of its own; name a loaded one by \
                       localhost, or ask for unconfined";
            Err(SpecError::unsupported(FIELD, why))
        }
        (Some(SecurityProfile::Localhost(name)), None) => {
            let why = format!("profile {name:?} is asked for, and AppArmor is off on this node");
            Err(SpecError::unsupported(FIELD, why))
        }
        (Some(SecurityProfile::Localhost(name)), Some(loaded)) => {
            let name = name.strip_prefix("localhost/").unwrap_or(name);
            if loaded.iter().any(|known| known == name) {
                return Ok(Some(name.to_owned()));
            }
            let what = format!("profile {name:?} is not loaded on this node");
            Err(SpecError::invalid(format!("{FIELD}.localhost_ref"), what))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_the_module() {
        let local = SecurityProfile::Localhost("web".to_owned());
        let loaded = ["web".to_owned()];
        let on = Some(loaded.as_slice());
        let ok = |said: Option<&SecurityProfile>, loaded| choose(said, loaded).unwrap();
        for said in [
            None,
            Some(&SecurityProfile::Unconfined),
            Some(&SecurityProfile::RuntimeDefault),
        ] {
            assert_eq!(ok(said, None), None);
        }
        assert_eq!(ok(None, on), None);
        assert_eq!(
            ok(Some(&SecurityProfile::Unconfined), on).as_deref(),
            Some("unconfined")
        );
        assert_eq!(ok(Some(&local), on).as_deref(), Some("web"));
        for (said, loaded, expected) in [
            (&local, None, "AppArmor is off"),
            (&local, Some([].as_slice()), "is not loaded"),
            (
                &SecurityProfile::RuntimeDefault,
                on,
                "no AppArmor profile of its own",
            ),
        ] {
            let error = choose(Some(said), loaded).unwrap_err().to_string();
            assert!(
                error.starts_with(FIELD) && error.contains(expected),
                "{error}"
            );
        }
    }
}
