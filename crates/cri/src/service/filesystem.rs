//! The filesystem of a directory, by the name that both ImageFsInfo and the figures of containers use.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Where the filesystem that `path` lies on begins: two paths on one get the same answer. A kubelet
/// takes two names for two filesystems, and does not evict for one of them alone unless it is told to
/// (its gate KubeletSeparateDiskGC). Blocks.
pub(super) fn mountpoint(path: &Path) -> PathBuf {
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev());
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let Ok(own) = device(&whole) else {
        return whole;
    };
    let same = |parent: &&Path| device(parent).is_ok_and(|device| device == own);
    let ancestors = whole.ancestors().take_while(same);
    ancestors.last().unwrap_or(&whole).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_on_one_filesystem_have_one_name_and_others_another() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        fs::create_dir(&one).unwrap();
        std::os::unix::fs::symlink(&one, &two).unwrap();
        assert_eq!(mountpoint(&one), mountpoint(&two));
        assert_eq!(mountpoint(&one), mountpoint(dir.path()));
        assert_eq!(mountpoint(Path::new("/proc/self")), Path::new("/proc"));
        assert_eq!(
            mountpoint(Path::new("/proc/sys/kernel")),
            Path::new("/proc")
        );
        // What is not there has no filesystem, and keeps its name.
        let missing = dir.path().join("missing");
        assert_eq!(mountpoint(&missing), missing);
    }
}
