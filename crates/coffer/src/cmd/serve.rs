//! `coffer serve`: the daemon. SIGTERM and SIGINT end it; pods go on without it and are found again
//! by the next one.

use std::{io::Write, path::PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::{Config, Said},
    error::Error,
    listen,
};

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Durable state: images and layers [default: /var/lib/coffer]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// State of running pods [default: /run/coffer]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Configuration [default: /etc/coffer/config.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Agent program [default: coffer-agent beside this program]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// First part of the names of cgroups; private instances need one of their own [default: coffer]
    #[arg(long, value_name = "NAME")]
    cgroup_root: Option<String>,
    /// How much is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", env = "COFFER_LOG")]
    log_level: Option<String>,
}

/// Runs the daemon until a signal ends it.
pub(crate) fn run(args: Args, socket: Option<PathBuf>) -> Result<u8, Error> {
    let path = |path: Option<PathBuf>| path.map(|path| path.to_string_lossy().into_owned());
    let mut flags = Said::default();
    flags.say("root", path(args.root));
    flags.say("state", path(args.state));
    flags.say("socket", path(socket));
    flags.say("agent", path(args.agent));
    flags.say("cgroup_root", args.cgroup_root);
    flags.say("log_level", args.log_level);
    let beside = std::env::current_exe().ok();
    let beside = beside.as_deref().and_then(std::path::Path::parent);
    let config = flags.or(Said::read(args.config.as_deref())?).mean(beside)?;
    let file = args.config.map(std::path::absolute).transpose();
    let file = file.map_err(|source| Error::Io {
        what: "find the working directory".to_owned(),
        source,
    })?;
    log_to_stderr(config.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .thread_name("coffer")
        .enable_all()
        .build()
        .map_err(|source| Error::Io {
            what: "start the event loop".to_owned(),
            source,
        })?;
    let done = runtime.block_on(serve(config, file));
    // A blocking call that still runs must not keep a daemon alive that was told to end.
    runtime.shutdown_background();
    done.map(|()| 0)
}

async fn serve(config: Config, file: Option<PathBuf>) -> Result<(), Error> {
    // Signals are caught from here on, so that none ends the daemon half-way through its start.
    let ended = end()?;
    let mut options = cri::Options::new(
        config.root.clone(),
        config.state.clone(),
        config.agent.clone(),
    );
    options.cgroup_root.clone_from(&config.cgroup_root);
    options.network = config.network.clone();
    options.stream = config.stream.clone();
    options.registry = config.registry.clone();
    options.limits = config.limits;
    options.config = file;
    options.log_limits = config.log_limits;
    options.node.seccomp_root.clone_from(&config.seccomp_root);
    options
        .default_registry
        .clone_from(&config.default_registry);
    options.verify_images = config.verify_images;
    options.agent_log_level = config.log_level.to_string().to_lowercase();
    let daemon = cri::Runtime::open(options)
        .await
        .map_err(|source| Error::Serve {
            what: format!("cannot open the state in {}", config.root.display()),
            source: Box::new(source),
        })?;
    let (listener, bound) = listen::bind(&config.socket)?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(|source| Error::Io {
        what: "listen".to_owned(),
        source,
    })?;
    tracing::info!(
        socket = %config.socket.display(),
        root = %config.root.display(),
        state = %config.state.display(),
        "serving"
    );
    let done = daemon.serve(listener, ended).await;
    drop(bound);
    done.map_err(|source| Error::Serve {
        what: format!("cannot serve on {}", config.socket.display()),
        source: Box::new(source),
    })?;
    tracing::info!("ended; pods go on");
    Ok(())
}

/// Resolves at the first SIGTERM or SIGINT.
fn end() -> Result<impl Future<Output = ()> + Send + 'static, Error> {
    let failed = |source| Error::Io {
        what: "wait for signals".to_owned(),
        source,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "ending");
    })
}

fn log_to_stderr(level: tracing::Level) {
    // A full disk or a closed pipe behind stderr must not end the daemon: errors are dropped.
    struct Stderr;
    impl Write for Stderr {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = std::io::stderr().lock().write_all(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};
    // Below trace, libraries are heard only when they warn: what they say of every frame drowns
    // what happens to pods.
    let others = if level == tracing::Level::TRACE {
        level
    } else {
        tracing::Level::WARN
    };
    let ours = [
        "coffer", "cri", "image", "network", "registry", "sandbox", "sys",
    ];
    let filter = Targets::new()
        .with_default(others.min(level))
        .with_targets(ours.map(|name| (name, level)));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_target(false)
        .with_writer(|| Stderr);
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
}
