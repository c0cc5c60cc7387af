//! Control groups: which version, which controllers where, and whether a group can be made.
//!
//! ```text
//! v2       one hierarchy; controllers in cgroup.controllers
//! v1       one hierarchy a controller, under /sys/fs/cgroup/<name>
//! hybrid   v1, and a v2 beside it that may hold what no v1 hierarchy holds
//! ```

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Area, Finding, Verdict};

/// What limits of containers are kept with, and what is lost without.
const CONTROLLERS: [(&str, Verdict, &str); 8] = [
    (
        "memory",
        Verdict::Fail,
        "memory limits, and the pods' memory in statistics",
    ),
    ("cpu", Verdict::Fail, "cpu limits and shares"),
    ("cpuacct", Verdict::Fail, "cpu time in statistics"),
    ("pids", Verdict::Fail, "limits on the number of processes"),
    ("cpuset", Verdict::Warn, "cpusets"),
    (
        "devices",
        Verdict::Fail,
        "device access; privileged and other containers are told apart by it",
    ),
    ("freezer", Verdict::Fail, "ending a pod by force"),
    ("hugetlb", Verdict::Warn, "limits on huge pages"),
];

/// A hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    point: PathBuf,
    v2: bool,
    controllers: Vec<String>,
}

/// Looks at the control groups.
pub(crate) fn look(cgroup_root: &str) -> Vec<Finding> {
    let mut area = Area::new("cgroups");
    let mounts = match fs::read_to_string("/proc/self/mountinfo") {
        Ok(text) => hierarchies(&text),
        Err(error) => {
            area.fail(
                "mounts",
                format!("/proc/self/mountinfo: {error}"),
                "mount /proc",
            );
            return area.done();
        }
    };
    let v2 = mounts.iter().find(|one| one.v2);
    let v1 = mounts.iter().any(|one| !one.v2);
    match (v1, v2) {
        (false, None) => {
            let fix = "mount them: mount -t cgroup2 none /sys/fs/cgroup";
            area.fail("version", "no control groups are mounted", fix);
            return area.done();
        }
        (false, Some(v2)) => area.ok("version", format!("v2 on {}", v2.point.display())),
        (true, None) => area.ok("version", "v1"),
        (true, Some(v2)) => {
            area.ok(
                "version",
                format!("v1, and a v2 on {} (hybrid)", v2.point.display()),
            );
        }
    }
    for (name, without, what) in CONTROLLERS {
        controller(&mut area, &mounts, name, without, what);
    }
    let used = |name: &String| CONTROLLERS.iter().any(|(known, ..)| known == name);
    let of_use = |one: &&Hierarchy| one.v2 || one.controllers.iter().any(used);
    let points = mounts.iter().filter(of_use).map(|one| one.point.as_path());
    area.tried(
        "writable",
        writable(points, cgroup_root),
        Verdict::Fail,
        WRITABLE,
    );
    area.done()
}

const WRITABLE: &str = "mount it read-write and run as root; in a container delegate the control groups \
                        to it";

fn controller(area: &mut Area, mounts: &[Hierarchy], name: &str, without: Verdict, what: &str) {
    let holds = |one: &&Hierarchy| one.controllers.iter().any(|held| held == name);
    if let Some(place) = mounts.iter().find(holds) {
        return area.ok(name, format!("on {}", place.point.display()));
    }
    // v2 has these as part of the core, or by programs.
    let v2 = mounts
        .iter()
        .any(|one| one.v2 && !one.controllers.is_empty());
    if v2 && matches!(name, "devices" | "freezer" | "cpuacct") {
        return area.ok(name, "part of v2");
    }
    let fix = "enable it on the kernel's command line (cgroup_enable=), or in the parent's \
               cgroup.subtree_control";
    let lost = io::Error::other(format!("not there: {what} are missing"));
    area.tried(name, Err(lost), without, fix);
}

/// Makes and removes a group in each.
fn writable<'a>(points: impl Iterator<Item = &'a Path>, cgroup_root: &str) -> io::Result<String> {
    let first = cgroup_root.split('/').next().unwrap_or(cgroup_root);
    let mut count = 0;
    for point in points {
        let group = point.join(format!("{first}-doctor-{}", std::process::id()));
        fs::create_dir(&group)
            .and_then(|()| fs::remove_dir(&group))
            .map_err(|error| io::Error::other(format!("{}: {error}", point.display())))?;
        count += 1;
    }
    Ok(format!(
        "a group was made and removed in each of {count} hierarchies"
    ))
}

/// The hierarchies of a mountinfo, each once.
fn hierarchies(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let (mut left, mut right) = (left.split(' '), right.split(' '));
        let (root, point) = (left.nth(3), left.next());
        let (kind, options) = (right.next(), right.nth(1));
        let (Some("/"), Some(point), Some(kind @ ("cgroup" | "cgroup2"))) = (root, point, kind)
        else {
            continue;
        };
        let point = PathBuf::from(point);
        let v2 = kind == "cgroup2";
        let controllers = if v2 {
            let text = fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
            text.split_whitespace().map(str::to_owned).collect()
        } else {
            let options = options.unwrap_or_default().split(',');
            let named = options.filter(|word| !matches!(*word, "rw" | "ro"));
            named.map(str::to_owned).collect()
        };
        let same = |one: &Hierarchy| one.v2 == v2 && one.controllers == controllers;
        if !found.iter().any(same) {
            found.push(Hierarchy {
                point,
                v2,
                controllers,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct
33 31 0:29 / /mnt/again rw - cgroup cgroup rw,cpu,cpuacct
34 31 0:30 /docker/x /inner rw - cgroup cgroup rw,memory
41 31 0:38 / /nonexistent/unified rw - cgroup2 cgroup2 rw
";

    #[test]
    fn each_hierarchy_is_found_once() {
        let found = hierarchies(HYBRID);
        let points: Vec<_> = found
            .iter()
            .map(|one| one.point.to_str().unwrap())
            .collect();
        assert_eq!(
            points,
            ["/sys/fs/cgroup/cpu,cpuacct", "/nonexistent/unified"]
        );
        assert_eq!(found[0].controllers, ["cpu", "cpuacct"]);
        assert!(found[1].v2 && found[1].controllers.is_empty());
    }

    #[test]
    fn a_controller_that_is_nowhere_says_what_is_lost() {
        let mut area = Area::new("cgroups");
        for (name, without, what) in CONTROLLERS {
            controller(&mut area, &hierarchies(HYBRID), name, without, what);
        }
        let found = area.done();
        let of = |name: &str| found.iter().find(|one| one.check == name).unwrap();
        assert_eq!(of("cpu").verdict, Verdict::Ok);
        assert_eq!(of("memory").verdict, Verdict::Fail);
        assert!(of("memory").found.contains("memory limits"));
        assert_eq!(of("cpuset").verdict, Verdict::Warn);
    }

    #[test]
    fn v2_has_devices_without_a_controller() {
        let v2 = [Hierarchy {
            point: "/sys/fs/cgroup".into(),
            v2: true,
            controllers: vec!["memory".to_owned()],
        }];
        let mut area = Area::new("cgroups");
        controller(&mut area, &v2, "devices", Verdict::Fail, "x");
        assert_eq!(area.done()[0].verdict, Verdict::Ok);
    }
}
