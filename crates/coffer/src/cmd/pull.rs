//! `coffer pull`: images from their registries.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    client::{Daemon, PullWanted, Pulled, Transfer},
    error::Error,
    human,
    out::{self, Format},
};

/// Arguments of `pull`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A name without a registry is docker.io's. Mirrors, authorities and plain http are set in hosts.toml,
credentials in auth.json: see `registry.*` in the configuration. Ctrl-C cancels; nothing is left.")]
pub(crate) struct Args {
    /// Platform, for example linux/arm64/v8 [default: the node's own]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    /// Name and password for the registry, in place of those that the node has in its files
    #[arg(
        long,
        value_name = "USER:PASSWORD",
        env = "COFFER_CREDS",
        hide_env_values = true
    )]
    creds: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    /// Only the ids, and no progress
    #[arg(short, long)]
    quiet: bool,
    /// Names of images, each with a tag or digest
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

#[derive(Debug, serde::Serialize)]
struct Told {
    id: String,
    names: Vec<String>,
    size: u64,
}

pub(crate) async fn run(args: Args, socket: &Path) -> Result<u8, Error> {
    let wanted = |image: &str| -> Result<PullWanted, Error> {
        let (username, password) = credentials(args.creds.as_deref())?;
        Ok(PullWanted {
            image: image.to_owned(),
            platform: args.platform.clone().unwrap_or_default(),
            username,
            password,
        })
    };
    let silent = args.quiet || !matches!(args.output, Format::Table | Format::Wide);
    let daemon = Daemon::connect(socket).await?;
    let pulled = std::sync::Mutex::new(Vec::new());
    let code = super::each(&args.images, |name| {
        let (daemon, wanted, pulled, args) = (&daemon, wanted(&name), &pulled, &args);
        async move {
            let began = Instant::now();
            let image = pull(daemon, wanted?, silent).await?;
            if !matches!(args.output, Format::Json | Format::Yaml) {
                return report(&image, began.elapsed(), args);
            }
            let told = Told {
                id: image.id,
                names: image.names,
                size: image.size,
            };
            let mut pulled = pulled
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            pulled.push(told);
            Ok(())
        }
    })
    .await?;
    let pulled = pulled.into_inner().unwrap_or_default();
    match args.output {
        Format::Json => out::json(&pulled)?,
        Format::Yaml => out::yaml(&pulled)?,
        _ => {}
    }
    Ok(code)
}

/// Name and password of `--creds`.
pub(crate) fn credentials(said: Option<&str>) -> Result<(String, String), Error> {
    let Some(said) = said else {
        return Ok(Default::default());
    };
    let parts = said.split_once(':').ok_or_else(|| {
        let text = "--creds is a name and a password with a colon between them";
        Error::Usage(text.to_owned())
    })?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

/// Pulls one image and shows how far it is.
pub(crate) async fn pull(
    daemon: &Daemon,
    wanted: PullWanted,
    silent: bool,
) -> Result<Pulled, Error> {
    let what = format!("pull {}", wanted.image);
    let mut shown = Shown::new(silent);
    let answer = daemon
        .pull(&what, wanted, |layers| shown.layers(&layers))
        .await;
    shown.end();
    answer
}

fn report(image: &Pulled, took: Duration, args: &Args) -> Result<(), Error> {
    match (args.quiet, args.output) {
        (true, _) => out::line(&image.id),
        (_, Format::Name) => image.names.iter().try_for_each(|name| out::line(name)),
        _ => out::line(&format!(
            "pulled {} ({}, {}) in {:.2} s",
            image.names.join(", "),
            human::short(&image.id),
            human::bytes(image.size),
            took.as_secs_f64()
        )),
    }
}

/// Progress: on a terminal a bar for each layer and one for all, a line a layer elsewhere, nothing
/// when asked for.
#[derive(Debug)]
struct Shown {
    bars: MultiProgress,
    all: ProgressBar,
    by_index: HashMap<usize, ProgressBar>,
    told: Vec<bool>,
    lines: bool,
    silent: bool,
}

impl Shown {
    fn new(silent: bool) -> Shown {
        let terminal = io::stderr().is_terminal();
        let target = if silent || !terminal {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bars = MultiProgress::with_draw_target(target);
        let all = bars.add(ProgressBar::new(0));
        let template = "total        {bar:30} {bytes:>10} / {total_bytes}  {binary_bytes_per_sec}  \
                        ETA {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            all.set_style(style);
        }
        Shown {
            bars,
            all,
            by_index: HashMap::new(),
            told: Vec::new(),
            lines: !silent && !terminal,
            silent,
        }
    }

    fn layers(&mut self, layers: &[Transfer]) {
        if self.silent {
            return;
        }
        self.told.resize(layers.len(), false);
        // Layers that were there need no bar: they are no work.
        let work = || layers.iter().filter(|layer| !layer.existed);
        self.all.set_length(work().map(|layer| layer.total).sum());
        self.all.set_position(work().map(|layer| layer.bytes).sum());
        for (index, layer) in layers.iter().enumerate() {
            if layer.bytes > 0 && !layer.existed {
                let bar = self.by_index.entry(index).or_insert_with(|| {
                    let bar = ProgressBar::new(layer.total);
                    let bar = self.bars.insert_before(&self.all, bar);
                    let template = "{prefix:12} {bar:30} {bytes:>10} / {total_bytes}  {msg}";
                    if let Ok(style) = ProgressStyle::with_template(template) {
                        bar.set_style(style);
                    }
                    bar.set_prefix(human::short(&layer.digest).to_owned());
                    bar
                });
                bar.set_position(layer.bytes);
            }
            if !layer.done || std::mem::replace(&mut self.told[index], true) {
                continue;
            }
            let word = if layer.existed {
                "already there"
            } else {
                "unpacked"
            };
            if let Some(bar) = self.by_index.get(&index) {
                bar.finish_with_message(word);
            }
            if self.lines {
                let digest = human::short(&layer.digest);
                let size = human::bytes(layer.total);
                let _ = writeln!(io::stderr().lock(), "layer {digest} {size} {word}");
            }
        }
    }

    fn end(&self) {
        for bar in self.by_index.values() {
            bar.finish_and_clear();
        }
        self.all.finish_and_clear();
    }
}
