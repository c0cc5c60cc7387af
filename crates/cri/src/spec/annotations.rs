//! Old annotations of the pod that still mean something, and annotations that are passed on.
//!
//! Newer fields win over the old keys. Labels and annotations of images are never read here: they
//! are their author's, and no instruction to a node.

use std::collections::BTreeMap;

use super::{ContainerInput, SpecError};
use crate::domain::SecurityProfile;

const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "security.alpha.kubernetes.io/seccomp/pod";
const SECCOMP_CONTAINER: &str = "security.alpha.kubernetes.io/seccomp/container/";

/// The seccomp profile that the pod's annotations give a container; the container's own key wins.
pub(super) fn seccomp(
    pod: &BTreeMap<String, String>,
    container: &str,
) -> Result<Option<SecurityProfile>, SpecError> {
    let own = format!("{SECCOMP_CONTAINER}{container}");
    for key in [own.as_str(), SECCOMP_POD] {
        if let Some(value) = pod.get(key) {
            return profile(key, value).map(Some);
        }
    }
    Ok(None)
}

/// The AppArmor profile that the pod's annotations give a container.
pub(super) fn apparmor(
    pod: &BTreeMap<String, String>,
    container: &str,
) -> Result<Option<SecurityProfile>, SpecError> {
    let key = format!("{APPARMOR}{container}");
    match pod.get(&key) {
        // "As if none were given."
        Some(value) if value == "runtime/default" || value.is_empty() => Ok(None),
        Some(value) => profile(&key, value).map(Some),
        None => Ok(None),
    }
}

fn profile(key: &str, value: &str) -> Result<SecurityProfile, SpecError> {
    match (value, value.strip_prefix("localhost/")) {
        ("runtime/default" | "docker/default", _) => Ok(SecurityProfile::RuntimeDefault),
        ("unconfined", _) => Ok(SecurityProfile::Unconfined),
        (_, Some(name)) if !name.is_empty() => Ok(SecurityProfile::Localhost(name.to_owned())),
        _ => {
            let what =
                format!("{value:?} is not runtime/default, unconfined or localhost/<profile>");
            Err(SpecError::invalid(format!("annotation {key}"), what))
        }
    }
}

/// The annotations that the node's operator lets through to the document; the container's win.
pub(super) fn passed(input: &ContainerInput<'_>) -> BTreeMap<String, String> {
    let passes = |key: &str| {
        input
            .node
            .passed_annotations
            .iter()
            .any(|rule| match rule.strip_suffix('*') {
                Some(beginning) => key.starts_with(beginning),
                None => key == rule,
            })
    };
    let pod = &input.pod.config.annotations;
    pod.iter()
        .chain(&input.config.annotations)
        .filter(|(key, _)| passes(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn the_containers_seccomp_key_wins_over_the_pods() {
        let both = pod(&[
            (SECCOMP_POD, "unconfined"),
            (
                "security.alpha.kubernetes.io/seccomp/container/web",
                "localhost/web.json",
            ),
        ]);
        let got = |name: &str| seccomp(&both, name).unwrap();
        assert_eq!(
            got("web"),
            Some(SecurityProfile::Localhost("web.json".to_owned()))
        );
        assert_eq!(got("other"), Some(SecurityProfile::Unconfined));
        assert_eq!(seccomp(&pod(&[]), "web").unwrap(), None);
        let docker = pod(&[(SECCOMP_POD, "docker/default")]);
        assert_eq!(
            seccomp(&docker, "x").unwrap(),
            Some(SecurityProfile::RuntimeDefault)
        );
    }

    #[test]
    fn apparmors_runtime_default_is_as_if_none_were_given() {
        let key = |value: &str| pod(&[(&format!("{APPARMOR}web"), value)]);
        assert_eq!(apparmor(&key("runtime/default"), "web").unwrap(), None);
        assert_eq!(
            apparmor(&key("unconfined"), "web").unwrap(),
            Some(SecurityProfile::Unconfined)
        );
        assert_eq!(apparmor(&key("localhost/p"), "other").unwrap(), None);
        let local = apparmor(&key("localhost/p"), "web").unwrap();
        assert_eq!(local, Some(SecurityProfile::Localhost("p".to_owned())));
    }

    #[test]
    fn an_unknown_value_names_the_annotation() {
        for value in ["", "localhost/", "default", "Localhost/x"] {
            let error = seccomp(&pod(&[(SECCOMP_POD, value)]), "web")
                .unwrap_err()
                .to_string();
            assert!(error.contains(SECCOMP_POD), "{error}");
        }
    }
}
