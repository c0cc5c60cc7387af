//! `coffer stats`: what the running containers use; in place on a terminal, line after line elsewhere.

use std::{io::IsTerminal, path::Path, time::Duration};

use crate::{
    client::Daemon,
    error::Error,
    human,
    list::{self, Field, Listed, Listing},
    out::{self, Format},
    resolve,
    table::Column,
    usage,
    view::Stats,
};

/// Time for the first reading: CPU percent is what happened between two.
const GLANCE: Duration = Duration::from_millis(200);

/// Arguments of `stats`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
On a terminal the table stays in place until Ctrl-C. Elsewhere there is one answer, unless --interval
asks for more.

Examples:
  coffer stats
  coffer stats --no-stream -o json web
  coffer stats --interval 5 > usage.log")]
pub(crate) struct Args {
    /// One answer, also on a terminal
    #[arg(long, conflicts_with = "interval")]
    no_stream: bool,
    /// A new answer every so many seconds, until Ctrl-C [default on a terminal: 1]
    #[arg(short, long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    interval: Option<u32>,
    /// Accepted as habit: containers that do not run use nothing
    #[arg(short, long, hide = true)]
    all: bool,
    #[command(flatten)]
    listing: Listing,
    /// Names or ids of containers; none: all that run
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Listed for Stats {
    fn id(&self) -> &str {
        &self.id
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

const FIELDS: [Field<Stats>; 9] = [
    Field {
        column: Column::new("CONTAINER ID").shed(4),
        wide: false,
        cell: |stats, full| list::id(&stats.id, full),
    },
    Field {
        column: Column::new("NAME").floor(16),
        wide: false,
        cell: |stats, _| stats.name.as_str().into(),
    },
    Field {
        column: Column::new("POD").shed(5),
        wide: false,
        cell: |stats, _| stats.pod_name.as_str().into(),
    },
    Field {
        column: Column::new("CPU").right(),
        wide: false,
        cell: |stats, _| usage::cpu(stats).into(),
    },
    Field {
        column: Column::new("MEMORY").right(),
        wide: false,
        cell: |stats, _| human::bytes(stats.memory_working_set).into(),
    },
    Field {
        column: Column::new("RSS").shed(3).right(),
        wide: false,
        cell: |stats, _| human::bytes(stats.memory_rss).into(),
    },
    Field {
        column: Column::new("DISK").shed(2).right(),
        wide: false,
        cell: |stats, _| human::bytes(stats.disk).into(),
    },
    Field {
        column: Column::new("CPU TIME").shed(6).right(),
        wide: false,
        cell: |stats, _| format!("{:.2} s", stats.cpu_ns as f64 / 1e9).into(),
    },
    Field {
        column: Column::new("MEMORY USAGE").right(),
        wide: true,
        cell: |stats, _| human::bytes(stats.memory_usage).into(),
    },
];

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let mut wanted = Vec::new();
    for word in &args.containers {
        wanted.push(resolve::container(&daemon, word).await?.id);
    }
    let terminal = std::io::stdout().is_terminal();
    let listing = &args.listing;
    let for_people = matches!(listing.output, Format::Table | Format::Wide)
        && listing.format.is_none()
        && !listing.quiet;
    let in_place = terminal && for_people;
    let every = match args.interval {
        Some(seconds) => Some(seconds),
        None => (in_place && !args.no_stream).then_some(1),
    };
    let mut before = usage::read(&daemon, &wanted).await?;
    tokio::time::sleep(GLANCE).await;
    loop {
        let mut now = usage::read(&daemon, &wanted).await?;
        usage::compare(&before, &mut now);
        if every.is_some() && in_place {
            // Home, then clear what is below: the table stays in place.
            out::raw(b"\x1b[H\x1b[J")?;
        }
        list::print(listing, &now, &FIELDS)?;
        let Some(seconds) = every else { return Ok(0) };
        before = now;
        tokio::time::sleep(Duration::from_secs(u64::from(seconds))).await;
    }
}
