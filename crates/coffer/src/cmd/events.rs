//! `coffer events`: changes of state of pods, containers and images, each once and in order.

use std::{path::Path, time::Duration};

use crate::{
    client::{Daemon, EventsWanted},
    error::Error,
    filter::{self, Key},
    human,
    list::{self, Filters},
    out::{self, Format},
    paint::{self, Paint},
    table::printable,
    template::Template,
    times,
    view::Event,
};

/// Arguments of `events`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --since only what happens from now on is shown. The daemon remembers some thousands of events
of its own life.

Filters:
  type=pod|container|image, event=create|start|die|oom|stop|remove|import|pull, container=NAME|ID,
  pod=NAME|ID, image=NAME

Examples:
  coffer events --since 10m --no-stream
  coffer events --filter event=die --filter event=oom
  coffer events -o json | jq .attributes.exit_code")]
pub(crate) struct Args {
    /// Also what happened since then: how long ago (10m, 2h) or a time
    #[arg(long, value_name = "TIME", value_parser = times::point, allow_hyphen_values = true)]
    since: Option<i64>,
    /// End there: how long ago (10m, 2h) or a time
    #[arg(long, value_name = "TIME", value_parser = times::point, allow_hyphen_values = true)]
    until: Option<i64>,
    /// Show what is remembered and end
    #[arg(long)]
    no_stream: bool,
    #[command(flatten)]
    filters: Filters,
    /// Form of the output: json is one object a line
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Format,
    /// A line for each, such as '{{.action}} {{.name}}'; fields are those of -o json
    #[arg(long, value_name = "TEMPLATE", value_parser = Template::parse, conflicts_with = "output")]
    format: Option<Template>,
}

const KEYS: [Key<Event>; 5] = [
    Key {
        names: &["type", "kind"],
        fits: |event, value| event.kind == value,
        values: &["pod", "container", "image"],
    },
    Key {
        names: &["event", "action"],
        fits: |event, value| event.action == value,
        values: &[
            "create", "start", "die", "oom", "stop", "remove", "import", "pull", "tag",
        ],
    },
    Key {
        names: &["container"],
        fits: |event, value| event.kind == "container" && is(&event.name, &event.id, value),
        values: &[],
    },
    Key {
        names: &["pod"],
        fits: |event, value| {
            event.kind == "pod" && is(&event.name, &event.id, value)
                || is(&event.pod_name, &event.pod_id, value)
        },
        values: &[],
    },
    Key {
        names: &["image"],
        fits: |event, value| {
            let of_container = event.attributes.get("image");
            event.kind == "image" && filter::image(&event.name, &event.id, value)
                || of_container.is_some_and(|image| filter::image(image, "", value))
        },
        values: &[],
    },
];

fn is(name: &str, id: &str, value: &str) -> bool {
    name == value || value.len() >= 4 && id.starts_with(value)
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    // A slip in a filter must not wait for the first event.
    filter::retain(&mut Vec::new(), &args.filters.filters, &KEYS)?;
    let daemon = Daemon::connect(socket).await?;
    let now = human::now_ns();
    let follow = !args.no_stream && args.until.is_none_or(|until| until > now);
    let since = args.since.or(follow.then_some(now));
    let wanted = EventsWanted {
        after: 0,
        snapshot: false,
        follow,
    };
    let mut events = daemon.events(wanted).await?;
    let ends = end(args.until.filter(|_| follow));
    tokio::pin!(ends);
    loop {
        let event = tokio::select! {
            next = events.next() => next?,
            () = &mut ends => None,
        };
        let Some(event) = event else { return Ok(0) };
        let at = event.time.0;
        if args.until.is_some_and(|until| at > until) {
            return Ok(0);
        }
        let mut wanted = vec![event];
        filter::retain(&mut wanted, &args.filters.filters, &KEYS)?;
        if since.is_none_or(|since| at >= since) {
            wanted.iter().try_for_each(|event| print(event, &args))?;
        }
    }
}

/// Resolves at `until`, or never.
async fn end(until: Option<i64>) {
    match until {
        Some(until) => {
            let left = u64::try_from(until - human::now_ns()).unwrap_or(0);
            tokio::time::sleep(Duration::from_nanos(left)).await;
        }
        None => std::future::pending().await,
    }
}

fn print(event: &Event, args: &Args) -> Result<(), Error> {
    if let Some(template) = &args.format {
        return list::filled(template, event);
    }
    match args.output {
        Format::Json => out::json_line(event),
        Format::Yaml => out::line("---").and_then(|()| out::yaml(event)),
        Format::Name => out::line(&event.name),
        Format::Table => out::line(&sentence(event, false)),
        Format::Wide => out::line(&sentence(event, true)),
    }
}

fn sentence(event: &Event, full: bool) -> String {
    let time = human::rfc3339(event.time.0).unwrap_or_default();
    // Milliseconds tell enough.
    let time = if full {
        time
    } else {
        time.chars().take(23).chain(['Z']).collect()
    };
    let id = if full {
        &event.id
    } else {
        human::short(&event.id)
    };
    let code = event.attributes.get("exit_code").map(String::as_str);
    let paint = match (event.action.as_str(), code) {
        ("oom", _) => Paint::Bad,
        ("die", Some(code)) if code != "0" => Paint::Bad,
        ("start", _) => Paint::Good,
        _ => Paint::Plain,
    };
    let action = paint.on(&format!("{:<7}", event.action), paint::on_stdout());
    let mut more = Vec::new();
    if !event.pod_name.is_empty() {
        more.push(format!("pod={}", event.pod_name));
    }
    more.extend(
        event
            .attributes
            .iter()
            .map(|(key, value)| format!("{key}={value}")),
    );
    let more = if more.is_empty() {
        String::new()
    } else {
        format!(" ({})", more.join(", "))
    };
    let name = printable(&format!("{}{more}", event.name));
    format!("{time} {:<9} {action} {id} {name}", event.kind)
}
