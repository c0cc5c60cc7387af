//! `coffer top`: what the containers use, live in the terminal; `coffer top CONTAINER`: its processes.

use std::{cmp::Ordering, io::IsTerminal, path::Path, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    client::Daemon,
    error::{CallKind, Error},
    human,
    out::{self, Format},
    paint::{self, Paint},
    processes::{self, Process},
    resolve,
    screen::{self, Key, Screen},
    table::{Cell, Column, Table},
    terminal, usage,
    view::{State, Stats},
};

/// Time for the first reading: CPU percent is what happened between two.
const GLANCE: Duration = Duration::from_millis(200);

/// Arguments of `top`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys:
  c m d n p   sort by CPU, memory, disk, name, pod
  r           the other way round
  Up Down     move through a long list
  q Ctrl-C    the end

Examples:
  coffer top
  coffer top web")]
pub(crate) struct Args {
    /// Seconds between two readings
    #[arg(short = 'd', long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3600))]
    delay: u32,
    /// Sort by this at first
    #[arg(short, long, value_enum, default_value_t, value_name = "BY")]
    sort: Sort,
    /// Form of a list of processes
    #[arg(
        short,
        long,
        value_enum,
        default_value_t,
        value_name = "FORM",
        requires = "container"
    )]
    output: Format,
    /// List the processes of this container, by name or id
    #[arg(value_name = "CONTAINER")]
    container: Option<String>,
}

/// What the list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Sort {
    #[default]
    Cpu,
    Memory,
    Disk,
    Name,
    Pod,
}

impl Sort {
    fn of(letter: char) -> Option<Sort> {
        Some(match letter.to_ascii_lowercase() {
            'c' => Sort::Cpu,
            'm' => Sort::Memory,
            'd' => Sort::Disk,
            'n' => Sort::Name,
            'p' => Sort::Pod,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Sort::Cpu => "CPU",
            Sort::Memory => "memory",
            Sort::Disk => "disk",
            Sort::Name => "name",
            Sort::Pod => "pod",
        }
    }

    /// The most first, names from a to z.
    fn compare(self, a: &Stats, b: &Stats) -> Ordering {
        let cpu = |stats: &Stats| stats.cpu_percent.unwrap_or(-1.0);
        let names = || (&a.pod_name, &a.name).cmp(&(&b.pod_name, &b.name));
        match self {
            Sort::Cpu => cpu(b).total_cmp(&cpu(a)),
            Sort::Memory => b.memory_working_set.cmp(&a.memory_working_set),
            Sort::Disk => b.disk.cmp(&a.disk),
            Sort::Name => a.name.cmp(&b.name),
            Sort::Pod => Ordering::Equal,
        }
        .then_with(names)
    }
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let daemon = Daemon::connect(socket).await?;
    if let Some(word) = &args.container {
        return list_processes(&daemon, word, args.output).await;
    }
    let mut view = View {
        sort: args.sort,
        ..View::default()
    };
    view.read(&daemon).await?;
    tokio::time::sleep(GLANCE).await;
    view.read(&daemon).await?;
    if std::io::stdout().is_terminal() && terminal::at_stdin() {
        live(&daemon, view, Duration::from_secs(u64::from(args.delay))).await?;
    } else {
        out::raw(view.table().render(None, paint::on_stdout()).as_bytes())?;
    }
    Ok(0)
}

async fn live(daemon: &Daemon, mut view: View, every: Duration) -> Result<(), Error> {
    let failed = |source| Error::Io {
        what: "wait for signals".to_owned(),
        source,
    };
    let mut resized = signal(SignalKind::window_change()).map_err(failed)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(failed)?;
    let screen = Screen::enter()?;
    let mut keys = screen::keys();
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        screen.draw(&view.lines())?;
        tokio::select! {
            _ = ticks.tick() => view.read(daemon).await?,
            key = keys.recv() => match key {
                Some(Key::Quit) | None => return Ok(()),
                Some(key) => view.press(key),
            },
            _ = resized.recv() => {}
            _ = terminated.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
        }
    }
}

/// What is shown, and how.
#[derive(Debug, Default)]
struct View {
    stats: Vec<Stats>,
    pods: usize,
    sort: Sort,
    reverse: bool,
    /// How many rows are above the first that is shown.
    scrolled: usize,
    /// The daemon did not answer the last time.
    away: bool,
}

impl View {
    async fn read(&mut self, daemon: &Daemon) -> Result<(), Error> {
        match usage::read(daemon, &[]).await {
            Ok(mut now) => {
                usage::compare(&self.stats, &mut now);
                let mut pods: Vec<&str> = now.iter().map(|stats| stats.pod_name.as_str()).collect();
                pods.dedup();
                self.pods = pods.len();
                self.stats = now;
                self.away = false;
                self.order();
                Ok(())
            }
            // Containers do not care for a daemon that is being restarted, and neither does this.
            Err(Error::Call {
                kind: CallKind::Unavailable,
                ..
            }) => {
                self.away = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn order(&mut self) {
        let (sort, reverse) = (self.sort, self.reverse);
        self.stats.sort_by(|a, b| {
            let order = sort.compare(a, b);
            if reverse { order.reverse() } else { order }
        });
    }

    fn press(&mut self, key: Key) {
        match key {
            Key::Letter('r' | 'R') => self.reverse = !self.reverse,
            Key::Letter(letter) => {
                if let Some(sort) = Sort::of(letter) {
                    (self.sort, self.reverse) = (sort, false);
                }
            }
            Key::Up => self.scrolled = self.scrolled.saturating_sub(1),
            Key::Down => {
                self.scrolled = (self.scrolled + 1).min(self.stats.len().saturating_sub(1))
            }
            Key::Quit => {}
        }
        self.order();
    }

    /// The screen: two lines about all, the table as far as it fits, the keys.
    fn lines(&self) -> Vec<String> {
        let size = terminal::size();
        let (columns, rows): (usize, usize) =
            size.map_or((80, 24), |size| (size.columns.into(), size.rows.into()));
        let painted = paint::on_stdout();
        let cpu: f64 = self
            .stats
            .iter()
            .filter_map(|stats| stats.cpu_percent)
            .sum();
        let memory: u64 = self
            .stats
            .iter()
            .map(|stats| stats.memory_working_set)
            .sum();
        let head = format!(
            "{} running in {} {}, CPU {cpu:.1} %, memory {}",
            self.stats.len(),
            self.pods,
            if self.pods == 1 { "pod" } else { "pods" },
            human::bytes(memory)
        );
        let order = if self.reverse { "least" } else { "most" };
        let foot = if self.away {
            "the daemon does not answer; containers go on without it; q: quit".to_owned()
        } else {
            format!(
                "{} ({order} first)  c m d n p: sort  r: reverse  q: quit",
                self.sort.word()
            )
        };
        let fit = |text: &str| text.chars().take(columns).collect::<String>();
        let table = self.table().render(Some(columns), painted);
        let mut table = table.lines();
        let mut lines = vec![Paint::Bold.on(&fit(&head), painted)];
        lines.extend(table.next().map(str::to_owned));
        let room = rows.saturating_sub(3);
        let scrolled = self.scrolled.min(self.stats.len().saturating_sub(room));
        lines.extend(table.skip(scrolled).take(room).map(str::to_owned));
        let paint = if self.away { Paint::Bad } else { Paint::Dim };
        lines.push(paint.on(&fit(&foot), painted));
        lines.truncate(rows);
        lines
    }

    fn table(&self) -> Table {
        let mut table = Table::new([
            Column::new("NAME").floor(16),
            Column::new("POD").shed(4),
            Column::new("CPU").right(),
            Column::new("MEMORY").right(),
            Column::new("RSS").shed(2).right(),
            Column::new("DISK").shed(1).right(),
            Column::new("CPU TIME").shed(3).right(),
        ]);
        for stats in &self.stats {
            let busy = match stats.cpu_percent {
                Some(percent) if percent >= 90.0 => Paint::Bad,
                Some(percent) if percent >= 50.0 => Paint::Warn,
                Some(percent) if percent < 0.05 => Paint::Dim,
                _ => Paint::Plain,
            };
            table.row([
                Cell::from(stats.name.as_str()),
                stats.pod_name.as_str().into(),
                Cell::painted(usage::cpu(stats), busy),
                human::bytes(stats.memory_working_set).into(),
                human::bytes(stats.memory_rss).into(),
                human::bytes(stats.disk).into(),
                format!("{:.2} s", stats.cpu_ns as f64 / 1e9).into(),
            ]);
        }
        table
    }
}

async fn list_processes(daemon: &Daemon, word: &str, output: Format) -> Result<u8, Error> {
    let container = resolve::container(daemon, word).await?;
    let status = daemon.status(&container.id, true).await?;
    let pid = status.pid.and_then(|pid| i32::try_from(pid).ok());
    let (State::Running, Some(pid)) = (status.state, pid) else {
        return Err(Error::State {
            message: format!(
                "container {} is {}, not running",
                status.name,
                status.state.word()
            ),
            hint: "`coffer ps` shows those that run".to_owned(),
        });
    };
    let found = processes::of_container(pid).map_err(|source| Error::Io {
        what: format!("read the processes of container {}", status.name),
        source,
    })?;
    match output {
        Format::Json => out::json(&found)?,
        Format::Yaml => out::yaml(&found)?,
        Format::Name => found
            .iter()
            .try_for_each(|one| out::line(&one.pid.to_string()))?,
        Format::Table => process_table(&found).print()?,
        Format::Wide => process_table(&found).print_full()?,
    }
    Ok(0)
}

fn process_table(found: &[Process]) -> Table {
    let mut table = Table::new([
        Column::new("PID").right(),
        Column::new("HOST PID").right(),
        Column::new("UID").right(),
        Column::new("STATE").shed(3),
        Column::new("CPU TIME").shed(2).right(),
        Column::new("RSS").shed(1).right(),
        Column::new("COMMAND").floor(20),
    ]);
    for process in found {
        table.row([
            process.pid.to_string(),
            process.host_pid.to_string(),
            process.uid.to_string(),
            process.state.clone(),
            format!(
                "{}.{:02} s",
                process.cpu_ms / 1000,
                process.cpu_ms % 1000 / 10
            ),
            human::bytes(process.rss_bytes),
            process.command.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(name: &str, cpu: Option<f64>, memory: u64) -> Stats {
        Stats {
            id: String::new(),
            name: name.to_owned(),
            pod_name: "p".to_owned(),
            cpu_ns: 0,
            read_at_ns: 0,
            cpu_percent: cpu,
            memory_working_set: memory,
            memory_usage: 0,
            memory_rss: 0,
            disk: 0,
        }
    }

    #[test]
    fn letters_sort_and_r_turns_round() {
        let mut view = View {
            stats: vec![
                stats("a", Some(1.0), 30),
                stats("b", None, 20),
                stats("c", Some(9.0), 10),
            ],
            ..View::default()
        };
        let mut after = |key: char| -> String {
            view.press(Key::Letter(key));
            view.stats.iter().map(|stats| stats.name.as_str()).collect()
        };
        assert_eq!(after('c'), "cab");
        assert_eq!(after('m'), "abc");
        assert_eq!(after('r'), "cba");
        assert_eq!(after('n'), "abc", "another key starts the right way round");
        assert_eq!(after('x'), "abc");
    }
}
