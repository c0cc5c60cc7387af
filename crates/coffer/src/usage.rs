//! Readings of what containers use, and what happened between two of them.

use crate::{
    client::Daemon,
    error::Error,
    view::{State, Stats},
};

/// What the running containers use now, or those of `wanted` if any are named; by pod and name.
pub(crate) async fn read(daemon: &Daemon, wanted: &[String]) -> Result<Vec<Stats>, Error> {
    let containers = daemon.containers().await?;
    let mut all = daemon.stats().await?;
    let runs = |id: &str| {
        let mut running = containers.iter().filter(|one| one.state == State::Running);
        running.any(|one| one.id == id)
    };
    all.retain(|stats| {
        if wanted.is_empty() {
            runs(&stats.id)
        } else {
            wanted.contains(&stats.id)
        }
    });
    for stats in &mut all {
        if let Some(container) = containers.iter().find(|one| one.id == stats.id) {
            stats.pod_name.clone_from(&container.pod_name);
        }
    }
    all.sort_by(|a, b| (&a.pod_name, &a.name).cmp(&(&b.pod_name, &b.name)));
    Ok(all)
}

/// Fills in the share of a CPU that was used since `before`.
pub(crate) fn compare(before: &[Stats], now: &mut [Stats]) {
    for stats in now {
        let old = before.iter().find(|old| old.id == stats.id);
        stats.cpu_percent = old.and_then(|old| percent(old, stats));
    }
}

/// The share as people read it.
pub(crate) fn cpu(stats: &Stats) -> String {
    match stats.cpu_percent {
        Some(percent) => format!("{percent:.1} %"),
        None => "-".to_owned(),
    }
}

fn percent(old: &Stats, new: &Stats) -> Option<f64> {
    let wall = new.read_at_ns - old.read_at_ns;
    let used = new.cpu_ns.checked_sub(old.cpu_ns)?;
    (wall > 0).then(|| used as f64 / wall as f64 * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(read_at_ns: i64, cpu_ns: u64) -> Stats {
        Stats {
            id: String::new(),
            name: String::new(),
            pod_name: String::new(),
            cpu_ns,
            read_at_ns,
            cpu_percent: None,
            memory_working_set: 0,
            memory_usage: 0,
            memory_rss: 0,
            disk: 0,
        }
    }

    #[test]
    fn cpu_is_what_was_used_between_two_readings() {
        assert_eq!(
            percent(&at(0, 0), &at(1_000_000_000, 500_000_000)),
            Some(50.0)
        );
        assert_eq!(percent(&at(5, 0), &at(5, 0)), None, "no time passed");
        assert_eq!(percent(&at(0, 9), &at(1, 3)), None, "restarted meanwhile");
    }
}
