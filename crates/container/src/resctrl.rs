//! `linux.intelRdt`: the container's group in resctrl, which bounds cache and memory bandwidth.
//!
//! ```text
//!  <resctrl>                                  closID "/"
//!  <resctrl>/<closID, or the container's id>  schemata, tasks; made if missing
//!      mon_groups/<id>                        with enableMonitoring
//! ```
//! A closID without schemata must exist. One that exists and whose lines are not those that are asked for
//! is somebody else's, and refused. Removed at the end is what bears the container's id.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use oci::runtime::{LinuxIntelRdt, Spec};

use crate::cgroup::path::CgroupPath;
use crate::mountinfo::Entry;

/// A group that could not be made, joined or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No resctrl here.
    #[error(
        "linux.intelRdt is not supported: resctrl is not mounted here: it needs a processor with cache or \
         bandwidth allocation, and mount -t resctrl resctrl /sys/fs/resctrl"
    )]
    NotMounted,
    /// A closID that is no name of a group.
    #[error("linux.intelRdt.closID {0:?} is no name of a group")]
    Name(String),
    /// A group without schemata must be there.
    #[error("linux.intelRdt.closID {0:?} does not exist, and no schemata are given to make it")]
    Missing(String),
    /// The group holds other lines.
    #[error("linux.intelRdt.closID {clos:?} exists without the line {line:?}")]
    Differs {
        /// The group.
        clos: String,
        /// The line that is asked for.
        line: String,
    },
    /// A file.
    #[error("linux.intelRdt: {act} {}", path.display())]
    File {
        /// What was attempted.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// The container's groups.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    dir: PathBuf,
    monitor: Option<PathBuf>,
}

/// Where resctrl is mounted.
pub(crate) fn mounted() -> Result<PathBuf, Error> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    find(&text).ok_or(Error::NotMounted)
}

fn find(mountinfo: &str) -> Option<PathBuf> {
    let mut mounts = mountinfo.lines().filter_map(Entry::parse);
    let mount = mounts.find(|m| m.fstype == "resctrl")?;
    Some(PathBuf::from(mount.point.into_owned()))
}

/// What is asked for. A `memBwSchema` takes the place of bandwidth lines in the `l3CacheSchema`.
fn lines(rdt: &LinuxIntelRdt) -> Vec<String> {
    let bandwidth = rdt.mem_bw_schema.as_deref().unwrap_or_default();
    let cache = rdt.l3_cache_schema.iter().flat_map(|text| text.lines());
    let cache = cache.filter(|line| bandwidth.is_empty() || !line.starts_with("MB:"));
    let single = cache.chain([bandwidth]).filter(|line| !line.is_empty());
    let all = single.chain(rdt.schemata.iter().map(String::as_str));
    all.map(str::to_owned).collect()
}

impl Group {
    fn locate(root: &Path, rdt: &LinuxIntelRdt, id: &str) -> Result<Self, Error> {
        let clos = rdt.clos_id.as_deref().filter(|c| !c.is_empty());
        let dir = match clos {
            Some("/") => root.to_owned(),
            Some(name) => {
                let plain = CgroupPath::parse(name).is_ok() && !name.contains('/');
                if !plain || ["info", "mon_groups", "mon_data"].contains(&name) {
                    return Err(Error::Name(name.to_owned()));
                }
                root.join(name)
            }
            None => root.join(id),
        };
        let monitor = rdt
            .enable_monitoring
            .then(|| dir.join("mon_groups").join(id));
        Ok(Self { dir, monitor })
    }

    /// Makes the groups and writes the lines.
    pub(crate) fn make(root: &Path, rdt: &LinuxIntelRdt, id: &str) -> Result<Self, Error> {
        let group = Self::locate(root, rdt, id)?;
        let lines = lines(rdt);
        let clos = rdt.clos_id.clone().unwrap_or_default();
        let there = group.dir.is_dir();
        if !there && lines.is_empty() && !clos.is_empty() {
            return Err(Error::Missing(clos));
        }
        if !there {
            make_dir(&group.dir)?;
        }
        let result = group.fill(there && !clos.is_empty(), &clos, &lines);
        if let Err(error) = result {
            if !there {
                let _ = fs::remove_dir(&group.dir);
            }
            return Err(error);
        }
        Ok(group)
    }

    fn fill(&self, shared: bool, clos: &str, lines: &[String]) -> Result<(), Error> {
        let schemata = self.dir.join("schemata");
        if shared && !lines.is_empty() {
            let text = fs::read_to_string(&schemata).map_err(failed("read", &schemata))?;
            let present: Vec<String> = text.lines().map(normal).collect();
            let missing = lines
                .iter()
                .flat_map(|l| l.lines())
                .find(|line| !present.contains(&normal(line)));
            if let Some(line) = missing {
                return Err(Error::Differs {
                    clos: clos.to_owned(),
                    line: line.to_owned(),
                });
            }
        } else {
            for line in lines {
                write(&schemata, &format!("{line}\n"))?;
            }
        }
        match &self.monitor {
            Some(monitor) if !monitor.is_dir() => make_dir(monitor),
            _ => Ok(()),
        }
    }

    /// Puts a process into the groups of a container that were made.
    pub(crate) fn join(root: &Path, rdt: &LinuxIntelRdt, id: &str, pid: i32) -> Result<(), Error> {
        let group = Self::locate(root, rdt, id)?;
        for dir in std::iter::once(&group.dir).chain(&group.monitor) {
            write(&dir.join("tasks"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Removes what bears the container's id; what is gone is fine.
    fn remove(root: &Path, rdt: &LinuxIntelRdt, id: &str) -> Result<(), Error> {
        let group = Self::locate(root, rdt, id)?;
        let own = rdt.clos_id.as_deref().unwrap_or_default().is_empty();
        let dirs = group.monitor.iter().chain(own.then_some(&group.dir));
        for dir in dirs {
            match fs::remove_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("remove", dir)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Gives a running container other lines in `l3_cache_schema` and `mem_bw_schema` of `change`, and a group
/// with these processes if it has none yet. What results is what its document says from now on.
///
/// # Errors
/// No resctrl; a line that the kernel refuses. A group that was made is removed again.
pub fn update(
    spec: &mut Spec,
    id: &str,
    pids: &[i32],
    change: &LinuxIntelRdt,
) -> Result<(), Error> {
    update_in(&mounted()?, spec, id, pids, change)
}

fn update_in(
    root: &Path,
    spec: &mut Spec,
    id: &str,
    pids: &[i32],
    change: &LinuxIntelRdt,
) -> Result<(), Error> {
    let linux = spec.linux.get_or_insert_default();
    let mut wanted = linux.intel_rdt.clone().unwrap_or_default();
    let new = [
        (&mut wanted.l3_cache_schema, &change.l3_cache_schema),
        (&mut wanted.mem_bw_schema, &change.mem_bw_schema),
    ];
    for (old, new) in new {
        if new.is_some() {
            old.clone_from(new);
        }
    }
    let group = Group::locate(root, &wanted, id)?;
    let made = !group.dir.is_dir();
    if made {
        make_dir(&group.dir)?;
    }
    let filled = lines(change)
        .iter()
        .try_for_each(|line| write(&group.dir.join("schemata"), &format!("{line}\n")))
        .and_then(|()| {
            let joining = if made { pids } else { &[] };
            joining
                .iter()
                .try_for_each(|pid| write(&group.dir.join("tasks"), &pid.to_string()))
        });
    if filled.is_err() && made {
        let _ = fs::remove_dir(&group.dir);
    }
    filled?;
    linux.intel_rdt = Some(wanted);
    Ok(())
}

/// Removes the groups of a container that has ended.
pub(crate) fn remove(spec: &Spec, id: &str) -> Result<(), Error> {
    let Some(rdt) = spec.linux.as_ref().and_then(|l| l.intel_rdt.as_ref()) else {
        return Ok(());
    };
    match mounted() {
        Ok(root) => Group::remove(&root, rdt, id),
        // Gone with the groups in it.
        Err(_) => Ok(()),
    }
}

/// `L3:0=ff;1=00f` and ` L3: 0=0ff; 1=f` say the same.
fn normal(line: &str) -> String {
    let line: String = line.chars().filter(|c| !c.is_whitespace()).collect();
    let Some((resource, domains)) = line.split_once(':') else {
        return line;
    };
    let mut domains: Vec<String> = domains
        .split(';')
        .map(|domain| match domain.split_once('=') {
            Some((id, mask)) => format!("{id}={}", mask.trim_start_matches('0')),
            None => domain.to_owned(),
        })
        .collect();
    domains.sort();
    format!("{resource}:{}", domains.join(";"))
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { act, path, source }
}

fn make_dir(dir: &Path) -> Result<(), Error> {
    fs::create_dir(dir).map_err(failed("make", dir))
}

/// One write to a file that must be there.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let file = fs::OpenOptions::new().write(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(failed("write to", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rdt(json: &str) -> LinuxIntelRdt {
        serde_json::from_str(json).unwrap()
    }

    /// A directory that shows what a kernel with one cache shows.
    fn tree(groups: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for group in groups {
            let dir = root.path().join(group);
            fs::create_dir_all(dir.join("mon_groups")).unwrap();
            fs::write(dir.join("schemata"), "    L3:0=7ff;1=7ff\n    MB:0=100\n").unwrap();
            fs::write(dir.join("tasks"), "").unwrap();
        }
        root
    }

    #[test]
    fn the_mount_is_found() {
        let text = "24 1 0:22 / /sys rw - sysfs sysfs rw\n\
                    40 24 0:31 / /sys/fs/resctrl rw,relatime - resctrl resctrl rw\n";
        assert_eq!(find(text), Some("/sys/fs/resctrl".into()));
        assert_eq!(find("24 1 0:22 / /sys rw - sysfs sysfs rw\n"), None);
    }

    #[test]
    fn a_group_of_its_own_gets_the_lines_and_the_process() {
        // mkdir makes the kernel's files: here they are there before.
        let root = tree(&["c1"]);
        let rdt =
            rdt(r#"{"l3CacheSchema":"L3:0=f","schemata":["L3:1=1"],"enableMonitoring":true}"#);
        let monitor = root.path().join("c1/mon_groups/c1");
        Group::make(root.path(), &rdt, "c1").unwrap();
        let schemata = fs::read_to_string(root.path().join("c1/schemata")).unwrap();
        // A regular file is overwritten from its start by each write.
        assert!(schemata.starts_with("L3:1=1\n"), "{schemata}");
        assert!(monitor.is_dir());
        fs::write(monitor.join("tasks"), "").unwrap();
        Group::join(root.path(), &rdt, "c1", 77).unwrap();
        for tasks in [root.path().join("c1/tasks"), monitor.join("tasks")] {
            assert_eq!(fs::read_to_string(tasks).unwrap(), "77");
        }
    }

    #[test]
    fn bandwidth_is_what_its_own_line_says() {
        let both = r#"{"l3CacheSchema":"L3:0=f\nMB:0=50","memBwSchema":"MB:0=20"}"#;
        assert_eq!(lines(&rdt(both)), ["L3:0=f", "MB:0=20"]);
        let one = r#"{"l3CacheSchema":"L3:0=f\nMB:0=50"}"#;
        assert_eq!(lines(&rdt(one)), ["L3:0=f", "MB:0=50"]);
    }

    #[test]
    fn a_shared_group_must_hold_what_is_asked_for() {
        let root = tree(&["gold"]);
        let make = |json: &str| Group::make(root.path(), &rdt(json), "c1");
        make(r#"{"closID":"gold"}"#).unwrap();
        make(r#"{"closID":"gold","l3CacheSchema":"L3: 1=7ff; 0=07ff"}"#).unwrap();
        let said = make(r#"{"closID":"gold","memBwSchema":"MB:0=50"}"#).unwrap_err();
        let wanted = "linux.intelRdt.closID \"gold\" exists without the line \"MB:0=50\"";
        assert_eq!(said.to_string(), wanted);
        let said = make(r#"{"closID":"none"}"#).unwrap_err().to_string();
        assert!(said.contains("does not exist, and no schemata"), "{said}");
        for bad in ["../x", "a/b", "info", ".."] {
            let said = make(&format!(r#"{{"closID":"{bad}"}}"#)).unwrap_err();
            assert!(matches!(said, Error::Name(_)), "{bad}");
        }
    }

    #[test]
    fn an_update_changes_the_lines_of_a_group_and_the_document() {
        let root = tree(&["c1", "gold"]);
        let schemata = |name: &str| {
            let path = root.path().join(name).join("schemata");
            fs::read_to_string(path).unwrap()
        };
        let change = rdt(r#"{"memBwSchema":"MB:0=20"}"#);
        let mut spec = Spec::default();
        update_in(root.path(), &mut spec, "c1", &[7], &change).unwrap();
        assert!(
            schemata("c1").starts_with("MB:0=20\n"),
            "{}",
            schemata("c1")
        );
        let said = spec.linux.clone().unwrap().intel_rdt.unwrap();
        assert_eq!(said.mem_bw_schema.as_deref(), Some("MB:0=20"));
        // A group that others share is known by its name; what is not given stays.
        let linux = spec.linux.get_or_insert_default();
        linux.intel_rdt = Some(rdt(r#"{"closID":"gold","memBwSchema":"MB:0=9"}"#));
        let change = rdt(r#"{"l3CacheSchema":"L3:0=1"}"#);
        update_in(root.path(), &mut spec, "c1", &[7], &change).unwrap();
        assert!(schemata("gold").starts_with("L3:0=1\n"));
        let said = spec.linux.clone().unwrap().intel_rdt.unwrap();
        assert_eq!(said.mem_bw_schema.as_deref(), Some("MB:0=9"));
        assert_eq!(said.l3_cache_schema.as_deref(), Some("L3:0=1"));
    }

    #[test]
    fn an_update_that_fails_leaves_neither_group_nor_change() {
        // Without a kernel behind it a new directory has no schemata.
        let root = tempfile::tempdir().unwrap();
        let change = rdt(r#"{"l3CacheSchema":"L3:0=1"}"#);
        let mut spec = Spec::default();
        let said = update_in(root.path(), &mut spec, "c1", &[7], &change).unwrap_err();
        assert!(said.to_string().contains("write to"), "{said}");
        assert!(!root.path().join("c1").exists());
        assert_eq!(spec.linux.unwrap_or_default().intel_rdt, None);
    }

    #[test]
    fn what_bears_the_id_is_removed() {
        let root = tempfile::tempdir().unwrap();
        for dir in ["c1", "gold/mon_groups/c1"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        Group::remove(root.path(), &rdt("{}"), "c1").unwrap();
        let shared = rdt(r#"{"closID":"gold","enableMonitoring":true}"#);
        Group::remove(root.path(), &shared, "c1").unwrap();
        Group::remove(root.path(), &shared, "c1").unwrap();
        assert!(!root.path().join("c1").exists());
        assert!(root.path().join("gold/mon_groups").is_dir());
        assert!(!root.path().join("gold/mon_groups/c1").exists());
    }

    #[test]
    fn a_failure_takes_the_new_group_away() {
        let root = tempfile::tempdir().unwrap();
        let said =
            Group::make(root.path(), &rdt(r#"{"memBwSchema":"MB:0=50"}"#), "c1").unwrap_err();
        assert!(
            said.to_string().starts_with("linux.intelRdt: write to "),
            "{said}"
        );
        assert!(!root.path().join("c1").exists());
    }
}
