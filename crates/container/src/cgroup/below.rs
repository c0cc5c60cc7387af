//! A cgroup below a container's, made by the container or its manager: where `exec` may put a process.

use super::error::Error;
use super::group::{Cgroup, Version};
use super::path::CgroupPath;

impl Cgroup {
    /// This cgroup with another directory below it, where it exists: of one v1 controller's
    /// hierarchy, or of all. The others stay as they are.
    ///
    /// # Errors
    /// A path that leaves the cgroup; a controller that is not mounted; a cgroup that exists in none.
    pub fn below(&self, controller: Option<&str>, path: &str) -> Result<Cgroup, Error> {
        let path = path.trim_matches('/');
        if path.is_empty() {
            return Ok(self.clone());
        }
        // Its own rules: no `..` and no NUL.
        let checked = CgroupPath::parse(path)?;
        let mut cgroup = self.clone();
        let mut found = false;
        for dir in cgroup.dirs_mut() {
            let wanted = controller.is_none_or(|name| {
                dir.version == Version::V1 && dir.controllers.iter().any(|known| known == name)
            });
            let below = checked.below(&dir.path);
            if wanted && below.is_dir() {
                dir.path = below;
                found = true;
            }
        }
        if !found {
            return Err(Error::NotFound(format!(
                "{}/{path}",
                self.path().trim_end_matches('/')
            )));
        }
        Ok(cgroup)
    }
}
