//! `coffer images`: what can be run.

use std::path::Path;

use serde::Serialize;

use crate::{
    client::Daemon,
    error::Error,
    filter::{self, Filter, Key},
    human,
    list::{self, Field, Filters, Listed, Listing},
    out::Format,
    table::Column,
    view::Image,
};

/// Arguments of `images`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Filters:
  name=NAME (reference=NAME), id=PREFIX, dangling=true|false, pinned=true|false

Examples:
  coffer images busybox
  coffer rmi $(coffer images -q --filter dangling=true)")]
pub(crate) struct Args {
    /// Only images of this name
    name: Option<String>,
    /// Accepted as habit: all images are always listed
    #[arg(short, long, hide = true)]
    all: bool,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    listing: Listing,
}

/// One name of an image: the table has a line for each.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    image: Image,
    #[serde(skip)]
    name: String,
}

impl Listed for Row {
    fn id(&self) -> &str {
        &self.image.id
    }

    fn name(&self) -> String {
        if self.name == NONE {
            self.image.id.clone()
        } else {
            self.name.clone()
        }
    }
}

/// Stands where an image has no name.
const NONE: &str = "<none>";

const FIELDS: [Field<Row>; 6] = [
    Field {
        column: Column::new("NAME").floor(20),
        wide: false,
        cell: |row, _| row.name.as_str().into(),
    },
    Field {
        column: Column::new("IMAGE ID"),
        wide: false,
        cell: |row, full| list::id(&row.image.id, full),
    },
    Field {
        column: Column::new("SIZE").shed(2).right(),
        wide: false,
        cell: |row, _| human::bytes(row.image.size).into(),
    },
    Field {
        column: Column::new("USER").shed(3),
        wide: false,
        cell: |row, _| row.image.user.as_str().into(),
    },
    Field {
        column: Column::new("PINNED").shed(5),
        wide: true,
        cell: |row, _| if row.image.pinned { "yes" } else { "" }.into(),
    },
    Field {
        column: Column::new("DIGESTS").shed(4),
        wide: true,
        cell: |row, _| row.image.digests.join(" ").into(),
    },
];

const KEYS: [Key<Image>; 4] = [
    Key {
        names: &["pinned"],
        fits: |image, value| image.pinned == (value == "true"),
        values: &["true", "false"],
    },
    Key {
        names: &["name", "reference"],
        fits: |image, value| {
            image
                .names
                .iter()
                .any(|name| filter::image(name, &image.id, value))
        },
        values: &[],
    },
    Key {
        names: &["id"],
        fits: |image, value| {
            let digits = |id: &'_ str| id.strip_prefix("sha256:").unwrap_or(id).to_owned();
            digits(&image.id).starts_with(&digits(value))
        },
        values: &[],
    },
    Key {
        names: &["dangling"],
        fits: |image, value| image.names.is_empty() == (value == "true"),
        values: &["true", "false"],
    },
];

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let mut images = Daemon::connect(socket).await?.images().await?;
    let mut filters = args.filters.filters;
    filters.extend(args.name.map(|value| Filter {
        key: "name".to_owned(),
        value,
    }));
    filter::retain(&mut images, &filters, &KEYS)?;
    images.sort_by(|a, b| a.names.cmp(&b.names));
    let listing = &args.listing;
    // For programs an image is one thing; for people each of its names is a line.
    let people = !listing.quiet
        && listing.format.is_none()
        && matches!(listing.output, Format::Table | Format::Wide | Format::Name);
    let rows: Vec<Row> = images
        .into_iter()
        .flat_map(|image| {
            let mut names = image.names.clone();
            if names.is_empty() {
                names.clone_from(&image.digests);
            }
            if names.is_empty() {
                names.push(NONE.to_owned());
            }
            names.truncate(if people { usize::MAX } else { 1 });
            names.into_iter().map(move |name| Row {
                image: image.clone(),
                name,
            })
        })
        .collect();
    list::print(listing, &rows, &FIELDS)?;
    Ok(0)
}
