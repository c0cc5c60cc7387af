//! Mount prefixes of the wire's spec that name places of the agent's:
//!
//! | prefix | where | means |
//! |---|---|---|
//! | `tmp:/PATH` | source, destination | scratch space of that container: a tmpfs that goes with it |
//! | `vm:/dev/hostfs/PATH` | source | the filesystem that the host shares; on a node the pod's copied files |
//!
//! ```text
//!  {ext4 /dev/vdb -> tmp:/disk} {bind tmp:/disk/sub -> /data}
//!      = storages: tmpfs <state>/storages.d/tmp-<id>, ext4 <that>/disk; mount: bind <that>/disk/sub -> /data
//! ```
//! (`vm:/dev/…` without hostfs is a node of this machine, and no place of ours.)

use std::path::{Component, Path, PathBuf};

use oci::runtime::{Mount, Spec};

use crate::agent::Agent;
use crate::error::Error;
use crate::ops::{copy_file, stale_shares};
use crate::storage::{Driver, Storage};

const SCRATCH: &str = "tmp:/";
const SHARED: &str = "vm:/dev/hostfs";

/// Rewrites the spec's mounts; returns the storages that they stand on, in order.
///
/// # Errors
/// INVALID_ARGUMENT for a path that leads out of its place.
pub(crate) fn resolve(agent: &Agent, id: &str, spec: &mut Spec) -> Result<Vec<Storage>, Error> {
    let shared = match agent.machine.own {
        true => PathBuf::from(stale_shares::SHARES),
        false => agent.state.dir.join(copy_file::HOST),
    };
    let scratch = agent.state.dir.join(format!("storages.d/tmp-{id}"));
    places(&scratch, &shared, &mut spec.mounts)
}

fn places(scratch: &Path, shared: &Path, mounts: &mut Vec<Mount>) -> Result<Vec<Storage>, Error> {
    let mut storages = Vec::new();
    let mut kept = Vec::with_capacity(mounts.len());
    for mut mount in std::mem::take(mounts) {
        if let Some(source) = &mount.source {
            if let Some(rest) = source.strip_prefix(SCRATCH) {
                let path = below(scratch, rest, source)?;
                storages.push(Storage {
                    options: vec!["mode=1777".into()],
                    ..storage(Driver::Local, &path)
                });
                mount.source = Some(path.display().to_string());
            } else if let Some(rest) = source.strip_prefix(SHARED) {
                let path = below(shared, rest.trim_start_matches('/'), source)?;
                mount.source = Some(path.display().to_string());
            }
        }
        let Some(rest) = mount.destination.strip_prefix(SCRATCH) else {
            kept.push(mount);
            continue;
        };
        let path = below(scratch, rest, &mount.destination)?;
        let fstype = mount.type_.unwrap_or_default();
        let bind = |option: &String| matches!(option.as_str(), "bind" | "rbind");
        let driver = match fstype.as_str() {
            "bind" | "none" => Driver::Bind,
            _ if mount.options.iter().any(bind) => Driver::Bind,
            // Any filesystem that the kernel mounts from a source.
            _ => Driver::Ephemeral,
        };
        storages.push(Storage {
            source: mount.source.unwrap_or_default(),
            fstype,
            options: mount.options,
            ..storage(driver, &path)
        });
    }
    *mounts = kept;
    let uses = |storage: &Storage| storage.mount_point.starts_with(scratch);
    if storages.iter().any(uses) {
        let mut space = storage(Driver::Ephemeral, scratch);
        space.fstype = "tmpfs".into();
        space.options = ["nosuid", "nodev", "mode=1777"].map(str::to_owned).to_vec();
        storages.insert(0, space);
    }
    Ok(storages)
}

fn storage(driver: Driver, point: &Path) -> Storage {
    Storage {
        driver,
        source: String::new(),
        fstype: String::new(),
        options: Vec::new(),
        mount_point: point.to_owned(),
        directories: Vec::new(),
        fs_group: None,
        shared: false,
    }
}

/// `rest` below `base`.
fn below(base: &Path, rest: &str, said: &str) -> Result<PathBuf, Error> {
    let rest = Path::new(rest);
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    match rest.components().all(plain) {
        true => Ok(base.join(rest)),
        false => Err(Error::invalid(
            format!("mount {said:?}"),
            "the path leads out of its place",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(source: &str, destination: &str, kind: &str) -> Mount {
        Mount {
            destination: destination.into(),
            source: Some(source.into()),
            type_: Some(kind.into()),
            ..Mount::default()
        }
    }

    fn of(mounts: &[Mount]) -> Result<(Vec<Storage>, Vec<Mount>), Error> {
        let mut mounts = mounts.to_vec();
        let storages = places(Path::new("/s/tmp-c"), Path::new("/shared"), &mut mounts)?;
        Ok((storages, mounts))
    }

    #[test]
    fn scratch_space_is_there_before_what_is_mounted_in_it() {
        let (storages, mounts) = of(&[
            mount("proc", "/proc", "proc"),
            mount("/dev/vdb", "tmp:/disk", "ext4"),
            mount("tmp:/disk/sub", "/data", "bind"),
            mount("tmp:/", "/all", "bind"),
        ])
        .unwrap();
        let made: Vec<_> = storages
            .iter()
            .map(|s| (s.mount_point.to_str().unwrap(), s.fstype.as_str()))
            .collect();
        assert_eq!(
            made,
            [
                ("/s/tmp-c", "tmpfs"),
                ("/s/tmp-c/disk", "ext4"),
                ("/s/tmp-c/disk/sub", ""),
                ("/s/tmp-c/", ""),
            ]
        );
        assert_eq!(storages[1].source, "/dev/vdb");
        let left: Vec<_> = mounts.iter().map(|m| m.source.as_deref()).collect();
        assert_eq!(
            left,
            [Some("proc"), Some("/s/tmp-c/disk/sub"), Some("/s/tmp-c/")]
        );
    }

    #[test]
    fn the_shared_filesystem_needs_no_scratch_space() {
        let (storages, mounts) = of(&[mount("vm:/dev/hostfs/a/b", "/a", "bind")]).unwrap();
        assert!(storages.is_empty());
        assert_eq!(mounts[0].source.as_deref(), Some("/shared/a/b"));
        let (storages, _) = of(&[mount("/x", "/tmp:/y", "bind")]).unwrap();
        assert!(storages.is_empty());
    }

    #[test]
    fn nothing_leads_out() {
        for (source, destination) in [
            ("tmp:/../x", "/a"),
            ("tmp://x", "/a"),
            ("vm:/dev/hostfs/../x", "/a"),
            ("/x", "tmp:/a/../../b"),
        ] {
            let said = of(&[mount(source, destination, "bind")]).unwrap_err();
            assert!(said.to_string().contains("leads out"), "{said}");
        }
    }
}
