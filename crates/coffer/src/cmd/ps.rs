//! `coffer ps`: the containers of the node.

use std::path::Path;

use serde::Serialize;

use crate::{
    client::Daemon,
    error::Error,
    filter::{self, Key},
    human,
    list::{self, Field, Filters, Listed, Listing},
    paint::Paint,
    table::{Cell, Column},
    view::{ANNOTATION_PORTS, Container, Pod, State, Status, Time},
};

/// Arguments of `ps`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Filters:
  status=created|running|exited|unknown, name=PART, id=PREFIX, pod=NAME|ID, image=NAME (ancestor=NAME),
  label=KEY[=VALUE], exited=CODE

Examples:
  coffer ps -a
  coffer ps --filter status=exited --filter label=app=web
  coffer rm $(coffer ps -aq --filter status=exited)
  coffer ps --format '{{.name}}\\t{{.state}}'")]
pub(crate) struct Args {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// The newest one, whatever its state
    #[arg(short, long, conflicts_with = "last")]
    latest: bool,
    /// So many of the newest, whatever their state
    #[arg(short = 'n', long, value_name = "COUNT")]
    last: Option<usize>,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    listing: Listing,
}

/// A container with how it goes.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    container: Container,
    started_at: Time,
    finished_at: Time,
    /// Of one that has ended.
    exit_code: Option<i32>,
    reason: String,
    /// What `coffer run --publish` published of its pod.
    ports: String,
}

impl Listed for Row {
    fn id(&self) -> &str {
        &self.container.id
    }

    fn name(&self) -> String {
        self.container.name.clone()
    }
}

const FIELDS: [Field<Row>; 8] = [
    Field {
        column: Column::new("CONTAINER ID"),
        wide: false,
        cell: |row, full| list::id(&row.container.id, full),
    },
    Field {
        column: Column::new("NAME").floor(16),
        wide: false,
        cell: |row, _| row.container.name.as_str().into(),
    },
    Field {
        column: Column::new("POD").shed(3),
        wide: false,
        cell: |row, _| row.container.pod_name.as_str().into(),
    },
    Field {
        column: Column::new("IMAGE").floor(16).shed(2),
        wide: false,
        cell: |row, full| image_name(&row.container.image, full),
    },
    Field {
        column: Column::new("STATUS").floor(14),
        wide: false,
        cell: |row, _| row.status(),
    },
    Field {
        column: Column::new("PORTS").floor(23).shed(4),
        wide: false,
        cell: |row, _| row.ports.as_str().into(),
    },
    Field {
        column: Column::new("CREATED").floor(15).shed(5),
        wide: false,
        cell: |row, _| human::ago(row.container.created_at.0).into(),
    },
    Field {
        column: Column::new("POD ID").shed(6),
        wide: true,
        cell: |row, full| list::id(&row.container.pod_id, full),
    },
];

const KEYS: [Key<Row>; 7] = [
    Key {
        names: &["status", "state"],
        fits: |row, value| row.container.state.word() == value,
        values: &["created", "running", "exited", "unknown"],
    },
    Key {
        names: &["name"],
        fits: |row, value| row.container.name.contains(value),
        values: &[],
    },
    Key {
        names: &["id"],
        fits: |row, value| row.container.id.starts_with(value),
        values: &[],
    },
    Key {
        names: &["pod"],
        fits: |row, value| {
            row.container.pod_name == value
                || value.len() >= 4 && row.container.pod_id.starts_with(value)
        },
        values: &[],
    },
    Key {
        names: &["image", "ancestor"],
        fits: |row, value| filter::image(&row.container.image, &row.container.image_id, value),
        values: &[],
    },
    Key {
        names: &["label"],
        fits: |row, value| filter::label(&row.container.labels, value),
        values: &[],
    },
    Key {
        names: &["exited"],
        fits: |row, value| row.exit_code.is_some_and(|code| code.to_string() == value),
        values: &[],
    },
];

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let pods = daemon.pods().await?;
    let mut containers = daemon.containers_of(&pods).await?;
    // A filter by state says itself which states are wanted.
    let states = ["status", "state", "exited"];
    let by_state = args
        .filters
        .filters
        .iter()
        .any(|one| states.contains(&one.key.as_str()));
    let any = args.all || args.latest || args.last.is_some() || by_state;
    containers.retain(|container| any || container.state == State::Running);
    containers.sort_by_key(|container| std::cmp::Reverse(container.created_at));
    let statuses = daemon.statuses(&containers).await?;
    let rows = containers.into_iter().zip(statuses);
    let mut rows: Vec<Row> = rows.map(|(one, status)| row(one, status, &pods)).collect();
    filter::retain(&mut rows, &args.filters.filters, &KEYS)?;
    rows.truncate(
        args.last
            .unwrap_or(if args.latest { 1 } else { usize::MAX }),
    );
    list::print(&args.listing, &rows, &FIELDS)?;
    Ok(0)
}

fn row(mut container: Container, status: Option<Status>, pods: &[Pod]) -> Row {
    let ports = pods
        .iter()
        .find(|pod| pod.id == container.pod_id)
        .and_then(|pod| pod.annotations.get(ANNOTATION_PORTS).cloned())
        .unwrap_or_default();
    // What was asked last is what holds.
    if let Some(status) = &status {
        container.state = status.state;
    }
    let status = status.as_ref();
    Row {
        started_at: status.map_or(Time(0), |status| status.started_at),
        finished_at: status.map_or(Time(0), |status| status.finished_at),
        exit_code: status
            .filter(|status| status.state == State::Exited)
            .map(|status| status.exit_code),
        reason: status.map_or_else(String::new, |status| status.reason.clone()),
        ports,
        container,
    }
}

impl Row {
    fn status(&self) -> Cell {
        let since = |time: Time| human::seconds_in_words(human::seconds_since(time.0));
        match self.container.state {
            State::Running => Cell::painted(format!("Up {}", since(self.started_at)), Paint::Good),
            State::Created => Cell::painted("Created", Paint::Warn),
            State::Unknown => Cell::painted("Unknown", Paint::Bad),
            State::Exited => {
                let code = self.exit_code.unwrap_or_default();
                let paint = if code == 0 { Paint::Dim } else { Paint::Bad };
                let oom = if self.reason == "OOMKilled" {
                    ", out of memory"
                } else {
                    ""
                };
                let ago = since(self.finished_at);
                Cell::painted(format!("Exited ({code}{oom}) {ago} ago"), paint)
            }
        }
    }
}

/// A bare id says no more in 64 digits than in twelve.
fn image_name(image: &str, full: bool) -> Cell {
    if image.starts_with("sha256:") && !full {
        human::short(image).into()
    } else {
        image.into()
    }
}
