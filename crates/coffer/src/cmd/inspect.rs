//! `coffer inspect`: everything that the daemon says about containers, pods and images.

use std::path::Path;

use serde::Serialize;

use crate::{
    client::Daemon,
    error::Error,
    list,
    out::{self, Format},
    resolve::{self, Kind, Target},
    template::Template,
    view::{ImageStatus, PodStatus, Status},
};

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coffer inspect web
  coffer inspect pod/web -o yaml
  coffer inspect -f '{{.pid}} {{.log_path}}' web")]
pub(crate) struct Args {
    /// Form of the output
    #[arg(short, long, value_name = "FORM", default_value = "json", value_parser = form)]
    output: Format,
    /// A line for each, such as '{{.pid}}'; fields are those of the JSON
    #[arg(short, long, value_name = "TEMPLATE", value_parser = Template::parse, conflicts_with = "output")]
    format: Option<Template>,
    /// Names or ids of containers, pods or images
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Found {
    Container(Box<Status>),
    Pod(Box<PodStatus>),
    Image(Box<ImageStatus>),
}

fn form(text: &str) -> Result<Format, String> {
    match text {
        "json" => Ok(Format::Json),
        "yaml" => Ok(Format::Yaml),
        _ => Err("everything about an object has the forms json and yaml".to_owned()),
    }
}

pub(crate) async fn run(args: Args, kind: Kind, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let mut found = Vec::new();
    for word in &args.names {
        found.push(look(&daemon, kind, word).await?);
    }
    match (&args.format, args.output) {
        (Some(template), _) => found
            .iter()
            .try_for_each(|one| list::filled(template, one))?,
        (None, Format::Yaml) => out::yaml(&found)?,
        (None, _) => out::json(&found)?,
    }
    Ok(0)
}

async fn look(daemon: &Daemon, kind: Kind, word: &str) -> Result<Found, Error> {
    if kind == Kind::Image {
        return match daemon.image_status(word).await? {
            Some(image) => Ok(Found::Image(Box::new(image))),
            None => Err(resolve::no_image(daemon, word).await?),
        };
    }
    match resolve::targeted(daemon, kind, word).await {
        Ok(Target::Container(container)) => Ok(Found::Container(Box::new(
            daemon.status(&container.id, true).await?,
        ))),
        Ok(Target::Pod(pod)) => Ok(Found::Pod(Box::new(daemon.pod_status(&pod.id).await?))),
        // A word that is neither may be an image.
        Err(unknown @ Error::Unknown { .. }) if kind == Kind::Any => {
            let image = word.strip_prefix("image/").unwrap_or(word);
            match daemon.image_status(image).await {
                Ok(Some(image)) => Ok(Found::Image(Box::new(image))),
                _ => Err(unknown),
            }
        }
        Err(error) => Err(error),
    }
}
