//! Finds what a test left behind: mounts, cgroups, processes and files that carry its prefix.
//!
//! Tests run in parallel, so only what names the test counts: take a unique prefix (a temporary
//! directory's path, a cgroup name) and use it for everything that the test makes.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::Path,
    time::{Duration, Instant},
};

/// What existed under the prefixes at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    prefixes: Vec<String>,
    found: BTreeSet<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Mount(String),
    Cgroup(String),
    Process { pid: i32, what: String },
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount(line) => write!(f, "mount    {line}"),
            Self::Cgroup(dir) => write!(f, "cgroup   {dir}"),
            Self::Process { pid, what } => write!(f, "process  {pid} {what}"),
        }
    }
}

impl Snapshot {
    /// Records what contains one of `prefixes` now: a mount's point or source, a cgroup's path, a
    /// process's command line, working directory, root or cgroup.
    #[must_use]
    pub fn take<S: AsRef<str>>(prefixes: &[S]) -> Self {
        let prefixes: Vec<String> = prefixes
            .iter()
            .map(|prefix| prefix.as_ref().to_owned())
            .filter(|prefix| prefix.len() >= 4)
            .collect();
        let found = find(&prefixes);
        Self { prefixes, found }
    }

    /// What is there now and was not then, one line each; gives exiting processes 3 s to go.
    #[must_use]
    pub fn leaks(&self) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(3);
        loop {
            let now = find(&self.prefixes);
            let left: Vec<String> = now.difference(&self.found).map(Item::to_string).collect();
            if left.is_empty() || Instant::now() > deadline {
                return left;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Fails the test if anything is left behind.
    ///
    /// # Panics
    /// With the list of what is left.
    #[track_caller]
    pub fn assert_clean(&self) {
        let leaks = self.leaks();
        assert!(
            leaks.is_empty(),
            "left behind under {:?}:\n  {}",
            self.prefixes,
            leaks.join("\n  ")
        );
    }
}

fn find(prefixes: &[String]) -> BTreeSet<Item> {
    let hit = |text: &str| prefixes.iter().any(|prefix| text.contains(prefix.as_str()));
    let mut found = BTreeSet::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in mounts.lines().filter(|line| hit(line)) {
        found.insert(Item::Mount(line.to_owned()));
    }
    for mount in crate::guard::cgroup_mounts() {
        cgroups(&mount, &hit, &mut found);
    }
    let own = std::process::id().to_string();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Ok(pid) = name.parse::<i32>()
            && name != own
            && let Some(what) = process(&entry.path(), &hit)
        {
            found.insert(Item::Process { pid, what });
        }
    }
    found
}

fn cgroups(dir: &Path, hit: &impl Fn(&str) -> bool, found: &mut BTreeSet<Item>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let path = entry.path();
            if hit(&path.to_string_lossy()) {
                found.insert(Item::Cgroup(path.display().to_string()));
            }
            cgroups(&path, hit, found);
        }
    }
}

/// What a process is, if it carries a prefix.
fn process(dir: &Path, hit: &impl Fn(&str) -> bool) -> Option<String> {
    let link = |name: &str| {
        fs::read_link(dir.join(name))
            .map(|p| p.display().to_string())
            .unwrap_or_default()
    };
    let cmdline = fs::read(dir.join("cmdline")).unwrap_or_default();
    let cmdline = String::from_utf8_lossy(&cmdline).replace('\0', " ");
    let cgroup = fs::read_to_string(dir.join("cgroup")).unwrap_or_default();
    let (cwd, root) = (link("cwd"), link("root"));
    let known = [&cmdline, &cwd, &root, &cgroup]
        .into_iter()
        .any(|text| hit(text));
    if !known {
        return None;
    }
    let stat = fs::read_to_string(dir.join("stat")).unwrap_or_default();
    let after_name = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest.trim_start());
    let (state, parent) = after_name.split_once(' ').unwrap_or(("?", ""));
    // Nothing of it is left but its entry, and that is for the machine's init to take away.
    if state == "Z" && parent.starts_with("1 ") {
        return None;
    }
    Some(format!("[{state}] {cmdline}(cwd {cwd}, root {root})"))
}
