//! What dead pods have left: cgroups, mounts and writable layers that no record owns. A daemon that
//! starts removes them; while none runs, or when something keeps them, they stay.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{Area, Finding, Subject};

/// Looks for what nobody owns.
pub(crate) fn look(subject: &Subject) -> Vec<Finding> {
    let mut area = Area::new("leftovers");
    let pods = ids_in(&subject.state.join("pods"));
    let mut containers = BTreeSet::new();
    for pod in &pods {
        containers.extend(ids_in(
            &subject.state.join("pods").join(pod).join("containers"),
        ));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let fix = "the daemon removes them when it starts: `coffer serve`; see its log if they stay";

    let groups = cgroups(&mounts, &subject.cgroup_root, &pods);
    report(&mut area, "cgroups", &groups, fix);
    let points = mount_points(&mounts, &subject.state.join("pods"), &pods);
    report(&mut area, "mounts", &points, fix);
    let layers: Vec<String> = ids_in(&subject.root.join("containers"))
        .into_iter()
        .filter(|id| !containers.contains(id))
        .collect();
    report(&mut area, "writable layers", &layers, fix);
    let aside: Vec<String> = names_in(&subject.state.join("corrupt"));
    report(
        &mut area,
        "records set aside",
        &aside,
        "they could not be read; look at them below corrupt/ in the state directory, then remove them",
    );
    area.done()
}

fn report(area: &mut Area, what: &str, found: &[String], fix: &str) {
    match found {
        [] => area.ok(what, "none"),
        [one] => area.warn(what, one, fix),
        [first, ..] => area.warn(what, format!("{}, such as {first}", found.len()), fix),
    }
}

/// Groups of pods without a record.
fn cgroups(mountinfo: &str, cgroup_root: &str, pods: &BTreeSet<String>) -> Vec<String> {
    let mut found = BTreeSet::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next(), left.next());
        if root != Some("/") || !right.starts_with("cgroup") {
            continue;
        }
        for top in [cgroup_root.to_owned(), format!("{cgroup_root}-agents")] {
            let dir = PathBuf::from(point.unwrap_or_default()).join(&top);
            for id in ids_in(&dir) {
                if !pods.contains(&id) {
                    found.insert(format!("/{top}/{id}"));
                }
            }
        }
    }
    found.into_iter().collect()
}

/// Mounts below directories of pods without a record.
fn mount_points(mountinfo: &str, dir: &Path, pods: &BTreeSet<String>) -> Vec<String> {
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| {
            let below = Path::new(point).strip_prefix(dir).ok();
            let pod = below.and_then(|rest| rest.iter().next());
            pod.is_some_and(|pod| !pods.contains(&*pod.to_string_lossy()))
        })
        .map(str::to_owned)
        .collect()
}

/// Entries whose names are ids.
fn ids_in(dir: &Path) -> BTreeSet<String> {
    let hex = |name: &String| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    names_in(dir).into_iter().filter(hex).collect()
}

fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_without_a_record_has_left_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let (known, gone) = ("a".repeat(64), "b".repeat(64));
        let pods: BTreeSet<String> = [known.clone()].into();
        for id in [&known, &gone] {
            fs::create_dir_all(dir.path().join("cg/coffer").join(id)).unwrap();
        }
        let path = dir.path().display();
        let mountinfo = format!(
            "1 0 0:1 / {path}/cg rw - cgroup2 cgroup2 rw\n\
             2 0 0:2 / {path}/run/pods/{known}/shm rw - tmpfs shm rw\n\
             3 0 0:3 / {path}/run/pods/{gone}/shm rw - tmpfs shm rw\n"
        );
        assert_eq!(
            cgroups(&mountinfo, "coffer", &pods),
            [format!("/coffer/{gone}")]
        );
        let points = mount_points(&mountinfo, &dir.path().join("run/pods"), &pods);
        assert_eq!(points, [format!("{path}/run/pods/{gone}/shm")]);
    }
}
