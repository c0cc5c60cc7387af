//! `list`: all containers of a root.

use super::print;
use super::state::Shown;
use crate::args::{Global, List, ListFormat};
use crate::error::Error;
use crate::log::{Level, Log};
use crate::record;
use crate::status::Live;

#[inline(never)]
pub(crate) fn command(global: &Global, args: List, log: &Log) -> Result<i32, Error> {
    let mut found = Vec::new();
    for id in record::ids(&global.root)? {
        match Live::find(&global.root, &id) {
            Ok(live) => found.push(live),
            // Being created, or just deleted; our own directories are no containers.
            Err(Error::NoContainer { .. } | Error::Id(_)) => {}
            // One bad record does not hide the others.
            Err(error) => log.write(Level::Warning, &error.chain()),
        }
    }
    let shown: Vec<Shown<'_>> = found.iter().map(Shown::new).collect();
    if args.quiet {
        print(
            &shown
                .iter()
                .map(|one| format!("{}\n", one.id))
                .collect::<String>(),
        )?;
    } else if args.format == ListFormat::Json {
        print(&(serde_json::to_string(&shown)? + "\n"))?;
    } else {
        print(&table(&shown))?;
    }
    Ok(0)
}

/// Columns as wide as their widest cell, three spaces between them.
fn table(shown: &[Shown<'_>]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(shown.iter().map(|one| {
        [
            one.id.to_owned(),
            one.pid.to_string(),
            one.status.to_string(),
            one.bundle.display().to_string(),
            one.created.to_owned(),
            one.owner.to_owned(),
        ]
    }));
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let width = rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0);
            if column + 1 == row.len() {
                text.push_str(cell);
            } else {
                text.push_str(&format!("{cell:<0$}", width.max(8) + 3));
            }
        }
        text.push('\n');
    }
    text
}
