//! `coffer stats`: what the running containers use.

use std::{io::IsTerminal, path::Path, time::Duration};

use crate::{
    client::Daemon,
    error::Error,
    human,
    out::{self, Format},
    resolve,
    table::Table,
    view::Stats,
};

/// Time between two readings: CPU percent is what happened meanwhile.
const INTERVAL: Duration = Duration::from_secs(1);
/// The same for a single answer.
const GLANCE: Duration = Duration::from_millis(200);

/// Arguments of `stats`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One answer instead of a new one every second
    #[arg(long)]
    no_stream: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Names or ids of containers; none: all that run
    containers: Vec<String>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let mut wanted = Vec::new();
    for word in &args.containers {
        wanted.push(resolve::container(&daemon, word).await?.id);
    }
    let mut before = read(&daemon, &wanted).await?;
    tokio::time::sleep(GLANCE).await;
    loop {
        let mut now = read(&daemon, &wanted).await?;
        for stats in &mut now {
            let old = before.iter().find(|old| old.id == stats.id);
            stats.cpu_percent = old.and_then(|old| percent(old, stats));
        }
        print(&now, &args)?;
        if args.no_stream {
            return Ok(0);
        }
        before = now;
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn read(daemon: &Daemon, wanted: &[String]) -> Result<Vec<Stats>, Error> {
    let containers = daemon.containers().await?;
    let mut all = daemon.stats().await?;
    all.retain(|stats| wanted.is_empty() || wanted.contains(&stats.id));
    for stats in &mut all {
        if let Some(container) = containers.iter().find(|one| one.id == stats.id) {
            stats.pod_name.clone_from(&container.pod_name);
        }
    }
    all.sort_by(|a, b| (&a.pod_name, &a.name).cmp(&(&b.pod_name, &b.name)));
    Ok(all)
}

fn percent(old: &Stats, new: &Stats) -> Option<f64> {
    let wall = new.read_at_ns - old.read_at_ns;
    let used = new.cpu_ns.checked_sub(old.cpu_ns)?;
    (wall > 0).then(|| used as f64 / wall as f64 * 100.0)
}

fn print(all: &[Stats], args: &Args) -> Result<(), Error> {
    if args.output == Format::Json {
        return out::json(&all);
    }
    let mut table = Table::new(&[
        "CONTAINER ID",
        "NAME",
        "POD",
        "CPU",
        "MEMORY",
        "RSS",
        "DISK",
        "CPU TIME",
    ]);
    for stats in all {
        table.row(vec![
            human::short(&stats.id).to_owned(),
            stats.name.clone(),
            stats.pod_name.clone(),
            stats
                .cpu_percent
                .map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1} %")),
            human::bytes(stats.memory_working_set),
            human::bytes(stats.memory_rss),
            human::bytes(stats.disk),
            format!("{:.2} s", stats.cpu_ns as f64 / 1e9),
        ]);
    }
    if !args.no_stream && std::io::stdout().is_terminal() {
        // Home, then clear what is below: the table stays in place.
        out::raw(b"\x1b[H\x1b[J")?;
    }
    table.print()
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
