//! Hooks that the machine brings for every container: programs in `<dir>/prestart`, `poststart` and
//! `poststop`, in the order of their names, each called with its name and the phase.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use oci::runtime::{Hook, Hooks, Spec};

use crate::error::Error;

/// The hooks of each phase.
#[derive(Debug, Default)]
pub(crate) struct GuestHooks {
    prestart: Vec<Hook>,
    poststart: Vec<Hook>,
    poststop: Vec<Hook>,
}

impl GuestHooks {
    /// Looks for them below `dir`. A phase without a directory has none.
    ///
    /// # Errors
    /// `dir` is not absolute.
    pub(crate) fn scan(dir: &str) -> Result<Self, Error> {
        if dir.is_empty() {
            return Ok(Self::default());
        }
        let dir = Path::new(dir);
        if !dir.is_absolute() {
            let why = "must be absolute";
            return Err(Error::invalid(format!("guest_hook_path {dir:?}"), why));
        }
        Ok(Self {
            prestart: phase(dir, "prestart"),
            poststart: phase(dir, "poststart"),
            poststop: phase(dir, "poststop"),
        })
    }

    /// Appends them to those of a container.
    pub(crate) fn append(&self, spec: &mut Spec) {
        if self.prestart.len() + self.poststart.len() + self.poststop.len() == 0 {
            return;
        }
        let hooks: &mut Hooks = spec.hooks.get_or_insert_default();
        hooks.prestart.extend_from_slice(&self.prestart);
        hooks.poststart.extend_from_slice(&self.poststart);
        hooks.poststop.extend_from_slice(&self.poststop);
    }
}

/// Executable files; links are not followed.
fn phase(dir: &Path, phase: &str) -> Vec<Hook> {
    let dir = dir.join(phase);
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) => {
            log::info!("no {phase} hooks in {}: {e}", dir.display());
            return Vec::new();
        }
    };
    let mut hooks: Vec<_> = entries
        .flatten()
        .filter(|entry| {
            let meta = entry.path().symlink_metadata();
            meta.is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
        .map(|entry| Hook {
            path: entry.path().display().to_string(),
            args: vec![
                entry.file_name().to_string_lossy().into_owned(),
                phase.to_owned(),
            ],
            ..Hook::default()
        })
        .collect();
    hooks.sort_by(|a, b| a.path.cmp(&b.path));
    hooks
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn programs_are_hooks_and_nothing_else_is() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("poststop");
        fs::create_dir_all(dir.join("sub")).unwrap();
        for (name, mode) in [("b", 0o755), ("a", 0o700), ("text", 0o644)] {
            fs::write(dir.join(name), "").unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink(dir.join("a"), dir.join("link")).unwrap();
        let hooks = GuestHooks::scan(temp.path().to_str().unwrap()).unwrap();
        let mut spec = Spec::default();
        hooks.append(&mut spec);
        let hooks = spec.hooks.unwrap();
        assert!(hooks.prestart.is_empty() && hooks.poststart.is_empty());
        let args: Vec<_> = hooks.poststop.iter().map(|h| h.args.join(" ")).collect();
        assert_eq!(args, ["a poststop", "b poststop"]);
        assert!(GuestHooks::scan("hooks").is_err());
        let mut spec = Spec::default();
        GuestHooks::scan("").unwrap().append(&mut spec);
        assert!(spec.hooks.is_none());
    }
}
