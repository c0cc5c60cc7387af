//! `coffer logs`: what containers wrote, from the files that their status names.
//!
//! ```text
//! words ─► containers (a pod: all of its) ─► Source: follower + view
//!            what is there, merged by time ─► -f: look again, until all have ended
//! ```

use std::{path::Path, time::Duration};

use futures::future::try_join_all;

use crate::{
    client::Daemon,
    ending,
    error::Error,
    follow::Follower,
    human, logline,
    logview::{Sink, View},
    paint::{self, Paint},
    resolve::{self, Kind, Target},
    times,
    view::{Container, Status},
};

/// How often a followed file is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Arguments of `logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coffer logs -f --tail 20 web
  coffer logs --since 10m -t pod/shop
  coffer logs --since 2026-01-02T15:00:00Z --until 2026-01-02T16:00:00Z web db")]
pub(crate) struct Args {
    /// Go on until the containers end
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines of each container, or all
    #[arg(long, short = 'n', value_name = "COUNT|all", value_parser = tail, allow_negative_numbers = true)]
    tail: Option<Tail>,
    /// Only lines since then: how long ago (10m, 2h) or a time
    #[arg(long, value_name = "TIME", value_parser = times::point, allow_hyphen_values = true)]
    since: Option<i64>,
    /// Only lines until then: how long ago (10m, 2h) or a time
    #[arg(long, value_name = "TIME", value_parser = times::point, allow_hyphen_values = true)]
    until: Option<i64>,
    /// The time in front of each line
    #[arg(short, long)]
    timestamps: bool,
    /// The container's name in front of each line, also when there is only one
    #[arg(long)]
    names: bool,
    /// Names or ids of containers; of pods for all in them
    #[arg(required = true, value_name = "NAME")]
    words: Vec<String>,
}

/// How many lines.
#[derive(Debug, Clone, Copy)]
struct Tail(Option<usize>);

fn tail(text: &str) -> Result<Tail, String> {
    match text {
        "all" | "-1" => Ok(Tail(None)),
        _ => match text.parse() {
            Ok(count) => Ok(Tail(Some(count))),
            Err(_) => Err(format!("{text:?} is neither a number of lines nor all")),
        },
    }
}

/// One container's log.
#[derive(Debug)]
struct Source {
    follower: Follower,
    view: View,
    /// The next line, where it was read already, and its time.
    head: Option<(i64, Vec<u8>)>,
}

pub(crate) async fn run(args: Args, kind: Kind, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    let containers = containers(&daemon, kind, &args.words).await?;
    let mut sources = Vec::new();
    let several = containers.len() > 1 || args.names;
    let prefixes = prefixes(&containers, several);
    for (container, prefix) in containers.iter().zip(prefixes) {
        let status = daemon.status(&container.id, false).await?;
        let mut follower = open(&status)?;
        let count = args.tail.and_then(|Tail(count)| count);
        follower.start(count, args.follow)?;
        sources.push(Source {
            follower,
            view: View {
                since: args.since,
                until: args.until,
                timestamps: args.timestamps,
                prefix,
                ..View::default()
            },
            head: None,
        });
    }
    let mut sink = Sink::default();
    merge(&mut sources, &mut sink)?;
    let ends = containers
        .iter()
        .map(|container| ending::of(&daemon, &container.id));
    let mut all_ended = std::pin::pin!(try_join_all(ends));
    let mut running = args.follow;
    while running {
        tokio::select! {
            ended = &mut all_ended => {
                ended?;
                running = false;
            }
            () = tokio::time::sleep(LOOK) => {}
        }
        running &= args.until.is_none_or(|until| human::now_ns() <= until);
        merge(&mut sources, &mut sink)?;
    }
    Ok(0)
}

/// Every container that the words mean, each once.
async fn containers(
    daemon: &Daemon,
    kind: Kind,
    words: &[String],
) -> Result<Vec<Container>, Error> {
    let mut found: Vec<Container> = Vec::new();
    for word in words {
        let mut new = match resolve::targeted(daemon, kind, word).await? {
            Target::Container(container) => vec![container],
            Target::Pod(pod) => {
                let mut inside = daemon.containers().await?;
                inside.retain(|container| container.pod_id == pod.id);
                if inside.is_empty() {
                    return Err(Error::State {
                        message: format!("pod {} has no containers", pod.name),
                        hint: "`coffer ps -a` shows what there is".to_owned(),
                    });
                }
                inside.sort_by_key(|container| container.created_at);
                inside
            }
        };
        new.retain(|one| found.iter().all(|other| other.id != one.id));
        found.append(&mut new);
    }
    Ok(found)
}

/// What stands in front of each container's lines: its name, with its pod where names repeat.
fn prefixes(containers: &[Container], wanted: bool) -> Vec<String> {
    if !wanted {
        return vec![String::new(); containers.len()];
    }
    let name = |container: &Container| {
        let alike = containers
            .iter()
            .filter(|other| other.name == container.name);
        if alike.count() > 1 {
            format!("{}/{}", container.pod_name, container.name)
        } else {
            container.name.clone()
        }
    };
    let names: Vec<String> = containers.iter().map(name).collect();
    let width = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0);
    let painted = paint::on_stdout();
    names
        .iter()
        .map(|name| Paint::Dim.on(&format!("{name:<width$} | "), painted))
        .collect()
}

impl Source {
    /// The time of the next line; reads it if need be.
    fn peek(&mut self) -> Result<Option<i64>, Error> {
        if self.head.is_none() {
            let mut line = Vec::new();
            if self.follower.next(&mut line)? {
                let time = logline::parse(&line).and_then(|piece| piece.time_ns());
                self.head = Some((time.unwrap_or_default(), line));
            }
        }
        Ok(self.head.as_ref().map(|(time, _)| *time))
    }
}

/// Shows what there is, the oldest line of all sources first.
fn merge(sources: &mut [Source], sink: &mut Sink) -> Result<(), Error> {
    if let [only] = sources {
        return show_all(&mut only.follower, &mut only.view, sink);
    }
    loop {
        let mut first: Option<(i64, usize)> = None;
        for (at, source) in sources.iter_mut().enumerate() {
            if let Some(time) = source.peek()?
                && first.is_none_or(|(earliest, _)| time < earliest)
            {
                first = Some((time, at));
            }
        }
        let Some((_, at)) = first else {
            return sink.flush();
        };
        let source = &mut sources[at];
        if let Some((_, line)) = source.head.take() {
            source.view.show(&line, sink)?;
        }
    }
}

/// Shows every line that is there.
fn show_all(follower: &mut Follower, view: &mut View, sink: &mut Sink) -> Result<(), Error> {
    let mut line = Vec::new();
    while follower.next(&mut line)? {
        view.show(&line, sink)?;
    }
    sink.flush()
}

/// The log file of a container; a container without one says so.
pub(crate) fn open(status: &Status) -> Result<Follower, Error> {
    if status.log_path.is_empty() {
        return Err(Error::State {
            message: format!("container {} has no log file", status.name),
            hint: "its pod was made without a log directory".to_owned(),
        });
    }
    Ok(Follower::new(Path::new(&status.log_path)))
}

/// Prints what comes until the container has ended and its file is read to the end. The last status
/// is the result, or `None` when the container was removed.
pub(crate) async fn to_the_end(
    daemon: &Daemon,
    id: &str,
    follower: &mut Follower,
) -> Result<Option<Status>, Error> {
    let (mut view, mut sink) = (View::default(), Sink::default());
    let mut ended = std::pin::pin!(ending::of(daemon, id));
    loop {
        show_all(follower, &mut view, &mut sink)?;
        tokio::select! {
            status = &mut ended => {
                show_all(follower, &mut view, &mut sink)?;
                return status;
            }
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
