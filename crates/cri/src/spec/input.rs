//! What the builder is told: the request, its pod, the image, and what was read of the rootfs.

use std::path::{Path, PathBuf};

use image::Part;
use oci::runtime::Rlimit;

use crate::domain::{ContainerConfig, PodConfig};

/// Everything that decides what a container's runtime-spec document says, beside the host.
#[derive(Debug, Clone, Copy)]
pub struct ContainerInput<'a> {
    /// The container's id: its cgroup's name.
    pub id: &'a str,
    /// The request.
    pub config: &'a ContainerConfig,
    /// Its pod.
    pub pod: &'a PodInput<'a>,
    /// Its image.
    pub image: &'a ImageInput,
    /// What the mounts of images show, in the order of those mounts.
    pub volumes: &'a [Part],
    /// Files of its root filesystem, for looking up users and groups.
    pub files: &'a RootfsFiles,
    /// What the node's operator has configured.
    pub node: &'a NodeSettings,
}

/// A pod as it runs.
#[derive(Debug, Clone, Copy)]
pub struct PodInput<'a> {
    /// The request it was made by.
    pub config: &'a PodConfig,
    /// The cgroup below which the container's cgroup goes, relative to the cgroup mount.
    pub cgroup_parent: &'a str,
    /// The name that its processes see; the host's with the host's network.
    pub hostname: &'a str,
    /// Pin of its network namespace; `None`: the host's.
    pub netns: Option<&'a Path>,
    /// Its shared memory filesystem; `None`: the host's, with the host's ipc namespace.
    pub shm: Option<&'a Path>,
    /// The file that becomes `/etc/hostname`; `None`: the image's stays.
    pub hostname_file: Option<&'a Path>,
    /// The file that becomes `/etc/hosts`; `None`: the image's stays.
    pub hosts_file: Option<&'a Path>,
    /// The file that becomes `/etc/resolv.conf`; `None`: the image's stays.
    pub resolv_file: Option<&'a Path>,
}

/// What an image's config says about the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageInput {
    /// The image as the user named it, for error texts.
    pub name: String,
    /// `USER`: `""`, `uid`, `name`, `uid:gid`, `name:group` …
    pub user: String,
    /// `NAME=value` each.
    pub env: Vec<String>,
    /// Program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments, or the program where there is no entrypoint.
    pub cmd: Vec<String>,
    /// Working directory; empty: the root.
    pub working_dir: String,
    /// Signal that stops it: a name or a number; empty: SIGTERM.
    pub stop_signal: String,
}

/// Texts of the root filesystem's user databases; `None` where there is no such file.
///
/// Whoever reads them does so within the rootfs, by descriptor, regular files of at most 10 MiB
/// (CVE-2022-23648 and the like).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootfsFiles {
    /// `/etc/passwd`.
    pub passwd: Option<String>,
    /// `/etc/group`.
    pub group: Option<String>,
}

/// What the node's operator has configured.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSettings {
    /// Directory of seccomp profiles that are named by a relative path; absolute.
    pub seccomp_root: PathBuf,
    /// Resource limits of every process; none: those of the agent.
    pub rlimits: Vec<Rlimit>,
    /// Annotations of pods and containers that reach the runtime-spec document: names, or beginnings
    /// that end in `*`. Empty by default: annotations are their writer's and no instruction to us.
    pub passed_annotations: Vec<String>,
}

impl Default for NodeSettings {
    fn default() -> NodeSettings {
        NodeSettings {
            seccomp_root: PathBuf::from("/var/lib/kubelet/seccomp"),
            rlimits: Vec::new(),
            passed_annotations: Vec::new(),
        }
    }
}
