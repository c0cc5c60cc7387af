//! Which seccomp profile a container gets.
//!
//! ```text
//! privileged                      none
//! linux.security_context.seccomp  RuntimeDefault, Unconfined or Localhost
//! the pod's old annotations       the same in other words
//! nothing said                    none
//! ```
//!
//! "Nothing said is unconfined" is what CRI's validation suite asks of a runtime ("should support nil
//! profile, which is unconfined"); a kubelet says which one it wants, and so does `coffer run`.

use std::path::{Component, Path, PathBuf};

use oci::runtime::LinuxSeccomp;

use super::{ContainerInput, Host, SpecError, annotations, seccomp_default::runtime_default};
use crate::domain::SecurityProfile;

const FIELD: &str = "linux.security_context.seccomp";

/// The profile; `capabilities` is the container's bounding set, which the default profile follows.
pub(super) fn seccomp(
    input: &ContainerInput<'_>,
    capabilities: &[String],
    host: &dyn Host,
) -> Result<Option<LinuxSeccomp>, SpecError> {
    let security = &input.config.security;
    if security.privileged {
        return Ok(None);
    }
    let said = match &security.seccomp {
        Some(profile) => Some(profile.clone()),
        None => {
            let pod = &input.pod.config.annotations;
            annotations::seccomp(pod, &input.config.metadata.name)?
        }
    };
    match said.unwrap_or(SecurityProfile::Unconfined) {
        SecurityProfile::Unconfined => Ok(None),
        SecurityProfile::RuntimeDefault => Ok(Some(runtime_default(
            &capabilities.iter().cloned().collect(),
        ))),
        SecurityProfile::Localhost(name) => {
            local(&place(&name, &input.node.seccomp_root)?, host).map(Some)
        }
    }
}

/// An absolute path is itself, as a kubelet sends it; any other is below the profile root. Clients that
/// know the older form put its `localhost/` before the name, and other runtimes pass over it.
fn place(name: &str, root: &Path) -> Result<PathBuf, SpecError> {
    let name = name.strip_prefix("localhost/").unwrap_or(name);
    let path = Path::new(name);
    if name.is_empty() || path.components().any(|part| part == Component::ParentDir) {
        let what = format!("{name:?} is not a file below {}", root.display());
        return Err(SpecError::invalid(format!("{FIELD}.localhost_ref"), what));
    }
    Ok(if path.is_absolute() {
        path.to_owned()
    } else {
        root.join(path)
    })
}

fn local(path: &Path, host: &dyn Host) -> Result<LinuxSeccomp, SpecError> {
    let field = || format!("{FIELD}.localhost_ref");
    let failed = |source| SpecError::Host {
        field: field(),
        act: "read the profile",
        path: path.to_owned(),
        source,
    };
    let text = host.read(path).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|e| {
        let what = format!("{} is not a seccomp profile: {e}", path.display());
        SpecError::invalid(field(), what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_profile_is_below_the_root_and_stays_there() {
        let root = Path::new("/var/lib/kubelet/seccomp");
        let got = |name: &str| place(name, root);
        assert_eq!(got("p/web.json").unwrap(), root.join("p/web.json"));
        assert_eq!(got("/tmp/web.json").unwrap(), Path::new("/tmp/web.json"));
        assert_eq!(got("localhost/web.json").unwrap(), root.join("web.json"));
        assert_eq!(got("localhost//tmp/web").unwrap(), Path::new("/tmp/web"));
        for bad in [
            "",
            "localhost/",
            "localhost/../x",
            "../web.json",
            "a/../../web.json",
            "/a/../b",
        ] {
            let error = got(bad).unwrap_err().to_string();
            assert!(error.contains("localhost_ref"), "{error}");
        }
    }
}
