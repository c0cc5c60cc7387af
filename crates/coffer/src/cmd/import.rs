//! `coffer import`: images from an archive, from standard input, or from an OCI layout on disk.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;

use crate::{
    client::{Daemon, ImportEvent},
    error::Error,
    human, layout,
    out::{self, Format},
};

const CHUNK: usize = 256 << 10;

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name for the image; without it those in the archive count
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    name: String,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
    /// Archive (OCI or docker, plain, gzip or zstd), - for standard input, or a layout directory
    #[arg(value_name = "FILE|-|DIR")]
    from: PathBuf,
}

#[derive(Debug, serde::Serialize)]
struct Imported {
    id: String,
    names: Vec<String>,
    size: u64,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let from = args.from.clone();
    let what = format!("import {}", from.display());
    let opening = |source| Error::Io {
        what: format!("open {}", from.display()),
        source,
    };
    // Look at the file first: a slip in its name must not need a daemon to be seen.
    let source = Source::open(&from).map_err(opening)?;
    if let Source::Layout(path, _) = &source {
        layout::check(path)?;
    }
    let daemon = Daemon::connect(socket).await?;
    let shown = Shown::new(
        source.size(),
        args.quiet || !matches!(args.output, Format::Table | Format::Wide),
    );
    let (sender, chunks) = mpsc::channel(4);
    let reader = std::thread::spawn(move || source.send(sender));
    let started = Instant::now();
    let mut images = Vec::new();
    let answer = daemon
        .import(&what, args.name.clone(), chunks, |event| match event {
            ImportEvent::Progress(bytes) => shown.bytes(bytes),
            ImportEvent::Layer { digest, existed } => shown.layer(&digest, existed),
            ImportEvent::Done(done) => {
                let done = done
                    .into_iter()
                    .map(|(id, names, size)| Imported { id, names, size });
                images.extend(done);
            }
        })
        .await;
    shown.end();
    // What the reader met explains a broken stream better than the daemon can.
    if answer.is_err() || reader.is_finished() {
        match reader.join() {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                let what = format!("read {}", from.display());
                return Err(Error::Io {
                    what,
                    source: error,
                });
            }
            _ => {}
        }
    }
    answer?;
    report(&images, started.elapsed(), &args)?;
    Ok(0)
}

fn report(images: &[Imported], took: Duration, args: &Args) -> Result<(), Error> {
    if args.quiet {
        return images.iter().try_for_each(|image| out::line(&image.id));
    }
    match args.output {
        Format::Json => return out::json(&images),
        Format::Yaml => return out::yaml(&images),
        Format::Name => {
            let mut names = images.iter().flat_map(|image| &image.names);
            return names.try_for_each(|name| out::line(name));
        }
        Format::Table | Format::Wide => {}
    }
    for image in images {
        let names = if image.names.is_empty() {
            "<none>".into()
        } else {
            image.names.join(", ")
        };
        out::line(&format!(
            "imported {names} ({}, {}) in {:.2} s",
            human::short(&image.id),
            human::bytes(image.size),
            took.as_secs_f64()
        ))?;
    }
    Ok(())
}

/// Where the bytes come from.
#[derive(Debug)]
enum Source {
    Stdin,
    File(File, u64),
    Layout(PathBuf, u64),
}

impl Source {
    fn open(from: &Path) -> io::Result<Source> {
        if from == Path::new("-") {
            return Ok(Source::Stdin);
        }
        if from.is_dir() {
            return Ok(Source::Layout(from.to_owned(), layout::size(from)?));
        }
        let file = File::open(from)?;
        let size = file.metadata()?.len();
        Ok(Source::File(file, size))
    }

    /// Bytes to come, where that is known.
    fn size(&self) -> Option<u64> {
        match self {
            Source::Stdin => None,
            Source::File(_, size) | Source::Layout(_, size) => Some(*size).filter(|size| *size > 0),
        }
    }

    /// Sends everything; ends early when nobody takes it any more.
    fn send(self, to: mpsc::Sender<Vec<u8>>) -> io::Result<()> {
        match self {
            Source::Stdin => pump(io::stdin().lock(), &to),
            Source::File(file, _) => pump(file, &to),
            Source::Layout(path, _) => {
                let buffered = io::BufWriter::with_capacity(CHUNK, Chunks(to));
                layout::write(&path, buffered)
            }
        }
    }
}

fn pump(mut from: impl Read, to: &mpsc::Sender<Vec<u8>>) -> io::Result<()> {
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        if from.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)? == 0 {
            return Ok(());
        }
        to.blocking_send(chunk)
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
    }
}

/// A writer whose writes are the chunks of the call.
#[derive(Debug)]
struct Chunks(mpsc::Sender<Vec<u8>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK);
        self.0
            .blocking_send(bytes[..taken].to_vec())
            .map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Progress: a bar on a terminal, a line a layer elsewhere, nothing when asked for.
#[derive(Debug)]
struct Shown {
    bar: ProgressBar,
    lines: bool,
}

impl Shown {
    fn new(size: Option<u64>, silent: bool) -> Shown {
        let terminal = io::stderr().is_terminal();
        let bar = match size {
            Some(size) => ProgressBar::new(size),
            None => ProgressBar::no_length(),
        };
        let template = if size.is_some() {
            "{bar:30} {bytes:>10} / {total_bytes}  {binary_bytes_per_sec}  {msg}"
        } else {
            "{spinner} {bytes:>10}  {binary_bytes_per_sec}  {msg}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if silent || !terminal {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Shown {
            bar,
            lines: !silent && !terminal,
        }
    }

    fn bytes(&self, read: u64) {
        self.bar.set_position(read);
    }

    fn layer(&self, digest: &str, existed: bool) {
        let word = if existed { "already there" } else { "unpacked" };
        let text = format!("layer {} {word}", human::short(digest));
        if self.lines {
            let _ = writeln!(io::stderr().lock(), "{text}");
        } else {
            self.bar.println(&text);
            self.bar.set_message(text);
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
