//! `coffer info`: the daemon's conditions, and what it says about this node.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use crate::{
    client::Daemon,
    error::Error,
    list,
    out::{self, Format},
    paint::{self, Paint},
    table::printable,
    template::Template,
    view::{Info, PodState, State},
};

/// Arguments of `info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Format,
    /// A line such as '{{.version.runtime_version}}'
    #[arg(short, long, value_name = "TEMPLATE", value_parser = Template::parse, conflicts_with = "output")]
    format: Option<Template>,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let info = gather(&daemon, socket).await?;
    match (&args.format, args.output) {
        (Some(template), _) if !template.is_table() => list::filled(template, &info)?,
        (_, Format::Json) => out::json(&info)?,
        (_, Format::Yaml) => out::yaml(&info)?,
        (_, Format::Name) => out::line(&info.version.runtime_name)?,
        (_, Format::Table | Format::Wide) => print(&info)?,
    }
    Ok(0)
}

async fn gather(daemon: &Daemon, socket: &Path) -> Result<Info, Error> {
    let (conditions, info) = daemon.conditions().await?;
    let pods = daemon.pods().await?;
    let containers = daemon.containers_of(&pods).await?;
    Ok(Info {
        version: daemon.version().await?,
        socket: socket.display().to_string(),
        conditions,
        pods: pods.len(),
        pods_ready: pods
            .iter()
            .filter(|pod| pod.state == PodState::Ready)
            .count(),
        containers: containers.len(),
        containers_running: containers
            .iter()
            .filter(|one| one.state == State::Running)
            .count(),
        images: daemon.images().await?.len(),
        info,
    })
}

fn print(info: &Info) -> Result<(), Error> {
    let painted = paint::on_stdout();
    let version = &info.version;
    row(
        "daemon",
        &format!("{} {}", version.runtime_name, version.runtime_version),
    )?;
    row("client", &format!("coffer {}", version.client_version))?;
    row("socket", &info.socket)?;
    for condition in &info.conditions {
        let (word, paint) = if condition.status {
            ("yes", Paint::Good)
        } else {
            ("no", Paint::Bad)
        };
        let why = [condition.reason.as_str(), condition.message.as_str()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        let text = format!("{} {}", paint.on(word, painted), printable(&why));
        row(&condition.name, text.trim_end())?;
    }
    row(
        "pods",
        &format!("{} ({} ready)", info.pods, info.pods_ready),
    )?;
    let running = info.containers_running;
    row(
        "containers",
        &format!("{} ({running} running)", info.containers),
    )?;
    row("images", &info.images.to_string())?;
    let mut shown = ["version", "pods", "containers"].map(str::to_owned).into();
    info.info
        .iter()
        .try_for_each(|(name, value)| details(name, value, &mut shown))
}

/// What the daemon adds of its own accord, a line for each value that is not shown already. Tables
/// are for programs: `-o json` has them.
fn details(name: &str, value: &Value, shown: &mut BTreeSet<String>) -> Result<(), Error> {
    if !value.is_object() && !shown.insert(name.to_owned()) {
        return Ok(());
    }
    match value {
        Value::Null => Ok(()),
        Value::Object(map) => map
            .iter()
            .try_for_each(|(key, value)| details(key, value, shown)),
        Value::Array(list) if list.iter().any(Value::is_object) => Ok(()),
        Value::Array(list) => {
            let texts: Vec<String> = list.iter().map(plain).collect();
            row(name, &printable(&texts.join(", ")))
        }
        other => row(name, &printable(&plain(other))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn row(name: &str, text: &str) -> Result<(), Error> {
    out::line(&format!("{name:<18} {text}"))
}
