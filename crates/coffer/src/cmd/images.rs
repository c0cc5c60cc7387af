//! `coffer images`: what can be run.

use std::path::Path;

use crate::{
    client::Daemon,
    error::Error,
    human,
    out::{self, Format},
    table::Table,
};

/// Arguments of `images`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let mut images = Daemon::connect(socket).await?.images().await?;
    images.sort_by(|a, b| a.names.cmp(&b.names));
    if args.quiet {
        images.iter().try_for_each(|image| out::line(&image.id))?;
    } else if args.output == Format::Json {
        out::json(&images)?;
    } else {
        let mut table = Table::new(&["NAME", "IMAGE ID", "SIZE", "USER"]);
        for image in &images {
            let names = if image.names.is_empty() {
                &image.digests
            } else {
                &image.names
            };
            let none = ["<none>".to_owned()];
            for name in if names.is_empty() {
                &none
            } else {
                names.as_slice()
            } {
                table.row(vec![
                    name.clone(),
                    human::short(&image.id).to_owned(),
                    human::bytes(image.size),
                    image.user.clone(),
                ]);
            }
        }
        table.print()?;
    }
    Ok(0)
}
