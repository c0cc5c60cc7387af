//! Paths that are put together or hidden: cgroup, log file, masked and read-only paths.

use std::path::{Component, Path, PathBuf};

use super::SpecError;
use crate::domain::ContainerSecurity;

/// What tells of the host, or changes it, and no container needs: containerd's list.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
];

const READONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Masked and read-only paths: none where privileged, those of the request, else the usual ones.
///
/// Two empty lists are no wish: a client that wants an open `/proc` (procMount: Unmasked) has to ask
/// for a user namespace with it.
pub(super) fn hidden(
    security: &ContainerSecurity,
) -> Result<(Vec<String>, Vec<String>), SpecError> {
    if security.privileged {
        return Ok((Vec::new(), Vec::new()));
    }
    let (masked, readonly) = (&security.masked_paths, &security.readonly_paths);
    for (name, list) in [("masked_paths", masked), ("readonly_paths", readonly)] {
        for (index, path) in list.iter().enumerate() {
            let parts = || Path::new(path).components();
            if !path.starts_with('/') || parts().any(|part| part == Component::ParentDir) {
                let field = format!("linux.security_context.{name}[{index}]");
                let what = format!("{path:?} is not an absolute path without \"..\"");
                return Err(SpecError::invalid(field, what));
            }
        }
    }
    if masked.is_empty() && readonly.is_empty() {
        let owned = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect();
        return Ok((owned(&MASKED), owned(&READONLY)));
    }
    Ok((masked.clone(), readonly.clone()))
}

/// The container's cgroup, relative to the mount of every hierarchy.
pub(crate) fn cgroup(parent: &str, id: &str) -> String {
    format!(
        "/{}",
        Path::new(parent.trim_matches('/')).join(id).display()
    )
}

/// The log file: below the pod's log directory, and only there.
pub(super) fn log(directory: &Path, log: &str) -> Result<Option<PathBuf>, SpecError> {
    if log.is_empty() || directory.as_os_str().is_empty() {
        return Ok(None);
    }
    if !directory.is_absolute() {
        let what = format!("{} is not an absolute path", directory.display());
        return Err(SpecError::invalid("log_directory", what));
    }
    let log = Path::new(log.trim_start_matches('/'));
    let plain = log
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !plain || log.as_os_str().is_empty() {
        let what = format!(
            "{} does not name a file below the log directory",
            log.display()
        );
        return Err(SpecError::invalid("log_path", what));
    }
    Ok(Some(directory.join(log)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_stays_below_its_directory() {
        let at = |log_path: &str| log(Path::new("/var/log/pods/p"), log_path);
        let inside = |name: &str| Some(Path::new("/var/log/pods/p").join(name));
        assert_eq!(at("web/0.log").unwrap(), inside("web/0.log"));
        assert_eq!(at("/web/0.log").unwrap(), inside("web/0.log"));
        assert_eq!(at("").unwrap(), None);
        assert_eq!(log(Path::new(""), "web/0.log").unwrap(), None);
        for bad in ["../x", "a/../../x", "/", "..", "./x"] {
            let error = at(bad).unwrap_err().to_string();
            assert!(error.starts_with("log_path"), "{bad}: {error}");
        }
        assert!(log(Path::new("relative"), "x").is_err());
    }

    #[test]
    fn cgroups_are_absolute_and_simple() {
        for (parent, expected) in [
            ("/coffer/p1", "/coffer/p1/c1"),
            ("/kubepods/pod1/", "/kubepods/pod1/c1"),
            ("kubepods", "/kubepods/c1"),
            ("/", "/c1"),
            ("", "/c1"),
        ] {
            assert_eq!(cgroup(parent, "c1"), expected);
        }
    }

    #[test]
    fn hidden_paths_are_the_requests_or_the_usual_ones() {
        let usual = hidden(&ContainerSecurity::default()).unwrap();
        assert_eq!((usual.0.len(), usual.1.len()), (11, 5));
        let one = ContainerSecurity {
            masked_paths: vec!["/x".to_owned()],
            ..Default::default()
        };
        assert_eq!(hidden(&one).unwrap(), (vec!["/x".to_owned()], vec![]));
        let privileged = ContainerSecurity {
            privileged: true,
            ..one
        };
        assert_eq!(hidden(&privileged).unwrap(), (vec![], vec![]));
        for bad in ["x", "/a/../b", ""] {
            let security = ContainerSecurity {
                readonly_paths: vec![bad.to_owned()],
                ..Default::default()
            };
            let error = hidden(&security).unwrap_err().to_string();
            assert!(error.contains("readonly_paths[0]"), "{error}");
        }
    }
}
