//! Mounts of a container.
//!
//! ```text
//! 1  /proc /dev /dev/pts /dev/mqueue /sys /sys/fs/cgroup   unless the request mounts there
//! 2  /etc/hostname /etc/hosts /etc/resolv.conf /dev/shm    the pod's, unless the request does
//! 3  the request's, shallow ones first                     so that none hides a deeper one
//! ```
//! Of the host's things they are binds; of an image, an overlay of its layers, with an empty directory at
//! the bottom because one layer alone is no overlay. It ends with the container's mount namespace.

use std::path::{Component, Path, PathBuf};

use image::Part;
use oci::runtime::Mount as OciMount;

use super::{ContainerInput, Host, HostFacts, PodInput, SpecError};
use crate::domain::{ContainerConfig, Mount, Propagation};

/// A request's mount, as it was resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedMount {
    /// Place in the request's list.
    pub index: usize,
    /// The host's path behind all symbolic links.
    pub source: PathBuf,
}

/// What the mounts come to.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) mounts: Vec<OciMount>,
    pub(super) resolved: Vec<ResolvedMount>,
    /// Propagation of the root mount, where a mount of the request needs one.
    pub(super) rootfs_propagation: Option<&'static str>,
}

/// Puts the mounts together; asks the host about the request's.
pub(super) fn mounts(
    input: &ContainerInput<'_>,
    facts: &HostFacts,
    host: &dyn Host,
) -> Result<Mounts, SpecError> {
    let (config, pod) = (input.config, input.pod);
    let mut volumes = input.volumes.iter();
    let mut requested = Vec::new();
    for (index, mount) in config.mounts.iter().enumerate() {
        let volume = mount.image.as_ref().and_then(|_| volumes.next());
        requested.push(Requested::check(index, mount, volume, facts)?);
    }
    let taken = |destination: &str| {
        let destination = Path::new(destination);
        requested.iter().any(|request| {
            request.destination == destination
                // Who brings a /dev of their own brings what is in it.
                || request.destination == Path::new("/dev")
                    && destination.starts_with(&request.destination)
        })
    };
    let mut all = Mounts {
        mounts: defaults(config.security.privileged)
            .into_iter()
            .chain(of_the_pod(config, pod))
            .filter(|mount| !taken(&mount.destination))
            .collect(),
        ..Mounts::default()
    };
    requested.sort_by_key(|request| request.destination.components().count());
    for request in requested {
        match request.volume {
            Some(volume) => all.mounts.push(request.of_image(volume)?),
            None => request.add(&mut all, host)?,
        }
    }
    Ok(all)
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> OciMount {
    OciMount {
        destination: destination.to_owned(),
        type_: Some(kind.to_owned()),
        source: Some(source.to_owned()),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..OciMount::default()
    }
}

fn defaults(privileged: bool) -> Vec<OciMount> {
    let access = if privileged { "rw" } else { "ro" };
    #[rustfmt::skip]
    let table = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", access]),
    ];
    table
}

fn of_the_pod(config: &ContainerConfig, pod: &PodInput<'_>) -> Vec<OciMount> {
    let access = if config.security.readonly_rootfs {
        "ro"
    } else {
        "rw"
    };
    let file = |destination: &str, source: Option<&Path>| {
        let source = source?.to_string_lossy().into_owned();
        Some(mount(
            destination,
            "bind",
            &source,
            &["rbind", "rprivate", access],
        ))
    };
    // Options of shared memory are those of the pod's filesystem.
    let shm = pod
        .shm
        .unwrap_or(Path::new("/dev/shm"))
        .to_string_lossy()
        .into_owned();
    let shm = mount("/dev/shm", "bind", &shm, &["rbind", "rprivate", "rw"]);
    [
        file("/etc/hostname", pod.hostname_file),
        file("/etc/hosts", pod.hosts_file),
        file("/etc/resolv.conf", pod.resolv_file),
        Some(shm),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Most bytes of the names of an image volume's layers: a page of options, less the other words.
const OPTIONS: usize = 4000;

/// What is wrong with the mount of an image: the field, and a sentence.
fn image_volume(said: &Mount) -> Result<(), (&'static str, String)> {
    let sub_path = Path::new(&said.image_sub_path);
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    if !said.host_path.is_empty() {
        return Err((
            "host_path",
            format!("is {:?}, and an image is named", said.host_path),
        ));
    }
    if !said.readonly {
        return Err((
            "readonly",
            "is not set: an image can't be written".to_owned(),
        ));
    }
    if said.propagation != Propagation::Private {
        return Err((
            "propagation",
            "is not PRIVATE: nothing is ever mounted in an image".to_owned(),
        ));
    }
    if !sub_path.components().all(inside) {
        let what = format!(
            "{:?} is not a path below the image's root",
            said.image_sub_path
        );
        return Err(("image_sub_path", what));
    }
    Ok(())
}

/// A path as overlayfs takes it in a list of layers.
fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for letter in path.chars() {
        if matches!(letter, '\\' | ':' | ',') {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// A mount of the request whose words have been checked.
struct Requested<'a> {
    index: usize,
    said: &'a Mount,
    volume: Option<&'a Part>,
    destination: PathBuf,
}

impl<'a> Requested<'a> {
    fn check(
        index: usize,
        said: &'a Mount,
        volume: Option<&'a Part>,
        facts: &HostFacts,
    ) -> Result<Requested<'a>, SpecError> {
        let field = |name: &str| format!("mounts[{index}].{name}");
        let path = Path::new(&said.container_path);
        let destination: PathBuf = path.components().collect();
        if !path.is_absolute() || destination == Path::new("/") {
            let what = format!("{:?} is not an absolute path below /", said.container_path);
            return Err(SpecError::invalid(field("container_path"), what));
        }
        if path.components().any(|part| part == Component::ParentDir) {
            let what = format!("{:?} goes up by \"..\"", said.container_path);
            return Err(SpecError::invalid(field("container_path"), what));
        }
        if said.image.is_some() {
            image_volume(said).map_err(|(name, what)| SpecError::invalid(field(name), what))?;
        } else if !said.image_sub_path.is_empty() {
            let what = format!("is {:?}, and no image is named", said.image_sub_path);
            return Err(SpecError::invalid(field("image_sub_path"), what));
        } else if !Path::new(&said.host_path).is_absolute() {
            let what = format!("{:?} is not an absolute path", said.host_path);
            return Err(SpecError::invalid(field("host_path"), what));
        }
        if said.recursive_read_only {
            let wrong = if !said.readonly {
                Some("needs readonly as well")
            } else if said.propagation != Propagation::Private {
                Some("needs propagation PRIVATE")
            } else {
                None
            };
            if let Some(what) = wrong {
                return Err(SpecError::invalid(field("recursive_read_only"), what));
            }
        }
        if said.selinux_relabel && facts.selinux {
            let why = "relabelling on a host with SELinux comes with a later version";
            return Err(SpecError::unsupported(field("selinux_relabel"), why));
        }
        Ok(Requested {
            index,
            said,
            volume,
            destination,
        })
    }

    /// The content of an image, read-only.
    fn of_image(&self, volume: &Part) -> Result<OciMount, SpecError> {
        let destination = self.destination.to_string_lossy();
        let text = |path: &Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| {
                let what = format!("{} is not UTF-8", path.display());
                let field = format!("mounts[{}].image_sub_path", self.index);
                SpecError::unsupported(field, what)
            })
        };
        match volume {
            Part::File(path) => {
                let options = ["bind", "rprivate", "ro", "nodev"];
                Ok(mount(&destination, "bind", &text(path)?, &options))
            }
            Part::Directory(lowers) => {
                let lowers = lowers.iter().map(|lower| text(lower).map(|l| escaped(&l)));
                let lowers = lowers.collect::<Result<Vec<_>, _>>()?.join(":");
                if lowers.len() > OPTIONS {
                    let field = format!("mounts[{}].image", self.index);
                    let why = format!(
                        "its layers' names have {} bytes, and mount(2) takes {OPTIONS}",
                        lowers.len()
                    );
                    return Err(SpecError::unsupported(field, why));
                }
                let lowers = format!("lowerdir={lowers}");
                Ok(mount(
                    &destination,
                    "overlay",
                    "overlay",
                    &["ro", "nodev", &lowers],
                ))
            }
        }
    }

    fn add(self, all: &mut Mounts, host: &dyn Host) -> Result<(), SpecError> {
        let said = Path::new(&self.said.host_path);
        let field = format!("mounts[{}].host_path", self.index);
        let failed = |act, path: &Path, source| SpecError::Host {
            field: field.clone(),
            act,
            path: path.to_owned(),
            source,
        };
        let source = host
            .mount_source(said)
            .map_err(|e| failed("resolve", said, e))?;
        let Some(text) = source.to_str() else {
            let what = format!(
                "{} is not UTF-8, which a runtime spec must be",
                source.display()
            );
            return Err(SpecError::unsupported(field, what));
        };
        let propagation = self.propagation(&source, host, failed)?;
        match propagation {
            "rslave" => all.rootfs_propagation = all.rootfs_propagation.or(Some("rslave")),
            "rshared" => all.rootfs_propagation = Some("rshared"),
            _ => {}
        }
        let access = match (self.said.readonly, self.said.recursive_read_only) {
            (_, true) => "rro",
            (true, false) => "ro",
            (false, false) => "rw",
        };
        let destination = self.destination.to_string_lossy();
        all.mounts.push(mount(
            &destination,
            "bind",
            text,
            &["rbind", propagation, access],
        ));
        all.resolved.push(ResolvedMount {
            index: self.index,
            source,
        });
        Ok(())
    }

    fn propagation(
        &self,
        source: &Path,
        host: &dyn Host,
        failed: impl Fn(&'static str, &Path, std::io::Error) -> SpecError,
    ) -> Result<&'static str, SpecError> {
        if self.said.propagation == Propagation::Private {
            return Ok("rprivate");
        }
        let peers = host
            .peers(source)
            .map_err(|e| failed("find the mount of", source, e))?;
        let (option, possible, needs) = match self.said.propagation {
            Propagation::Private => ("rprivate", true, ""),
            Propagation::HostToContainer => (
                "rslave",
                peers.shared || peers.slave,
                "a shared or slave mount",
            ),
            Propagation::Bidirectional => ("rshared", peers.shared, "a shared mount"),
        };
        if possible {
            return Ok(option);
        }
        let source = source.display();
        let what = format!("needs {source} to be on {needs} of the host, and it is not");
        Err(SpecError::invalid(
            format!("mounts[{}].propagation", self.index),
            what,
        ))
    }
}
