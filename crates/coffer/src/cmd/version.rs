//! `coffer version`: this program's and the daemon's.

use std::path::Path;

use crate::{
    client::Daemon,
    error::Error,
    out::{self, Format},
};

/// Arguments of `version`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let people = matches!(args.output, Format::Table | Format::Wide);
    if people {
        // Worth knowing also when nobody answers.
        out::line(&format!("client    coffer {}", env!("CARGO_PKG_VERSION")))?;
    }
    let version = Daemon::connect(socket).await?.version().await?;
    match args.output {
        Format::Json => out::json(&version)?,
        Format::Yaml => out::yaml(&version)?,
        Format::Name => out::line(&format!(
            "{}/{}",
            version.runtime_name, version.runtime_version
        ))?,
        Format::Table | Format::Wide => {
            out::line(&format!(
                "daemon    {} {} on {}",
                version.runtime_name,
                version.runtime_version,
                socket.display()
            ))?;
            out::line(&format!("CRI       {}", version.runtime_api_version))?;
        }
    }
    Ok(0)
}
