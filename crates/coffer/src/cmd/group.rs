//! `coffer container ls`, `coffer pod rm`, `coffer image ls`: the same commands by the names that
//! docker and podman group them under.

use std::path::Path;

use crate::{cmd, error::Error, resolve::Kind};

/// Commands for containers.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Container {
    /// List containers
    #[command(visible_aliases = ["ls", "list"])]
    Ps(cmd::ps::Args),
    /// Run a container from an image
    Run(Box<cmd::run::Args>),
    /// Run a command in a running container
    Exec(cmd::exec::Args),
    /// Connect to the input and output of a running container
    Attach(cmd::attach::Args),
    /// Copy files between a container and the host
    Cp(cmd::cp::Args),
    /// Start containers that were created and not started
    Start(cmd::start::Args),
    /// Stop containers
    Stop(cmd::stop::Args),
    /// Send a signal to containers
    Kill(cmd::kill::Args),
    /// Wait until containers have ended
    Wait(cmd::wait::Args),
    /// Remove containers
    #[command(visible_alias = "remove")]
    Rm(cmd::rm::Args),
    /// Show what containers wrote
    Logs(cmd::logs::Args),
    /// Show everything about containers
    Inspect(cmd::inspect::Args),
    /// Show what containers use
    Stats(cmd::stats::Args),
}

impl Container {
    pub(crate) async fn run(self, socket: &Path) -> Result<u8, Error> {
        match self {
            Container::Ps(args) => cmd::ps::run(args, socket).await,
            Container::Run(args) => cmd::run::run(*args, socket).await,
            Container::Exec(args) => cmd::exec::run(args, socket).await,
            Container::Attach(args) => cmd::attach::run(args, socket).await,
            Container::Cp(args) => cmd::cp::run(args, socket).await,
            Container::Start(args) => cmd::start::run(args, socket).await,
            Container::Stop(args) => cmd::stop::run(args, Kind::Container, socket).await,
            Container::Kill(args) => cmd::kill::run(args, socket).await,
            Container::Wait(args) => cmd::wait::run(args, socket).await,
            Container::Rm(args) => cmd::rm::run(args, Kind::Container, socket).await,
            Container::Logs(args) => cmd::logs::run(args, Kind::Container, socket).await,
            Container::Inspect(args) => cmd::inspect::run(args, Kind::Container, socket).await,
            Container::Stats(args) => cmd::stats::run(args, socket).await,
        }
    }
}

/// Commands for pods.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Pod {
    /// List pods
    #[command(visible_aliases = ["ls", "list"])]
    Ps(cmd::pods::Args),
    /// Stop pods
    Stop(cmd::stop::Args),
    /// Remove pods
    #[command(visible_alias = "remove")]
    Rm(cmd::rm::Args),
    /// Show what a pod's containers wrote
    Logs(cmd::logs::Args),
    /// Show everything about pods
    Inspect(cmd::inspect::Args),
}

impl Pod {
    pub(crate) async fn run(self, socket: &Path) -> Result<u8, Error> {
        match self {
            Pod::Ps(args) => cmd::pods::run(args, socket).await,
            Pod::Stop(args) => cmd::stop::run(args, Kind::Pod, socket).await,
            Pod::Rm(args) => cmd::rm::run(args, Kind::Pod, socket).await,
            Pod::Logs(args) => cmd::logs::run(args, Kind::Pod, socket).await,
            Pod::Inspect(args) => cmd::inspect::run(args, Kind::Pod, socket).await,
        }
    }
}

/// Commands for images.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Image {
    /// List images
    #[command(visible_alias = "list")]
    Ls(cmd::images::Args),
    /// Fetch images from their registries
    Pull(cmd::pull::Args),
    /// Send an image to its registry
    Push(cmd::push::Args),
    /// Give an image more names
    Tag(cmd::tag::Args),
    /// Write images into an archive
    #[command(visible_alias = "save")]
    Export(cmd::export::Args),
    /// Read images from an archive
    #[command(visible_alias = "load")]
    Import(cmd::import::Args),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(cmd::rmi::Args),
    /// Remove images without a tag that no container uses
    Prune(cmd::prune::Args),
    /// Keep images from garbage collection and from prune
    Pin(cmd::pin::Args),
    /// Keep images no longer
    Unpin(cmd::pin::Args),
    /// Hold images against their digests, blobs and unpacked layers
    Verify(cmd::pin::Args),
    /// Show everything about images
    Inspect(cmd::inspect::Args),
}

impl Image {
    pub(crate) async fn run(self, socket: &Path) -> Result<u8, Error> {
        match self {
            Image::Ls(args) => cmd::images::run(args, socket).await,
            Image::Import(args) => cmd::import::run(args, socket).await,
            Image::Pull(args) => cmd::pull::run(args, socket).await,
            Image::Push(args) => cmd::push::run(args, socket).await,
            Image::Tag(args) => cmd::tag::run(args, socket).await,
            Image::Export(args) => cmd::export::run(args, socket).await,
            Image::Rm(args) => cmd::rmi::run(args, socket).await,
            Image::Prune(args) => cmd::prune::run(args, cmd::prune::What::Images, socket).await,
            Image::Pin(args) => cmd::pin::run(args, true, socket).await,
            Image::Unpin(args) => cmd::pin::run(args, false, socket).await,
            Image::Verify(args) => cmd::pin::verify(args, socket).await,
            Image::Inspect(args) => cmd::inspect::run(args, Kind::Image, socket).await,
        }
    }
}
