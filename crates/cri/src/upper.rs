//! A container's writable layer. Overlayfs takes the attributes of the merged `/` from it, so it
//! starts with those of the image's top layer: mode (a sticky or closed root), owner and times.

use std::{
    fs::{self, File, FileTimes, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

use crate::{error::Error, layout::make_dir};

/// Makes the directory `upper` like the directory `top`, or with mode 0755 where an image has no
/// layer. Blocks.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn make(upper: &Path, top: Option<&Path>) -> Result<(), Error> {
    make_dir(upper, 0o755)?;
    let Some(top) = top else {
        return Ok(());
    };
    let like = fs::metadata(top).map_err(Error::file("read the attributes of", top))?;
    chown(upper, Some(like.uid()), Some(like.gid()))
        .map_err(Error::file("set the owner of", upper))?;
    // After the owner: a change of it clears the set-id bits.
    fs::set_permissions(upper, Permissions::from_mode(like.mode() & 0o7777))
        .map_err(Error::file("set the mode of", upper))?;
    let times = |like: &fs::Metadata| {
        Ok(FileTimes::new()
            .set_accessed(like.accessed()?)
            .set_modified(like.modified()?))
    };
    times(&like)
        .and_then(|times| File::open(upper)?.set_times(times))
        .map_err(Error::file("set the times of", upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writable_layer_looks_like_the_images_root() {
        let dir = tempfile::tempdir().expect("tempdir");
        let top = dir.path().join("top");
        fs::create_dir(&top).expect("top");
        fs::set_permissions(&top, Permissions::from_mode(0o1711)).expect("mode");
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        File::open(&top)
            .and_then(|top| top.set_modified(long_ago))
            .expect("time");

        let upper = dir.path().join("upper");
        make(&upper, Some(&top)).expect("make");

        let made = fs::metadata(&upper).expect("upper");
        assert_eq!(made.mode() & 0o7777, 0o1711);
        assert_eq!(made.modified().expect("time"), long_ago);
    }

    #[test]
    fn an_image_without_layers_has_an_ordinary_root() {
        let dir = tempfile::tempdir().expect("tempdir");
        let upper = dir.path().join("upper");
        make(&upper, None).expect("make");
        assert_eq!(fs::metadata(&upper).expect("upper").mode() & 0o7777, 0o755);
    }
}
