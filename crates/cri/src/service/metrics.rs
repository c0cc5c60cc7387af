//! ListPodSandboxMetrics: the figures of stats, and what they do not say: the processes of each
//! container with what they hold open, and the filesystem of the writable layers.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt, path::Path};

use sandbox::{ProcessFigures, ProcessReader};

use super::{PodStatsView, Service};
use crate::{
    domain::{Id, PodFilter},
    error::Error,
    spec,
    state::now_ns,
    task::blocking,
};

/// Figures of all pods that are ready.
#[derive(Debug)]
pub(crate) struct MetricsView {
    /// When they were gathered, nanoseconds since the epoch.
    pub at_ns: i64,
    /// The pods.
    pub pods: Vec<PodStatsView>,
    /// Processes by container; a container that has none left stands in it with zeros.
    pub processes: HashMap<Id, ProcessFigures>,
    /// Where writable layers are; `None` when it can't be asked.
    pub filesystem: Option<Filesystem>,
}

/// A filesystem as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filesystem {
    /// What is mounted: `/dev/sda1`.
    pub device: String,
    /// Bytes that it has.
    pub bytes: u64,
    /// Inodes that it has; 0 where it makes them as needed.
    pub inodes: u64,
    /// Of these, free.
    pub inodes_free: u64,
}

impl Service {
    /// Metrics of all pods that are ready.
    ///
    /// # Errors
    /// None but a defect of ours: what can't be read is left out.
    pub(crate) async fn pod_sandbox_metrics(&self) -> Result<MetricsView, Error> {
        let pods = self.list_pod_sandbox_stats(&PodFilter::default()).await?;
        let mut cgroups = Vec::new();
        for pod in &pods {
            let parent = &pod.pod.facts().cgroup_parent;
            for one in &pod.containers {
                let id = one.container.id().clone();
                let cgroup = spec::cgroup(parent, id.as_str());
                cgroups.push((id, cgroup));
            }
        }
        let layers = self.layout.layers();
        let (processes, filesystem) =
            blocking(move || Ok::<_, Error>((processes(cgroups), filesystem(&layers)))).await?;
        Ok(MetricsView {
            at_ns: now_ns(),
            pods,
            processes,
            filesystem,
        })
    }
}

/// Blocks.
fn processes(cgroups: Vec<(Id, String)>) -> HashMap<Id, ProcessFigures> {
    let reader = match ProcessReader::probe() {
        Ok(reader) => reader,
        Err(error) => {
            tracing::debug!(%error, "processes can't be counted");
            return HashMap::new();
        }
    };
    let read = |(id, cgroup): (Id, String)| match reader.read(&cgroup) {
        Ok(figures) => Some((id, figures)),
        Err(error) => {
            tracing::debug!(%cgroup, %error, "its processes can't be counted");
            None
        }
    };
    cgroups.into_iter().filter_map(read).collect()
}

/// Blocks.
fn filesystem(dir: &Path) -> Option<Filesystem> {
    let whole = rustix::fs::statvfs(dir).ok()?;
    let device = fs::metadata(dir).ok()?.dev();
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let number = format!(
        "{}:{}",
        rustix::fs::major(device),
        rustix::fs::minor(device)
    );
    Some(Filesystem {
        device: source(&mounts, &number).unwrap_or(number),
        bytes: whole.f_blocks * whole.f_frsize,
        inodes: whole.f_files,
        inodes_free: whole.f_ffree,
    })
}

/// What the filesystem with this device number was mounted from, by mountinfo's text (proc(5)).
fn source(mounts: &str, number: &str) -> Option<String> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let of = left.split(' ').nth(2)?;
        let source = right.split(' ').nth(1)?;
        (of == number).then(|| source.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filesystem_is_named_by_what_was_mounted() {
        let table = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
                     23 22 0:21 / /proc rw - proc proc rw\n\
                     garbage\n";
        assert_eq!(source(table, "254:0").as_deref(), Some("/dev/vda"));
        assert_eq!(source(table, "0:21").as_deref(), Some("proc"));
        assert_eq!(source(table, "8:1"), None);
    }

    #[test]
    fn the_whole_filesystem_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let told = filesystem(dir.path()).unwrap();
        assert!(
            told.bytes > 0 && told.inodes_free <= told.inodes,
            "{told:?}"
        );
        assert!(!told.device.is_empty());
        assert_eq!(filesystem(&dir.path().join("none")), None);
    }
}
