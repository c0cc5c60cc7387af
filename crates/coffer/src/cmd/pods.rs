//! `coffer pods`: the pods of the node.

use std::path::Path;

use serde::Serialize;

use crate::{
    client::Daemon,
    error::Error,
    filter::{self, Key},
    human,
    list::{self, Field, Filters, Listed, Listing},
    out::Format,
    paint::Paint,
    table::{Cell, Column},
    view::{ANNOTATION_PORTS, Container, Pod, PodState, State},
};

/// Arguments of `pods`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Filters:
  status=ready|stopped, name=PART, id=PREFIX, namespace=NAME, label=KEY[=VALUE]

Examples:
  coffer pods -o wide
  coffer pods --filter status=stopped -q")]
pub(crate) struct Args {
    /// Accepted as habit: all pods are always listed
    #[arg(short, long, hide = true)]
    all: bool,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    listing: Listing,
}

/// A pod with what is in it.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    pod: Pod,
    containers: usize,
    running: usize,
    /// Addresses; only where they are shown: they cost a call each.
    #[serde(skip_serializing_if = "Option::is_none")]
    ips: Option<Vec<String>>,
    ports: String,
}

impl Listed for Row {
    fn id(&self) -> &str {
        &self.pod.id
    }

    fn name(&self) -> String {
        self.pod.name.clone()
    }
}

const FIELDS: [Field<Row>; 8] = [
    Field {
        column: Column::new("POD ID"),
        wide: false,
        cell: |row, full| list::id(&row.pod.id, full),
    },
    Field {
        column: Column::new("NAME").floor(16),
        wide: false,
        cell: |row, _| row.pod.name.as_str().into(),
    },
    Field {
        column: Column::new("NAMESPACE").shed(3),
        wide: false,
        cell: |row, _| row.pod.namespace.as_str().into(),
    },
    Field {
        column: Column::new("STATUS"),
        wide: false,
        cell: |row, _| match row.pod.state {
            PodState::Ready => Cell::painted("ready", Paint::Good),
            PodState::NotReady => Cell::painted("stopped", Paint::Dim),
        },
    },
    Field {
        column: Column::new("CONTAINERS").shed(2),
        wide: false,
        cell: |row, _| format!("{}/{} running", row.running, row.containers).into(),
    },
    Field {
        column: Column::new("IP").shed(5),
        wide: true,
        cell: |row, _| row.ips.as_deref().unwrap_or_default().join(", ").into(),
    },
    Field {
        column: Column::new("PORTS").floor(23).shed(4),
        wide: true,
        cell: |row, _| row.ports.as_str().into(),
    },
    Field {
        column: Column::new("CREATED").floor(15).shed(4),
        wide: false,
        cell: |row, _| human::ago(row.pod.created_at.0).into(),
    },
];

const KEYS: [Key<Row>; 5] = [
    Key {
        names: &["status", "state"],
        fits: |row, value| (row.pod.state == PodState::Ready) == (value == "ready"),
        values: &["ready", "stopped", "not_ready"],
    },
    Key {
        names: &["name", "pod"],
        fits: |row, value| row.pod.name.contains(value),
        values: &[],
    },
    Key {
        names: &["id"],
        fits: |row, value| row.pod.id.starts_with(value),
        values: &[],
    },
    Key {
        names: &["namespace"],
        fits: |row, value| row.pod.namespace == value,
        values: &[],
    },
    Key {
        names: &["label"],
        fits: |row, value| filter::label(&row.pod.labels, value),
        values: &[],
    },
];

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let mut pods = daemon.pods().await?;
    let containers = daemon.containers_of(&pods).await?;
    pods.sort_by_key(|pod| std::cmp::Reverse(pod.created_at));
    let mut rows: Vec<Row> = pods.into_iter().map(|pod| row(pod, &containers)).collect();
    filter::retain(&mut rows, &args.filters.filters, &KEYS)?;
    let listing = &args.listing;
    let plain = listing.output == Format::Table && listing.format.is_none();
    if !plain && !listing.quiet {
        for row in &mut rows {
            // One that is removed meanwhile is shown as it was.
            row.ips = daemon
                .pod_status(&row.pod.id)
                .await
                .ok()
                .map(|status| status.ips());
        }
    }
    list::print(listing, &rows, &FIELDS)?;
    Ok(0)
}

fn row(pod: Pod, containers: &[Container]) -> Row {
    let inside = containers
        .iter()
        .filter(|container| container.pod_id == pod.id);
    Row {
        running: inside
            .clone()
            .filter(|one| one.state == State::Running)
            .count(),
        containers: inside.count(),
        ips: None,
        ports: pod
            .annotations
            .get(ANNOTATION_PORTS)
            .cloned()
            .unwrap_or_default(),
        pod,
    }
}
