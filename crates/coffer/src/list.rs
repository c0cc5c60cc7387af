//! What all lists have in common: the flags that say how one is shown, and the showing.
//!
//! A list is declared as data: [`Field`]s with a head, a cell and their behaviour where there is
//! little room; the JSON is the items themselves.

use serde::Serialize;

use crate::{
    error::Error,
    filter::Filter,
    human,
    out::{self, Format},
    table::{Cell, Column, Table},
    template::Template,
};

/// Flags that every list takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Listing {
    /// Form of the output
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORM",
        help_heading = "Output"
    )]
    pub(crate) output: Format,
    /// Only ids, in full
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Cut nothing, also on a narrow terminal
    #[arg(long, help_heading = "Output")]
    pub(crate) no_trunc: bool,
    /// Leave the header out
    #[arg(long, aliases = ["noheading", "no-heading"], help_heading = "Output")]
    pub(crate) no_headers: bool,
    /// A line for each, such as '{{.id}} {{.name}}'; fields are those of -o json
    #[arg(long, value_name = "TEMPLATE", value_parser = Template::parse, help_heading = "Output",
          conflicts_with_all = ["output", "quiet"])]
    pub(crate) format: Option<Template>,
}

/// The flag that chooses from a list.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Filters {
    /// Only those that fit, such as status=running or label=app=web; repeat for more
    #[arg(short, long = "filter", value_name = "KEY=VALUE", value_parser = Filter::parse)]
    pub(crate) filters: Vec<Filter>,
}

/// One column of a list of `T`.
#[derive(Debug)]
pub(crate) struct Field<T> {
    /// Head and behaviour.
    pub(crate) column: Column,
    /// Only with `-o wide`.
    pub(crate) wide: bool,
    /// The cell of an item; `full`: nothing is to be shortened.
    pub(crate) cell: fn(&T, full: bool) -> Cell,
}

/// An id: its first digits, or all of them.
pub(crate) fn id(id: &str, full: bool) -> Cell {
    if full { id } else { human::short(id) }.into()
}

/// What `-q` and `-o name` print.
pub(crate) trait Listed: Serialize {
    /// The whole id.
    fn id(&self) -> &str;
    /// The name that commands take.
    fn name(&self) -> String;
}

/// Prints `items` as `how` says.
pub(crate) fn print<T: Listed>(
    how: &Listing,
    items: &[T],
    fields: &[Field<T>],
) -> Result<(), Error> {
    if let Some(template) = how.format.as_ref().filter(|format| !format.is_table()) {
        return items.iter().try_for_each(|item| filled(template, item));
    }
    if how.quiet {
        return items.iter().try_for_each(|item| out::line(item.id()));
    }
    match how.output {
        Format::Json => out::json(&items),
        Format::Yaml => out::yaml(&items),
        Format::Name => items.iter().try_for_each(|item| out::line(&item.name())),
        Format::Table | Format::Wide => {
            let wide = how.output == Format::Wide;
            let fields: Vec<&Field<T>> =
                fields.iter().filter(|field| wide || !field.wide).collect();
            let mut table = Table::new(fields.iter().map(|field| field.column));
            for item in items {
                table.row(fields.iter().map(|field| (field.cell)(item, how.no_trunc)));
            }
            let table = table.headless(how.no_headers);
            if wide || how.no_trunc {
                table.print_full()
            } else {
                table.print()
            }
        }
    }
}

/// Prints one item as a template says.
pub(crate) fn filled<T: Serialize>(template: &Template, item: &T) -> Result<(), Error> {
    let value = serde_json::to_value(item).map_err(|error| Error::Usage(error.to_string()))?;
    let text = template
        .fill(&value)
        .map_err(|cause| Error::Usage(format!("--format: {cause}")))?;
    out::line(&text)
}
