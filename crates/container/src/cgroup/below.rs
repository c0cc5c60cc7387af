//! A cgroup below a container's, made by the container or its manager: where `exec` may put a process.

use super::error::Error;
use super::file;
use super::group::{Cgroup, Dir, Version};
use super::path::CgroupPath;

impl Cgroup {
    /// This cgroup with another directory below it, where it exists: of one v1 controller's
    /// hierarchy, or of all. The others stay as they are.
    ///
    /// # Errors
    /// A path that leaves the cgroup; a controller that is not mounted; a cgroup that exists in none.
    pub fn below(&self, controller: Option<&str>, path: &str) -> Result<Cgroup, Error> {
        let path = path.trim_matches('/');
        if let Some(name) = controller
            && !self.has_controller(name)
        {
            return Err(Error::Unsupported {
                setting: format!("unknown controller {name}: --cgroup {name}:{path}"),
                reason: "no v1 hierarchy of this container has it".to_owned(),
            });
        }
        if path.is_empty() {
            return Ok(self.clone());
        }
        // Its own rules: no `..` and no NUL.
        let checked = CgroupPath::parse(path).map_err(|error| match error {
            Error::Path { .. } => Error::Outside(path.to_owned()),
            other => other,
        })?;
        let mut cgroup = self.clone();
        let mut found = false;
        for dir in cgroup.dirs_mut() {
            let wanted = controller.is_none_or(|name| has(dir, name));
            let below = checked.below(&dir.path);
            if wanted && file::is_dir(&below) {
                dir.path = below;
                found = true;
            }
        }
        if !found {
            return Err(Error::NotBelow(format!(
                "{}/{path}",
                self.path().trim_end_matches('/')
            )));
        }
        Ok(cgroup)
    }

    fn has_controller(&self, name: &str) -> bool {
        let mut all = self.clone();
        all.dirs_mut().iter().any(|dir| has(dir, name))
    }
}

/// Whether this is the v1 hierarchy of a controller, or of several that are mounted together
/// (`cpu,cpuacct`).
fn has(dir: &Dir, names: &str) -> bool {
    dir.version == Version::V1
        && names
            .split(',')
            .any(|name| dir.controllers.iter().any(|known| known == name))
}
